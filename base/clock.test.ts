import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from './clock.ts';

test('timers fire in order of due time, ties in order of creation', () => {
  const clock = new SimulatedClock();
  const fired: string[] = [];
  clock.after(20, () => fired.push('late'));
  clock.after(10, () => fired.push('first'));
  clock.after(10, () => fired.push('second'));
  clock.advance(15);
  assert.deepEqual(fired, ['first', 'second']);
  clock.advance(15);
  assert.deepEqual(fired, ['first', 'second', 'late']);
});

test('a timer that schedules another one within the same advance sees it fire', () => {
  const clock = new SimulatedClock();
  const at: number[] = [];
  clock.after(5, () => clock.after(5, () => at.push(clock.monotonicMs())));
  clock.advance(100);
  assert.deepEqual(at, [10]);
  assert.equal(clock.monotonicMs(), 100);
});

test('a periodic timer can cancel itself', () => {
  const clock = new SimulatedClock();
  let count = 0;
  const timer = clock.every(10, () => {
    if (++count === 3) timer.cancel();
  });
  clock.advance(1000);
  assert.equal(count, 3);
});

test('a jump of the wall clock does not move monotonic time', () => {
  const clock = new SimulatedClock(1_000_000);
  clock.advance(5);
  clock.jumpWall(-500_000);
  assert.equal(clock.monotonicMs(), 5);
  assert.equal(clock.wallMs(), 500_005);
});
