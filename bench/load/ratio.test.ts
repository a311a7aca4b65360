import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { medianOf, percentileOf, ratioOf, verdictOf } from './ratio.ts';

test('the median of an odd and of an even number of values', () => {
  assert.equal(medianOf([3, 1, 2]), 2);
  assert.equal(medianOf([4, 1, 3, 2]), 2.5);
});

test('a percentile is the smallest value that enough samples do not exceed', () => {
  const sorted = Array.from({ length: 100 }, (_, at) => at + 1);
  assert.equal(percentileOf(sorted, 0.5), 50);
  assert.equal(percentileOf(sorted, 0.99), 99);
  assert.equal(percentileOf([], 0.5), 0);
});

test('equal pairs have an interval of no width; one outlier among nine does not move the median', () => {
  assert.deepEqual(ratioOf([1.2, 1.2, 1.2], seededRandom(1)), {
    median: 1.2,
    low: 1.2,
    high: 1.2,
    pairs: 3,
  });
  const noisy = ratioOf([1, 1.01, 0.99, 1, 1.02, 0.98, 1, 1.01, 7], seededRandom(1));
  assert.equal(noisy.median, 1);
  assert.ok(noisy.low >= 0.98 && noisy.high <= 1.02);
});

test('the interval covers the truth in about 95 of 100 worlds', () => {
  const random = seededRandom(5);
  let covered = 0;
  for (let world = 0; world < 200; world++) {
    const ratios = Array.from({ length: 11 }, () => 1.1 + (random.next() - 0.5) * 0.2);
    const { low, high } = ratioOf(ratios, random);
    if (low <= 1.1 && 1.1 <= high) covered++;
  }
  assert.ok(covered >= 176 && covered <= 200, `${covered} of 200`);
});

test('a goal is met by the interval’s lower end, missed by its upper end, else not resolved', () => {
  const pairs = 9;
  assert.equal(verdictOf({ median: 1.1, low: 0.98, high: 1.2, pairs }, 1), 'met');
  assert.equal(verdictOf({ median: 1.0, low: 0.9, high: 1.2, pairs }, 1), 'not resolved');
  assert.equal(verdictOf({ median: 0.8, low: 0.7, high: 0.9, pairs }, 1), 'missed');
  assert.equal(verdictOf({ median: 1.1, low: 1, high: 1.2, pairs: 3 }, 1), 'too few pairs');
});
