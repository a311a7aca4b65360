import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress } from '#base/address.ts';
import { exampleWorld } from '../example-fleet.ts';
import { CookieJar } from './cookie.ts';
import { encodeName } from './response.ts';
import { RateLimit } from './rate-limit.ts';
import { Responder } from './responder.ts';
import { createZone } from './zone.ts';

const LIMITS = { positivePerSecond: 10, errorsPerSecond: 2, blockPerSecond: 50 };
const at = (text: string): Uint8Array => parseAddress(text)!;

function sent(
  limit: RateLimit,
  times: number,
  address: string,
  nowMs: number,
  options: { kind?: 'positive' | 'nxdomain' | 'error'; name?: number; subnet?: string } = {},
): number {
  const { kind = 'positive', name = 1, subnet } = options;
  const block = subnet === undefined ? null : { address: at(subnet), sourceBits: 24 };
  let count = 0;
  for (let time = 0; time < times; time++) {
    if (limit.take(at(address), block, kind, name, nowMs) === 'send') count++;
  }
  return count;
}

test('a second’s worth is sent at once, then as much as comes back: table', () => {
  const limit = new RateLimit(LIMITS, 7);
  assert.equal(sent(limit, 30, '192.0.2.1', 1000), 10);
  assert.equal(sent(limit, 30, '192.0.2.99', 1000), 0, 'the same /24');
  assert.equal(sent(limit, 30, '192.0.3.1', 1000), 10, 'another /24');
  assert.equal(sent(limit, 30, '192.0.2.1', 1500), 5, 'half a second later');
  assert.equal(sent(limit, 30, '192.0.2.1', 9000), 10, 'never more than a second’s worth');
  assert.equal(sent(limit, 30, '192.0.2.1', 9000, { name: 2 }), 10, 'another name');
  assert.equal(sent(limit, 30, '192.0.2.1', 9000, { kind: 'nxdomain' }), 2);
  assert.equal(sent(limit, 30, '192.0.2.1', 9000, { kind: 'error' }), 2);
  assert.equal(sent(limit, 30, '192.0.2.1', 9000, { subnet: '10.1.2.0' }), 10, 'by client subnet');
  assert.equal(sent(limit, 30, '192.0.2.1', 9000, { subnet: '10.1.3.0' }), 10, 'and another');
});

test('one block of clients has a ceiling whatever it asks about', () => {
  const limit = new RateLimit(LIMITS, 7);
  let count = 0;
  for (let name = 0; name < 40; name++) count += sent(limit, 10, '192.0.2.1', 1000, { name });
  assert.equal(count, 50);
});

test('of what is over the limit every second answer slips out', () => {
  const limit = new RateLimit(LIMITS, 7);
  sent(limit, 110, '192.0.2.1', 1000);
  assert.deepEqual([limit.slipped, limit.dropped], [50, 50]);
});

test('a flood of made-up clients does not use up the bucket of one that comes back', () => {
  const limit = new RateLimit(LIMITS, 7);
  for (let third = 0; third < 256; third++) {
    for (let second = 0; second < 200; second++) {
      limit.take(Uint8Array.from([10, second, third, 1]), null, 'positive', 1, 1000);
    }
  }
  assert.equal(sent(limit, 30, '198.51.100.1', 1000), 10);
  assert.equal(sent(limit, 30, '198.51.100.1', 1000), 0);
});

function query(name: string, cookie: Uint8Array | null): Buffer {
  const option =
    cookie === null
      ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([0, 10, 0, cookie.length]), cookie]);
  const opt = Buffer.from([0, 0, 41, 16, 0, 0, 0, 0, 0, option.length >> 8, option.length & 255]);
  return Buffer.concat([
    Buffer.from([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]),
    encodeName(name.split('.')),
    Buffer.from([0, 1, 0, 1]),
    opt,
    option,
  ]);
}

test('over the limit: TC without a cookie, BADCOOKIE with half a one; good cookies and TCP are answered in full', () => {
  const cookies = new CookieJar(Buffer.from('secret'));
  const zone = createZone({ zone: 'cdn.test', nameServers: [], steerAddresses: ['127.77.0.6'] });
  const responder = new Responder({ zone, cookies, rateLimit: new RateLimit(LIMITS, 3) });
  const world = exampleWorld();
  const ask = (message: Buffer, transport: 'udp' | 'tcp' = 'udp'): Buffer | null => {
    const resolver = at('192.0.2.7');
    const asking = { message, resolver, transport, wallMs: 1e12, monotonicMs: 5000 };
    const answer = responder.respond(world, asking);
    return answer === null ? null : Buffer.from(answer);
  };
  const plain = query('steer.cdn.test', null);
  for (let time = 0; time < 10; time++) assert.ok(((ask(plain)?.[2] ?? 0) & 2) === 0);
  const over = [ask(plain), ask(plain), ask(plain), ask(plain)].filter((answer) => answer !== null);
  assert.equal(over.length, 2);
  for (const answer of over) {
    assert.equal(answer[2] & 2, 2, 'TC');
    assert.equal(answer.readUInt16BE(6), 0, 'no answer in it');
  }
  const client = Buffer.from('2464c4abcf10c957', 'hex');
  const halves = [ask(query('steer.cdn.test', client)), ask(query('steer.cdn.test', client))];
  const refused = halves.find((answer) => answer !== null)!;
  assert.equal((refused[3] & 0xf) | (refused[refused.length - 11 - 28 + 5] << 4), 23, 'BADCOOKIE');
  const given = refused.subarray(refused.length - 24);
  for (let time = 0; time < 30; time++) {
    const answer = ask(query('steer.cdn.test', given));
    assert.ok(answer !== null);
    assert.equal(answer.readUInt16BE(6), 1);
  }
  for (let time = 0; time < 30; time++) assert.equal(ask(plain, 'tcp')?.readUInt16BE(6), 1);
});
