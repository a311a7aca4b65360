import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OperationsView } from '../dashboard/operations-view.ts';
import {
  exampleFileId,
  exampleHeartbeat,
  exampleListing,
  examplePlanSet,
  exampleSite,
} from './test-examples.ts';
import { Rig, until } from './test-rig.ts';

test('one view says who holds a release up, what a box did about a takedown, how the rollout goes, and what each box lacks', async (t) => {
  const rollout = { canarySites: ['paris'], share: 0, holdMinutes: 60, missRiseMax: 0.05 };
  const rig = await Rig.start(t, { rollout });
  await rig.putSite();
  await rig.putSite({ ...exampleSite('lyon', '198.51.100.0/24') });
  const soon = {
    at: new Date(Date.now() + 3_600_000).toISOString(),
    countries: ['*'],
    priority: 1,
  };
  await rig.publish({ ...exampleListing('film', ['a', 'b']), release: soon });
  await rig.publish({
    ...exampleListing('far', ['c']),
    release: { ...soon, at: new Date(Date.now() + 90 * 86_400_000).toISOString() },
  });
  const [paris, lyon] = [await rig.box('p', 'paris'), await rig.box('l', 'lyon')];
  const { catalogue, manifests } = rig.controlPlane.plane;
  const boxes = [
    { applianceId: 'p', clusterId: 'paris' },
    { applianceId: 'l', clusterId: 'lyon' },
  ];
  const plan = async (planDate: string): Promise<void> => {
    const set = examplePlanSet(catalogue.epoch, boxes, [0, 1], { planDate });
    await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(set) });
  };
  await plan('2026-06-01');
  for (const box of [paris, lyon]) {
    await manifests.current(box.applianceId);
    await box.connect();
  }
  const { fill } = exampleHeartbeat('boot', 1);
  const filled = { ...fill, manifestVersion: 1, filesWanted: 2, bytesWanted: 2000 };
  await lyon.beat({ fill: { ...filled, filesHeld: 2, bytesHeld: 2000 } });
  await lyon.holds(1, [exampleFileId('a'), exampleFileId('b')]);
  await paris.holds(1, [exampleFileId('b')]);
  await paris.beat({ fill: { ...filled, filesHeld: 1, bytesHeld: 1000, waitingFor: 'space' } });
  await plan('2026-06-02');
  await rig.call('POST', '/v1/denials', 'operator', {
    kind: 'issuer',
    value: 'gone',
    reason: 'contract',
  });
  await until('the list', () => paris.pushed.length + lyon.pushed.length === 2);

  const answer = await rig.call('GET', '/v1/operations/view', null);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  const view = answer.body as unknown as OperationsView;
  assert.deepEqual(
    view.releases.map(({ titleId }) => titleId),
    ['film'],
    'what is released in three months is not tonight’s work',
  );
  const [{ liveness }] = view.releases;
  assert.equal(liveness?.isLive, false);
  assert.deepEqual(liveness.copies, { held: 3, planned: 4 });
  assert.deepEqual(
    liveness.blocking.map(({ clusterId, boxes: answers }) => [clusterId, answers]),
    [['paris', [{ applianceId: 'p', answer: 'waits for space' }]]],
  );
  const [takedown] = view.takedowns;
  assert.deepEqual(
    [takedown.kind, takedown.value, takedown.reason],
    ['issuer', 'gone', 'contract'],
  );
  assert.deepEqual(
    takedown.boxes.map(({ applianceId, status }) => [applianceId, status]),
    [
      ['l', 'waiting'],
      ['p', 'waiting'],
    ],
  );
  assert.equal(view.rollout.name, 'canary');
  assert.equal(view.rollout.boxes, 1);
  assert.equal((view.rollout.untilMs ?? 0) - (view.rollout.sinceMs ?? 0), 3_600_000);
  assert.deepEqual(
    view.inventories.map(({ applianceId, heldShare, isShort }) => [
      applianceId,
      heldShare,
      isShort,
    ]),
    [
      ['p', 0.5, true],
      ['l', 1, false],
    ],
  );
  const drift = (await rig.call('GET', '/v1/operations/inventory/p', null)).body as unknown as {
    missing: { shown: { fileId: string }[] };
  };
  assert.deepEqual(
    drift.missing.shown.map(({ fileId }) => fileId),
    [exampleFileId('a')],
  );
  assert.equal((await rig.call('GET', '/v1/operations/inventory/nobody', null)).status, 404);
});

test('the view says which steering nodes are heard, what they doubt, and which CDNs are registered', async (t) => {
  const rig = await Rig.start(t);
  const look = async (): Promise<OperationsView> =>
    (await rig.call('GET', '/v1/operations/view', null)).body as unknown as OperationsView;
  const { externals: none, steeringNodes: nobody } = await look();
  assert.deepEqual([none, nobody], [[], []]);
  const verdicts = [{ applianceId: 'p', family: 4, name: 'suspect', ageMs: 10 }];
  const said = { nodeId: 'node-1', verdicts };
  assert.equal((await rig.call('POST', '/v1/steering/verdicts', 'steering', said)).status, 204);
  const external = {
    externalId: 'ext',
    name: 'Another CDN',
    baseUrl: 'https://cdn.example',
    tokens: 'rfc9246',
    costPerGb: 0.02,
    regions: [{ countries: ['*'], commitBps: 0, capBps: 1e9 }],
  };
  assert.equal((await rig.call('POST', '/v1/externals', 'operator', external)).status, 201);
  let view = await look();
  // A view is kept for two seconds.
  while (view.externals.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    view = await look();
  }
  assert.deepEqual(
    view.steeringNodes.map(({ nodeId, isLive, against }) => [nodeId, isLive, against]),
    [['node-1', true, 1]],
  );
  assert.equal(view.externals[0].host, 'cdn.example');
});

test('where the pages ask for a password, the operations view does too', async (t) => {
  const pagesAuthentication = { user: 'me', passwordSha256: 'A'.repeat(43) };
  const rig = await Rig.start(t, { pagesAuthentication });
  for (const route of ['/v1/operations/view', '/v1/operations/inventory/p']) {
    assert.equal((await rig.call('GET', route, null)).status, 401, route);
  }
});
