import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CookieJar, serverCookie } from './cookie.ts';
import { sipHash24 } from './siphash.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const CLIENT = hex('2464c4abcf10c957');
const ADDRESS = Uint8Array.from([198, 51, 100, 100]);
const DAY = 86_400;

test('SipHash-2-4 gives the value of its paper', () => {
  const key = Uint8Array.from({ length: 16 }, (_, at) => at);
  const message = Uint8Array.from({ length: 15 }, (_, at) => at);
  assert.equal(sipHash24(key, message).toString('hex'), 'e545be4961ca29a1');
  assert.equal(sipHash24(key, new Uint8Array(0)).toString('hex'), '310e0edd47db6f72');
});

test('a server cookie is the one of RFC 9018', () => {
  const head = hex('010000005cf79f11');
  const made = serverCookie(hex('e5e973e5a6b2a43f48e7dc849e37bfcf'), CLIENT, head, ADDRESS);
  assert.equal(made.toString('hex'), '010000005cf79f111f8130c3eee29480');
});

test('a cookie is good for its address, for an hour, on every node, over midnight: table', () => {
  const secret = Buffer.from('shared by all nodes');
  const made = 20_000 * DAY + 100;
  const { answer: shown, isGood } = new CookieJar(secret).look(CLIENT, ADDRESS, made);
  assert.equal(isGood, false);
  assert.equal(shown.length, 24);
  const other = Uint8Array.from([198, 51, 100, 101]);
  const changed = Buffer.from(shown);
  changed[20] ^= 1;
  const cases: readonly [string, Uint8Array, Uint8Array, number, boolean][] = [
    ['at once', shown, ADDRESS, made, true],
    ['an hour later', shown, ADDRESS, made + 3600, true],
    ['later', shown, ADDRESS, made + 3601, false],
    ['from a clock 5 min ahead', shown, ADDRESS, made - 300, true],
    ['from a clock further ahead', shown, ADDRESS, made - 301, false],
    ['made the day before', shown, ADDRESS, 20_000 * DAY - 150, true],
    ['another address', shown, other, made, false],
    ['changed', changed, ADDRESS, made, false],
    [
      'another version',
      Buffer.concat([CLIENT, hex('02'), shown.subarray(9)]),
      ADDRESS,
      made,
      false,
    ],
    ['a longer one', Buffer.concat([shown, Buffer.alloc(8)]), ADDRESS, made, false],
  ];
  for (const [title, option, address, now, good] of cases) {
    const verdict = new CookieJar(secret).look(option, address, now);
    assert.equal(verdict.isGood, good, title);
    assert.equal(verdict.answer.length, 24, title);
    assert.ok(new CookieJar(secret).look(verdict.answer, address, now).isGood, `${title}: renewed`);
  }
  assert.equal(new CookieJar(Buffer.from('x')).look(shown, ADDRESS, made).isGood, false);
});

test('a cookie is kept for half an hour, then renewed', () => {
  const jar = new CookieJar(Buffer.from('secret'));
  const made = 20_000 * DAY + 500;
  const { answer } = jar.look(CLIENT, ADDRESS, made);
  assert.deepEqual(jar.look(answer, ADDRESS, made + 1799).answer, answer);
  assert.notDeepEqual(jar.look(answer, ADDRESS, made + 1800).answer, answer);
});
