import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseAddress } from '#base/address.ts';
import type { World } from '../candidates.ts';
import { exampleWorld } from '../example-fleet.ts';
import { LoadLedger } from '../load.ts';
import { CommonQuestion, hashOf } from './common-question.ts';
import { CookieJar } from './cookie.ts';
import { readQuery } from './message.ts';
import { RateLimit, type RateLimits } from './rate-limit.ts';
import { Responder } from './responder.ts';
import { encodeName } from './response.ts';
import { createZone } from './zone.ts';

const SEED = 20_261_130;
const SECRET = Buffer.from('one for both');
const ZONE = createZone({
  zone: 'cdn.test',
  nameServers: [{ name: 'a.ns', addresses: ['127.77.0.5', '2001:db8::53'] }],
  steerAddresses: ['127.77.0.6', '2001:db8::6'],
});
const AT_MS = Date.UTC(2026, 10, 30);
const PLENTY: RateLimits = { positivePerSecond: 1e6, errorsPerSecond: 1e6, blockPerSecond: 1e6 };
const SCARCE: RateLimits = { positivePerSecond: 3, errorsPerSecond: 2, blockPerSecond: 6 };

/** Worlds as they follow each other: same fleet, other loads, a dead box, another version, IPv6 boxes, none at all, stale. */
const WORLDS: readonly World[] = (() => {
  const v6 = { baseUrl: 'http://[2001:db8::7]:8080' };
  const first = exampleWorld();
  const stale = { ...first, load: { ...first.load, isStale: true } };
  const gone = Object.fromEntries(
    ['lyon-a', 'lyon-b', 'paris-a', 'oslo-a'].map((id) => [id, 'unreachable' as const]),
  );
  return [
    first,
    exampleWorld({}, {}, new LoadLedger(1, AT_MS)),
    exampleWorld({ appliances: { 'lyon-a': { egressBps: 9e8 } } }),
    exampleWorld({}, { 'lyon-a': 'unreachable' }),
    exampleWorld({ snapshot: { version: 8 } }),
    exampleWorld({ appliances: { 'paris-a': v6, 'oslo-a': v6 }, snapshot: { version: 9 } }),
    exampleWorld({ appliances: { 'lyon-b': { weight: 9 } }, snapshot: { version: 10 } }),
    exampleWorld({}, gone),
    stale,
  ];
})();

interface Asked {
  readonly message: Buffer;
  readonly resolver: Uint8Array;
  readonly next: number; // how many worlds further
  readonly stepMs: number;
}

type Question = Pick<Asked, 'message' | 'resolver'>;

const names = fc.constantFrom(
  ...[
    'v',
    'v',
    'v',
    'lyon-a.oca',
    'oslo-a.oca',
    'nobody.oca',
    'steer',
    'a.ns',
    'ns',
    'oca',
    'nope',
  ].map((name) => `${name}.cdn.test`),
  'cdn.test',
  'v.example.org',
);
const question = fc
  .tuple(
    names,
    fc.bigInt(0n, 2n ** 40n),
    fc.constantFrom(1, 1, 1, 1, 1, 28, 28, 2, 6, 65, 255, 252),
  )
  .map(([name, cases, type]) => {
    const spelled = Array.from(name)
      .map((letter, at) => (((cases >> BigInt(at)) & 1n) === 1n ? letter.toUpperCase() : letter))
      .join('');
    return Buffer.concat([
      encodeName(spelled.split('.')),
      Buffer.from([type >> 8, type & 255, 0, 1]),
    ]);
  });
const resolvers = fc
  .constantFrom(
    '10.1.0.9',
    '10.2.3.4',
    '192.0.2.7',
    '2001:db8:1::5',
    '2001:db8:9::1',
    '::ffff:10.3.0.1',
  )
  .map((text) => parseAddress(text)!);

function optionOf(code: number, data: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from([code >> 8, code & 255, data.length >> 8, data.length & 255]),
    data,
  ]);
}

const subnet = fc
  .tuple(
    fc.constantFrom(
      '10.1.2.3',
      '10.2.200.1',
      '10.3.0.255',
      '192.0.2.7',
      '2001:db8:1:2::',
      '2001:db8:ffff::',
      '::1',
    ),
    fc.nat(128),
    fc.boolean(),
  )
  .map(([text, wanted, isSloppy]) => {
    const address = parseAddress(text)!;
    const bits = Math.min(wanted, address.length * 8);
    const octets = Uint8Array.from(address.subarray(0, Math.ceil(bits / 8)));
    // Mostly as the RFC wants it; sometimes with bits that it forbids.
    if (bits % 8 !== 0 && !isSloppy) octets[octets.length - 1] &= 0xff00 >> (bits % 8);
    return optionOf(
      8,
      Buffer.concat([Buffer.from([0, address.length === 4 ? 1 : 2, bits, 0]), octets]),
    );
  });
const cookie = fc
  .tuple(
    fc.constantFrom(8, 8, 16, 24, 40, 'good' as const, 'good' as const, 'old' as const),
    fc.nat(255),
    resolvers,
  )
  .map(([kind, byte, resolver]) => {
    if (typeof kind === 'number') return optionOf(10, Buffer.alloc(kind, byte));
    const client = Buffer.alloc(8, byte);
    const address =
      resolver.length === 16 && resolver[10] === 0xff ? resolver.subarray(12) : resolver;
    const madeAt = AT_MS / 1000 - (kind === 'good' ? 10 : 2000);
    return optionOf(10, new CookieJar(SECRET).look(client, address, madeAt).answer);
  });
const other = fc
  .tuple(fc.constantFrom(3, 11, 12, 100), fc.uint8Array({ maxLength: 40 }))
  .map(([code, data]) => optionOf(code, data));
const opt = fc
  .tuple(
    fc.constantFrom(0, 512, 1232, 4096),
    fc.constantFrom(0, 0, 0, 0x80),
    fc.constantFrom(...Array<number>(15).fill(0), 1),
    fc.array(fc.oneof(subnet, subnet, cookie, cookie, other), { maxLength: 2 }),
  )
  .map(([payload, flags, version, options]) => {
    const data = Buffer.concat(options);
    return Buffer.concat([
      Buffer.from([
        0,
        0,
        41,
        payload >> 8,
        payload & 255,
        0,
        version,
        flags,
        0,
        data.length >> 8,
        data.length & 255,
      ]),
      data,
    ]);
  });
const message = fc
  .tuple(
    fc.nat(0xffff),
    fc.constantFrom(0x0100, 0x0000, 0x0120, 0x0130, 0x2800),
    question,
    fc.option(opt),
    fc.nat(20),
  )
  .map(([id, flags, asked, record, odd]) => {
    const head = Buffer.from([
      id >> 8,
      id & 255,
      flags >> 8,
      flags & 255,
      0,
      1,
      0,
      0,
      0,
      0,
      0,
      record === null ? 0 : 1,
    ]);
    const whole = Buffer.concat([head, asked, ...(record === null ? [] : [record])]);
    // A few are cut, or have something behind them.
    if (odd === 0) return whole.subarray(0, whole.length - 3);
    return odd === 1 ? Buffer.concat([whole, Buffer.from([1, 2, 3])]) : whole;
  });
const asked: fc.Arbitrary<Asked> = fc.record({
  message,
  resolver: resolvers,
  // Questions follow each other in one world, then comes another.
  next: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 5),
  stepMs: fc.constantFrom(0, 0, 0, 10, 400),
});

function responder(limits: RateLimits): Responder {
  return new Responder({
    zone: ZONE,
    cookies: new CookieJar(SECRET),
    rateLimit: new RateLimit(limits, 7),
  });
}

/** The quick way in memory as a batch has it: everything at some place of one buffer. */
function quickly(
  responder: Responder,
  { message, resolver }: Question,
  world: World,
  nowMs: number,
): Buffer | null {
  const memory = Buffer.alloc(4096, 0xaa);
  message.copy(memory, 100);
  memory.set(resolver, 1500);
  const length = responder.respondInto(
    world,
    memory,
    100,
    message.length,
    memory,
    1500,
    resolver.length,
    memory,
    2001,
    AT_MS + nowMs,
    nowMs,
  );
  assert.equal(memory[2000], 0xaa);
  assert.equal(memory[2001 + length], 0xaa, 'nothing is written behind the answer');
  return length === 0 ? null : memory.subarray(2001, 2001 + length);
}

function generally(
  responder: Responder,
  { message, resolver }: Question,
  world: World,
  nowMs: number,
): Buffer | null {
  const isMapped = resolver.length === 16 && resolver[10] === 0xff;
  return responder.respond(world, {
    message,
    resolver: isMapped ? resolver.subarray(12) : resolver,
    transport: 'udp',
    wallMs: AT_MS + nowMs,
    monotonicMs: nowMs,
  });
}

for (const [title, limits] of [
  ['without limits', PLENTY],
  ['over the limits', SCARCE],
] as const) {
  test(`the quick way and the general way give the same bytes and count the same: ${title}`, () => {
    let quick = 0;
    let all = 0;
    fc.assert(
      fc.property(fc.array(asked, { minLength: 150, maxLength: 200 }), (questions) => {
        const one = responder(limits);
        const other = responder(limits);
        let nowMs = 1000;
        let at = 0;
        let proven = 0;
        for (const each of questions) {
          nowMs += each.stepMs;
          at = (at + each.next) % WORLDS.length;
          const got = quickly(one, each, WORLDS[at], nowMs)?.toString('hex') ?? null;
          const expected = generally(other, each, WORLDS[at], nowMs)?.toString('hex') ?? null;
          assert.equal(got, expected, each.message.toString('hex'));
          const isProven = one.counters.goodCookies > proven;
          proven = one.counters.goodCookies;
          const bytes = (got?.length ?? 0) / 2;
          assert.ok(isProven || bytes <= 3 * each.message.length, 'no amplifier');
        }
        const { quick: answeredQuickly, ...counts } = one.counters;
        const { quick: none, ...expected } = other.counters;
        assert.deepEqual(counts, expected);
        assert.equal(none, 0);
        quick += answeredQuickly;
        all += questions.length;
      }),
      { seed: SEED, numRuns: 25 },
    );
    assert.ok(quick > all / 10, `the quick way was taken ${quick} times of ${all}`);
  });
}

test('what the quick reader takes, the general one reads as the same query; it takes no malformed one', () => {
  const quick = new CommonQuestion();
  const hostile = fc.oneof(
    message,
    fc
      .tuple(message, fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }))
      .map(([good, changes]) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        return bytes;
      }),
  );
  let taken = 0;
  fc.assert(
    fc.property(hostile, (bytes) => {
      // Behind the message stand bytes that must not be read.
      const memory = Buffer.concat([Buffer.alloc(7, 1), bytes, Buffer.alloc(64, 1)]);
      if (!quick.read(memory, 7, bytes.length)) return;
      taken++;
      const reading = readQuery(bytes);
      assert.ok(reading.kind === 'query', bytes.toString('hex'));
      const { edns, name, type } = reading.query;
      const lower = encodeName(name!.labels);
      assert.equal(quick.hash, hashOf(lower, type));
      assert.deepEqual(
        [quick.nameBytes, quick.type, quick.hasEdns, quick.payloadMax, quick.dnssecOk],
        [name!.bytes, type, edns !== null, edns?.payloadMax ?? 0, edns?.dnssecOk ?? false],
      );
      assert.equal(quick.family, edns?.subnet?.family ?? 0);
      assert.equal(quick.sourceBits, edns?.subnet?.sourceBits ?? 0);
      const cookieBytes = memory.subarray(quick.cookieAt, quick.cookieAt + quick.cookieBytes);
      assert.equal(cookieBytes.toString('hex'), Buffer.from(edns?.cookie ?? []).toString('hex'));
    }),
    { seed: SEED, numRuns: 3000 },
  );
  assert.ok(taken > 1000, `${taken}`);
});

test('the second question of a name is answered quickly, and so is the best box for a client, A and AAAA, in world after world', () => {
  const one = responder(PLENTY);
  const ask = (name: string, type: number, world: number): void => {
    const bytes = Buffer.concat([
      Buffer.from([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]),
      encodeName(name.split('.')),
      Buffer.from([0, type, 0, 1]),
      Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 10, 1, 2]),
    ]);
    const client = { message: bytes, resolver: parseAddress('192.0.2.7')! };
    assert.ok(quickly(one, client, WORLDS[world], 1000));
  };
  ask('lyon-a.oca.cdn.test', 1, 0);
  assert.equal(one.counters.quick, 0);
  ask('lyon-a.oca.cdn.test', 1, 0);
  assert.equal(one.counters.quick, 1);
  ask('lyon-a.oca.cdn.test', 1, 4);
  assert.equal(one.counters.quick, 1, 'another fleet: learned anew');
  for (const world of [0, 1, 2, 3, 4, 5, 8]) {
    ask('v.cdn.test', 1, world);
    ask('v.cdn.test', 28, world);
  }
  assert.equal(one.counters.quick, 15);
});
