import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import * as fc from 'fast-check';
import { parseAddress } from '#base/address.ts';
import { exampleWorld } from '../example-fleet.ts';
import { lowerCase, readQuery, UDP_PAYLOAD_MAX } from './message.ts';
import { encodeName } from './response.ts';
import { Responder } from './responder.ts';
import { createZone, type Zone } from './zone.ts';

fc.configureGlobal({ seed: 20_261_120 });

const ZONE = createZone({
  zone: 'cdn.test',
  nameServers: [{ name: 'ns1', addresses: ['127.77.0.5'] }],
  steerAddresses: ['127.77.0.6'],
});
const RESOLVER = parseAddress('10.1.0.1')!;
const WORLD = exampleWorld();

/** Without cookies and limits: what one query gets. */
function respond(
  message: Buffer,
  transport: 'udp' | 'tcp' = 'udp',
  zone: Zone = ZONE,
): Buffer | null {
  const responder = new Responder({ zone, cookies: null, rateLimit: null });
  return responder.respond(WORLD, {
    message,
    resolver: RESOLVER,
    transport,
    wallMs: 0,
    monotonicMs: 0,
  });
}

function question(name: string, type: number): Buffer {
  const labels = name === '' ? [] : name.split('.');
  return Buffer.concat([encodeName(labels), Buffer.from([type >> 8, type & 255, 0, 1])]);
}

function header(counts: readonly number[], flags = 0x0100): Buffer {
  const out = Buffer.alloc(12);
  out.writeUInt16BE(0x1234, 0);
  out.writeUInt16BE(flags, 2);
  counts.forEach((count, at) => out.writeUInt16BE(count, 4 + at * 2));
  return out;
}

function opt(options: Buffer, { version = 0, size = 4096, owner = [0] } = {}): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(41, 0);
  fixed.writeUInt16BE(size, 2);
  fixed[5] = version;
  fixed.writeUInt16BE(options.length, 8);
  return Buffer.concat([Buffer.from(owner), fixed, options]);
}

function optionOf(code: number, data: readonly number[]): Buffer {
  return Buffer.from([code >> 8, code & 255, data.length >> 8, data.length & 255, ...data]);
}

function withOption(code: number, data: readonly number[]): Buffer {
  return Buffer.concat([
    header([1, 0, 0, 1]),
    question('v.cdn.test', 1),
    opt(optionOf(code, data)),
  ]);
}

test('a client subnet that breaks the rules is malformed, one that keeps them is read: table', () => {
  const cases: readonly [string, readonly number[], boolean][] = [
    ['192.0.2.0/24', [0, 1, 24, 0, 192, 0, 2], true],
    ['0.0.0.0/0', [0, 1, 0, 0], true],
    ['2001:db8::/48', [0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 0], true],
    ['20 bits in three octets', [0, 1, 20, 0, 10, 1, 0xf0], true],
    ['unknown family', [0, 3, 24, 0, 192, 0, 2], false],
    ['too few octets', [0, 1, 24, 0, 192, 0], false],
    ['too many octets', [0, 1, 24, 0, 192, 0, 2, 0], false],
    ['bits beyond the prefix', [0, 1, 20, 0, 10, 1, 0xf8], false],
    ['a scope in the query', [0, 1, 24, 24, 192, 0, 2], false],
    ['33 bits of IPv4', [0, 1, 33, 0, 1, 2, 3, 4, 128], false],
    ['129 bits of IPv6', [0, 2, 129, 0, ...Array<number>(17).fill(0)], false],
    ['cut off', [0, 1, 24], false],
  ];
  for (const [title, data, isFine] of cases) {
    const reading = readQuery(withOption(8, data));
    assert.ok(reading.kind !== 'ignore', title);
    assert.equal(reading.kind === 'query', isFine, title);
    assert.equal(reading.query.edns !== null, true, title);
    assert.equal(reading.query.edns?.subnet !== null, isFine, title);
  }
});

test('cookies have 8 or 16 to 40 bytes', () => {
  for (const [length, kind] of [
    [8, 'query'],
    [16, 'query'],
    [40, 'query'],
    [0, 'malformed'],
    [7, 'malformed'],
    [12, 'malformed'],
    [41, 'malformed'],
  ] as const) {
    assert.equal(readQuery(withOption(10, Array<number>(length).fill(7))).kind, kind, `${length}`);
  }
});

test('messages that break the form, and what becomes of them: table', () => {
  const asked = question('v.cdn.test', 1);
  const plain = opt(Buffer.alloc(0));
  const cases: readonly [string, Buffer, string][] = [
    ['nothing', Buffer.alloc(0), 'ignore'],
    ['less than a header', header([1]).subarray(0, 11), 'ignore'],
    ['a response', Buffer.concat([header([1, 0, 0, 0], 0x8100), asked]), 'ignore'],
    ['a query', Buffer.concat([header([1, 0, 0, 0]), asked]), 'query'],
    ['two questions', Buffer.concat([header([2, 0, 0, 0]), asked, asked]), 'malformed'],
    ['no question', header([0, 0, 0, 0]), 'malformed'],
    [
      'a question cut off',
      Buffer.concat([header([1, 0, 0, 0]), asked.subarray(0, 8)]),
      'malformed',
    ],
    [
      'a question that points at itself',
      Buffer.concat([header([1, 0, 0, 0]), Buffer.from([0xc0, 12, 0, 1, 0, 1])]),
      'malformed',
    ],
    [
      'a label type of the future',
      Buffer.concat([header([1, 0, 0, 0]), Buffer.from([0x41, 0, 0, 1, 0, 1])]),
      'malformed',
    ],
    ['two OPT', Buffer.concat([header([1, 0, 0, 2]), asked, plain, plain]), 'malformed'],
    [
      'OPT with an owner',
      Buffer.concat([header([1, 0, 0, 1]), asked, opt(Buffer.alloc(0), { owner: [1, 97, 0] })]),
      'malformed',
    ],
    ['OPT among the answers', Buffer.concat([header([1, 1, 0, 0]), asked, plain]), 'malformed'],
    [
      'an option cut off',
      Buffer.concat([header([1, 0, 0, 1]), asked, opt(Buffer.from([0, 8, 0, 9, 1]))]),
      'malformed',
    ],
    ['a record that is not there', Buffer.concat([header([1, 0, 0, 1]), asked]), 'malformed'],
    [
      'another version with options of its own',
      Buffer.concat([
        header([1, 0, 0, 1]),
        asked,
        opt(Buffer.from([0, 8, 0, 9, 1]), { version: 1 }),
      ]),
      'query',
    ],
    ['another operation', header([9, 9, 9, 9], 0x7800), 'query'],
  ];
  for (const [title, bytes, kind] of cases) assert.equal(readQuery(bytes).kind, kind, title);
});

test('only ASCII letters are folded: a name is bytes', () => {
  assert.equal(lowerCase('LYON-a'), 'lyon-a');
  assert.equal(lowerCase('\u00c9\u00c0'), '\u00c9\u00c0');
});

test('random bytes never throw, never loop and never get more than they may', () => {
  const hostile = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    fc
      .uint8Array({ maxLength: 300 })
      .map((tail) => Buffer.concat([header([1, 0, 0, 1]), question('v.cdn.test', 1), tail])),
    fc.uint8Array({ maxLength: 300 }).map((tail) => Buffer.concat([header([1, 1, 1, 1]), tail])),
    fc
      .uint8Array({ maxLength: 200 })
      .map((tail) =>
        Buffer.concat([header([1, 0, 0, 1]), question('v.cdn.test', 1), opt(Buffer.from(tail))]),
      ),
  );
  fc.assert(
    fc.property(hostile, (bytes) => {
      const message = Buffer.from(bytes);
      const answer = respond(message);
      if (answer === null) return;
      assert.ok(answer.length <= UDP_PAYLOAD_MAX);
      assert.equal(answer.readUInt16BE(0), message.readUInt16BE(0));
      assert.ok((answer[2] & 0x80) !== 0, 'it is a response');
    }),
    { numRuns: 3000 },
  );
});

test('a query cut or changed anywhere still gets at most an answer that an independent decoder reads', () => {
  const good = withOption(8, [0, 1, 24, 0, 10, 1, 2]);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: good.length }),
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 3 }),
      (cut, changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        const answer = respond(bytes.subarray(0, cut));
        if (answer !== null) dnsPacket.decode(Buffer.from(answer));
      },
    ),
    { numRuns: 1000 },
  );
});

test('an answer that does not fit is cut, flagged, and keeps question and OPT; over TCP it is whole', () => {
  const zone = createZone({
    zone: 'cdn.test',
    nameServers: Array.from({ length: 8 }, (_, at) => ({
      name: `${'n'.repeat(60)}.${'x'.repeat(60)}${at}`,
      addresses: ['192.0.2.1', '2001:db8::1'],
    })),
    steerAddresses: [],
  });
  const asked = question('cdn.test', 2);
  const plain = respond(Buffer.concat([header([1, 0, 0, 0]), asked]), 'udp', zone)!;
  assert.ok(plain.length <= 512);
  const decoded = dnsPacket.decode(Buffer.from(plain));
  assert.equal(decoded.flag_tc, true);
  assert.equal(decoded.answers?.length, 0);
  assert.equal(decoded.questions?.[0].name, 'cdn.test');
  const withOpt = Buffer.concat([header([1, 0, 0, 1]), asked, opt(Buffer.alloc(0), { size: 512 })]);
  const cut = dnsPacket.decode(Buffer.from(respond(withOpt, 'udp', zone)!));
  assert.equal(cut.flag_tc, true);
  assert.equal(cut.additionals?.[0]?.type, 'OPT');
  const whole = dnsPacket.decode(Buffer.from(respond(withOpt, 'tcp', zone)!));
  assert.equal(whole.answers?.length, 8);
  assert.equal(whole.flag_tc, false);
});

test('no query over UDP gets more than three times its bytes without a cookie', () => {
  const names = [
    'v.cdn.test',
    'cdn.test',
    'nope.cdn.test',
    'lyon-a.oca.cdn.test',
    'ns1.cdn.test',
    'x.org',
  ];
  for (const name of names) {
    for (const type of [1, 2, 6, 28, 255, 16, 41]) {
      const asked = Buffer.concat([header([1, 0, 0, 0]), question(name, type)]);
      const answer = respond(asked)!;
      assert.ok(
        answer.length <= 3 * asked.length,
        `${name} ${type}: ${asked.length} -> ${answer.length}`,
      );
      // And for the names that matter that is enough: nobody is sent to TCP.
      assert.equal(answer[2] & 0x02, 0, `${name} ${type}`);
    }
  }
});
