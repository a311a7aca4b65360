import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeRollout, stageOf } from './rollout.ts';

const config = { canarySites: ['paris'], share: 0.2, holdMinutes: 10, missRiseMax: 0.05 };
const MINUTE = 60_000;
const before = { viewerBytes: 1e9, missBytes: 1e8 };

test('a stage is held for its time, then widened; misses that rose end it at once', () => {
  const good = { viewerBytes: 1e9, missBytes: 1.4e8 };
  assert.equal(judgeRollout(before, good, 0, config, 5 * MINUTE).verdict, 'wait');
  assert.equal(judgeRollout(before, good, 0, config, 10 * MINUTE).verdict, 'widen');
  const bad = judgeRollout(before, { viewerBytes: 1e9, missBytes: 1.6e8 }, 0, config, MINUTE);
  assert.deepEqual(bad, {
    verdict: 'roll-back',
    why: 'content misses rose from 10.0 % to 16.0 % of what viewers took',
  });
});

test('a few megabytes are no evidence, and nobody watching does not hold the night up', () => {
  const few = { viewerBytes: 1e6, missBytes: 1e6 };
  assert.equal(judgeRollout(before, few, 0, config, MINUTE).verdict, 'wait');
  assert.equal(judgeRollout(before, few, 0, config, 10 * MINUTE).verdict, 'widen');
});

test('boxes of a canary site come first, then about the share of the others', () => {
  assert.equal(stageOf({ applianceId: 'x', siteId: 'paris' }, config), 'canary');
  const stages = Array.from({ length: 1000 }, (_, at) =>
    stageOf({ applianceId: `box-${at}`, siteId: 'lyon' }, config),
  );
  const share = stages.filter((stage) => stage === 'share').length;
  assert.ok(share > 150 && share < 250, String(share));
});
