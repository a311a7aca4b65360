import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { QUIET_TREND, stepTrend, worthFilling, type TrendVerdict } from './trend.ts';

function poisson(random: { next(): number }, mean: number): number {
  let count = 0;
  for (let left = -Math.log(1 - random.next()); left < mean; count++) {
    left += -Math.log(1 - random.next());
  }
  return count;
}

/** Bins until something is seen; null when `bins` pass quietly. */
function binsUntilSeen(mean: number, expected: number, bins: number, seed: number): number | null {
  const random = seededRandom(seed);
  let state = QUIET_TREND;
  for (let bin = 1; bin <= bins; bin++) {
    const starts = poisson(random, mean);
    const stepped = stepTrend(state, { starts, expectedStarts: expected, shape: 50 });
    state = stepped.state;
    if (stepped.verdict.kind !== 'quiet') return bin;
  }
  return null;
}

test('a week of demand as forecast is quiet', () => {
  for (const seed of [1, 2, 3]) assert.equal(binsUntilSeen(10, 10, 2016, seed), null);
});

test('a tenfold jump is seen in its first bin, a doubling within the hour', () => {
  assert.equal(binsUntilSeen(100, 10, 12, 4), 1);
  const bins = binsUntilSeen(20, 10, 12, 5);
  assert.ok(bins !== null && bins <= 12, String(bins));
});

test('a title without any forecast is seen once it is watched', () => {
  const { verdict } = stepTrend(QUIET_TREND, { starts: 6, expectedStarts: 0, shape: 1 });
  assert.equal(verdict.kind, 'surprise');
});

test('evidence falls back to nothing when demand is below the forecast', () => {
  let state = { evidence: 10 };
  for (let i = 0; i < 20; i++) {
    state = stepTrend(state, { starts: 0, expectedStarts: 1, shape: 10 }).state;
  }
  assert.equal(state.evidence, 0);
});

test('a trend is worth a fill only past the threshold of the box', () => {
  const seen: TrendVerdict = { kind: 'rising', evidence: 20 };
  assert.equal(worthFilling(seen, 5, 4), true);
  assert.equal(worthFilling(seen, 3, 4), false);
  assert.equal(worthFilling({ kind: 'quiet' }, 5, 4), false);
});
