import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { openCompact } from '#base/jws.ts';
import { JWS_TYPE, setDigestOf } from '../contract.ts';
import { exampleFileId, exampleHeartbeat, exampleListing, exampleSite } from './test-examples.ts';
import { Rig, until } from './test-rig.ts';

test('a heartbeat is answered with the signed time, every version, and the fill window', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  await box.connect();
  const answer = await box.beat();
  const time = await openCompact(answer.signedTime, rig.ring.byUse.manifest, JWS_TYPE.time);
  assert.ok(time.ok);
  const { nowMs } = time.value.payload as { nowMs: number };
  assert.ok(Math.abs(Date.now() - nowMs) < 60_000);
  assert.equal(answer.versions.keys, 1);
  assert.equal(answer.versions.manifest, 0, 'no plan yet');
  assert.equal(answer.versions.configuration, 1);
  assert.deepEqual(answer.fillWindow, {
    open: true,
    opensAtMs: null,
    closesAtMs: null,
    hours: 24,
  });
  assert.equal(answer.resyncHoldings, true, 'nothing is known of its holdings');
});

test('steering sees a box serve, fill and vanish: a closed connection is pushed at once', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b', 'c']));
  const box = await rig.box('box-1');
  const steering = await rig.follow();
  assert.equal(steering.standingOf('box-1'), 'down');
  assert.deepEqual(
    steering.snapshot.titles[0].files.map((file) => file.ordinal),
    [0, 1, 2],
  );
  await box.connect();
  await box.holds(7, [exampleFileId('a'), exampleFileId('c')]);
  await steering.until('the box to serve', () => steering.standingOf('box-1') === 'serving');
  await steering.until('its holdings', () => steering.ordinalsOf('box-1').length === 2);
  assert.deepEqual(steering.ordinalsOf('box-1'), [0, 2]);
  box.send({
    type: 'holdings-delta',
    fromVersion: 7,
    toVersion: 8,
    added: [exampleFileId('b')],
    removed: [exampleFileId('a')],
  });
  await steering.until('the change', () => steering.ordinalsOf('box-1').includes(1));
  assert.deepEqual(steering.ordinalsOf('box-1'), [1, 2]);
  box.disconnect();
  await steering.until('the box to be gone', () => steering.standingOf('box-1') === 'gone-hard');
  assert.equal(steering.fulls, 1, 'all of it came as deltas');
  const { appliances } = steering.snapshot;
  assert.match(appliances[0].reasons[0], /^its connection was ended by the appliance$/);
  await box.connect();
  await box.beat();
  await steering.until('the box to be back', () => steering.standingOf('box-1') === 'serving');
});

test('a box whose process is killed is out of steering and an alarm; one that says goodbye is no alarm', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const polite = await rig.box('box-1');
  const killed = await rig.box('box-2');
  const steering = await rig.follow();
  await polite.connect();
  await polite.beat();
  polite.disconnect();
  await steering.until('goodbye', () => steering.standingOf('box-1') === 'gone-hard');
  const script = `
    const socket = new WebSocket(process.argv[1], { headers: { authorization: process.argv[2] } });
    socket.addEventListener('open', () => socket.send(process.argv[3]));`;
  const child = spawn(
    process.execPath,
    [
      '-e',
      script,
      `${rig.url.replace('http', 'ws')}/v1/heartbeat`,
      `Bearer ${killed.bearer}`,
      JSON.stringify(exampleHeartbeat('boot', 1)),
    ],
    { stdio: 'inherit' },
  );
  t.after(() => child.kill('SIGKILL'));
  await steering.until('the box to serve', () => steering.standingOf('box-2') === 'serving');
  child.kill('SIGKILL');
  await steering.until('the loss', () => steering.standingOf('box-2') === 'gone-hard');
  const alarms = rig.controlPlane.plane.alarms.newest().map(({ what }) => what);
  assert.equal(alarms.length, 1, alarms.join('\n'));
  assert.match(alarms[0], /^box-2 does not answer: its connection broke off$/);
});

test('a second steering process gets the full snapshot, and both follow from there', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const first = await rig.follow();
  await rig.publish(exampleListing('film', ['a']));
  await first.until('the title', () => first.snapshot.titles.length === 1);
  const second = await rig.follow();
  assert.deepEqual(second.snapshot.titles, first.snapshot.titles);
  await rig.publish(exampleListing('film-2', ['b']));
  await first.until('the second title', () => first.snapshot.titles.length === 2);
  await second.until('the second title', () => second.snapshot.titles.length === 2);
  assert.equal(rig.controlPlane.plane.publisher.connections, 2);
});

test('holdings whose digest differs are asked for whole, once, and a delta that does not follow too', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const box = await rig.box('box-1');
  await box.connect();
  const files = [exampleFileId('a')];
  assert.equal((await box.holds(1, files)).resyncHoldings, false);
  const agreed = { version: 1, digest: setDigestOf(files), files: 1 };
  const differs = { ...agreed, digest: setDigestOf([exampleFileId('b')]) };
  assert.equal((await box.beat({ holdings: differs })).resyncHoldings, true);
  assert.equal((await box.beat({ holdings: agreed })).resyncHoldings, false);
  box.send({ type: 'holdings-delta', fromVersion: 5, toVersion: 6, added: [], removed: [] });
  assert.equal((await box.beat({ holdings: { ...agreed, version: 6 } })).resyncHoldings, true);
});

test('a file held before its title was published is counted once it is', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  const steering = await rig.follow();
  await box.connect();
  await box.holds(1, [exampleFileId('early')]);
  await rig.publish(exampleListing('film', ['early']));
  await steering.until('the holding', () => steering.ordinalsOf('box-1').length === 1);
  assert.equal(
    (
      await box.beat({
        holdings: { version: 1, digest: setDigestOf([exampleFileId('early')]), files: 1 },
      })
    ).resyncHoldings,
    false,
  );
});

test('a frame that is none of ours closes the connection, with the reason', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const cases: readonly [what: string, frame: string, code: number, reason: RegExp][] = [
    ['no JSON', '{', 1007, /no JSON/],
    ['an unknown type', '{"type":"hello"}', 1007, /none of ours/],
    [
      'an unknown field',
      JSON.stringify({ ...exampleHeartbeat('b', 1), evil: true }),
      1007,
      /none of ours/,
    ],
    [
      'a heartbeat that is too large',
      JSON.stringify(exampleHeartbeat('b', 1)) + ' '.repeat(65 * 1024),
      1009,
      /too large/,
    ],
  ];
  for (const [at, [what, frame, code, reason]] of cases.entries()) {
    const box = await rig.box(`box-${at}`);
    await box.connect();
    box.send(frame);
    await until(`${what} to be refused`, () => box.closed !== null);
    assert.equal(box.closed?.code, code, what);
    assert.match(box.closed.reason, reason, what);
  }
});

test('a box that floods its connection is cut off', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  await box.connect();
  for (let n = 0; n < 1000; n++) box.send(exampleHeartbeat('b', n));
  await until('the flood to be refused', () => box.closed !== null);
  assert.equal(box.closed?.code, 1008);
});

test('a second live connection of one box replaces the first; two processes are an alarm', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  await box.connect();
  await box.beat();
  const clone = box.clone();
  await clone.connect();
  await until('the first connection to be closed', () => box.closed !== null);
  assert.equal(box.closed?.code, 4001);
  await clone.beat();
  assert.equal(rig.controlPlane.plane.fleet.box('box-1')?.health.standing, 'serving');
  assert.match(rig.controlPlane.plane.alarms.newest()[0].what, /two running appliances/);
});

test('a heartbeat connection needs an access token of an enrolled box', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  const stranger = box.clone();
  stranger.bearer = 'nothing';
  await assert.rejects(stranger.connect(), /refused/);
  assert.equal((await rig.call('GET', '/v1/heartbeat', { bearer: box.bearer })).status, 404);
});

test('one of two sites closes its fill window while the other stays open', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const hour = String((new Date().getUTCHours() + 6) % 24).padStart(2, '0');
  const fillWindow = { startLocal: `${hour}:00`, hours: 2, timeZone: 'UTC' };
  const lyon = { ...exampleSite('lyon', '198.51.100.0/24'), fillWindow };
  assert.equal((await rig.call('POST', '/v1/sites', 'operator', lyon)).status, 201);
  const box = await rig.box('box-1', 'lyon');
  await box.connect();
  const { fillWindow: told } = await box.beat();
  assert.equal(told.open, false);
  assert.ok(told.opensAtMs !== null && told.opensAtMs > Date.now());
});
