import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nightShape } from '../fill-night.ts';
import { simulateNight, type NightShape } from './simulated-night.ts';

const small = (given: Partial<NightShape> = {}): NightShape =>
  nightShape({ sites: 6, countries: 2, worldFiles: 8, countryFiles: 8, ...given });

test('every box is complete in its window, and one copy of each file crosses the origin’s link', async () => {
  const night = await simulateNight(small());
  assert.equal(night.complete, night.boxes);
  assert.ok(night.originEgressRatio <= 1.05, `egress ${night.originEgressRatio}`);
  assert.ok(night.cascadeDepth.max >= 3, 'origin, tier, peer');
});

test('the same seed twice gives the same history, another seed another one', async () => {
  const one = await simulateNight(small());
  assert.equal((await simulateNight(small())).history, one.history);
  assert.notEqual((await simulateNight(small({ seed: 2 }))).history, one.history);
});

test('a tenth of the boxes dies half-way: all living ones are complete all the same', async () => {
  const plain = await simulateNight(small());
  const dieAfterSeconds = (plain.completeAfterSeconds ?? 0) / 2;
  const night = await simulateNight(small({ deadShare: 0.1, dieAfterSeconds, seed: 3 }));
  assert.ok(night.living < night.boxes, 'some died');
  assert.equal(night.complete, night.living);
  assert.ok(night.originEgressRatio <= 1.5, `egress ${night.originEgressRatio}`);
});

test('the control plane dies ten minutes into the window: the boxes agree among themselves and finish', async () => {
  const night = await simulateNight(small({ planeDiesAfterSeconds: 600 }));
  assert.equal(night.complete, night.boxes);
  assert.ok(
    night.originEgressRatio <= 1.05,
    `egress ${night.originEgressRatio}: they wait for whoever is at work`,
  );
});

test('a control plane that is restarted in the middle of the fill costs no copy over the origin’s link', async () => {
  const restarted = { planeDiesAfterSeconds: 120, planeIsBackAfterSeconds: 240 };
  const night = await simulateNight(small(restarted));
  assert.equal(night.complete, night.boxes);
  assert.ok(night.originEgressRatio <= 1.05, `egress ${night.originEgressRatio}`);
});

test('an origin at a hundredth of its speed is not asked for more than one copy', async () => {
  const night = await simulateNight(small({ originBps: 0.1e9, stepSeconds: 120 }));
  assert.ok(night.originEgressRatio <= 1.05, `egress ${night.originEgressRatio}`);
  assert.ok(night.bytes > 3 * night.originBytes, 'what came was passed on');
});

test('a window that is too short is closed in the middle of files, and what is there stays there', async () => {
  const { completeAfterSeconds } = await simulateNight(small());
  const windowHours = (completeAfterSeconds ?? 0) / 2 / 3600;
  const night = await simulateNight(small({ windowHours }));
  assert.ok(night.complete < night.boxes);
  assert.ok(night.bytes > 0);
});
