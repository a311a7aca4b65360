import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CallBudget } from './call-budget.ts';

test('a caller has two seconds’ worth at once, then its rate; others are not touched', () => {
  const budget = new CallBudget(10);
  for (let at = 0; at < 20; at++) assert.equal(budget.take('a', 1, 0), 0);
  assert.equal(budget.take('a', 1, 0), 100);
  assert.equal(budget.take('b', 1, 0), 0);
  assert.equal(budget.take('a', 1, 100), 0);
  assert.equal(budget.take('a', 5, 100), 500);
  assert.equal(budget.take('a', 1000, 2100), 0, 'a large batch takes all there is');
  assert.ok(budget.take('a', 1, 2100) > 0);
});
