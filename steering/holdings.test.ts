import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { seededRandom } from '#base/random.ts';
import { bytesOf, holds, ordinalSet } from './holdings.ts';

fc.configureGlobal({ seed: 20_261_120 });

test('a set holds exactly the ordinals that it was made of', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 300_000 }))),
      fc.array(fc.integer({ min: 0, max: 300_000 })),
      (members, others) => {
        const set = ordinalSet(members);
        const plain = new Set(members);
        assert.equal(set.size, plain.size);
        for (const one of members) assert.ok(holds(set, one));
        for (const one of others) assert.equal(holds(set, one), plain.has(one));
      },
    ),
    { numRuns: 300 },
  );
});

test('the largest ordinals and dense runs are held', () => {
  const run = Array.from({ length: 1200 }, (_, at) => 71_999_000 + at);
  const set = ordinalSet([0, ...run, 2 ** 26]);
  assert.ok(
    holds(set, 0) && holds(set, 71_999_000) && holds(set, 72_000_199) && holds(set, 2 ** 26),
  );
  assert.ok(!holds(set, 1) && !holds(set, 71_998_999) && !holds(set, 72_000_200));
  assert.ok(!holds(set, 2 ** 32 - 1));
});

test('400,000 files out of 72 million take at most 520 kB', () => {
  const random = seededRandom(3);
  const members = Array.from({ length: 400_000 }, () => random.below(72_000_000));
  const set = ordinalSet(members);
  assert.ok(bytesOf(set) < 520_000, `${bytesOf(set)} bytes`);
  for (let at = 0; at < 1000; at++) assert.ok(holds(set, members[at * 400]));
});
