import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startTime, takeSignedTime, timeAt, timeProblems } from './trusted-time.ts';

const YEAR_MS = 365 * 24 * 3600 * 1000;
const T = Date.UTC(2026, 10, 20);

test('the wall clock jumps by a year either way: trusted time goes on', () => {
  const state = takeSignedTime(startTime(null, T, 0), T, 0);
  for (const wallMs of [T, T + YEAR_MS, T - YEAR_MS]) {
    assert.equal(timeAt(state, 5000), T + 5000);
    const problems = timeProblems(state, wallMs + 5000, 5000);
    assert.equal(problems.length, wallMs === T ? 0 : 1);
  }
  assert.match(timeProblems(state, T + YEAR_MS, 0)[0], /31536000 s fast/);
  assert.match(timeProblems(state, T - 3000, 0)[0], /3 s slow/);
});

const starts: readonly [name: string, kept: number | null, wall: number, start: number][] = [
  ['nothing kept: the wall clock', null, T, T],
  ['the wall clock lost a year: the kept time', T, T - YEAR_MS, T],
  ['the wall clock is later: the wall clock', T - 1000, T, T],
];
for (const [name, kept, wall, expected] of starts) {
  test(`a cold boot without the control plane takes ${name}, and says so`, () => {
    const state = startTime(kept, wall, 100);
    assert.equal(timeAt(state, 100), expected);
    assert.match(timeProblems(state, wall, 100)[0], /no signed time/);
  });
}

test('the first signed time replaces a wall clock that was a year ahead', () => {
  const state = takeSignedTime(startTime(T, T + YEAR_MS, 0), T + 50, 10);
  assert.equal(timeAt(state, 10), T + 50);
});

test('an old signed time, played again, moves nothing', () => {
  const first = takeSignedTime(startTime(null, T, 0), T, 0);
  const later = takeSignedTime(first, T + 60_000, 60_000);
  assert.equal(takeSignedTime(later, T, 61_000), later);
  assert.equal(takeSignedTime(later, T + 60_000, 61_000), later);
});

test('a signed time that is late on the wire does not set the clock back', () => {
  const first = takeSignedTime(startTime(null, T, 0), T + 1000, 0);
  const late = takeSignedTime(first, T + 1500, 1200);
  assert.equal(timeAt(late, 1200), T + 2200);
});

test('a monotonic clock that drifted is corrected', () => {
  const first = takeSignedTime(startTime(null, T, 0), T, 0);
  const corrected = takeSignedTime(first, T + 3_600_000, 3_610_000);
  assert.equal(timeAt(corrected, 3_610_000), T + 3_600_000);
});
