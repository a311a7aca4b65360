/**
 * What players do with a steering answer, as predicates: each says how one player would loop hot, stop steering for good or end
 * playback. Over random fleets, sessions, clocks and questions no answer may ever match one of them.
 *
 * Source: players' own code (hls.js 1.7, dash.js 5.2, shaka 5, VHS 3.15, media3 1.11); draft-pantos-content-steering; ETSI TS 103 998 7
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseAddress } from '#base/address.ts';
import { seededRandom } from '#base/random.ts';
import type { SnapshotAppliance } from '#control-plane/contract.ts';
import { decidePlay } from './answer.ts';
import {
  parseHints,
  steerSession,
  steerUnknown,
  steerUnverified,
  type TtlPolicy,
} from './content-steering.ts';
import { checkSteeringManifest, PATHWAYS_MAX, type SteeringManifest } from './contract.ts';
import type { EvidenceName } from './evidence.ts';
import { EXAMPLE_AT_MS, EXAMPLE_FILES, EXAMPLE_TITLE, exampleWorld } from './example-fleet.ts';
import { clientBlock, type Session } from './session-blob.ts';

fc.configureGlobal({ seed: 20_261_130 });

const BOXES = ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'] as const;
const RELOAD = 'http://127.77.0.2:9000/v1/hls/blob';
const TEMPLATE = 'http://127.77.0.3:80/hls/s1/{applianceId}/{fileId}.m3u8?title=film-1';

type Body = Readonly<Record<string, unknown>>;
interface Answered {
  readonly body: Body;
  readonly declared: readonly string[]; // pathways of the player's own manifest
}

/** True: that player is lost. */
const LOST: Readonly<Record<string, (answer: Answered) => boolean>> = {
  'hls.js: another VERSION, it never asks again': ({ body }) => body['VERSION'] !== 1,
  'dash.js, shaka: another VERSION, their timer is not set again': ({ body }) =>
    parseInt(String(body['VERSION']), 10) !== 1,
  'hls.js: TTL * 1000 is no delay, it asks in a hot loop': ({ body }) =>
    !(Number(body['TTL']) * 1000 >= 1000),
  'VHS: a TTL that is no number, setTimeout(NaN) fires at once': ({ body }) =>
    typeof body['TTL'] !== 'number' || !Number.isFinite(body['TTL']),
  'media3: a TTL that is no whole number does not parse': ({ body }) =>
    !Number.isInteger(body['TTL']),
  'anybody: setTimeout above 2^31 ms fires at once': ({ body }) =>
    Number(body['TTL']) * 1000 >= 2 ** 31,
  'hls.js: a RELOAD-URI that is no URL ends steering': ({ body }) =>
    !URL.canParse(String(body['RELOAD-URI'])),
  'shaka: a relative RELOAD-URI is resolved against the wrong base': ({ body }) =>
    !/^https?:\/\//.test(String(body['RELOAD-URI'])),
  'hls.js: with fewer than two pathways it does not fail over': ({ body }) =>
    priorityOf(body).length < 2,
  'the draft: an id twice makes the list invalid': ({ body }) =>
    new Set(priorityOf(body)).size !== priorityOf(body).length,
  'hls.js: ids of dots only are its own': ({ body }) =>
    priorityOf(body).some((id) => !/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/.test(id)),
  'ETSI clients: no pathway of the manifest in the list, twice, ends playback': ({
    body,
    declared,
  }) => declared.length > 0 && !priorityOf(body).some((id) => declared.includes(id)),
};

/** True: the clone does not come about, or steers somebody wrongly. */
const CLONE_LOST: Readonly<Record<string, (clone: Body, answer: Answered) => boolean>> = {
  'hls.js, dash.js: a base that the playlist lacks clones nothing': (clone, { declared }) =>
    !declared.includes(String(clone['BASE-ID'])),
  'the draft: an id that is a pathway of the playlist already': (clone, { declared }) =>
    declared.includes(String(clone['ID'])),
  'anybody: a clone that the list does not name is never used': (clone, { body }) =>
    !priorityOf(body).includes(String(clone['ID'])),
};

function priorityOf(body: Body): readonly string[] {
  return Array.isArray(body['PATHWAY-PRIORITY']) ? (body['PATHWAY-PRIORITY'] as string[]) : [];
}

function assertNobodyLost(manifest: SteeringManifest, declared: readonly string[]): void {
  const body = JSON.parse(JSON.stringify(manifest)) as Body; // as it is on the wire
  assert.ok(checkSteeringManifest(body).ok, JSON.stringify(body));
  const answer = { body, declared };
  for (const [why, isLost] of Object.entries(LOST)) {
    assert.ok(!isLost(answer), `${why}: ${JSON.stringify(body)}`);
  }
  const clones = (body['PATHWAY-CLONES'] ?? []) as Body[];
  assert.equal(new Set(clones.map(({ ID }) => ID)).size, clones.length);
  for (const clone of clones) {
    for (const [why, isLost] of Object.entries(CLONE_LOST)) {
      assert.ok(!isLost(clone, answer), `${why}: ${JSON.stringify(body)}`);
    }
  }
}

test('the predicates know a lost player when they see one', () => {
  const good = {
    VERSION: 1,
    TTL: 10,
    'RELOAD-URI': RELOAD,
    'PATHWAY-PRIORITY': ['lyon-a', 'origin'],
  };
  const lostBy = (change: Body): readonly string[] =>
    Object.entries(LOST)
      .filter(([, isLost]) => isLost({ body: { ...good, ...change }, declared: ['lyon-a'] }))
      .map(([why]) => why);
  assert.deepEqual(lostBy({}), []);
  const bad: readonly Body[] = [
    { VERSION: 2 },
    { VERSION: undefined },
    { TTL: undefined },
    { TTL: 0 },
    { TTL: '30' },
    { TTL: 7.5 },
    { TTL: 2 ** 31 },
    { 'RELOAD-URI': '/v1/hls/x' },
    { 'RELOAD-URI': undefined },
    { 'PATHWAY-PRIORITY': ['lyon-a'] },
    { 'PATHWAY-PRIORITY': ['lyon-a', 'lyon-a'] },
    { 'PATHWAY-PRIORITY': ['..', 'lyon-a'] },
    { 'PATHWAY-PRIORITY': ['paris-a', 'oslo-a'] },
  ];
  for (const change of bad) assert.notEqual(lostBy(change).length, 0, JSON.stringify(change));
});

// ---------------------------------------------------------------- random fleets, sessions and clocks

const standing = fc.constantFrom<SnapshotAppliance['standing']>(
  'serving',
  'draining',
  'down',
  'gone-hard',
  'gone-silent',
);
const boxChange = fc.record(
  {
    standing,
    egressBps: fc.constantFrom(0, 5e8, 2e9),
    admit: fc.constantFrom(0, 0.3, 1),
    weight: fc.constantFrom(0.1, 1, 3),
  },
  { requiredKeys: [] },
);
const worlds = fc
  .record({
    appliances: fc.dictionary(fc.constantFrom<string>(...BOXES), boxChange),
    holdings: fc.dictionary(fc.constantFrom<string>(...BOXES), fc.subarray([0, 1, 2])),
    evidence: fc.dictionary(
      fc.constantFrom<string>(...BOXES),
      fc.constantFrom<EvidenceName>('unreachable', 'suspect', 'reachable'),
    ),
  })
  .map(({ appliances, holdings, evidence }) => exampleWorld({ appliances, holdings }, evidence));

/** What an earlier answer assigned: boxes of the fleet, boxes that left it, the origin; at most what a playlist shows. */
const sessions: fc.Arbitrary<Session> = fc
  .record({
    boxes: fc.shuffledSubarray([...BOXES, 'gone-box'], { maxLength: PATHWAYS_MAX - 1 }),
    address: fc.constantFrom('10.1.2.3', '10.2.2.3', '192.0.2.1', '2001:db8:1::7'),
    template: fc.constantFrom(TEMPLATE, null),
    ageSeconds: fc.constantFrom(0, 30, 3600),
    session: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  })
  .map(({ boxes, address, template, ageSeconds, session }) => ({
    session,
    client: clientBlock(parseAddress(address)!),
    country: null,
    titleId: EXAMPLE_TITLE,
    assigned: [...boxes, 'origin'],
    snapshot: 7,
    issuedAtSeconds: EXAMPLE_AT_MS / 1000 - ageSeconds,
    template,
  }));

const policies: fc.Arbitrary<TtlPolicy> = fc.record({
  steadySeconds: fc.integer({ min: 5, max: 3600 }),
  degradedSeconds: fc.integer({ min: 5, max: 600 }),
});

test('whatever is wrong with the fleet, no answer makes a player loop, stop or end', () => {
  const kinds = fc.constantFrom('hls' as const, 'dash' as const);
  fc.assert(
    fc.property(
      worlds,
      sessions,
      policies,
      kinds,
      fc.integer(),
      (world, session, policy, kind, seed) => {
        const random = seededRandom(seed);
        const manifest = steerSession(world, kind, session, RELOAD, policy, random);
        assertNobodyLost(manifest, session.assigned);
        assertNobodyLost(steerUnverified(session, RELOAD, policy, random), session.assigned);
      },
    ),
    { numRuns: 300 },
  );
});

test('whatever a player says of itself, and before there is any fleet, it gets a list that it survives', () => {
  const words = fc.oneof(
    fc.string(),
    fc.string().map((text) => `_HLS_pathway=${text}&_HLS_throughput=${text}`),
    fc.array(fc.string({ maxLength: 40 })).map((ids) => `_DASH_pathway="${ids.join()}"`),
  );
  const addresses = fc.constantFrom('10.1.0.1', '203.0.113.9', '2001:db8:1::7', null);
  fc.assert(
    fc.property(
      fc.option(worlds),
      words,
      addresses,
      policies,
      fc.integer(),
      (world, query, address, policy, seed) => {
        const caller = address === null ? null : parseAddress(address);
        const hints = parseHints(query);
        const random = seededRandom(seed);
        const body = steerUnknown(world, caller, hints, RELOAD, policy, random);
        // Of what the player says it plays from, nothing is taken from it.
        assertNobodyLost(body, hints.pathways.map(({ id }) => id).slice(0, 1));
      },
    ),
    { numRuns: 300 },
  );
});

test('a clone’s id is the box’s and leads to the same place in every world: hls.js never updates one', () => {
  const places = new Map<string, string>();
  let clones = 0;
  fc.assert(
    fc.property(worlds, sessions, (world, drawn) => {
      const session = { ...drawn, session: 's1', template: TEMPLATE };
      for (const kind of ['hls', 'dash'] as const) {
        const policy = { steadySeconds: 120, degradedSeconds: 10 };
        const body = steerSession(world, kind, session, RELOAD, policy, seededRandom(1));
        for (const { ID, 'URI-REPLACEMENT': uris } of body['PATHWAY-CLONES'] ?? []) {
          assert.ok(BOXES.some((box) => box === ID));
          const place = JSON.stringify(uris);
          assert.equal(places.get(`${kind} ${ID}`) ?? place, place);
          places.set(`${kind} ${ID}`, place);
          clones++;
          if (kind === 'dash') {
            assert.deepEqual(Object.keys(uris), ['HOST']);
            assert.ok(URL.canParse(`http://${uris.HOST}`));
          } else {
            assert.deepEqual(Object.keys(uris).sort(), ['PER-RENDITION-URIS', 'PER-VARIANT-URIS']);
            for (const byFile of Object.values(uris) as Record<string, string>[]) {
              assert.deepEqual(Object.keys(byFile), [...EXAMPLE_FILES]);
              for (const [fileId, url] of Object.entries(byFile)) {
                assert.ok(url.includes(`/${ID}/${fileId}.m3u8`) && URL.canParse(url));
              }
            }
          }
        }
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(clones > 50, `${clones} clones were looked at`);
});

test('a session counts the pathways that its playlist shows, and is offered the others as clones', () => {
  // Each file on boxes of its own: four boxes and the origin are named, a playlist shows three of them.
  const holdings = { 'lyon-a': [0], 'lyon-b': [1], 'paris-a': [2, 0], 'oslo-a': [2, 1] };
  const request = { titleId: EXAMPLE_TITLE, clientAddress: '10.1.2.3', session: 's1' };
  const decision = decidePlay(exampleWorld({ holdings }), {
    ...request,
    playlistTemplate: TEMPLATE,
  });
  assert.equal(decision.kind, 'play');
  const named = new Set(
    decision.files.flatMap(({ ranking }) =>
      ranking.candidates.map((one) =>
        one.kind === 'appliance' ? one.appliance.applianceId : one.kind,
      ),
    ),
  );
  assert.equal(named.size, 5);
  assert.equal(decision.session.assigned.length, PATHWAYS_MAX);
  assert.equal(decision.session.assigned.at(-1), 'origin');
  const [left] = BOXES.filter((box) => !decision.session.assigned.includes(box));
  const evidence = Object.fromEntries(
    decision.session.assigned.slice(0, 3).map((id) => [id, 'unreachable' as const]),
  );
  const policy = { steadySeconds: 120, degradedSeconds: 10 };
  // By now the box that is left has everything.
  const later = exampleWorld({ holdings: { ...holdings, [left]: [0, 1, 2] } }, evidence);
  const body = steerSession(later, 'hls', decision.session, RELOAD, policy, seededRandom(1));
  assert.deepEqual(
    body['PATHWAY-CLONES']?.map(({ ID }) => ID),
    [left],
  );
  assert.equal(body['PATHWAY-PRIORITY'][0], left);
});
