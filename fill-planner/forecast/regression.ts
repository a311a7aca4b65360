/**
 * Linear regression for forecasts that are judged by absolute error: least absolute deviations with a ridge, and logistic.
 *
 * `leastAbsolute` minimises sum w |y - x b| + ridge |b|^2 / 2 by reweighted least squares. A row may be censored: then
 * y is only an upper bound (a title that left a list was seen below its last place) and costs w max(0, x b - y).
 *
 * Shape:      rows in one row-major Float64Array
 * Invariants: (1) deterministic: a bounded number of steps from zero
 *             (2) the first column is the constant, and is not drawn to zero
 * Source:     Schlossmacher 1973 (reweighting); Powell 1984 (censored LAD; here its convex one-sided form)
 */
import { assert } from '#base/outcome.ts';

export interface RegressionData {
  readonly columns: number;
  readonly x: Float64Array;
  readonly y: Float64Array;
  readonly weights: Float64Array;
  readonly censored: Uint8Array;
}

const STEPS = 25;
const MOVED_MIN = 1e-3; // no coefficient moved further: the forecast would move less than its rounding
const RESIDUAL_MIN = 0.02; // log units: below this an error is treated as square, which keeps the weights finite
const CONSTANT_RIDGE = 1e-6;

export function leastAbsolute(data: RegressionData, ridge: number): Float64Array {
  const { columns, x, y, weights, censored } = data;
  const rows = y.length;
  let b = new Float64Array(columns);
  const stepWeights = new Float64Array(rows);
  for (let step = 0; step < STEPS; step++) {
    for (let i = 0; i < rows; i++) {
      const residual = y[i] - dot(x, i * columns, b);
      const isFree = censored[i] === 1 && residual >= 0;
      stepWeights[i] = isFree ? 0 : weights[i] / Math.max(RESIDUAL_MIN, Math.abs(residual));
    }
    const next = solveNormal(x, y, stepWeights, columns, ridge);
    const moved = farthest(next, b);
    b = next;
    if (moved < MOVED_MIN) break;
  }
  return b;
}

/** P(y = 1) = 1 / (1 + exp(-x b)); `y` of the data is 0 or 1, `censored` is not looked at. Newton's steps. */
export function logistic(data: RegressionData, ridge: number): Float64Array {
  const { columns, x, y, weights } = data;
  let b = new Float64Array(columns);
  const stepWeights = new Float64Array(y.length);
  const target = new Float64Array(y.length);
  for (let step = 0; step < STEPS; step++) {
    for (let i = 0; i < y.length; i++) {
      const score = Math.max(-20, Math.min(20, dot(x, i * columns, b)));
      const p = probabilityOf(score);
      const curvature = Math.max(1e-4, p * (1 - p));
      stepWeights[i] = weights[i] * curvature;
      target[i] = score + (y[i] - p) / curvature;
    }
    const next = solveNormal(x, target, stepWeights, columns, ridge);
    const moved = farthest(next, b);
    b = next;
    if (moved < MOVED_MIN) break;
  }
  return b;
}

function farthest(a: Float64Array, b: Float64Array): number {
  let most = 0;
  for (let j = 0; j < a.length; j++) most = Math.max(most, Math.abs(a[j] - b[j]));
  return most;
}

export function probabilityOf(score: number): number {
  return 1 / (1 + Math.exp(-score));
}

/** x b of the row that starts at `from`. */
export function dot(x: ArrayLike<number>, from: number, b: Float64Array): number {
  let sum = 0;
  for (let j = 0; j < b.length; j++) sum += x[from + j] * b[j];
  return sum;
}

/** (X'WX + ridge) b = X'Wy, by Cholesky. */
export function solveNormal(
  x: Float64Array,
  y: Float64Array,
  weights: Float64Array,
  columns: number,
  ridge: number,
): Float64Array<ArrayBuffer> {
  const a = new Float64Array(columns * columns);
  const right = new Float64Array(columns);
  const filled = new Int32Array(columns); // most features are 0 in most rows: only the others are multiplied
  for (let i = 0; i < y.length; i++) {
    const w = weights[i];
    if (w === 0) continue;
    const from = i * columns;
    let count = 0;
    for (let j = 0; j < columns; j++) if (x[from + j] !== 0) filled[count++] = j;
    for (let p = 0; p < count; p++) {
      const j = filled[p];
      const wx = w * x[from + j];
      right[j] += wx * y[i];
      for (let q = 0; q <= p; q++) a[j * columns + filled[q]] += wx * x[from + filled[q]];
    }
  }
  a[0] += CONSTANT_RIDGE;
  for (let j = 1; j < columns; j++) a[j * columns + j] += ridge;
  return choleskySolve(a, right, columns);
}

function choleskySolve(a: Float64Array, right: Float64Array, n: number): Float64Array<ArrayBuffer> {
  assert(a.length === n * n && right.length === n, 'a square system');
  const b = Float64Array.from(right);
  for (let j = 0; j < n; j++) {
    let diagonal = a[j * n + j];
    for (let k = 0; k < j; k++) diagonal -= a[j * n + k] ** 2;
    const root = Math.sqrt(Math.max(diagonal, 1e-12));
    a[j * n + j] = root;
    for (let i = j + 1; i < n; i++) {
      let value = a[i * n + j];
      for (let k = 0; k < j; k++) value -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = value / root;
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}
