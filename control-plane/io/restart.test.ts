import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import { checkFillSources, setDigestOf } from '../contract.ts';
import { RESTORED_GRACE_MS } from '../health-machine.ts';
import { initKeyFiles, loadControlPlaneKeys } from './key-files.ts';
import { exampleFileId, exampleListing, examplePlanSet } from './test-examples.ts';
import { Rig, type RigBox } from './test-rig.ts';

const BOX_1 = { applianceId: 'box-1', clusterId: 'paris' };

test('a restart keeps catalogue, sites, boxes, holdings, plans, spools and alarms, and asks no box for everything', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const box = await rig.box('box-1');
  const { catalogue, alarms } = rig.controlPlane.plane;
  const { epoch } = catalogue;
  const planSet = await rig.signPlan(examplePlanSet(epoch, [BOX_1], [1, 0]));
  await rig.call('POST', '/v1/plans', 'planner', { planSet });
  assert.equal((await box.get('/v1/manifest')).headers['etag'], '"1"');
  await box.connect();
  const held = [exampleFileId('b')];
  await box.holds(4, held);
  await box.viewRecords({ spoolId: 's', sequence: 1, records: [] });
  alarms.raise('something happened', 'here', 'do this');
  const before = await rig.follow();
  await before.until('the box to serve', () => before.standingOf('box-1') === 'serving');
  const { version, prefixesVersion } = before.snapshot;

  await rig.restart();
  const after = await rig.follow();
  assert.ok(after.snapshot.version > version, 'versions never go back');
  assert.equal(after.snapshot.epoch, epoch);
  assert.equal(after.snapshot.prefixesVersion, prefixesVersion);
  assert.equal(after.standingOf('box-1'), 'serving', 'the box serves on without us');
  assert.deepEqual(after.ordinalsOf('box-1'), [1]);
  assert.equal((await box.get('/v1/manifest', { 'if-none-match': '"1"' })).status, 304);
  await box.connect();
  const holdings = { version: 4, digest: setDigestOf(held), files: 1 };
  assert.equal((await box.beat({ holdings })).resyncHoldings, false);
  const again = await box.viewRecords({ spoolId: 's', sequence: 1, records: [] });
  assert.equal(again.body['acknowledged'], 1);
  assert.equal(rig.controlPlane.plane.alarms.newest()[0].what, 'something happened');
  const published = await rig.publish(exampleListing('film-2', ['c']));
  assert.equal(published.body['firstOrdinal'], 2, 'ordinals go on where they were');
  const audit = await rig.call('GET', '/v1/audit', 'operator');
  const entries = audit.body['entries'] as { what: string }[];
  assert.ok(entries.some(({ what }) => what === 'enrolled'));
});

test('restarted in the middle of a fill, it names the same manifest, lets the same box wait, and knows what is filled already', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a', 'b']));
  const boxes = [await rig.box('box-1'), await rig.box('box-2')];
  const { epoch } = rig.controlPlane.plane.catalogue;
  const planned = boxes.map(({ applianceId }) => ({ applianceId, clusterId: 'paris' }));
  const planSet = await rig.signPlan(examplePlanSet(epoch, planned, [0, 1]));
  await rig.call('POST', '/v1/plans', 'planner', { planSet });
  let isFilled = false;
  const join = async (): Promise<void> => {
    for (const box of boxes) {
      await box.connect();
      let told = 0;
      for (let n = 0; n < 50 && told !== 1; n++) {
        const holdings = isFilled && box === boxes[0] ? { holdings: held } : {};
        told = (await box.beat(holdings)).versions.manifest;
      }
      assert.equal(told, 1, 'the manifest that the box has');
    }
  };
  const held = { version: 1, digest: setDigestOf([exampleFileId('a')]), files: 1 };
  const sourcesOf = async (box: RigBox, name: string): Promise<readonly (string | number)[][]> => {
    const wanted = { fileIds: [exampleFileId(name)], purpose: 'fill' };
    const checked = checkFillSources((await box.post('/v1/sources', wanted)).body);
    assert.ok(checked.ok);
    return checked.value.files[0].sources.map(({ id, delayMs }) => [id, delayMs]);
  };
  await join();
  await boxes[0].holds(1, [exampleFileId('a')]); // b is still to come
  isFilled = true;
  const asked = async (): Promise<unknown> => [
    await sourcesOf(boxes[1], 'a'),
    await sourcesOf(boxes[0], 'b'),
    await sourcesOf(boxes[1], 'b'),
  ];
  const before = await asked();
  await rig.restart();
  await join();
  assert.deepEqual(await asked(), before);
  const [a, ...b] = before as (string | number)[][][];
  assert.deepEqual(a[0], ['box-1', 0], 'what is filled comes from the neighbour');
  assert.equal(b.filter((sources) => sources.at(-1)?.[1] === 0).length, 1, 'one asks the origin');
});

test('a box that does not come back after a restart is gone once its grace is over', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const box = await rig.box('box-1');
  await box.connect();
  await box.beat();
  await rig.restart();
  const { fleet, clock } = rig.controlPlane.plane;
  assert.equal(fleet.box('box-1')?.health.standing, 'serving');
  const changes = fleet.tick(clock.monotonicMs() + RESTORED_GRACE_MS + 1000, clock.wallMs());
  assert.deepEqual(
    changes.map(({ applianceId, to }) => [applianceId, to]),
    [['box-1', 'gone-silent']],
  );
});

test('a state directory or database of another version is refused with what to do', async (t) => {
  const rig = await Rig.start(t);
  rig.close();
  await rig.controlPlane.stop();
  const state = path.join(rig.directory, 'state');
  const db = new Database(path.join(state, 'control-plane.sqlite'));
  const version = String(db.pragma('user_version', { simple: true }));
  db.pragma('user_version = 99');
  db.close();
  await assert.rejects(
    rig.restart(),
    /has form 99, this program knows \d+: start the later version/,
  );
  const repaired = new Database(path.join(state, 'control-plane.sqlite'));
  repaired.pragma(`user_version = ${version}`);
  repaired.close();
  writeFileSync(path.join(state, 'format'), '7\n');
  await assert.rejects(rig.restart(), /was written by format 7, this program reads 1/);
  writeFileSync(path.join(state, 'format'), '1\n');
  await rig.restart();
  assert.equal((await rig.call('GET', '/v1/health', null)).status, 200);
});

test('a port in use is one clear sentence', async (t) => {
  const first = await Rig.start(t);
  const port = Number(new URL(first.url).port);
  const rig = await Rig.start(t);
  const { config } = rig.controlPlane.plane;
  const { createControlPlane } = await import('./service.ts');
  const { clock, log } = rig.controlPlane.plane;
  const stateDir = path.join(rig.directory, 'other-state');
  const listen = { address: '127.0.0.1', port };
  const second = await createControlPlane({ ...config, stateDir, listen }, clock, log);
  await assert.rejects(
    second.start(),
    new RegExp(`cannot listen on 127.0.0.1:${port} .*EADDRINUSE`),
  );
});

test('keys are written once, for their owner alone, and a mixed directory is refused', async (t) => {
  const rig = await Rig.start(t);
  const keys = path.join(rig.directory, 'keys');
  await assert.rejects(initKeyFiles(keys, 0), /holds keys already .* not overwritten/);
  for (const name of ['root', 'manifest', 'plan', 'token', 'grant']) {
    assert.equal(statSync(path.join(keys, `${name}.jwk`)).mode & 0o777, 0o600, name);
  }
  assert.equal((await loadControlPlaneKeys(keys)).rootFingerprint, rig.keySet.rootFingerprint);
  const other = path.join(rig.directory, 'other-keys');
  await initKeyFiles(other, 0);
  writeFileSync(path.join(keys, 'manifest.jwk'), readFileSync(path.join(other, 'manifest.jwk')));
  await assert.rejects(
    loadControlPlaneKeys(keys),
    /manifest.jwk is not in the set that the root signed/,
  );
  writeFileSync(
    path.join(keys, 'online-keys.jws'),
    readFileSync(path.join(other, 'online-keys.jws')),
  );
  await assert.rejects(
    loadControlPlaneKeys(keys),
    /not one key set: the key set is not signed by the root/,
  );
  await assert.rejects(loadControlPlaneKeys('/nonexistent'), /nightfill keys init/);
});

test('a title taken in twice is the same; another content needs a higher version', async (t) => {
  const rig = await Rig.start(t);
  const listing = exampleListing('film', ['a', 'b']);
  const first = await rig.publish(listing);
  assert.equal(first.status, 201);
  assert.equal(first.body['firstOrdinal'], 0);
  assert.equal((await rig.publish(listing)).status, 200);
  const reordered = Object.fromEntries(Object.entries(listing).reverse()) as typeof listing;
  assert.equal((await rig.publish(reordered)).status, 200, 'the order of keys is no content');
  const reused = await rig.publish({ ...listing, name: 'Other' });
  assert.equal(reused.body['error'], 'version-reused');
  assert.equal((await rig.publish({ ...listing, name: 'Other', version: 2 })).status, 201);
  assert.equal((await rig.publish(listing)).body['error'], 'version-older');
  const twice = exampleListing('twice', ['x', 'x']);
  assert.equal((await rig.publish(twice)).body['error'], 'file-twice');
  const otherSize = exampleListing('size', ['a']);
  const [file] = otherSize.files;
  const differs = { ...otherSize, files: [{ ...file, sizeBytes: 2 }] };
  assert.equal((await rig.publish(differs)).body['error'], 'file-size-differs');
  const unknownKey = { ...exampleListing('strange', ['s']), colour: 'red' };
  assert.equal((await rig.publish(unknownKey)).body['error'], 'request-not-valid');
  const titles = (await rig.call('GET', '/v1/titles', null)).body['titles'] as { name: string }[];
  assert.deepEqual(
    titles.map(({ name }) => name),
    ['Other'],
  );
  assert.equal((await rig.call('GET', '/v1/titles/none', null)).body['error'], 'title-unknown');
});

test('a signed listing opens with the root’s fingerprint alone', async (t) => {
  const rig = await Rig.start(t);
  const listing = exampleListing('film', ['a']);
  await rig.publish(listing);
  const { openListing } = await import('../contract.ts');
  const answer = await rig.call('GET', '/t/film/listing', null);
  assert.match(String(answer.headers['content-type']), /^application\/jose/);
  const opened = await openListing(answer.bytes.toString('utf8'), rig.ring);
  assert.ok(opened.ok);
  assert.deepEqual(opened.value, listing);
});
