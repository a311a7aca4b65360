import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as checkAll, double, property } from 'fast-check';
import { seededRandom, type Random } from '#base/random.ts';
import {
  RateStrength,
  shareConcentration,
  shrunkFactor,
  shrunkShares,
  STRENGTH_MAX,
  STRENGTH_MIN,
} from './shrinkage.ts';

function poisson(random: Random, mean: number): number {
  let count = 0;
  for (let left = -Math.log(1 - random.next()); left < mean; count++) {
    left += -Math.log(1 - random.next());
  }
  return count;
}

/** A Gamma variable of an integer shape: the sum of that many exponentials. */
function gamma(random: Random, shape: number): number {
  let sum = 0;
  for (let i = 0; i < shape; i++) sum -= Math.log(1 - random.next());
  return sum;
}

test('no data gives the parent, endless data gives the data, and between lies between', () => {
  assert.equal(shrunkFactor(0, 0, 3), 1);
  assert.ok(Math.abs(shrunkFactor(2e9, 1e9, 3) - 2) < 1e-6);
  checkAll(
    property(
      double({ min: 0, max: 1e4, noNaN: true }),
      double({ min: 0.01, max: 1e4, noNaN: true }),
      double({ min: STRENGTH_MIN, max: STRENGTH_MAX, noNaN: true }),
      (count, expected, strength) => {
        const factor = shrunkFactor(count, expected, strength);
        const own = count / expected;
        assert.ok(factor >= Math.min(1, own) - 1e-9 && factor <= Math.max(1, own) + 1e-9);
      },
    ),
    { seed: 2 },
  );
});

test('the strength of a Gamma that made the counts is found again', () => {
  for (const b of [2, 5, 20]) {
    const random = seededRandom(11 + b);
    const sum = new RateStrength();
    for (let i = 0; i < 20_000; i++) {
      const expected = 5 + 30 * random.next();
      sum.add(poisson(random, (expected * gamma(random, b)) / b), expected);
    }
    assert.ok(Math.abs(sum.strength() / b - 1) < 0.15, `${b}: ${sum.strength()}`);
  }
});

test('children that differ by chance only, or no children, are drawn fully to the parent', () => {
  assert.equal(new RateStrength().strength(), STRENGTH_MAX);
  const same = new RateStrength();
  for (let i = 0; i < 100; i++) same.add(10, 10);
  assert.equal(same.strength(), STRENGTH_MAX);
});

test('shares sum to 1 and go from the prior to the counts', () => {
  const prior = [0.7, 0.2, 0.1];
  assert.deepEqual(shrunkShares([0, 0, 0], prior, 5), prior);
  const many = shrunkShares([0, 0, 1e9], prior, 5);
  assert.ok(many[2] > 0.999999);
  const some = shrunkShares([3, 9, 1], prior, 5);
  assert.ok(Math.abs(some.reduce((sum, share) => sum + share, 0) - 1) < 1e-12);
});

test('the concentration of a Dirichlet that made the counts is found again', () => {
  const random = seededRandom(5);
  const prior = [0.5, 0.3, 0.2];
  const concentration = 20;
  const groups = Array.from({ length: 3000 }, () => {
    const raw = prior.map((share) => gamma(random, Math.round(concentration * share)));
    const total = raw.reduce((sum, value) => sum + value, 0);
    const counts = [0, 0, 0];
    for (let i = 0; i < 60; i++) {
      const at = random.next() * total;
      counts[at < raw[0] ? 0 : at < raw[0] + raw[1] ? 1 : 2]++;
    }
    return { counts, prior };
  });
  const found = shareConcentration(groups);
  assert.ok(Math.abs(found / concentration - 1) < 0.15, String(found));
  assert.equal(shareConcentration([{ counts: [1, 0], prior: [0.5, 0.5] }]), STRENGTH_MAX);
});
