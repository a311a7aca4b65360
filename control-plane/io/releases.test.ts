import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFastTrack } from '../contract.ts';
import { exampleFileId, exampleListing, examplePlanSet } from './test-examples.ts';
import { Rig, until } from './test-rig.ts';

test('a title on the fast track is signed, pushed to every box, and pushed again to one that connects after a restart', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const box = await rig.box('box-1');
  await box.connect();
  await box.beat();
  const fileIds = [exampleFileId('b')];
  const body = { titleId: 'film', fileIds, clusters: ['paris'], why: 'trending in paris' };
  const made = await rig.call('POST', '/v1/fast-track', 'planner', body);
  assert.equal(made.status, 201, JSON.stringify(made.body));
  await until('the list', () => box.pushed.length === 1);
  const opened = await openFastTrack(box.pushed[0].document, rig.ring);
  assert.ok(opened.ok);
  assert.deepEqual(
    opened.value.entries.map(({ fileId, clusters }) => [fileId, clusters]),
    [[exampleFileId('b'), ['paris']]],
  );
  await rig.restart();
  await box.connect();
  await until('the list again', () => box.pushed.length === 2);
  assert.equal((await rig.call('POST', '/v1/fast-track', 'publish', body)).status, 403);
  const stranger = { ...body, fileIds: [exampleFileId('other')] };
  assert.equal((await rig.call('POST', '/v1/fast-track', 'operator', stranger)).status, 400);
  assert.equal((await rig.call('DELETE', '/v1/fast-track', 'operator')).status, 204);
  await until('the empty list', () => box.pushed.length === 3);
});

test('liveness follows the manifests and what boxes hold, and says what a box that is too full answers', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const [one, two] = [await rig.box('box-1'), await rig.box('box-2')];
  const liveness = async (): Promise<Record<string, unknown>> =>
    (await rig.call('GET', '/v1/titles/film/liveness', null)).body;
  assert.equal((await liveness())['isLive'], false, 'nothing is planned yet');
  const { epoch } = rig.controlPlane.plane.catalogue;
  const boxes = ['box-1', 'box-2'].map((applianceId) => ({ applianceId, clusterId: 'paris' }));
  const set = examplePlanSet(epoch, boxes, [0, 1]);
  await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(set) });
  for (const box of [one, two]) {
    await rig.controlPlane.plane.manifests.current(box.applianceId);
    await box.connect();
    await box.beat();
  }
  await one.holds(1, [exampleFileId('a'), exampleFileId('b')]);
  await two.holds(1, [exampleFileId('a')]);
  await two.beat({
    holdings: { version: 1, digest: '0'.repeat(32), files: 1 },
    fill: {
      manifestVersion: 1,
      filesWanted: 2,
      filesHeld: 1,
      bytesWanted: 2000,
      bytesHeld: 1000,
      active: 0,
      rateBps: 0,
      waitingFor: 'space',
      problem: null,
    },
  });
  const before = await liveness();
  assert.equal(before['isLive'], false);
  const [cluster] = before['clusters'] as { filesHeld: number; boxes: unknown[] }[];
  assert.equal(cluster.filesHeld, 1);
  assert.deepEqual(cluster.boxes, [{ applianceId: 'box-2', answer: 'waits for space' }]);
  await two.holds(2, [exampleFileId('a'), exampleFileId('b')]);
  assert.equal((await liveness())['isLive'], true);
});
