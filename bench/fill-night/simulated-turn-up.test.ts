import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulateTurnUp, type TurnUpShape } from './simulated-turn-up.ts';

const shape = (given: Partial<TurnUpShape>): TurnUpShape => ({
  files: 100,
  fileBytes: 0.2e12,
  siblings: 2,
  lanBps: 10e9,
  linkBps: 1.2e9,
  windowHours: 12,
  outsideWindow: 'site',
  days: 3,
  stepSeconds: 600,
  ...given,
});

test('an empty box is turned up from its siblings in hours, alone in nights, the most wanted files first', async () => {
  const beside = await simulateTurnUp(shape({}));
  assert.equal(beside.bySource.origin, 0, 'nothing crosses the link');
  assert.ok((beside.turnedUpAfterHours ?? Infinity) < 8);
  assert.ok((beside.offloadAt['3 h'] ?? 0) > 3 / 4.5 / 2, 'density order is ahead of bytes');
  const alone = await simulateTurnUp(shape({ siblings: 0 }));
  assert.equal(alone.bySource.peer, 0);
  assert.ok((alone.offloadAt['1 d'] ?? 1) < (beside.offloadAt['1 d'] ?? 0));
  assert.equal(alone.fullAfterHours, null, '20 TB are more than three nights');
});

test('outside the window a box fetches from its site only where its operator said so', async () => {
  const inside = await simulateTurnUp(shape({ outsideWindow: 'never', files: 300 }));
  const outside = await simulateTurnUp(shape({ outsideWindow: 'site', files: 300 }));
  assert.equal(inside.offloadAt['12 h'], outside.offloadAt['12 h'], 'the first window is the same');
  assert.ok((inside.turnedUpAfterHours ?? Infinity) >= (outside.turnedUpAfterHours ?? 0));
  const alone = await simulateTurnUp(shape({ siblings: 0, outsideWindow: 'site' }));
  const alsoFar = await simulateTurnUp(shape({ siblings: 0, outsideWindow: 'all' }));
  assert.ok(alsoFar.bySource.origin > alone.bySource.origin);
});
