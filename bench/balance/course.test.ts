import assert from 'node:assert/strict';
import { test } from 'node:test';
import { courseOf, reversalOf } from './course.ts';

const QUIET = [Array.from({ length: 300 }, () => 0.5)];
const near = (value: number, expected: number): boolean => Math.abs(value - expected) < 0.02;

/** 900 s by a formula. */
function series(useAt: (second: number) => number): number[] {
  return Array.from({ length: 900 }, (_, second) => useAt(second));
}

test('a shock that fades to rest is no overshoot and no swing', () => {
  const course = courseOf([series((at) => 0.8 + 0.2 * Math.exp(-at / 120))], QUIET);
  assert.ok(near(course.shock, 0.24), `${course.shock}`);
  assert.ok(course.overshoot < 0.01, `${course.overshoot}`);
  assert.equal(course.swing, 0);
  assert.equal(course.byChance, 0);
});

test('a box that is carried beyond shock and rest, or below both, overshoots by that much', () => {
  const up = courseOf([series((at) => (at < 100 ? 0.55 : at < 300 ? 0.96 : 0.8))], QUIET);
  assert.ok(near(up.above, 0.2) && up.overshoot === up.above, JSON.stringify(up));
  const down = courseOf([series((at) => (at < 100 ? 1 : at < 300 ? 0.6 : 0.8))], QUIET);
  assert.ok(near(down.below, 0.25) && down.overshoot === down.below, JSON.stringify(down));
});

test('a lasting swing is seen by its height, whatever drifts beneath it is not', () => {
  const swinging = series((at) => 0.8 + 0.1 * Math.sin(at / 40));
  assert.ok(near(courseOf([swinging], QUIET).swing, 0.18), 'a minute’s mean takes some of it');
  assert.equal(courseOf([series((at) => 0.5 + at / 3000)], QUIET).swing, 0);
  assert.equal(reversalOf([1, 2, 3]), 0);
  assert.equal(reversalOf([1, 3, 2]), 1);
  assert.equal(reversalOf([3, 1, 4]), 2);
  assert.equal(reversalOf([]), 0);
});
