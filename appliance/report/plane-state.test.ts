import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HeartbeatAnswer } from '#control-plane/contract.ts';
import { isWindowOpen, NOTHING_TOLD, takeAnswer } from './plane-state.ts';

const HOUR_MS = 3_600_000;
const NOON_MS = Date.UTC(2026, 10, 21, 12);

function answer(
  fillWindow: HeartbeatAnswer['fillWindow'],
  versions: Partial<HeartbeatAnswer['versions']> = {},
): HeartbeatAnswer {
  return {
    type: 'answer',
    sequence: 1,
    signedTime: '',
    versions: { ...NOTHING_TOLD.versions, ...versions },
    fillWindow,
    resyncHoldings: false,
  };
}

const HAVE = { manifest: 3, keys: 2 };

test('a window closes at its time by trusted time when nobody says so any more, and none opens by itself', () => {
  assert.equal(isWindowOpen(NOTHING_TOLD, NOON_MS), false, 'nothing was told yet');
  const open = { open: true, closesAtMs: NOON_MS, opensAtMs: null };
  const { state } = takeAnswer(NOTHING_TOLD, answer(open), HAVE);
  assert.equal(isWindowOpen(state, NOON_MS - 1), true);
  assert.equal(isWindowOpen(state, NOON_MS), false);
  assert.equal(isWindowOpen(state, NOON_MS + 24 * HOUR_MS), false, 'the next night neither');
  const closed = { open: false, closesAtMs: null, opensAtMs: NOON_MS };
  const later = takeAnswer(state, answer(closed), HAVE).state;
  assert.equal(isWindowOpen(later, NOON_MS + HOUR_MS), false, 'its time came, but no word');
  const always = takeAnswer(state, answer({ ...open, closesAtMs: null }), HAVE).state;
  assert.equal(isWindowOpen(always, NOON_MS + 24 * HOUR_MS), true);
});

test('what grew is pulled, once; sources also when they went back', () => {
  const open = { open: true, closesAtMs: null, opensAtMs: null };
  const first = takeAnswer(NOTHING_TOLD, answer(open, { manifest: 4, keys: 2, sources: 7 }), HAVE);
  assert.deepEqual(first.pulls, { manifest: true, sources: true, keys: false });
  const again = answer(open, { manifest: 4, keys: 3, sources: 7 });
  const second = takeAnswer(first.state, again, { manifest: 4, keys: 2 });
  assert.deepEqual(second.pulls, { manifest: false, sources: false, keys: true });
  const restarted = takeAnswer(second.state, answer(open, { sources: 1 }), HAVE);
  assert.equal(restarted.pulls.sources, true);
});
