import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseAddress } from '#base/address.ts';
import { seededRandom } from '#base/random.ts';
import type { World } from './candidates.ts';
import {
  jitteredTtl,
  parseHints,
  STANDBY_PATHWAY_ID,
  steerSession,
  steerUnknown,
  steerUnverified,
} from './content-steering.ts';
import { checkSteeringManifest, type SteeringManifest } from './contract.ts';
import { EXAMPLE_AT_MS, EXAMPLE_FILES, EXAMPLE_TITLE, exampleWorld } from './example-fleet.ts';
import {
  blobSecretOf,
  clientBlock,
  openSession,
  sealSession,
  type Session,
} from './session-blob.ts';

fc.configureGlobal({ seed: 20_261_120 });

const POLICY = { steadySeconds: 120, degradedSeconds: 10 };
const RELOAD = 'http://127.77.0.2:9000/v1/hls/blob';
const SECRET = blobSecretOf('AQID');

const SESSION: Session = {
  session: 's1',
  client: clientBlock(parseAddress('10.1.2.3')!),
  country: null,
  titleId: EXAMPLE_TITLE,
  assigned: ['lyon-a', 'lyon-b', 'paris-a', 'origin'],
  snapshot: 7,
  issuedAtSeconds: 1_790_000_000,
  template: null,
};
const TEMPLATE = 'http://127.77.0.3:80/hls/s1/{applianceId}/{fileId}.m3u8?title=film-1';

function steer(world: World, session = SESSION): SteeringManifest {
  return steerSession(world, 'hls', session, RELOAD, POLICY, seededRandom(1));
}

/** What any answer must be, whoever asks. Which player does what with another: player-survival.test.ts. */
function assertPlayersSurvive(body: SteeringManifest): void {
  assert.ok(checkSteeringManifest(body).ok, JSON.stringify(body));
  assert.equal(body.VERSION, 1);
  assert.ok(Number.isInteger(body.TTL) && body.TTL >= 5);
  assert.ok(body['PATHWAY-PRIORITY'].length >= 2);
  assert.ok(URL.canParse(body['RELOAD-URI'] ?? ''));
}

test('while all is well the assignment keeps its order', () => {
  const body = steer(exampleWorld());
  assert.deepEqual(body['PATHWAY-PRIORITY'], SESSION.assigned);
  assert.ok(body.TTL >= 96 && body.TTL <= 144);
  assert.equal(body['RELOAD-URI'], RELOAD);
});

test('a box that is not well goes behind the origin and the player comes back soon', () => {
  const cases: readonly [string, World, readonly string[]][] = [
    [
      'dead',
      exampleWorld({}, { 'lyon-a': 'unreachable' }),
      ['lyon-b', 'paris-a', 'origin', 'lyon-a'],
    ],
    [
      'draining',
      exampleWorld({ appliances: { 'lyon-a': { standing: 'draining' } } }),
      ['lyon-b', 'paris-a', 'origin', 'lyon-a'],
    ],
    [
      'full: its sessions stay, but ask again soon',
      exampleWorld({ appliances: { 'lyon-a': { egressBps: 2e9 } } }),
      ['lyon-a', 'lyon-b', 'paris-a', 'origin'],
    ],
    [
      'dead behind draining',
      exampleWorld(
        { appliances: { 'lyon-b': { standing: 'draining' } } },
        { 'lyon-a': 'unreachable' },
      ),
      ['paris-a', 'origin', 'lyon-b', 'lyon-a'],
    ],
  ];
  for (const [title, world, expected] of cases) {
    const body = steer(world);
    assert.deepEqual(body['PATHWAY-PRIORITY'], expected, title);
    assert.ok(body.TTL >= 8 && body.TTL <= 12, title);
  }
});

test('the weight loop takes sessions from a box by its share, and none that came within the last minute', () => {
  const world = exampleWorld({ appliances: { 'lyon-a': { admit: 0.7 } } });
  const first = (session: string, ageSeconds: number): string => {
    const issuedAtSeconds = EXAMPLE_AT_MS / 1000 - ageSeconds;
    return steer(world, { ...SESSION, session, issuedAtSeconds })['PATHWAY-PRIORITY'][0];
  };
  const ids = Array.from({ length: 1000 }, (_, at) => `s${at}`);
  assert.ok(ids.every((id) => first(id, 30) === 'lyon-a'));
  const stayed = ids.filter((id) => first(id, 300) === 'lyon-a').length;
  assert.ok(stayed > 650 && stayed < 750, `${stayed} of 1000 stay`);
});

test('a box that left the fleet is dead to its sessions', () => {
  const session = { ...SESSION, assigned: ['gone-box', 'lyon-a', 'origin'] };
  assert.deepEqual(steer(exampleWorld(), session)['PATHWAY-PRIORITY'], [
    'lyon-a',
    'origin',
    'gone-box',
  ]);
});

test('with fewer than two of its boxes well a session is offered others: playlists for HLS, a host for DASH', () => {
  const session = { ...SESSION, assigned: ['lyon-a', 'lyon-b', 'origin'], template: TEMPLATE };
  const world = exampleWorld({}, { 'lyon-a': 'unreachable' });
  const hls = steer(world, session);
  assert.deepEqual(hls['PATHWAY-PRIORITY'], ['lyon-b', 'paris-a', 'origin', 'lyon-a']);
  const [clone, ...more] = hls['PATHWAY-CLONES'] ?? [];
  assert.equal(more.length, 0);
  assert.deepEqual([clone['BASE-ID'], clone.ID], ['lyon-a', 'paris-a']);
  const { HOST, ...uris } = clone['URI-REPLACEMENT'];
  assert.equal(HOST, undefined);
  for (const byFile of [uris['PER-VARIANT-URIS'], uris['PER-RENDITION-URIS']]) {
    assert.deepEqual(Object.keys(byFile ?? {}), [...EXAMPLE_FILES]);
    assert.equal(
      byFile?.[EXAMPLE_FILES[0]],
      `http://127.77.0.3:80/hls/s1/paris-a/${EXAMPLE_FILES[0]}.m3u8?title=film-1`,
    );
  }
  const dash = steerSession(world, 'dash', session, RELOAD, POLICY, seededRandom(1));
  assert.deepEqual(dash['PATHWAY-CLONES']?.[0]['URI-REPLACEMENT'], { HOST: '127.77.2.1:8080' });
  assert.equal(steer(exampleWorld(), session)['PATHWAY-CLONES'], undefined, 'all is well');
  const unwritten = steer(world, { ...session, template: null });
  assert.equal(unwritten['PATHWAY-CLONES'], undefined, 'nobody writes playlists');
});

test('a session that began before there were clones goes on', () => {
  const { template: _, ...rest } = SESSION;
  const fields = [
    1,
    rest.session,
    '10.1.2.0/24',
    null,
    rest.titleId,
    rest.assigned,
    7,
    1_790_000_000,
  ];
  const text = Buffer.from(JSON.stringify(fields)).toString('base64url');
  assert.deepEqual(openSession(SECRET, text)?.session, { ...SESSION, template: null });
});

test('a list of one is filled up: players fail over only with two or more', () => {
  const body = steer(exampleWorld(), { ...SESSION, assigned: ['origin'] });
  assert.deepEqual(body['PATHWAY-PRIORITY'], ['origin', STANDBY_PATHWAY_ID]);
});

test('a well-formed blob that is not ours gets its own list back', () => {
  const forged = sealSession(blobSecretOf('BAUG'), SESSION);
  const opened = openSession(SECRET, forged);
  assert.equal(opened?.isVerified, false);
  const body = steerUnverified(opened.session, RELOAD, POLICY, seededRandom(1));
  assert.deepEqual(body['PATHWAY-PRIORITY'], SESSION.assigned);
  assertPlayersSurvive(body);
});

test('garbage gets what the player says it uses, then boxes near its address, then the origin', () => {
  const hints = parseHints('_HLS_pathway=oslo-a&_HLS_throughput=1');
  const caller = parseAddress('10.2.0.1');
  const body = steerUnknown(exampleWorld(), caller, hints, RELOAD, POLICY, seededRandom(1));
  assert.deepEqual(body['PATHWAY-PRIORITY'].slice(0, 2), ['oslo-a', 'paris-a']);
  assert.equal(body['PATHWAY-PRIORITY'].at(-1), 'origin');
  const cold = steerUnknown(null, null, { pathways: [] }, RELOAD, POLICY, seededRandom(1));
  assert.deepEqual(cold['PATHWAY-PRIORITY'], ['origin', STANDBY_PATHWAY_ID]);
  assertPlayersSurvive(cold);
});

test('no answer to anything ever makes a player loop or stop', () => {
  const world = exampleWorld({}, { 'lyon-a': 'unreachable' });
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.constant(sealSession(SECRET, SESSION))),
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `_HLS_pathway=${text}&_DASH_throughput=${text}`),
      ),
      fc.integer(),
      (blob, query, seed) => {
        const random = seededRandom(seed);
        const opened = openSession(SECRET, blob);
        const hints = parseHints(query);
        const body =
          opened === null
            ? steerUnknown(world, parseAddress('10.1.0.1'), hints, RELOAD, POLICY, random)
            : steerSession(world, 'dash', opened.session, RELOAD, POLICY, random);
        assertPlayersSurvive(body);
      },
    ),
    { numRuns: 500 },
  );
});

test('TTLs are spread by 20 % either way and never fall below 5 s', () => {
  const random = seededRandom(2);
  const ttls = Array.from({ length: 500 }, () => jitteredTtl(POLICY, false, random));
  assert.ok(Math.min(...ttls) >= 96 && Math.max(...ttls) <= 144);
  assert.ok(new Set(ttls).size > 30);
  const short = { steadySeconds: 5, degradedSeconds: 5 };
  for (let at = 0; at < 100; at++) assert.ok(jitteredTtl(short, true, random) >= 5);
});

test('what players say about themselves, as each of them writes it', () => {
  const cases: readonly [string, string, readonly [string, number | null][]][] = [
    ['the HLS draft', '_HLS_pathway="lhr-03"&_HLS_throughput=5140000', [['lhr-03', 5140000]]],
    ['the same, encoded', '_HLS_pathway=%22lhr-03%22&_HLS_throughput=5', [['lhr-03', 5]]],
    ['hls.js', '_HLS_pathway=lhr-03&_HLS_throughput=500000', [['lhr-03', 500000]]],
    [
      'dash.js: a quoted list, rates by position, one of them empty',
      '_DASH_pathway=%22a,b%22&_DASH_throughput=5140000,',
      [
        ['a', 5140000],
        ['b', null],
      ],
    ],
    ['dash.js, first request', '', []],
    ['shaka', '_DASH_pathway=a&_DASH_throughput=12', [['a', 12]]],
    ['no rate', '_HLS_pathway=a', [['a', null]]],
    ['NaN', '_HLS_pathway=a&_HLS_throughput=NaN', [['a', null]]],
    ['a rate with a fraction', '_HLS_pathway=a&_HLS_throughput=10.6', [['a', 11]]],
    ['no pathway id', '_HLS_pathway=..&_HLS_throughput=1', []],
    ['broken encoding', '_HLS_pathway=%E0%A4%A', []],
    ['something else', 'x=1&_HLS_path=a', []],
  ];
  for (const [title, query, expected] of cases) {
    assert.deepEqual(
      parseHints(query).pathways.map(({ id, throughputBps }) => [id, throughputBps]),
      expected,
      title,
    );
  }
  const many = Array.from({ length: 40 }, (_, at) => `p${at}`).join(',');
  assert.equal(parseHints(`_DASH_pathway=${many}`).pathways.length, 16);
});

test('a sealed session opens as it was, and nothing of a client is kept but its /24 or /48', () => {
  const ids = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/);
  fc.assert(
    fc.property(
      fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
      fc.uniqueArray(ids, { minLength: 1, maxLength: 8 }),
      fc.constantFrom('192.0.2.77', '2001:db8:9:8::7'),
      (session, assigned, address) => {
        const client = clientBlock(parseAddress(address)!);
        const sealed = { ...SESSION, session, assigned, client };
        const opened = openSession(SECRET, sealSession(SECRET, sealed));
        assert.deepEqual(opened, { session: sealed, isVerified: true });
      },
    ),
  );
  assert.equal(clientBlock(parseAddress('192.0.2.77')!).bytes[3], 0);
});

test('a changed blob is not verified, and text that is none opens as nothing', () => {
  const blob = sealSession(SECRET, SESSION);
  const [body, mac] = blob.split('.');
  const changed = Buffer.from(body, 'base64url').toString().replace('lyon-b', 'lyon-x');
  const forged = `${Buffer.from(changed).toString('base64url')}.${mac}`;
  assert.equal(openSession(SECRET, forged)?.isVerified, false);
  assert.equal(openSession(SECRET, body)?.isVerified, false);
  for (const text of [
    '',
    '.',
    'abc',
    'a'.repeat(5000),
    `${Buffer.from('[1]').toString('base64url')}.x`,
  ]) {
    assert.equal(openSession(SECRET, text), null, text.slice(0, 20));
  }
});
