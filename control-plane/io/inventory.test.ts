import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { HOUR_MS } from '#base/units.ts';
import { readManifest, type BaseFile, type OpenedManifest } from '../manifest-reader.ts';
import { lookAtInventories } from './inventory-routes.ts';
import {
  exampleFileId,
  exampleHeartbeat,
  exampleListing,
  examplePlanSet,
} from './test-examples.ts';
import { Rig, type RigBox } from './test-rig.ts';

const NAMES = Array.from({ length: 51 }, (_, at) => `f${at}`);

/** A box with two nights behind it: files 0 to 49, then 1 to 50. */
async function twoNights(t: TestContext): Promise<{ rig: Rig; box: RigBox }> {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', NAMES));
  const box = await rig.box('box-1');
  const { catalogue, manifests } = rig.controlPlane.plane;
  const boxes = [{ applianceId: 'box-1', clusterId: 'paris' }];
  const all = [...NAMES.keys()];
  for (const [planDate, ordinals] of [
    ['2026-06-01', all.slice(0, 50)],
    ['2026-06-02', all.slice(1)],
  ] as const) {
    const set = examplePlanSet(catalogue.epoch, boxes, ordinals, { planDate });
    await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(set) });
    await manifests.current('box-1');
  }
  return { rig, box };
}

test('the versions of a box’s manifest are listed, and what comes and goes between two is named', async (t) => {
  const { rig } = await twoNights(t);
  const at = '/v1/appliances/box-1/manifests';
  const history = (await rig.call('GET', at, 'operator')).body['versions'] as {
    version: number;
    entries: number;
    planDate: string;
  }[];
  assert.deepEqual(
    history.map(({ version, entries, planDate }) => [version, entries, planDate]),
    [
      [2, 50, '2026-06-02'],
      [1, 50, '2026-06-01'],
    ],
  );
  const diff = (await rig.call('GET', `${at}/diff?from=1&to=2`, 'operator')).body as unknown as {
    added: { files: number; shown: { fileId: string }[] };
    removed: { files: number; shown: { fileId: string }[] };
    kept: number;
  };
  assert.deepEqual(
    [diff.added.shown[0].fileId, diff.removed.shown[0].fileId, diff.kept],
    [exampleFileId('f50'), exampleFileId('f0'), 49],
  );
  const unknown = await rig.call('GET', `${at}/diff?from=1&to=9`, 'operator');
  assert.equal(unknown.body['error'], 'manifest-version-unknown');
  assert.equal((await rig.call('GET', at, 'planner')).status, 403);
});

test('a box that says which version it has gets a delta where that leads there, also after a restart, else the full one', async (t) => {
  const { rig, box } = await twoNights(t);
  const opened = async (base: string, versionInUse: number, files: readonly string[]) => {
    const { bytes, headers } = await box.get(`/v1/manifest${base}`);
    assert.equal(Number(headers['content-length']), bytes.length);
    const one: BaseFile = { sizeBytes: 1000, titles: ['film'], density: 1, isUrgent: false };
    const outcome = await readManifest(bytes, rig.ring, {
      applianceId: 'box-1',
      versionInUse,
      base: { files: new Map(files.map((name) => [exampleFileId(name), one])) },
    });
    assert.ok(outcome.ok, JSON.stringify(outcome));
    return outcome.value;
  };
  const idsOf = ({ entries }: OpenedManifest): string[] =>
    entries.map(({ fileId }) => fileId).sort();
  const before = NAMES.slice(0, 50);
  const wanted = NAMES.slice(1).map(exampleFileId).sort();
  for (const when of ['before', 'after'] as const) {
    if (when === 'after') await rig.restart();
    await box.authenticate();
    const delta = await opened('?base=1', 1, before);
    assert.deepEqual([delta.header.kind, delta.header.entries], ['delta', 2], when);
    assert.deepEqual(idsOf(delta), wanted);
    const strange = await opened('?base=77', 1, before);
    assert.equal(strange.header.kind, 'full', 'on a version that was never made');
    assert.deepEqual(idsOf(strange), wanted);
  }
});

test('a day after its manifest was made, a box that holds too little of it is an alarm that says what to do', async (t) => {
  const { rig, box } = await twoNights(t);
  await box.connect();
  const { fill } = exampleHeartbeat('boot', 1);
  const filled = { ...fill, manifestVersion: 2, filesWanted: 2, bytesWanted: 2000 };
  await box.beat({ fill: { ...filled, filesHeld: 1, bytesHeld: 1000 } });
  const { plane } = rig.controlPlane;
  const { clock } = plane;
  const lookIn = (hours: number): string[] => {
    const later = { ...clock, wallMs: () => clock.wallMs() + hours * HOUR_MS };
    lookAtInventories({ ...plane, clock: later });
    return plane.alarms.newest().map(({ what, todo }) => `${what}; ${todo}`);
  };
  assert.deepEqual(lookIn(23), [], 'the night is not over');
  const [alarm] = lookIn(25);
  assert.match(alarm, /^box-1 is not filled: it holds 50\.0 % of its manifest/);
  assert.match(alarm, /nightfill inventory box-1/);
});
