import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExternalCdn } from '#control-plane/contract.ts';
import { answerText } from './answer-text.ts';
import { decidePlay, expectedLoad, pathwayOf } from './answer.ts';
import { createWorld, type World } from './candidates.ts';
import { checkPlayAnswer } from './contract.ts';
import { EXAMPLE_AT_MS, EXAMPLE_TITLE, exampleSnapshot } from './example-fleet.ts';
import { isSignedUrl } from './external-tokens.ts';
import { ExternalLedger, rankExternals, SESSION_FADE_MS, type ExternalLoad } from './externals.ts';
import { createFleet } from './fleet.ts';
import { LoadLedger } from './load.ts';

function external(externalId: string, changes: Partial<ExternalCdn> = {}): ExternalCdn {
  return {
    externalId,
    name: externalId,
    baseUrl: `http://127.77.9.${externalId.length}:80`,
    tokens: 'rfc9246',
    costPerGb: 1,
    regions: [{ countries: ['*'], commitBps: 0, capBps: 1e9 }],
    ...changes,
  };
}

function load(changes: Partial<ExternalLoad> = {}): ExternalLoad {
  return { evidence: 'unknown', regionBps: [0], spentToday: 0, ...changes };
}

function worldWith(externals: readonly ExternalCdn[], dead: readonly string[] = []): World {
  const fleet = createFleet(exampleSnapshot({ snapshot: { externals: [...externals] } }));
  const known = dead.map(
    (applianceId) => ({ applianceId, family: 4, name: 'unreachable' }) as const,
  );
  const ledger = new LoadLedger(1, EXAMPLE_AT_MS);
  const loads = externals.map(() => load());
  return createWorld(fleet, ledger.freeze(fleet, known, EXAMPLE_AT_MS, loads));
}

function listOf(world: World, clientAddress = '10.1.2.3'): readonly string[] {
  const decision = decidePlay(world, { titleId: EXAMPLE_TITLE, clientAddress, session: 's' });
  assert.ok(decision.kind === 'play');
  return decision.files[0].ranking.candidates.map(pathwayOf);
}

test('which external CDNs come into question, and in which order: table', () => {
  const cases: readonly [string, readonly ExternalCdn[], readonly ExternalLoad[], string][] = [
    [
      'the cheaper one first',
      [external('dear', { costPerGb: 3 }), external('cheap')],
      [],
      'cheap,dear',
    ],
    [
      'what is paid for in any case before the cheaper one',
      [
        external('cheap'),
        external('paid', {
          costPerGb: 9,
          regions: [{ countries: ['*'], commitBps: 5, capBps: 10 }],
        }),
      ],
      [load(), load({ regionBps: [4] })],
      'paid,cheap',
    ],
    ['not above its cap', [external('a')], [load({ regionBps: [1e9] })], ''],
    [
      'not above the day’s budget',
      [external('a', { budgetPerDay: 5 })],
      [load({ spentToday: 5 })],
      '',
    ],
    [
      'above the budget, but below the commit: it costs nothing more',
      [
        external('a', {
          budgetPerDay: 5,
          regions: [{ countries: ['FR'], commitBps: 10, capBps: 20 }],
        }),
      ],
      [load({ spentToday: 6, regionBps: [9] })],
      'a',
    ],
    ['not where our probes are refused', [external('a')], [load({ evidence: 'unreachable' })], ''],
    [
      'only where it has a region for the country',
      [external('a', { regions: [{ countries: ['NO'], commitBps: 0, capBps: 1 }] })],
      [],
      '',
    ],
  ];
  for (const [name, externals, loads, expected] of cases) {
    const ranked = rankExternals(externals, loads, 'FR').map(({ externalId }) => externalId);
    assert.equal(ranked.join(), expected, name);
  }
});

test('an external CDN stands behind every box, and first, before the origin, where no box is left', () => {
  assert.deepEqual(listOf(worldWith([external('ext')])).slice(-2), ['paris-a', 'ext']);
  const all = ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'];
  assert.deepEqual(listOf(worldWith([external('ext')], all)), ['ext', 'origin']);
  assert.deepEqual(listOf(worldWith([], all)), ['origin']);
});

test('a region without boxes, a client in no prefix and no country: a list all the same, an external CDN last where one names them', () => {
  const anywhere = worldWith([external('ext')]);
  assert.equal(listOf(anywhere, '203.0.113.9').at(-1), 'ext');
  const french = worldWith([
    external('ext', { regions: [{ countries: ['FR'], commitBps: 0, capBps: 1e9 }] }),
  ]);
  assert.equal(listOf(french, '203.0.113.9').at(-1), 'origin', 'nobody knows where it is');
  assert.ok(listOf(french, '203.0.113.9').length > 1, 'boxes take it, wherever they are');
});

test('full boxes are named first and refuse: the session is booked at the external CDN behind them', () => {
  const full = { egressBps: 990_000_000 };
  const cdn = external('ext');
  const fleet = createFleet(
    exampleSnapshot({
      appliances: { 'lyon-a': full, 'lyon-b': full, 'paris-a': full, 'oslo-a': full },
      snapshot: { externals: [cdn] },
    }),
  );
  const frame = new LoadLedger(1, EXAMPLE_AT_MS).freeze(fleet, [], EXAMPLE_AT_MS, [load()]);
  const decision = decidePlay(createWorld(fleet, frame), {
    titleId: EXAMPLE_TITLE,
    clientAddress: '10.1.2.3',
    session: 's',
  });
  assert.ok(decision.kind === 'play');
  const list = decision.files[0].ranking.candidates.map(pathwayOf);
  assert.ok(list[0].startsWith('lyon') && list.at(-1) === 'ext', list.join());
  const booked = expectedLoad(decision);
  assert.equal(booked.boxes.size, 0);
  assert.deepEqual([...booked.external.values()].map(Math.round), [4_000_000]);
});

test('what was sent there counts against the cap until viewers have left, and its cost against the day', () => {
  const ledger = new ExternalLedger(2);
  const cdn = external('ext', { regions: [{ countries: ['*'], commitBps: 2e6, capBps: 1e9 }] });
  const freeze = (afterMs: number): ExternalLoad =>
    ledger.freeze([cdn], () => 'unknown', EXAMPLE_AT_MS + afterMs)[0];
  freeze(0);
  for (let at = 0; at < 10; at++) ledger.sent(cdn, 'FR', 1e6, EXAMPLE_AT_MS);
  assert.deepEqual(freeze(0).regionBps, [2e7]);
  const later = freeze(SESSION_FADE_MS);
  assert.ok(Math.abs(later.regionBps[0] - 2e7 / Math.E) < 1);
  // 9 of 10 Mbit/s are above this node's half of the commit, for half an hour that fades: 1.28 GB, on two nodes.
  assert.ok(Math.abs(later.spentToday - 2.56) < 0.02, `${later.spentToday}`);
  assert.equal(freeze(24 * 3600 * 1000).spentToday, 0);
});

test('the session’s bitrate is booked where its list begins', () => {
  const boxes = ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'];
  const cdn = external('ext');
  const decision = decidePlay(worldWith([cdn], boxes), {
    titleId: EXAMPLE_TITLE,
    clientAddress: '10.1.2.3',
    session: 's',
  });
  assert.ok(decision.kind === 'play');
  const booked = expectedLoad(decision);
  assert.equal(booked.boxes.size, 0);
  assert.deepEqual([...booked.external.values()].map(Math.round), [4_000_000]);
});

test('URLs carry the viewer’s token, or an HMAC over the path that the other side can check', () => {
  const key = Buffer.alloc(32, 7);
  const hmac = external('hmac', { tokens: 'hmac' });
  const world = worldWith([hmac], ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a']);
  const decision = decidePlay(world, {
    titleId: EXAMPLE_TITLE,
    clientAddress: '10.1.2.3',
    session: 's',
  });
  assert.ok(decision.kind === 'play');
  const text = answerText(
    world,
    decision,
    {
      tokens: new Map(decision.reasons.map((reason) => [reason, 'TOKEN'])),
      externalKeys: new Map([['hmac', key]]),
    },
    { hls: 'http://s/h', dash: 'http://s/d' },
    10,
  );
  const answer = checkPlayAnswer(JSON.parse(text));
  assert.ok(answer.ok);
  const [first, origin] = answer.value.files[0].urls;
  assert.equal(first.kind, 'external');
  assert.match(
    origin.url,
    /^http:\/\/127\.77\.0\.1:8000\/;URISigningPackage=TOKEN\/t\/film-1\/v0+$/,
  );
  const target = first.url.slice(hmac.baseUrl.length);
  const nowSeconds = EXAMPLE_AT_MS / 1000;
  assert.ok(isSignedUrl(target, key, nowSeconds));
  assert.ok(!isSignedUrl(target, Buffer.alloc(32, 8), nowSeconds));
  assert.ok(!isSignedUrl(target.replace('v0', 'v1'), key, nowSeconds));
  assert.ok(!isSignedUrl(target, key, nowSeconds + 30 * 3600));
});
