import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, assert as checkAll, double, property, tuple } from 'fast-check';
import { evenWeights, learn, mixOf } from './experts.ts';

test('the mix loses at most ln(n)/rate + rate T/8 more than the best expert, whatever the losses', () => {
  const rate = 0.5;
  checkAll(
    property(
      array(
        tuple(
          double({ min: 0, max: 1, noNaN: true }),
          double({ min: 0, max: 1, noNaN: true }),
          double({ min: 0, max: 1, noNaN: true }),
        ),
        {
          minLength: 1,
          maxLength: 200,
        },
      ),
      (steps) => {
        let weights = evenWeights(3);
        let own = 0;
        const each = [0, 0, 0];
        for (const losses of steps) {
          own += mixOf(weights, losses);
          losses.forEach((loss, i) => (each[i] += loss));
          weights = learn(weights, losses, { rate, share: 0 });
        }
        const bound = Math.log(3) / rate + (rate * steps.length) / 8;
        assert.ok(own - Math.min(...each) <= bound + 1e-9);
      },
    ),
    { seed: 3 },
  );
});

test('weights stay positive and sum to 1; a loss that is no number counts as the worst', () => {
  let weights = evenWeights(2);
  for (let i = 0; i < 1000; i++) {
    weights = learn(weights, [Number.NaN, 0], { rate: 50, share: 0.02 });
  }
  assert.ok(weights[0] > 0 && weights[0] <= 0.011);
  assert.ok(Math.abs(weights[0] + weights[1] - 1) < 1e-12);
});

test('with a share dealt out, an expert that was bad for long is heard again within a few steps', () => {
  let weights = evenWeights(2);
  for (let i = 0; i < 500; i++) weights = learn(weights, [1, 0], { rate: 2, share: 0.02 });
  for (let i = 0; i < 5; i++) weights = learn(weights, [0, 1], { rate: 2, share: 0.02 });
  assert.ok(weights[0] > 0.9, `${weights[0]}`);
});
