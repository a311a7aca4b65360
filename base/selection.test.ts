import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from './random.ts';
import { nthSmallest } from './selection.ts';

test('the value at a place of a sorted list is found without sorting, and nothing is moved', () => {
  const random = seededRandom(5);
  for (let round = 0; round < 500; round++) {
    const values = Float64Array.from({ length: 1 + random.below(60) }, () => random.below(12));
    const before = values.slice();
    const place = random.below(values.length);
    assert.equal(nthSmallest(values, place), values.toSorted()[place]);
    assert.deepEqual(values, before);
  }
});
