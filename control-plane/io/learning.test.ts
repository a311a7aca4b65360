import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ViewRecord } from '#appliance/contract.ts';
import { planNight } from '#fill-planner/fill-planner.ts';
import { readManifest } from '../manifest-reader.ts';
import { exampleFileId, exampleListing, exampleSite } from './test-examples.ts';
import { Rig, type RigBox } from './test-rig.ts';

const DAY_S = 86_400;
const NAMES = Array.from({ length: 30 }, (_, at) => `f${at}`);

/** Plans a night from what the control plane gives out, with the planner's own engine, and hands it in. */
async function planned(rig: Rig, planDate: string): Promise<void> {
  const input = await rig.call('GET', `/v1/planner/input?planDate=${planDate}`, 'planner');
  const outcome = planNight(input.body);
  assert.ok(outcome.ok, JSON.stringify(outcome));
  const planSet = await rig.signPlan(outcome.value.planSet);
  const answer = await rig.call('POST', '/v1/plans', 'planner', { planSet });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
}

async function filesOf(rig: Rig, box: RigBox): Promise<readonly string[]> {
  const { bytes } = await box.get('/v1/manifest');
  const { applianceId } = box;
  const opened = await readManifest(bytes, rig.ring, { applianceId, versionInUse: 0 });
  assert.ok(opened.ok);
  return opened.value.entries.map(({ fileId }) => fileId);
}

test('a file that no box of a site holds, asked for by its clients, is in the next night’s manifest of that site', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.putSite(exampleSite('lyon', '198.51.100.0/24'));
  // 30 files of 100 kB and boxes for a few of them: what is not asked for is not everywhere.
  const listing = exampleListing('film', NAMES);
  const files = listing.files.map((file) => ({ ...file, sizeBytes: 100_000 }));
  await rig.publish({ ...listing, files });
  const paris = await rig.box('p', 'paris');
  const lyon = await rig.box('l', 'lyon');
  const quarter = Math.floor(Date.now() / 1000 / 900) * 900 - DAY_S;
  const record = (name: string, home: string, reason: ViewRecord['reason']): ViewRecord => ({
    fileId: exampleFileId(name),
    quarter,
    home,
    reason,
    bytes: 20_000_000,
    starts: 200,
  });
  const everywhere = NAMES.slice(0, 8).flatMap((name) => [
    record(name, 'paris', 'home'),
    record(name, 'lyon', 'home'),
  ]);
  await paris.viewRecords({ spoolId: 's', sequence: 1, records: everywhere });
  const today = new Date().toISOString().slice(0, 10);
  const tomorrow = new Date(Date.now() + DAY_S * 1000).toISOString().slice(0, 10);
  await planned(rig, today);
  const missed = exampleFileId('f29');
  const before = await filesOf(rig, lyon);
  assert.ok(before.length > 0);
  assert.ok(!before.includes(missed), 'nobody asked for it');

  // Lyon lacks it, so Paris served Lyon's clients: their home is in the record, whoever sent the bytes.
  const asked = { ...record('f29', 'lyon', 'content'), bytes: 900_000_000, starts: 9000 };
  await paris.viewRecords({ spoolId: 's', sequence: 2, records: [asked] });
  await planned(rig, tomorrow);
  const [first] = await filesOf(rig, lyon);
  assert.equal(first, missed, 'its own clients asked for it more than for anything');
});
