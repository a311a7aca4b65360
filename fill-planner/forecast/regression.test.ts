import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { dot, leastAbsolute, logistic, probabilityOf, type RegressionData } from './regression.ts';

function dataOf(
  rows: readonly (readonly number[])[],
  y: readonly number[],
  censored: readonly boolean[] = y.map(() => false),
): RegressionData {
  return {
    columns: rows[0].length,
    x: Float64Array.from(rows.flat()),
    y: Float64Array.from(y),
    weights: new Float64Array(y.length).fill(1),
    censored: Uint8Array.from(censored, Number),
  };
}

test('a fifth of wild values does not move the line', () => {
  const random = seededRandom(1);
  const rows = Array.from({ length: 400 }, () => [1, 4 * random.next()]);
  const y = rows.map(([, x], i) => 2 - 0.5 * x + (i % 5 === 0 ? 50 : 0.1 * (random.next() - 0.5)));
  const b = leastAbsolute(dataOf(rows, y), 1e-3);
  assert.ok(Math.abs(b[0] - 2) < 0.05 && Math.abs(b[1] + 0.5) < 0.03, b.join(' '));
});

test('the constant alone is the weighted median', () => {
  const data = dataOf([[1], [1], [1]], [0, 1, 10]);
  assert.ok(Math.abs(leastAbsolute(data, 1)[0] - 1) < 0.05);
  data.weights.set([1, 1, 5]);
  assert.ok(Math.abs(leastAbsolute(data, 1)[0] - 10) < 0.05);
});

test('a censored row pulls down only what lies above its bound', () => {
  const rows = Array.from({ length: 40 }, () => [1]);
  const y = rows.map((_, i) => (i % 2 === 0 ? 1 : 3));
  const above = dataOf(
    rows,
    y,
    rows.map((_, i) => i % 2 === 1),
  );
  assert.ok(Math.abs(leastAbsolute(above, 1)[0] - 1) < 0.05, 'bounds of 3 say nothing about 1');
  const below = dataOf(
    rows,
    y,
    rows.map((_, i) => i % 4 === 0),
  );
  assert.ok(leastAbsolute(below, 1)[0] < 3.01);
});

test('the ridge draws slopes to zero and leaves the constant', () => {
  const rows = Array.from({ length: 50 }, (_, i) => [1, i % 2 === 0 ? 1 : -1]);
  const y = rows.map(([, x]) => 7 + x);
  const b = leastAbsolute(dataOf(rows, y), 1e6);
  assert.ok(Math.abs(b[0] - 7) < 1.1 && Math.abs(b[1]) < 0.01, b.join(' '));
});

test('logistic regression finds the chances that made the answers', () => {
  const random = seededRandom(2);
  const rows = Array.from({ length: 5000 }, () => [1, 6 * random.next() - 3]);
  const y = rows.map(([, x]) => Number(random.next() < probabilityOf(0.5 + x)));
  const b = logistic(dataOf(rows, y), 1e-3);
  assert.ok(Math.abs(b[0] - 0.5) < 0.15 && Math.abs(b[1] - 1) < 0.15, b.join(' '));
  assert.ok(dot([1, 0], 0, b) === b[0]);
});

test('a perfect separation and a column of zeros end in finite numbers', () => {
  const rows = Array.from({ length: 20 }, (_, i) => [1, i < 10 ? -1 : 1, 0]);
  const y = rows.map(([, x]) => Number(x > 0));
  for (const b of [logistic(dataOf(rows, y), 1), leastAbsolute(dataOf(rows, y), 1)]) {
    assert.ok(b.every(Number.isFinite));
  }
});
