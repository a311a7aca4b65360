import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  HEALTHY,
  isUsable,
  noteCall,
  type SourceEvent,
  type SourceHealth,
} from './source-health.ts';

function after(events: readonly SourceEvent[], nowMs: number, from = HEALTHY): SourceHealth {
  return events.reduce((health, event) => noteCall(health, event, nowMs), from);
}

const failed = (times: number): readonly SourceEvent[] => Array<SourceEvent>(times).fill('failed');
const ok = (times: number): readonly SourceEvent[] => Array<SourceEvent>(times).fill('ok');

test('the breaker opens above half of the last ten calls, not at half', () => {
  assert.equal(isUsable(after([...ok(5), ...failed(5)], 0), 0), true, 'five of ten');
  assert.equal(isUsable(after([...ok(5), ...failed(6)], 0), 0), false, 'six of the last ten');
  assert.equal(isUsable(after(failed(4), 0), 0), true, 'four calls say nothing');
  assert.equal(isUsable(after(failed(5), 0), 0), false);
  assert.equal(isUsable(after([...failed(4), ...ok(100)], 0), 0), true, 'long ago');
});

test('after its pause it is half open: one failure opens it for twice as long, one success closes it', () => {
  const open = after(failed(5), 0);
  assert.equal(isUsable(open, 1999), false);
  assert.equal(isUsable(open, 2000), true, 'half open');
  const again = noteCall(open, 'failed', 2000);
  assert.equal(isUsable(again, 5999), false);
  assert.equal(isUsable(again, 6000), true);
  const closed = noteCall(again, 'ok', 6000);
  assert.equal(isUsable(after(failed(3), 6001, closed), 6001), true, 'a failure or three');
  const gone = after(failed(4), 6001, closed);
  assert.equal(isUsable(gone, 6001), false);
  assert.equal(isUsable(gone, 8001), true, 'the first pause again');
});

test('an answer to a call from before the pause does not close it', () => {
  const open = after(failed(5), 0);
  assert.equal(isUsable(noteCall(open, 'ok', 1000), 1000), false);
});

test('the pause is bounded, however long a source is gone', () => {
  let health = HEALTHY;
  let nowMs = 0;
  for (let round = 0; round < 100; round++) {
    health = noteCall(health, 'failed', nowMs);
    nowMs = Math.max(nowMs, health.openUntilMs);
  }
  assert.ok(noteCall(health, 'failed', nowMs).openUntilMs - nowMs <= 60_000);
});

test('bad bytes are blamed at once, twice as long each time, and a good call does not forgive them', () => {
  const once = noteCall(HEALTHY, 'corrupt', 0);
  assert.deepEqual([isUsable(once, 59_999), isUsable(once, 60_000)], [false, true]);
  const twice = noteCall(once, 'corrupt', 60_000);
  assert.deepEqual([isUsable(twice, 179_999), isUsable(twice, 180_000)], [false, true]);
  const praised = noteCall(twice, 'ok', 60_001);
  assert.equal(isUsable(praised, 100_000), false);
  assert.equal(praised.corruptChunks, 2);
  const liar = Array.from({ length: 40 }).reduce<SourceHealth>(
    (health) => noteCall(health, 'corrupt', 0),
    HEALTHY,
  );
  assert.ok(liar.blamedUntilMs <= 60_000 * 2 ** 10, 'bounded');
});
