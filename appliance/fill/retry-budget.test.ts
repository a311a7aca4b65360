import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RetryBudget } from './retry-budget.ts';

test('single failures are tried again at once; a general one is bounded to the share', () => {
  const budget = new RetryBudget(0.2);
  let tried = 0;
  for (let miss = 0; miss < 1000; miss++) {
    budget.began();
    if (budget.take()) tried++;
  }
  assert.equal(tried, 219, '20 in reserve and a fifth of the rest');
  assert.equal(budget.spent, 1000 - tried);
});

test('after calm the reserve is full again, and not fuller', () => {
  const budget = new RetryBudget(0.1);
  while (budget.take());
  for (let miss = 0; miss < 10_000; miss++) budget.began();
  let tried = 0;
  while (budget.take()) tried++;
  assert.equal(tried, 20);
});
