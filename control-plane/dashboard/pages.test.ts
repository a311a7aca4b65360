import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { Heartbeat } from '#appliance/contract.ts';
import type { ApplianceView, SiteView } from './fleet-view.ts';
import {
  claimsOf,
  Delivery,
  failureWords,
  playlistPathways,
  rankAfter,
  switchWords,
} from './web/assets/delivery.js';
import {
  fillOf,
  needsALook,
  ReasonWindow,
  splitWords,
  standingOf,
  windowWords,
} from './web/assets/fleet-figures.js';
import {
  formatAge,
  formatBps,
  formatBytes,
  formatBytesOf,
  formatDuration,
  formatEta,
  formatShare,
} from './web/assets/format.js';

import {
  externalView,
  steeringNodeViews,
  type ReleaseView,
  type RolloutView,
  type TakedownView,
} from './operations-view.ts';
import {
  blockingWords,
  copiesWords,
  externalLines,
  externalWords,
  inventoryVerdict,
  missWords,
  nodeLines,
  nodeVerdict,
  nodeWords,
  quorumWords,
  releaseVerdict,
  rolloutVerdict,
  rolloutWords,
  takedownBoxWords,
  takedownVerdict,
  takedownWords,
} from './web/assets/operations-words.js';

const WEB = path.join(import.meta.dirname, 'web');
const NOW_MS = Date.UTC(2026, 10, 21, 12);

/** Breaks lines nowhere in a figure; in a test a plain space reads better. */
function plain(text: string): string {
  return text.replaceAll('\u00a0', ' ');
}

// ---------------------------------------------------------------- figures

test('figures read as people write them, and rounding never makes a perfect share', () => {
  const rows: readonly [actual: string, expected: string][] = [
    [formatBytes(0), '0 B'],
    [formatBytes(1536), '1.5 KiB'],
    [formatBytes(240 * 1024 ** 4), '240 TiB'],
    [formatBytesOf(3 * 1024 ** 3, 8 * 1024 ** 3), '3.0 of 8.0 GiB'],
    [formatBytesOf(512 * 1024 ** 2, 8 * 1024 ** 3), '512 MiB of 8.0 GiB'],
    [formatBps(2_500_000), '2.5 Mbit/s'],
    [formatShare(null), '–'],
    [formatShare(1), '100 %'],
    [formatShare(0.99999), '99.9 %'],
    [formatShare(0.934), '93.4 %'],
    [formatShare(0), '0 %'],
    [formatShare(-1.6191), '−161.9 %'],
    [formatShare(-40), '−4000 %'],
    [formatDuration(200_000), '3 min 20 s'],
    [formatDuration(7_500_000), '2 h 5 min'],
    [formatEta(61_000), '2 min'],
    [formatAge(420), '0.4 s ago'],
    [formatAge(73_000), '1 min ago'],
    [formatAge(3 * 86_400_000), '3 d ago'],
  ];
  for (const [actual, expected] of rows) assert.equal(plain(actual), expected);
});

// ---------------------------------------------------------------- boxes

function heartbeat(changes: Partial<Heartbeat> = {}): Heartbeat {
  const none = { peer: 0, tier: 0, origin: 0 };
  return {
    type: 'heartbeat',
    sequence: 1,
    sentAtMs: NOW_MS,
    bootId: 'boot-1',
    health: { status: 'healthy', reasons: [] },
    state: 'serving',
    load: { egressBps: 0, servingBps: 1e9, connections: 0, requestsPerSecond: 0 },
    storage: { capacityBytes: 100, usedBytes: 50, pinnedBytes: 0, reactiveBytes: 0 },
    fill: {
      manifestVersion: 3,
      filesWanted: 10,
      filesHeld: 10,
      bytesWanted: 1000,
      bytesHeld: 1000,
      active: 0,
      rateBps: 0,
      waitingFor: null,
      problem: null,
    },
    counters: {
      viewerBytes: 0,
      viewerRequests: 0,
      viewerBytesByReason: { home: 0, content: 0, health: 0, other: 0 },
      viewerBytesUnknownHome: 0,
      missBytes: none,
      fillBytes: none,
      peerBytesServed: 0,
      chunksCorrupt: 0,
      refused: {},
    },
    holdings: { version: 1, digest: '0'.repeat(32), files: 10 },
    versions: { manifest: 3, keys: 1, denials: 0 },
    ...changes,
  };
}

function box(changes: Partial<ApplianceView> = {}): ApplianceView {
  return {
    applianceId: 'paris-1',
    clusterId: 'paris',
    baseUrl: 'http://127.0.1.1:8080',
    standing: 'serving',
    reasons: [],
    sinceMs: NOW_MS - 60_000,
    heartbeatAgeMs: 300,
    heartbeat: heartbeat(),
    viewerBps: 0,
    ...changes,
  };
}

const ALWAYS: SiteView['fillWindow'] = {
  startLocal: '00:00',
  hours: 24,
  timeZone: 'UTC',
  open: true,
  opensAtMs: null,
  closesAtMs: null,
};
const AT_NIGHT: SiteView['fillWindow'] = {
  startLocal: '22:30',
  hours: 12,
  timeZone: 'Europe/Paris',
  open: false,
  opensAtMs: NOW_MS + 2 * 3600_000,
  closesAtMs: null,
};

test('each standing has a word, a reason and a tone, and only a healthy box needs no look', () => {
  const degraded = heartbeat({ health: { status: 'degraded', reasons: ['disk 2 is slow'] } });
  const rows: readonly [ApplianceView, word: string, why: string, look: boolean][] = [
    [box(), 'Serving', '', false],
    [box({ heartbeat: degraded }), 'Degraded', 'disk 2 is slow', true],
    [
      box({ standing: 'gone-hard', reasons: ['connection reset'] }),
      'Gone',
      'connection reset',
      true,
    ],
    [box({ standing: 'gone-silent' }), 'Silent', 'its heartbeats stopped', true],
    [
      box({ standing: 'gone-silent', heartbeat: null, heartbeatAgeMs: null }),
      'Never heard',
      'no heartbeat yet',
      true,
    ],
    [box({ standing: 'draining' }), 'Draining', 'new viewers go elsewhere', true],
    [
      box({ heartbeat: heartbeat({ state: 'filling' }) }),
      'Filling',
      'being turned up: it serves what it holds',
      false,
    ],
    [box({ standing: 'down' }), 'Down', 'it reports that it cannot serve', true],
  ];
  for (const [view, word, why, look] of rows) {
    assert.deepEqual([standingOf(view).word, standingOf(view).why], [word, why]);
    assert.equal(needsALook(view), look, word);
  }
});

test('fill says how far, what it waits for, and says so where nothing moves', () => {
  const filling = (changes: Partial<Heartbeat['fill']>): ApplianceView =>
    box({
      heartbeat: heartbeat({
        fill: { ...heartbeat().fill, filesHeld: 4, bytesHeld: 400, ...changes },
      }),
    });
  const rows: readonly [ApplianceView, SiteView['fillWindow'], doing: string][] = [
    [box(), ALWAYS, 'complete'],
    [filling({ rateBps: 80 }), ALWAYS, '1 min left at 80 bit/s'],
    [filling({ rateBps: 0 }), ALWAYS, '600 B to go, nothing moves'],
    [filling({ waitingFor: 'window' }), AT_NIGHT, 'waits for its window, in 2 h'],
    [filling({ waitingFor: 'source' }), ALWAYS, 'waits for a source that has the files'],
    [
      filling({ waitingFor: 'space', problem: 'disk full' }),
      ALWAYS,
      'waits for space on its disks: disk full',
    ],
    [filling({ waitingFor: 'turn' }), ALWAYS, 'waits for another box, which fetches them first'],
    [filling({ waitingFor: 'pause' }), ALWAYS, 'waits for its operator, who paused it'],
    [
      filling({ rateBps: 80, bpsByKind: { peer: 60, tier: 0, origin: 20 } }),
      ALWAYS,
      '1 min left at 80 bit/s, 60 bit/s from its site, 20 bit/s from the origin',
    ],
    [
      filling({ rateBps: 80, bpsByKind: { peer: 80, tier: 0, origin: 0 }, leftOut: ['box-9'] }),
      ALWAYS,
      '1 min left at 80 bit/s, from its site; left out: box-9',
    ],
    [filling({ manifestVersion: 0 }), ALWAYS, 'waits for its plan'],
    [
      box({
        heartbeat: heartbeat({
          state: 'filling',
          fill: {
            ...heartbeat().fill,
            filesHeld: 4,
            bytesHeld: 400,
            waitingFor: 'window',
            curve: { day1: 0.4, day3: 0.75, day7: 1, fullAfterDays: 5 },
          },
        }),
      }),
      AT_NIGHT,
      'waits for its window, in 2 h; of its demand: day 1 40.0 %, day 3 75.0 %, full after 5 d',
    ],
  ];
  for (const [view, fillWindow, doing] of rows) {
    assert.equal(plain(fillOf(view, fillWindow, NOW_MS).doing), doing);
  }
  assert.equal(fillOf(filling({}), ALWAYS, NOW_MS).share, 0.4);
});

test('a fill window is told with its end, its zone and when it opens', () => {
  assert.equal(
    plain(windowWords(AT_NIGHT, NOW_MS)),
    'fills 22:30 to 10:30 Europe/Paris: opens in 2 h',
  );
  assert.equal(windowWords(ALWAYS, NOW_MS), 'may fill at any time');
});

test('the reason split is that of the last seconds, and begins anew with a restarted box', () => {
  const reasons = new ReasonWindow();
  const at = (seconds: number, home: number, health: number, bootId = 'boot-1') => {
    const { counters } = heartbeat();
    const viewerBytesByReason = { home, content: 0, health, other: 0 };
    const beat = heartbeat({ bootId, counters: { ...counters, viewerBytesByReason } });
    return reasons.take(box({ heartbeat: beat }), NOW_MS + seconds * 1000);
  };
  assert.equal(at(0, 1_000_000, 0), null, 'one sample is no rate');
  const first = at(5, 1_000_300, 100);
  assert.ok(first);
  assert.equal(plain(splitWords(first)), '75 % home, 25 % health');
  for (const second of [10, 15, 20, 25]) at(second, 1_000_300, 100 + second * 10);
  const later = at(30, 1_000_300, 500);
  assert.ok(later);
  assert.equal(plain(splitWords(later)), '100 % health', 'the bytes from home are long ago');
  assert.equal(at(31, 50, 0, 'boot-2'), null);
});

// ---------------------------------------------------------------- delivery

function segment(applianceId: string, startedAtMs: number) {
  return {
    applianceId,
    kind: 'video' as const,
    isInit: false,
    fileId: 'f',
    startSeconds: 0,
    durationSeconds: 2,
    rangeStart: 0,
    bytes: 1000,
    startedAtMs,
    firstByteAtMs: startedAtMs + 20,
    endedAtMs: startedAtMs + 50,
    quality: '480p',
    cacheStatus: null,
  };
}

function failure(applianceId: string, startedAtMs: number) {
  const why = failureWords({ isTimeout: false, status: 0, receivedBytes: 0, refused: null });
  const kind = 'video' as const;
  return { applianceId, kind, startSeconds: 4, startedAtMs, endedAtMs: startedAtMs + 5, why };
}

function lastSwitch(delivery: Delivery): string {
  const entry = delivery.switches.at(-1);
  assert.ok(entry);
  const parts = switchWords(entry).map((part) => (typeof part === 'string' ? part : part.box));
  return plain(parts.join(''));
}

test('a switch is told once, from the first request that failed to the first byte elsewhere', () => {
  const delivery = new Delivery(0);
  delivery.arrived(segment('paris-1', 100));
  assert.equal(lastSwitch(delivery), 'started on paris-1 after 120 ms');
  delivery.failed(failure('paris-1', 1000));
  delivery.failed({ ...failure('paris-1', 1010), kind: 'audio' });
  assert.equal(delivery.isFailing, true);
  delivery.arrived(segment('paris-2', 1160));
  assert.equal(
    lastSwitch(delivery),
    'paris-1 refused or cut the connection, continued on paris-2 after 180 ms',
  );
  delivery.arrived(segment('paris-2', 1300));
  assert.equal(delivery.switches.length, 2);
  assert.equal(delivery.servedBy, 'paris-2');
  assert.deepEqual(Object.fromEntries(delivery.bytesByBox), { 'paris-1': 1000, 'paris-2': 2000 });
});

test('a segment asked of the old box before the failure does not count as its return', () => {
  const delivery = new Delivery(0);
  delivery.arrived(segment('paris-1', 100));
  delivery.failed(failure('paris-1', 1000));
  delivery.arrived(segment('paris-1', 990));
  assert.equal(delivery.isFailing, true);
  delivery.arrived(segment('lyon-1', 1100));
  delivery.arrived(segment('paris-1', 1050));
  assert.equal(delivery.servedBy, 'lyon-1', 'late bytes of the old box are no switch back');
  assert.equal(delivery.switches.length, 2);
});

test('two boxes that fail one after the other are both named', () => {
  const delivery = new Delivery(0);
  delivery.arrived(segment('paris-1', 100));
  delivery.failed(failure('paris-1', 1000));
  delivery.failed(failure('paris-2', 1100));
  delivery.arrived(segment('origin', 1300));
  assert.equal(
    lastSwitch(delivery),
    'paris-1 refused or cut the connection, paris-2 refused or cut the connection, ' +
      'continued on origin after 320 ms',
  );
});

test('a change without a failure is steering’s', () => {
  const delivery = new Delivery(0);
  delivery.arrived(segment('paris-2', 100));
  delivery.arrived(segment('paris-1', 5000));
  assert.equal(lastSwitch(delivery), 'steering moved this session from paris-2 to paris-1');
});

test('what failed lately goes last and the others keep their rank', () => {
  assert.deepEqual(rankAfter(['a', 'b', 'c', 'origin'], new Set(['a'])), ['b', 'c', 'origin', 'a']);
  assert.deepEqual(rankAfter(['a', 'b'], new Set(['a', 'b'])), ['a', 'b']);
});

test('a failed request is told as far as a browser knows it', () => {
  const what = { isTimeout: false, status: 0, receivedBytes: 0, refused: null };
  const rows: readonly [string, string][] = [
    [failureWords({ ...what, receivedBytes: 65_536 }), 'broke off after 64.0 KiB'],
    [failureWords({ ...what, isTimeout: true }), 'did not answer'],
    [failureWords({ ...what, status: 404 }), 'lacks the file (404)'],
    [
      failureWords({ ...what, status: 403, refused: 'token-expired' }),
      'refused the token (403, token-expired)',
    ],
    [failureWords({ ...what, status: 503 }), 'answered 503'],
  ];
  for (const [actual, expected] of rows) assert.equal(plain(actual), expected);
});

test('the home and the reason are read from the token in the path, and nothing else is', () => {
  const payload = Buffer.from(JSON.stringify({ home: 'paris', reason: 'home' })).toString(
    'base64url',
  );
  const url = (token: string): string => `http://127.0.1.1:8080/;URISigningPackage=${token}/t/a/b`;
  assert.deepEqual(claimsOf(url(`head.${payload}.signature`)), { home: 'paris', reason: 'home' });
  assert.equal(claimsOf(url('head.!!.signature')), null);
  assert.equal(claimsOf(url('head.bm90IGpzb24.signature')), null);
  assert.equal(claimsOf('http://127.0.1.1:8080/t/a/b'), null);
});

// ---------------------------------------------------------------- the files themselves

test('the pages load nothing from elsewhere, inline no script, and name only files that exist', () => {
  const assets = readdirSync(path.join(WEB, 'assets'));
  const named: string[] = [];
  for (const page of ['index.html', 'watch.html']) {
    const text = readFileSync(path.join(WEB, page), 'utf8');
    for (const [, url] of text.matchAll(/(?:src|href)="([^"#]+)"/g)) {
      assert.match(url, /^\/(?!\/)/, `${page} loads ${url} from elsewhere`);
      if (url.startsWith('/assets/')) named.push(url.slice('/assets/'.length));
    }
    assert.doesNotMatch(text, /<script(?![^>]*\bsrc=)|\son[a-z]+="|\sstyle="/, page);
  }
  for (const file of assets.filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(path.join(WEB, 'assets', file), 'utf8');
    for (const [, specifier] of text.matchAll(/^(?:import .*|\} )from '(\.\/[^']+)'/gm)) {
      named.push(specifier.slice(2));
    }
    assert.doesNotMatch(text, /innerHTML|insertAdjacentHTML|document\.write/, file);
  }
  assert.ok(named.length >= 15, `looked at ${named.length} names only`);
  for (const name of named) assert.ok(assets.includes(name), `${name} does not exist`);
});

test('a playlist belongs to the pathway of its variant, sound by its group; of a clone as of the playlist’s own', () => {
  const attrs = (id: string) => ({ 'PATHWAY-ID': id, AUDIO: `a-${id}` });
  const parsed = [
    { attrs: attrs('paris-1'), url: '/paris-1/v.m3u8' },
    { attrs: attrs('lyon-1'), url: '/lyon-1/v.m3u8' },
  ];
  const tracks = [
    { groupId: 'a-paris-1', url: '/paris-1/a.m3u8' },
    { groupId: 'a-lyon-1', url: '/lyon-1/a.m3u8' },
  ];
  assert.deepEqual(
    [...playlistPathways(parsed, tracks)],
    [
      ['/paris-1/v.m3u8', 'paris-1'],
      ['/lyon-1/v.m3u8', 'lyon-1'],
      ['/paris-1/a.m3u8', 'paris-1'],
      ['/lyon-1/a.m3u8', 'lyon-1'],
    ],
  );
  const group = 'a-paris-1_clone_nice-1'; // as hls.js names it
  const clone = {
    attrs: { 'PATHWAY-ID': 'nice-1', AUDIO: group },
    url: ['/nice-1/v.m3u8'],
  };
  const all = [...tracks, { groupId: group, url: '/nice-1/a.m3u8' }];
  assert.deepEqual(
    [...playlistPathways([clone], all)],
    [
      ['/nice-1/v.m3u8', 'nice-1'],
      ['/nice-1/a.m3u8', 'nice-1'],
    ],
  );
});

// ---------------------------------------------------------------- tonight's work

const HOUR_MS = 3_600_000;

function releaseIn(hours: number, clustersLive: number): ReleaseView {
  const blocking = [
    {
      clusterId: 'paris',
      isLive: false,
      filesPlanned: 3,
      filesHeld: 1,
      why: '2 of 3 files lie on too few of its boxes',
      boxes: [{ applianceId: 'paris-1', answer: 'waits for space' }],
    },
  ];
  return {
    titleId: 'film',
    releaseAtMs: NOW_MS + hours * HOUR_MS,
    liveness: {
      isLive: clustersLive === 2,
      clustersLive,
      clustersWanted: 2,
      copies: { held: 4, planned: 6 },
      blocking: clustersLive === 2 ? [] : blocking,
      blockingLeftOut: 0,
    },
  };
}

test('a release that is not live is late within a day of its time, and names who holds it up', () => {
  const words = (hours: number, live: number): string =>
    releaseVerdict(releaseIn(hours, live), NOW_MS).word;
  assert.equal(words(48, 2), 'Live');
  assert.equal(words(48, 1), 'Not yet live');
  assert.equal(words(23, 1), 'Late');
  assert.equal(words(-1, 1), 'Out, not live');
  const unseen = { ...releaseIn(48, 1), liveness: null };
  assert.equal(releaseVerdict(unseen, NOW_MS).word, 'Not looked at');
  assert.equal(
    copiesWords(releaseIn(48, 1)),
    '1 of 2 clusters live, 4 of 6 files in enough copies',
  );
  assert.deepEqual(blockingWords(releaseIn(48, 1)), [
    'paris: 2 of 3 files lie on too few of its boxes (paris-1: waits for space)',
  ]);
});

test('a takedown is in force when no box that can be reached still has to answer', () => {
  const takedown = (summary: TakedownView['summary']): TakedownView => ({
    id: 1,
    kind: 'title',
    value: 'film',
    reason: 'rights',
    who: 'the-operator',
    sinceMs: NOW_MS,
    liftedAtMs: null,
    summary,
    lastAcknowledgedAfterMs: 1240,
    boxes: [],
    boxesLeftOut: 0,
  });
  const done = { deleted: 2, acknowledged: 1, waiting: 0, unreachable: 0 };
  assert.equal(takedownVerdict(takedown(done)).word, 'In force');
  assert.equal(takedownVerdict(takedown({ ...done, unreachable: 1 })).word, 'Some unreachable');
  assert.equal(takedownVerdict(takedown({ ...done, waiting: 1 })).word, 'Waiting');
  assert.equal(takedownVerdict({ ...takedown(done), liftedAtMs: NOW_MS }).word, 'Lifted');
  assert.equal(
    plain(takedownWords(takedown({ ...done, waiting: 1 }))),
    '3 boxes stopped, the last after 1.24 s, 2 deleted, 1 not yet',
  );
  const box = { applianceId: 'a', status: 'deleted', acknowledgedAfterMs: 200 } as const;
  const gone = { ...box, deletedAfterMs: 3000, files: 4, bytes: 2048, isProved: true };
  assert.equal(
    plain(takedownBoxWords(gone)),
    'stopped after 0.20 s, 4 files, 2.0 KiB deleted after 3.00 s, proof signed',
  );
  assert.equal(
    plain(takedownBoxWords({ ...gone, files: 0 })),
    'stopped after 0.20 s, it held nothing of it, proof signed',
  );
});

test('a rollout says its stage, what is left of it and what takes it back', () => {
  const canary: RolloutView = {
    isStaged: true,
    name: 'canary',
    run: 'r',
    sinceMs: NOW_MS - 600_000,
    untilMs: NOW_MS + 300_000,
    boxes: 3,
    missShareBefore: 0.02,
    missShareSince: 0.03,
    missRiseMax: 0.05,
    why: null,
  };
  assert.equal(rolloutVerdict(canary).word, 'Canary sites');
  assert.equal(plain(rolloutWords(canary, NOW_MS)), '3 boxes for 10 min, wider in 5 min');
  assert.equal(
    plain(missWords(canary)),
    'content misses: 3.0 % now, 2.0 % before; taken back above +5.0 %',
  );
  assert.match(missWords({ ...canary, missShareSince: null }), /nothing watched since/);
  const back = { ...canary, name: 'rolled-back', why: 'misses rose' } as const;
  assert.equal(rolloutVerdict(back).tone, 'bad');
  assert.equal(rolloutWords(back, NOW_MS), 'misses rose');
  assert.equal(rolloutVerdict({ ...canary, isStaged: false, name: 'idle' }).word, 'Not staged');
});

test('an inventory is short below the alarmed share, and never complete on an older manifest', () => {
  const box = {
    applianceId: 'a',
    siteId: 's',
    manifestVersion: 3,
    versionInUse: 3,
    filesWanted: 10,
    filesHeld: 10,
    bytesWanted: 100,
    bytesHeld: 100,
    heldShare: 1,
    isShort: false,
    problem: null,
    heartbeatAgeMs: 0,
  };
  const rows: readonly [over: Partial<typeof box>, word: string][] = [
    [{}, 'Complete'],
    [{ versionInUse: 2 }, 'Older manifest'],
    [{ heldShare: 0.99 }, 'Filling'],
    [{ heldShare: 0.5, isShort: true }, 'Short'],
    [{ manifestVersion: 0, versionInUse: 0 }, 'No manifest'],
  ];
  for (const [over, word] of rows) assert.equal(inventoryVerdict({ ...box, ...over }).word, word);
});

test('steering nodes: silent ones first, then those that fail to reach a box; each says of which', () => {
  const box = (applianceId: string, name: 'reachable' | 'suspect' | 'unreachable') =>
    ({ applianceId, family: 4, name }) as const;
  const seen = { heardAgoMs: 400.4, isLive: true };
  const { shown, leftOut } = steeringNodeViews([
    { nodeId: 'well', ...seen, verdicts: [] },
    { nodeId: 'asked', ...seen, verdicts: [box('a', 'reachable')] },
    { nodeId: 'doubts', ...seen, verdicts: [box('a', 'reachable'), box('b', 'suspect')] },
    { nodeId: 'gone', heardAgoMs: 41_000, isLive: false, verdicts: [] },
  ]);
  assert.deepEqual(
    shown.map((node) => [node.nodeId, nodeVerdict(node).word, plain(nodeWords(node))]),
    [
      ['gone', 'Silent', 'counts in no quorum: is it up, and does it reach the control plane?'],
      ['doubts', 'Doubts', 'fails to reach 1 of 2 boxes in doubt'],
      ['well', 'Live', 'no box is in doubt'],
      ['asked', 'Live', 'reaches all of 1 box that another node doubts'],
    ],
  );
  assert.equal(leftOut, 0);
  assert.deepEqual(
    nodeLines(shown[1]).map(({ name, tone, words }) => [name, words, tone]),
    [
      ['b', 'suspect over IPv4', 'warn'],
      ['a', 'reachable over IPv4', 'ok'],
    ],
  );
  const both = steeringNodeViews([
    {
      nodeId: 'dual',
      ...seen,
      verdicts: [box('a', 'suspect'), { ...box('a', 'suspect'), family: 6 }],
    },
  ]).shown[0];
  assert.equal(plain(nodeWords(both)), 'fails to reach 1 of 1 box in doubt');
  assert.equal(nodeLines(both).length, 2, 'a line for each family');
  const many = Array.from({ length: 100 }, (_, at) => {
    return {
      nodeId: `n${at}`,
      ...seen,
      verdicts: Array.from({ length: at }, (_, one) => box(`b${one}`, 'unreachable')),
    };
  });
  const bounded = steeringNodeViews(many);
  assert.equal(bounded.shown[0].nodeId, 'n99', 'who fails most comes first');
  assert.equal(bounded.shown.length + bounded.leftOut, 100);
  assert.equal(bounded.shown[0].against, 99);
  assert.match(nodeLines(bounded.shown[0]).at(-1)?.words ?? '', /^and 49 more$/);
  assert.match(quorumWords(null), /just started/);
  assert.match(quorumWords(0), /No steering node/);
  assert.match(quorumWords(1), /alone/);
  assert.match(quorumWords(4), /when 3 of 4 nodes voted/);
  assert.match(quorumWords(5), /when 3 of 5 nodes voted/);
});

test('an external CDN says what it costs and carries, region by region', () => {
  const external = externalView({
    externalId: 'ext',
    name: 'Another CDN',
    baseUrl: 'https://cdn.example:8443',
    tokens: 'hmac',
    costPerGb: 0.02,
    regions: [
      { countries: ['FR', 'DE'], commitBps: 1e9, capBps: 10e9 },
      { countries: ['*'], commitBps: 0, capBps: 2e9 },
    ],
  });
  assert.equal(external.host, 'cdn.example:8443');
  assert.equal(externalWords(external), '0.02 a GB, no budget; HMAC URLs');
  assert.match(externalWords({ ...external, budgetPerDay: 50 }), /at most 50 a day/);
  assert.deepEqual(
    externalLines(external).map(({ name, words }) => [name, plain(words)]),
    [
      ['FR DE', 'commit 1.0 Gbit/s, cap 10.0 Gbit/s'],
      ['anywhere', 'no commit, cap 2.0 Gbit/s'],
    ],
  );
  assert.match(externalLines({ ...external, regions: [] })[0].words, /nobody is sent there/);
});
