import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatAddress, formatPrefix, isLoopback, parseAddress, parsePrefix } from './address.ts';

test('addresses are read as their bytes, an IPv4-mapped one as the IPv4 address it carries', () => {
  assert.deepEqual([...(parseAddress('192.0.2.1') ?? [])], [192, 0, 2, 1]);
  assert.deepEqual([...(parseAddress('::ffff:192.0.2.1') ?? [])], [192, 0, 2, 1]);
  assert.equal(parseAddress('2001:db8::1')?.length, 16);
  assert.equal(formatAddress(Uint8Array.from([192, 0, 2, 1])), '192.0.2.1');
});

test('what is no full dotted quad or IPv6 address is no address', () => {
  for (const text of [
    '',
    '1',
    '192.0.2',
    '192.0.2.256',
    '0x7f.1',
    'example.test',
    '1.2.3.4/8',
    ':::',
  ]) {
    assert.equal(parseAddress(text), null, text);
  }
});

test('a prefix with bits beyond its length is refused', () => {
  assert.equal(formatPrefix(parsePrefix('127.0.128.0/17')!), '127.0.128.0/17');
  for (const text of [
    '127.0.128.1/17',
    '10.0.0.0/33',
    '10.0.0.0',
    '10.0.0.0/',
    '::/129',
    '10.0.0.0/-1',
  ]) {
    assert.equal(parsePrefix(text), null, text);
  }
});

test('loopback is 127.0.0.0/8 and ::1, nothing else', () => {
  for (const text of ['127.0.0.1', '127.99.1.2', '::1', '::ffff:127.0.0.1', 'localhost']) {
    assert.ok(isLoopback(text), text);
  }
  for (const text of ['0.0.0.0', '::', '128.0.0.1', '10.0.0.1', 'localhost.example']) {
    assert.ok(!isLoopback(text), text);
  }
});
