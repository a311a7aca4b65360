import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { generateSigningKey, type SigningKey } from '#base/jws.ts';
import { checkPlannerInput, type PlanSet } from '#fill-planner/contract.ts';
import { checkFillSources } from '../contract.ts';
import { readManifest } from '../manifest-reader.ts';
import { exampleFileId, exampleListing, examplePlanSet, exampleSite } from './test-examples.ts';
import { Rig, until, type RigBox } from './test-rig.ts';

async function withCatalogue(t: TestContext): Promise<{ rig: Rig; box: RigBox; epoch: number }> {
  const rig = await Rig.start(t);
  await rig.putSite();
  const published = await rig.publish(exampleListing('film', ['a', 'b', 'c']));
  const box = await rig.box('box-1');
  return { rig, box, epoch: Number(published.body['epoch']) };
}

const BOX_1 = { applianceId: 'box-1', clusterId: 'paris' };

test('a plan becomes a manifest that the box opens, fetched again only when its content changes', async (t) => {
  const { rig, box, epoch } = await withCatalogue(t);
  assert.equal((await box.get('/v1/manifest')).status, 404);
  const first = { planSet: await rig.signPlan(examplePlanSet(epoch, [BOX_1], [2, 0])) };
  assert.equal((await rig.call('POST', '/v1/plans', 'planner', first)).status, 201);
  assert.equal((await rig.call('POST', '/v1/plans', 'planner', first)).status, 200, 'same run');
  const answer = await box.get('/v1/manifest');
  assert.equal(answer.status, 200);
  assert.equal(answer.headers['etag'], '"1"');
  assert.equal(answer.headers['content-type'], 'application/vnd.nightfill.manifest');
  const opened = await readManifest(answer.bytes, rig.ring, {
    applianceId: 'box-1',
    versionInUse: 0,
    clusterId: 'paris',
    epoch,
  });
  assert.ok(opened.ok);
  assert.deepEqual(
    opened.value.entries.map(({ fileId, density }) => [fileId, density]),
    [
      [exampleFileId('c'), 100],
      [exampleFileId('a'), 99],
    ],
  );
  assert.equal((await box.get('/v1/manifest', { 'if-none-match': '"1"' })).status, 304);
  // The next night plans the same: no new version. Then one file more: version 2.
  const sameNext = examplePlanSet(epoch, [BOX_1], [2, 0], { planDate: '2026-06-02' });
  await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(sameNext) });
  assert.equal((await box.get('/v1/manifest', { 'if-none-match': '"1"' })).status, 304);
  const more = examplePlanSet(epoch, [BOX_1], [2, 0, 1], { planDate: '2026-06-03' });
  await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(more) });
  assert.equal((await box.get('/v1/manifest', { 'if-none-match': '"1"' })).headers['etag'], '"2"');
});

test('a new plan is named in the answers to heartbeats, and a file that gains a title renews the manifest', async (t) => {
  const { rig, box, epoch } = await withCatalogue(t);
  await box.connect();
  assert.equal((await box.beat()).versions.manifest, 0);
  const planSet = await rig.signPlan(examplePlanSet(epoch, [BOX_1], [0]));
  await rig.call('POST', '/v1/plans', 'planner', { planSet });
  let told = 0;
  for (let n = 0; n < 50 && told !== 1; n++) told = (await box.beat()).versions.manifest;
  assert.equal(told, 1);
  await rig.publish(exampleListing('film-cut', ['a', 'x']));
  for (let n = 0; n < 50 && told !== 2; n++) told = (await box.beat()).versions.manifest;
  assert.equal(told, 2);
  const opened = await readManifest((await box.get('/v1/manifest')).bytes, rig.ring, {
    applianceId: 'box-1',
    versionInUse: 1,
  });
  assert.ok(opened.ok);
  assert.deepEqual(opened.value.entries[0].titles, ['film', 'film-cut']);
});

test('a box that was removed has no plan when it enrols anew, and gets one with the next night', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const box = await rig.box('box-1');
  const { manifests } = rig.controlPlane.plane;
  const { epoch } = rig.controlPlane.plane.catalogue;
  const boxes = [{ applianceId: 'box-1', clusterId: 'paris' }];
  const plan = async (planDate: string): Promise<void> => {
    const set = examplePlanSet(epoch, boxes, [0], { planDate });
    await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(set) });
  };
  await plan('2026-06-01');
  assert.equal((await manifests.current(box.applianceId))?.version, 1);
  assert.equal(manifests.versionOf('box-1'), 1);
  assert.equal((await rig.call('DELETE', '/v1/appliances/box-1', 'operator')).status, 204);
  await rig.box('box-1');
  assert.equal(manifests.versionOf('box-1'), 0);
  assert.equal(await manifests.current('box-1'), null);
  await plan('2026-06-02');
  assert.equal((await manifests.current('box-1'))?.entries, 1);
});

test('a plan set is taken whole or not at all', async (t) => {
  const { rig, box, epoch } = await withCatalogue(t);
  const good = examplePlanSet(epoch, [BOX_1], [0, 1]);
  const stranger = (await generateSigningKey('EdDSA')).key;
  const [order] = good.orders;
  const [plan] = good.plans;
  const cases: readonly [string, PlanSet, SigningKey | undefined, number, RegExp][] = [
    ['signed by a stranger', good, stranger, 403, /signature/],
    ['of another epoch', { ...good, epoch: epoch + 1 }, undefined, 409, /epoch/],
    [
      'with an order that was altered',
      { ...good, orders: [{ ...order, ordinals: [1, 0] }] },
      undefined,
      422,
      /not its content/,
    ],
    [
      'for an unknown box',
      examplePlanSet(epoch, [BOX_1, { applianceId: 'box-9', clusterId: 'paris' }], [0]),
      undefined,
      422,
      /no such appliance/,
    ],
    [
      'for another cluster',
      examplePlanSet(epoch, [{ ...BOX_1, clusterId: 'lyon' }], [0]),
      undefined,
      422,
      /cluster/,
    ],
    [
      'with an unknown ordinal',
      examplePlanSet(epoch, [BOX_1], [0, 99]),
      undefined,
      422,
      /ordinal 99/,
    ],
    [
      'with a pin that was never given',
      { ...good, plans: [{ ...plan, pins: [77] }] },
      undefined,
      422,
      /ordinal 77/,
    ],
    [
      'with rising densities',
      { ...good, orders: [{ ...order, densities: [1, 2] }] },
      undefined,
      422,
      /content|rise/,
    ],
    [
      'with a band that fits no member',
      { ...good, plans: [{ ...plan, bands: [{ fromDensity: 0, copies: 1, weights: [1, 1] }] }] },
      undefined,
      422,
      /one weight per member/,
    ],
    ['without its order', { ...good, orders: [] }, undefined, 422, /order is not in the set/],
  ];
  for (const [what, set, key, status, message] of cases) {
    const planSet = await rig.signPlan(set, key);
    const answer = await rig.call('POST', '/v1/plans', 'planner', { planSet });
    assert.equal(answer.status, status, what);
    assert.match(String(answer.body['message']), message, what);
  }
  const signed = await rig.signPlan(good);
  const altered = `${signed.slice(0, -6)}AAAAAA`;
  const tampered = await rig.call('POST', '/v1/plans', 'planner', { planSet: altered });
  assert.equal(tampered.status, 403);
  assert.equal((await box.get('/v1/manifest')).status, 404, 'nothing of it was taken');
  assert.equal((await rig.call('POST', '/v1/plans', 'planner', { planSet: signed })).status, 201);
  const reused = await rig.signPlan({ ...good, summary: { ...good.summary, bytesPlanned: 9 } });
  assert.equal((await rig.call('POST', '/v1/plans', 'planner', { planSet: reused })).status, 409);
  const older = await rig.signPlan(examplePlanSet(epoch, [BOX_1], [0], { planDate: '2026-05-01' }));
  assert.equal((await rig.call('POST', '/v1/plans', 'planner', { planSet: older })).status, 409);
});

test('sources are peers of the cluster, then tiers, then the origin; only whole files of serving boxes', async (t) => {
  const { rig, box } = await withCatalogue(t);
  await rig.call('POST', '/v1/sites', 'operator', exampleSite('lyon', '198.51.100.0/24'));
  const peer = await rig.box('box-2');
  const tier = await rig.box('far-1', 'lyon');
  for (const other of [peer, tier]) {
    await other.connect();
    await other.holds(1, [exampleFileId('a')]);
  }
  const ask = async (files: readonly string[]): Promise<unknown[]> => {
    const answer = await box.post('/v1/sources', { fileIds: files, purpose: 'fill' });
    const checked = checkFillSources(answer.body);
    assert.ok(checked.ok);
    return checked.value.files.map((file) => file.sources.map(({ kind, id }) => `${kind} ${id}`));
  };
  assert.deepEqual(await ask([exampleFileId('a'), exampleFileId('b'), exampleFileId('none')]), [
    ['peer box-2', 'tier far-1', 'origin origin'],
    ['origin origin'],
    [],
  ]);
  peer.disconnect();
  const { fleet } = rig.controlPlane.plane;
  await until('the peer to be gone', () => fleet.box('box-2')?.health.standing === 'gone-hard');
  assert.deepEqual(await ask([exampleFileId('a')]), [['tier far-1', 'origin origin']]);
  const many = Array.from({ length: 1001 }, (_, n) => exampleFileId(`file ${n}`));
  assert.equal((await box.post('/v1/sources', { fileIds: many, purpose: 'fill' })).status, 400);
});

test('of two boxes that are to hold a file one waits for the other, until that one is gone; a viewer never waits', async (t) => {
  const { rig, box, epoch } = await withCatalogue(t);
  const other = await rig.box('box-2');
  const boxes = [box, other];
  const planned = boxes.map(({ applianceId }) => ({ applianceId, clusterId: 'paris' }));
  const planSet = await rig.signPlan(examplePlanSet(epoch, planned, [0]));
  await rig.call('POST', '/v1/plans', 'planner', { planSet });
  for (const each of boxes) {
    await each.connect();
    await each.beat();
    await each.get('/v1/manifest');
  }
  const originDelay = async (asker: RigBox, purpose: 'fill' | 'miss', name = 'a') => {
    const wanted = { fileIds: [exampleFileId(name)], purpose };
    const checked = checkFillSources((await asker.post('/v1/sources', wanted)).body);
    assert.ok(checked.ok);
    return checked.value.files[0].sources.at(-1)?.delayMs;
  };
  const { patienceMs } = rig.controlPlane.plane.config.fillEscalation.standard;
  const delays = await Promise.all(boxes.map((each) => originDelay(each, 'fill')));
  assert.deepEqual(
    delays.toSorted((a, b) => Number(a) - Number(b)),
    [0, patienceMs],
  );
  const waiting = boxes[delays.indexOf(patienceMs)];
  const master = boxes[delays.indexOf(0)];
  assert.equal(await originDelay(waiting, 'miss'), 0);
  assert.equal(await originDelay(waiting, 'fill', 'b'), 0, 'in no manifest of another box');
  master.disconnect();
  const { fleet } = rig.controlPlane.plane;
  await until('the master to be gone', () => {
    return fleet.box(master.applianceId)?.health.standing === 'gone-hard';
  });
  assert.equal(await originDelay(waiting, 'fill'), 0);
});

test('the planner is given the catalogue, the boxes with what they have left, holdings and demand', async (t) => {
  const { rig, box, epoch } = await withCatalogue(t);
  await box.connect();
  await box.holds(1, [exampleFileId('b')]);
  const quarter = Math.floor(Date.now() / 1000 / 900) * 900;
  const record = { quarter, home: 'paris', reason: 'home', bytes: 500, starts: 1 } as const;
  await box.viewRecords({
    spoolId: 's',
    sequence: 1,
    records: [{ ...record, fileId: exampleFileId('b') }],
  });
  const planDate = new Date().toISOString().slice(0, 10);
  const answer = await rig.call('GET', `/v1/planner/input?planDate=${planDate}`, 'planner');
  const input = checkPlannerInput(answer.body);
  assert.ok(input.ok, JSON.stringify(input));
  assert.equal(input.value.epoch, epoch);
  assert.deepEqual(input.value.titles[0].ordinals, [0, 1, 2]);
  assert.deepEqual(input.value.holdings, [{ applianceId: 'box-1', ordinals: [1] }]);
  assert.equal(input.value.appliances[0].storageBytes, 1_000_000);
  assert.deepEqual(input.value.demand, [
    { ordinal: 1, home: 'paris', day: planDate, bytes: 500, starts: 1 },
  ]);
  assert.equal((await rig.call('GET', '/v1/planner/input?planDate=soon', 'planner')).status, 400);
  assert.equal((await rig.call('GET', '/v1/planner/input?other=1', 'planner')).status, 400);
});

const SCHEDULES = {
  cronUtc: '0 1 * * *',
  planCommand: [],
  trendCommand: [],
  trendCronUtc: '*/15 * * * *',
  timeoutSeconds: 30,
};

test('the planner is started as a child, one at a time, and a child that fails is an alarm', async (t) => {
  const script = (text: string): readonly string[] => [process.execPath, '-e', text];
  const rig = await Rig.start(t, {
    planning: {
      ...SCHEDULES,
      planCommand: [...script('process.stdin.resume(); setTimeout(() => process.exit(0), 300)')],
    },
  });
  const { planning } = rig.controlPlane.plane;
  assert.equal((await rig.call('POST', '/v1/plan-now', 'operator')).status, 202);
  assert.equal((await rig.call('POST', '/v1/plan-now', 'operator')).status, 409);
  await until('the child to end', () => planning.state.name === 'ended');
  assert.equal(planning.state.name === 'ended' && planning.state.ok, true);
  const failing = await Rig.start(t, {
    planning: {
      ...SCHEDULES,
      planCommand: [...script('console.error("no input"); process.exit(4)')],
    },
  });
  const { planning: other, alarms } = failing.controlPlane.plane;
  assert.equal(other.nightly(), 'started');
  await until('the child to fail', () => other.state.name === 'ended');
  assert.match(alarms.newest()[0].what, /ended with status 4: no input/);
  assert.match(alarms.newest()[0].todo, /plan-now/);
  const holding = await Rig.start(t, {
    planning: {
      ...SCHEDULES,
      planCommand: [...script('console.error("held for approval: 7 points"); process.exit(3)')],
    },
  });
  const { planning: held, alarms: heldAlarms } = holding.controlPlane.plane;
  assert.equal(held.nightly(), 'started');
  await until('the child to hold its plan', () => held.state.name === 'ended');
  assert.match(heldAlarms.newest()[0].what, /waits for approval: held for approval: 7 points/);
  assert.match(heldAlarms.newest()[0].todo, /nightfill plan approve/);
  const none = await Rig.start(t);
  assert.equal(
    (await none.call('POST', '/v1/plan-now', 'operator')).body['error'],
    'no-plan-command',
  );
});

test('a planner that hangs is ended after its time', async (t) => {
  const rig = await Rig.start(t, {
    planning: {
      ...SCHEDULES,
      planCommand: [process.execPath, '-e', 'setInterval(() => {}, 1000)'],
      timeoutSeconds: 1,
    },
  });
  const { planning, alarms } = rig.controlPlane.plane;
  planning.run('a test');
  await until('the child to be ended', () => planning.state.name === 'ended');
  assert.match(alarms.newest()[0].what, /took longer than 1 s/);
});

test('a night that is planned already starts nothing', async (t) => {
  const rig = await Rig.start(t, {
    planning: {
      ...SCHEDULES,
      planCommand: [process.execPath, '-e', ''],
    },
  });
  await rig.putSite();
  const published = await rig.publish(exampleListing('film', ['a']));
  await rig.box('box-1');
  const planDate = new Date().toISOString().slice(0, 10);
  const set = examplePlanSet(Number(published.body['epoch']), [BOX_1], [0], { planDate });
  await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(set) });
  const { planning } = rig.controlPlane.plane;
  assert.equal(planning.nightly(), 'planned-already');
  assert.equal(planning.state.name, 'idle');
});

test('a look at trends is a child of its own: it waits for a plan, keeps none waiting, and alarms nobody', async (t) => {
  const rig = await Rig.start(t, {
    planning: {
      ...SCHEDULES,
      planCommand: [process.execPath, '-e', 'setTimeout(() => {}, 300)'],
      trendCommand: [process.execPath, '-e', 'setTimeout(() => process.exit(1), 300)'],
    },
  });
  const { planning, alarms } = rig.controlPlane.plane;
  const look = planning.trend();
  assert.equal(await planning.trend(), 'running-already');
  assert.equal(planning.run('a test'), 'started');
  assert.equal(await look, 'started');
  assert.deepEqual(alarms.newest(), []);
  await until('the plan to end', () => planning.state.name === 'ended');
  assert.equal(planning.run('a test'), 'started');
  assert.equal(await planning.trend(), 'running-already');
  await until('the plan to end', () => planning.state.name === 'ended');
  assert.equal(await (await Rig.start(t)).controlPlane.plane.planning.trend(), 'no-command');
});
