import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  enrolledHealth,
  restoredHealth,
  RESTORED_GRACE_MS,
  SILENT_AFTER_MS,
  step,
  type HealthEvent,
  type HealthState,
} from './health-machine.ts';

type State = 'starting' | 'filling' | 'serving' | 'draining';
type Status = 'healthy' | 'degraded' | 'down';

const WALL_MS = 1_800_000_000_000;

function heartbeat(state: State, status: Status = 'healthy', reasons: string[] = []): HealthEvent {
  return { name: 'heartbeat', heartbeat: { state, health: { status, reasons } } };
}

const good = heartbeat('serving');
const closed: HealthEvent = { name: 'closed', why: 'reset' };
const tick: HealthEvent = { name: 'tick' };
const connected: HealthEvent = { name: 'connected' };

/** Plays events at the given monotonic times, and gives the standing after each. */
function play(from: HealthState, events: readonly [atMs: number, event: HealthEvent][]): string[] {
  let state = from;
  return events.map(([atMs, event]) => {
    state = step(state, event, atMs, WALL_MS + atMs);
    return state.standing;
  });
}

test('a box is down until its first good heartbeat, then serves', () => {
  assert.deepEqual(
    play(enrolledHealth(0, WALL_MS), [
      [10, connected],
      [20, heartbeat('starting')],
      [1020, heartbeat('filling')],
      [2020, good],
    ]),
    ['down', 'down', 'serving', 'serving'],
  );
});

test('a closed connection counts at once, and a restarted box serves with its first good heartbeat', () => {
  assert.deepEqual(
    play(enrolledHealth(0, WALL_MS), [
      [0, good],
      [100, closed],
      [5000, connected],
      [5001, good],
    ]),
    ['serving', 'gone-hard', 'gone-hard', 'serving'],
  );
});

test('silence counts after three seconds, and coming back takes three heartbeats in a row', () => {
  assert.deepEqual(
    play(enrolledHealth(0, WALL_MS), [
      [0, good],
      [SILENT_AFTER_MS - 1, tick],
      [SILENT_AFTER_MS, tick],
      [9000, good],
      [10_000, good],
      [11_000, good],
    ]),
    ['serving', 'serving', 'gone-silent', 'down', 'down', 'serving'],
  );
});

test('a box that says it is down is down, and proves itself with three heartbeats', () => {
  let state = step(enrolledHealth(0, WALL_MS), good, 0, WALL_MS);
  state = step(state, heartbeat('serving', 'down', ['disk 2 fails']), 1000, WALL_MS + 1000);
  assert.equal(state.standing, 'down');
  assert.deepEqual(state.reasons, ['disk 2 fails']);
  assert.equal(state.sinceMs, WALL_MS + 1000);
  assert.deepEqual(
    play(state, [
      [2000, good],
      [3000, heartbeat('serving', 'down')],
      [4000, good],
      [5000, good],
      [6000, good],
    ]),
    ['down', 'down', 'down', 'down', 'serving'],
  );
});

test('a degraded box serves on, and its reasons are kept', () => {
  const state = step(
    enrolledHealth(0, WALL_MS),
    heartbeat('serving', 'degraded', ['one disk is gone']),
    0,
    WALL_MS,
  );
  assert.equal(state.standing, 'serving');
  assert.deepEqual(state.reasons, ['one disk is gone']);
});

test('a draining box is draining while it says so, and serves again when it stops', () => {
  assert.deepEqual(
    play(enrolledHealth(0, WALL_MS), [
      [0, good],
      [1000, heartbeat('draining')],
      [2000, heartbeat('draining')],
      [3000, good],
      [4000, heartbeat('draining')],
      [8000, tick],
    ]),
    ['serving', 'draining', 'draining', 'serving', 'draining', 'gone-silent'],
  );
});

test('a box that was lost three times within a minute proves itself with ten heartbeats', () => {
  let state = enrolledHealth(0, WALL_MS);
  for (let loss = 0; loss < 3; loss++) {
    state = step(state, good, loss * 1000, WALL_MS);
    assert.equal(state.standing, 'serving');
    state = step(state, closed, loss * 1000 + 500, WALL_MS);
  }
  const standings = play(
    state,
    Array.from({ length: 10 }, (_, n) => [4000 + n * 1000, good] as [number, HealthEvent]),
  );
  assert.deepEqual(standings, [...Array<string>(9).fill('down'), 'serving']);
});

test('losses that lie more than a minute apart are no flapping', () => {
  let state = enrolledHealth(0, WALL_MS);
  for (let loss = 0; loss < 5; loss++) {
    state = step(state, good, loss * 70_000, WALL_MS);
    state = step(state, closed, loss * 70_000 + 500, WALL_MS);
  }
  assert.equal(step(state, good, 400_000, WALL_MS).standing, 'serving');
});

test('after a restart of the control plane a box keeps its standing for the grace, then it is gone', () => {
  const kept = { standing: 'serving', reasons: [], sinceMs: WALL_MS - 5 } as const;
  const restored = restoredHealth(kept, 0);
  assert.equal(restored.sinceMs, WALL_MS - 5);
  assert.deepEqual(
    play(restored, [
      [RESTORED_GRACE_MS - 1, tick],
      [RESTORED_GRACE_MS, tick],
    ]),
    ['serving', 'gone-silent'],
  );
  assert.deepEqual(
    play(restored, [
      [4000, good],
      [4000 + SILENT_AFTER_MS, tick],
    ]),
    ['serving', 'gone-silent'],
  );
});

test('a standing that does not change keeps the time since when it holds', () => {
  let state = step(enrolledHealth(0, WALL_MS), good, 0, WALL_MS);
  state = step(state, good, 1000, WALL_MS + 1000);
  assert.equal(state.sinceMs, WALL_MS);
  state = step(state, closed, 2000, WALL_MS + 2000);
  const again = step(state, closed, 3000, WALL_MS + 3000);
  assert.equal(again.sinceMs, WALL_MS + 2000);
});
