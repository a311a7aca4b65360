import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as checkAll, double, integer, property } from 'fast-check';
import {
  gammaQuantile,
  logGamma,
  medianOf,
  negativeBinomialTail,
  normalQuantile,
  quantileOf,
} from './probability.ts';

/** P(X >= count) by summing the probabilities below it, term by term from P(0). */
function exactTail(count: number, mean: number, shape: number): number {
  const p = mean / (mean + shape);
  let term = (1 - p) ** shape;
  let below = 0;
  for (let k = 0; k < count; k++) {
    below += term;
    term *= (p * (k + shape)) / (k + 1);
  }
  return 1 - below;
}

test('the negative-binomial tail is the sum of its terms', () => {
  checkAll(
    property(
      integer({ min: 0, max: 60 }),
      double({ min: 0.01, max: 40, noNaN: true }),
      double({ min: 0.1, max: 50, noNaN: true }),
      (count, mean, shape) => {
        const tail = negativeBinomialTail(count, mean, shape);
        assert.ok(Math.abs(tail - exactTail(count, mean, shape)) < 1e-9, String(tail));
      },
    ),
    { seed: 1, numRuns: 500 },
  );
});

test('a far tail keeps its digits where one minus a sum would lose them', () => {
  // Shape 1 is geometric: P(X >= k) = p^k exactly.
  const tail = negativeBinomialTail(100, 1, 1);
  assert.ok(Math.abs(tail / 0.5 ** 100 - 1) < 1e-9, String(tail));
});

test('log gamma is the log of the factorial, and half is the root of pi', () => {
  let factorial = 1;
  for (let n = 1; n < 20; n++) {
    assert.ok(Math.abs(logGamma(n) - Math.log(factorial)) < 1e-10);
    factorial *= n;
  }
  assert.ok(Math.abs(logGamma(0.5) - Math.log(Math.sqrt(Math.PI))) < 1e-10);
});

test('normal quantiles are those of the tables', () => {
  for (const [p, z] of [
    [0.5, 0],
    [0.9, 1.2815515655],
    [0.975, 1.959963985],
    [0.001, -3.0902323062],
  ]) {
    assert.ok(Math.abs(normalQuantile(p) - z) < 1e-8, String(p));
  }
});

test('gamma quantiles: an exponential has the median ln 2 within 2 %, no variance gives the mean', () => {
  assert.ok(Math.abs(gammaQuantile(0.5, 1, 1) / Math.LN2 - 1) < 0.02);
  assert.equal(gammaQuantile(0.9, 5, 0), 5);
});

test('quantiles interpolate and leave their argument as it was', () => {
  const values = [4, 1, 3, 2];
  assert.equal(medianOf(values), 2.5);
  assert.equal(quantileOf(values, 0), 1);
  assert.equal(quantileOf(values, 1), 4);
  assert.deepEqual(values, [4, 1, 3, 2]);
  assert.ok(Number.isNaN(medianOf([])));
});
