import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parsePrefix } from '#base/address.ts';
import { prefixScratch, readPrefix } from './prefix-text.ts';

fc.configureGlobal({ seed: 20_261_120 });

function agrees(text: string): void {
  const expected = parsePrefix(text);
  const scratch = prefixScratch();
  assert.equal(readPrefix(text, scratch), expected !== null, JSON.stringify(text));
  if (expected === null) return;
  const { family, length, bytes } = scratch;
  const size = family === 4 ? 4 : 16;
  assert.deepEqual(
    { family, length, bytes: bytes.slice(0, size) },
    { family: expected.family, length: expected.length, bytes: expected.bytes },
    text,
  );
}

test('it reads what the plain parser reads, and refuses what that refuses: table', () => {
  for (const text of [
    '0.0.0.0/0',
    '10.0.0.0/8',
    '10.0.0.1/8',
    '192.0.2.255/32',
    '192.0.2.0/33',
    '192.0.2/24',
    '192.0.2.0.0/24',
    '192.0.2.256/32',
    '010.0.0.0/8',
    '1.2.3.4',
    '1.2.3.4/',
    '1.2.3.4/-1',
    '1.2.3.4/032',
    '/8',
    '',
    '::/0',
    '::1/128',
    '2001:db8::/32',
    '2001:db8:0:0:0:0:0:0/32',
    '2001:DB8::/32',
    '2001:db8::1/32',
    '1:2:3:4:5:6:7:8/128',
    '1:2:3:4:5:6:7::/128',
    '1:2:3:4:5:6:7:8:9/128',
    '1::2::3/128',
    ':1::/16',
    '1:/16',
    ':::/0',
    '12345::/16',
    '::ffff:192.0.2.0/120',
    '::ffff:c000:200/120',
    '64:ff9b::192.0.2.0/120',
    'fe80::1%eth0/128',
    'lyon/8',
  ]) {
    agrees(text);
  }
});

test('it agrees with the plain parser on anything that looks like a prefix', () => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 34 })).map(([a, l]) => `${a}/${l}`);
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 130 })).map(([a, l]) => `${a}/${l}`);
  const letters = fc.string({
    unit: fc.constantFrom('0', '1', '2', 'f', ':', '.', '/'),
    maxLength: 20,
  });
  fc.assert(fc.property(fc.oneof(v4, v6, letters), agrees), { numRuns: 3000 });
});
