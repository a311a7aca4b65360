import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayFill, type FillBeat } from './fleet.ts';

function beat(waitingFor: FillBeat['fill']['waitingFor']): FillBeat {
  return {
    bootId: 'boot',
    fill: { manifestVersion: 1, waitingFor },
    counters: { fillBytes: { peer: 0, tier: 0, origin: 0 } },
  };
}

test('a box whose last word is older than tonight’s plan is waited for; one that is held back is not', () => {
  const aboutTo = [null, 'manifest', 'window', 'turn', 'source'] as const;
  const heldBack = ['pause', 'budget', 'load', 'space'] as const;
  assert.deepEqual(
    aboutTo.map((word) => mayFill(beat(word))),
    aboutTo.map(() => true),
  );
  assert.deepEqual(
    heldBack.map((word) => mayFill(beat(word))),
    heldBack.map(() => false),
  );
  assert.equal(mayFill(null), true);
});
