import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DrainWatch } from './drain-watch.ts';

test('a drain counts who still watches, is safe when nobody is left, and keeps nobody after its deadline', () => {
  const watch = new DrainWatch();
  assert.equal(watch.progress(0, 3).isDraining, false);
  watch.start(100_000, 60_000);
  const viewers = [{}, {}, {}];
  for (const viewer of viewers) watch.note(viewer, 101_000);
  watch.note(viewers[0], 110_000);
  const early = watch.progress(112_000, 1);
  assert.deepEqual([early.sessionsLeft, early.isSafeToPowerOff], [3, false]);
  assert.equal(early.etaMs, 48_000 + 30_000);
  watch.note(viewers[0], 120_000);
  assert.equal(watch.progress(134_000, 0).sessionsLeft, 3, 'seen within the last two windows');
  assert.equal(watch.progress(136_000, 0).sessionsLeft, 1);
  assert.equal(watch.progress(155_000, 1).isSafeToPowerOff, false, 'something is still being sent');
  const done = watch.progress(171_000, 0);
  assert.deepEqual([done.sessionsLeft, done.isSafeToPowerOff, done.etaMs], [0, true, 0]);
  assert.equal(watch.isOverdue(159_000), false);
  assert.equal(watch.isOverdue(160_000), true);
  watch.stop();
  assert.equal(watch.progress(200_000, 0).isDraining, false);
});

test('a box is not called safe in the first moments of a drain, when its viewers were merely not seen yet', () => {
  const watch = new DrainWatch();
  watch.start(1_000_000, 60_000);
  assert.equal(watch.progress(1_001_000, 0).isSafeToPowerOff, false);
  assert.equal(watch.progress(1_016_000, 0).isSafeToPowerOff, true);
});
