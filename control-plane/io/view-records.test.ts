import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ViewRecord } from '#appliance/contract.ts';
import { exampleFileId, exampleListing } from './test-examples.ts';
import { Rig } from './test-rig.ts';

const QUARTER = Math.floor(Date.now() / 1000 / 900) * 900;

function record(over: Partial<ViewRecord> = {}): ViewRecord {
  return {
    fileId: exampleFileId('a'),
    quarter: QUARTER,
    home: 'paris',
    reason: 'home',
    bytes: 100,
    starts: 1,
    ...over,
  };
}

test('a batch counts once: again, out of order and after a gap the answer is the last one taken in', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const box = await rig.box('box-1');
  const send = async (sequence: number, spoolId = 'spool-1'): Promise<unknown> =>
    (await box.viewRecords({ spoolId, sequence, records: [record()] })).body['acknowledged'];
  assert.equal(await send(2), 0, 'a gap before anything');
  assert.equal(await send(1), 1);
  assert.equal(await send(1), 1, 'again');
  assert.equal(await send(3), 1, 'a gap');
  assert.equal(await send(2), 2);
  assert.equal(await send(3), 3);
  assert.equal(await send(1), 3, 'late and again');
  assert.equal(await send(1, 'spool-2'), 1, 'a new spool counts for itself');
  const today = new Date(QUARTER * 1000).toISOString().slice(0, 10);
  assert.deepEqual(rig.controlPlane.plane.demand.demand(today), [
    { ordinal: 0, home: 'paris', day: today, bytes: 400, starts: 4 },
  ]);
});

test('records add up per file, home and day, and per quarter, home and reason', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const box = await rig.box('box-1');
  await box.viewRecords({
    spoolId: 's',
    sequence: 1,
    records: [
      record(),
      record({ reason: 'content', bytes: 50, starts: 0 }),
      record({ fileId: exampleFileId('b'), home: 'unknown', reason: 'other', bytes: 7 }),
      record({ fileId: exampleFileId('of no title'), bytes: 1_000_000 }),
      record({ quarter: QUARTER + 8 * 900, bytes: 1_000_000 }),
      record({ quarter: 900, bytes: 1_000_000 }),
    ],
  });
  const { demand } = rig.controlPlane.plane;
  const today = new Date(QUARTER * 1000).toISOString().slice(0, 10);
  assert.deepEqual(
    demand.demand(today).map(({ ordinal, home, bytes }) => [ordinal, home, bytes]),
    [
      [0, 'paris', 150],
      [1, 'unknown', 7],
    ],
  );
  assert.deepEqual(
    demand.quarters(QUARTER).map(({ home, reason, bytes }) => [home, reason, bytes]),
    [
      ['paris', 'content', 50],
      ['paris', 'home', 100],
      ['unknown', 'other', 7],
    ],
  );
});

test('a day of records is given whole, with the files by name', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const box = await rig.box('box-1');
  await box.viewRecords({ spoolId: 's', sequence: 1, records: [record()] });
  const day = new Date(QUARTER * 1000).toISOString().slice(0, 10);
  const answer = await rig.call('GET', `/v1/records?day=${day}`, 'planner');
  assert.deepEqual(answer.body['files'], [
    { fileId: exampleFileId('a'), titleIds: 'film', home: 'paris', bytes: 100, starts: 1 },
  ]);
  assert.equal((answer.body['quarters'] as unknown[]).length, 1);
  assert.equal((await rig.call('GET', '/v1/records?day=2020-01-01', 'operator')).status, 200);
  assert.equal((await rig.call('GET', `/v1/records?day=${day}`, null)).status, 401);
});

test('a batch that is not what the contract says is refused whole', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const box = await rig.box('box-1');
  const cases: readonly [what: string, batch: object][] = [
    ['a client address', { ...record(), client: '192.0.2.1' }],
    ['a quarter that is none', record({ quarter: QUARTER + 1 })],
    ['bytes below zero', record({ bytes: -1 })],
    ['an unknown reason', { ...record(), reason: 'because' }],
  ];
  for (const [what, bad] of cases) {
    const batch = { spoolId: 's', sequence: 1, records: [record(), bad] };
    const answer = await box.post('/v1/view-records', batch);
    assert.equal(answer.status, 400, what);
  }
  const good = await box.viewRecords({ spoolId: 's', sequence: 1, records: [record()] });
  assert.equal(good.body['acknowledged'], 1);
});
