import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { Holdings } from './holdings.ts';

const random = seededRandom(20261121);
const IDS = Array.from({ length: 200 }, () =>
  Buffer.from(Array.from({ length: 32 }, () => random.below(256))).toString('base64url'),
);

/** By the contract's words: the sum of the first 128 bits of each id, mod 2^128, as 32 hex digits. */
function sumOf(ids: Iterable<string>): string {
  let sum = 0n;
  for (const id of ids) {
    sum += BigInt(`0x${Buffer.from(id, 'base64url').toString('hex', 0, 16)}`);
  }
  return (sum % (1n << 128n)).toString(16).padStart(32, '0');
}

test('the digest is the sum of the ids’ first 128 bits, whatever came and went in whichever order', () => {
  const holdings = new Holdings(1);
  const held = new Set<string>();
  for (let step = 0; step < 2000; step++) {
    const id = IDS[random.below(IDS.length)];
    if (random.next() < 0.6) {
      holdings.add(id);
      held.add(id);
    } else {
      holdings.remove(id);
      held.delete(id);
    }
    if (step % 100 === 0) assert.equal(holdings.digest, sumOf(held));
  }
  for (const id of held) holdings.remove(id);
  assert.equal(holdings.digest, '0'.repeat(32));
});

test('a change within a range appears once, and what came and went not at all', () => {
  const holdings = new Holdings(1);
  const before = holdings.version;
  holdings.add(IDS[0]);
  holdings.add(IDS[1]);
  holdings.remove(IDS[1]);
  assert.deepEqual(holdings.changesSince(before, 10), {
    fromVersion: before,
    toVersion: before + 3,
    added: [IDS[0]],
    removed: [],
  });
  assert.equal(holdings.changesSince(before - 1, 10), null, 'from before its time');
});
