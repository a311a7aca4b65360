import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleHeartbeat, exampleListing, examplePlanSet, exampleSite } from './test-examples.ts';
import { Rig, type RigBox } from './test-rig.ts';

async function staged(t: Parameters<typeof Rig.start>[0], holdMinutes: number): Promise<Rig> {
  const rollout = { canarySites: ['paris'], share: 0, holdMinutes, missRiseMax: 0.05 };
  const rig = await Rig.start(t, { rollout });
  await rig.putSite();
  await rig.putSite({ ...exampleSite('lyon', '198.51.100.0/24') });
  await rig.publish(exampleListing('film', ['a', 'b']));
  return rig;
}

async function plan(rig: Rig, planDate: string, ordinals: readonly number[]): Promise<void> {
  const { epoch } = rig.controlPlane.plane.catalogue;
  const boxes = [
    { applianceId: 'p', clusterId: 'paris' },
    { applianceId: 'l', clusterId: 'lyon' },
  ];
  const set = examplePlanSet(epoch, boxes, ordinals, { planDate });
  const answer = await rig.call('POST', '/v1/plans', 'planner', {
    planSet: await rig.signPlan(set),
  });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
}

async function files(rig: Rig): Promise<unknown> {
  const { manifests } = rig.controlPlane.plane;
  return [(await manifests.current('p'))?.entries, (await manifests.current('l'))?.entries];
}

async function watched(box: RigBox, viewerBytes: number, missBytes: number): Promise<void> {
  const { counters } = exampleHeartbeat(box.bootId, 1);
  await box.beat({
    counters: { ...counters, viewerBytes, missBytes: { peer: 0, tier: 0, origin: missBytes } },
  });
}

test('a night reaches the canary site first, and everybody once its stages were held', async (t) => {
  const rig = await staged(t, 0);
  await rig.box('p', 'paris');
  await rig.box('l', 'lyon');
  await plan(rig, '2026-06-01', [0]);
  assert.deepEqual(await files(rig), [1, 1], 'a first plan has nothing to be compared with');
  const { rollout } = rig.controlPlane.plane;
  await plan(rig, '2026-06-02', [0, 1]);
  assert.deepEqual(await files(rig), [2, 1]);
  rollout.look();
  assert.equal(rollout.state.name, 'share');
  rollout.look();
  assert.equal(rollout.state.name, 'done');
  assert.deepEqual(await files(rig), [2, 2]);
});

test('misses that rise at the canary site take the plans back, as a new version; the others never had them', async (t) => {
  const rig = await staged(t, 60);
  const canary = await rig.box('p', 'paris');
  await rig.box('l', 'lyon');
  await canary.connect();
  await watched(canary, 1e9, 1e7);
  await plan(rig, '2026-06-01', [0, 1]);
  assert.deepEqual(await files(rig), [2, 2]);
  await plan(rig, '2026-06-02', [0]);
  assert.deepEqual(await files(rig), [1, 2]);
  await watched(canary, 2e9, 3e8);
  await rig.restart();
  const { manifests, rollout } = rig.controlPlane.plane;
  await canary.connect();
  await watched(canary, 2e9, 3e8);
  rollout.look();
  assert.equal(rollout.state.name, 'rolled-back');
  assert.deepEqual(await files(rig), [2, 2]);
  assert.equal((await manifests.current('p'))?.version, 3);
  const [alarm] = rig.controlPlane.plane.alarms.newest();
  assert.match(alarm.what, /taken back from 1 boxes: content misses rose from 1\.0 % to 29\.0 %/);
});
