import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey } from '#base/jws.ts';
import { setDigestOf } from '#control-plane/contract.ts';
import { CHUNK_BYTES, etagOf, signedContentUrl } from '#upstream/contract.ts';
import { entryOf, get, makeFile, manifestOf, until, World } from './test-world.ts';

const FILM = makeFile(1, 5 * CHUNK_BYTES + 77);
const SMALL = makeFile(2, 1000);

test('a box enrols, fills what its manifest wants and serves it by range with the right fields', async () => {
  await using world = await World.open();
  world.origin.add(FILM, SMALL);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film', 2), entryOf(SMALL, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 2, 'both files are held');
  const url = await world.url('film', FILM.fileId);

  const whole = await get(url);
  assert.equal(whole.status, 200);
  assert.ok(whole.body.equals(FILM.content), 'the bytes differ');
  assert.equal(whole.headers.etag, etagOf(FILM.fileId));
  assert.equal(whole.headers['accept-ranges'], 'bytes');
  assert.match(String(whole.headers['cache-control']), /immutable/);
  assert.equal(whole.headers['access-control-allow-origin'], '*');
  assert.equal(whole.headers['cache-status'], 'box-1; hit');

  const from = CHUNK_BYTES - 5;
  const part = await get(url, { range: `bytes=${from}-${from + 99}` });
  assert.equal(part.status, 206);
  assert.equal(part.headers['content-range'], `bytes ${from}-${from + 99}/${FILM.sizeBytes}`);
  assert.ok(part.body.equals(FILM.content.subarray(from, from + 100)));

  const beyond = await get(url, { range: `bytes=${FILM.sizeBytes}-` });
  assert.equal(beyond.status, 416);
  assert.equal(beyond.headers['content-range'], `bytes */${FILM.sizeBytes}`);

  assert.equal(
    (await get(url, { 'if-none-match': etagOf(FILM.fileId), range: 'bytes=0-1' })).status,
    304,
  );
  assert.equal(
    (await get(url, { 'if-range': etagOf(FILM.fileId), range: 'bytes=0-1' })).status,
    206,
  );
  assert.equal((await get(url, { 'if-range': '"other"', range: 'bytes=0-1' })).status, 200);
  assert.equal((await get(url, { 'if-match': '"other"' })).status, 412);
  const head = await get(url, { range: 'bytes=0-1' }, 'HEAD');
  assert.equal(head.status, 200);
  assert.equal(head.headers['content-length'], String(FILM.sizeBytes));
  assert.equal((await get(url, {}, 'OPTIONS')).status, 204);
  assert.equal((await get(url, {}, 'PUT')).status, 405);

  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.filesHeld === 2,
    'the heartbeat says so',
  );
  const beat = world.controlPlane.heartbeats.at(-1)!;
  assert.equal(beat.health.status, 'healthy', beat.health.reasons.join());
  assert.equal(beat.holdings.digest, setDigestOf([FILM.fileId, SMALL.fileId]));
  assert.equal(beat.counters.fillBytes.origin, FILM.sizeBytes + SMALL.sizeBytes);
  assert.equal(beat.counters.missBytes.origin, 0);
  assert.ok(world.origin.requests.every((line) => line.endsWith('fill')));
  assert.ok(
    world.origin.requests.every((line) => line.includes('bytes=')),
    'every fetch is a range',
  );
});

test('holdings follow by deltas, and in full when the control plane asks', async () => {
  await using world = await World.open();
  world.origin.add(FILM, SMALL);
  const box = await world.start();
  await until(() => world.controlPlane.heartbeats.length >= 2, 'connected');
  await world.controlPlane.plan(1, [entryOf(FILM, 'film'), entryOf(SMALL, 'film')]);
  await until(() => world.controlPlane.held.size === 2, 'both told');
  assert.ok(world.controlPlane.frames.some((frame) => frame.type === 'holdings-delta'));
  assert.ok(!world.controlPlane.frames.some((frame) => frame.type === 'holdings-full'));
  world.controlPlane.held.clear();
  world.controlPlane.resync = true;
  await until(() => world.controlPlane.held.size === 2, 'told again in full');
  assert.deepEqual(new Set(box.store.holdings.files()), world.controlPlane.held);
});

test('a manifest is refused when a stranger signed it, when it is another box’s, older, cut off or larger than the disk', async () => {
  await using world = await World.open();
  world.origin.add(FILM, SMALL);
  const plane = world.controlPlane;
  await plane.plan(2, [entryOf(SMALL, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'version 2 is in use');
  const stranger = (await generateSigningKey('EdDSA')).key;
  const wanted = [entryOf(FILM, 'film')];
  const good = await manifestOf(9, wanted, world.keys.manifest);
  const flipped = Buffer.from(good);
  flipped[good.length - 3] ^= 1;
  const huge = [{ ...entryOf(FILM, 'film'), sizeBytes: 10 ** 12 }];
  const cases: readonly [name: string, bytes: Buffer, problem: RegExp][] = [
    ['a stranger', await manifestOf(9, wanted, stranger), /manifest-signature/],
    ['another box', await manifestOf(9, wanted, world.keys.manifest, 'box-2'), /manifest-not-ours/],
    ['older', await manifestOf(1, wanted, world.keys.manifest), /manifest-stale/],
    ['cut off', good.subarray(0, good.length - 20), /manifest-body/],
    ['changed', flipped, /manifest-body/],
    ['too large', await manifestOf(9, huge, world.keys.manifest), /manifest-too-large/],
  ];
  for (const [name, bytes, problem] of cases) {
    plane.manifest = bytes;
    plane.manifestVersion++;
    if (plane.manifestVersion <= 2) plane.manifestVersion = 3;
    await until(
      () => problem.test(plane.heartbeats.at(-1)?.fill.problem ?? ''),
      `${name} is reported`,
    );
    assert.equal(plane.heartbeats.at(-1)!.fill.manifestVersion, 2, name);
  }
  await plane.plan(10, wanted);
  await until(() => box.store.holdings.has(FILM.fileId), 'a good one is taken again');
  await until(() => plane.heartbeats.at(-1)?.fill.problem === null, 'the problem is over');
});

test('nothing is fetched outside the fill window, and at once when it opens', async () => {
  await using world = await World.open();
  world.origin.add(SMALL);
  world.controlPlane.isWindowOpen = false;
  await world.controlPlane.plan(1, [entryOf(SMALL, 'film')]);
  const box = await world.start();
  await until(() => world.controlPlane.heartbeats.at(-1)?.fill.waitingFor === 'window', 'it waits');
  assert.deepEqual(world.origin.requests, []);
  world.controlPlane.isWindowOpen = true;
  await until(() => box.store.holdings.count === 1, 'filled');
});

test('a fill that is interrupted goes on where it was, without the control plane and its sources’ ranking', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  world.origin.misbehaviour = 'short';
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const first = await world.start();
  await until(
    () => (first.store.find(FILM.fileId)?.presentBytes ?? 0) >= 2 * CHUNK_BYTES,
    'a part is here',
  );
  await until(
    () => (world.controlPlane.heartbeats.at(-1)?.fill.manifestVersion ?? 0) === 1,
    'told',
  );
  const presentBytes = first.store.find(FILM.fileId)!.presentBytes;
  await first.stop();
  await world.controlPlane.stop();
  world.origin.misbehaviour = 'none';
  world.origin.requests.length = 0;
  const second = await world.start();
  const entry = second.store.find(FILM.fileId);
  assert.equal(entry?.presentBytes, presentBytes, 'what was here still is');
  // The window is not confirmed by anybody, so nothing is filled; a viewer's miss is another matter.
  const got = await get(await world.url('film', FILM.fileId));
  assert.equal(got.status, 200);
  assert.ok(got.body.equals(FILM.content), 'the bytes differ');
  assert.ok(
    !world.origin.requests.some((line) => line.includes('bytes=0-')),
    'present chunks are not fetched again',
  );
});

test('a box without its control plane serves what it holds after a restart', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const first = await world.start();
  await until(() => first.store.holdings.count === 1, 'held');
  await first.stop();
  await world.controlPlane.stop();
  await world.origin.stop();
  const second = await world.start();
  const got = await get(await world.url('film', FILM.fileId));
  assert.ok(got.body.equals(FILM.content), 'the bytes differ');
  assert.equal(second.status().connectedToControlPlane, false);
  await until(() => second.status().heartbeat !== null, 'status without a connection');
  assert.match(second.status().heartbeat!.health.reasons.join(), /no signed time/);
});

test('every byte that viewers got is in the view records, exactly once, by home and reason', async () => {
  await using world = await World.open();
  world.origin.add(FILM, SMALL);
  const plane = world.controlPlane;
  await plane.plan(1, [entryOf(FILM, 'film'), entryOf(SMALL, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 2, 'held');
  plane.acknowledges = false;
  const url = await world.url('film', FILM.fileId);
  const far = signedContentUrl(
    world.contentUrl,
    await world.token('film', 'cluster-9'),
    'film',
    FILM.fileId,
  );
  let bytes = 0;
  for (const range of ['bytes=0-999', 'bytes=1000-1999', `bytes=0-${2 * CHUNK_BYTES}`]) {
    bytes += (await get(url, { range })).body.length;
  }
  const farBytes = (await get(far, { range: 'bytes=7-70006' })).body.length;
  await get(url, { range: 'bytes=999999999-' });
  await get(url, {}, 'HEAD');
  await box.stop();
  plane.acknowledges = true;
  const again = await world.start();
  const small = (await get(await world.url('film', SMALL.fileId))).body.length;
  await until(() => plane.batches.length >= 2, 'batches of both spools came in', 30_000);
  await again.stop();
  const records = plane.batches.flatMap((batch) => batch.records);
  const total = (home: string, fileId: string, what: 'bytes' | 'starts'): number =>
    records
      .filter(
        (record) => record.home === home && record.fileId === fileId && record.reason === 'home',
      )
      .reduce((sum, record) => sum + record[what], 0);
  assert.equal(total('cluster-1', FILM.fileId, 'bytes'), bytes);
  assert.equal(total('cluster-1', FILM.fileId, 'starts'), 2);
  assert.equal(total('cluster-9', FILM.fileId, 'bytes'), farBytes);
  assert.equal(total('cluster-9', FILM.fileId, 'starts'), 0);
  assert.equal(total('cluster-1', SMALL.fileId, 'bytes'), small);
  assert.ok(records.every((record) => record.quarter % 900 === 0));
  const numbers = plane.batches.map((batch) => `${batch.spoolId} ${batch.sequence}`);
  assert.equal(new Set(numbers).size, numbers.length);
});

test('a wall clock that is off is reported, and signed time is used', async () => {
  await using world = await World.open();
  world.controlPlane.timeOffsetMs = 3600_000;
  const box = await world.start();
  await until(
    () =>
      /wall clock is 36\d\d s slow/.test(
        world.controlPlane.heartbeats.at(-1)?.health.reasons.join() ?? '',
      ),
    'reported',
  );
  assert.equal(world.controlPlane.heartbeats.at(-1)?.health.status, 'degraded');
  assert.ok(box.status().atMs > Date.now() + 3_500_000);
});

test('status, metrics, drain: known viewers stay, new ones go to the next box', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start({ undrainRampMs: 0 });
  await until(() => box.store.holdings.count === 1, 'held');
  const known = await world.url('film', FILM.fileId);
  await get(known, { range: 'bytes=0-99' });
  const stranger = await get(`${world.adminUrl}/drain`, {}, 'POST');
  assert.equal(stranger.status, 401);
  assert.match(stranger.body.toString(), /admin\.token in the state directory/);
  const guess = { authorization: 'Bearer guess' };
  assert.equal((await get(`${world.adminUrl}/drain`, guess, 'POST')).status, 401);
  assert.equal((await get(`${world.adminUrl}/drain`, world.adminHeaders, 'POST')).status, 200);
  const later = signedContentUrl(
    world.contentUrl,
    await world.token('film', 'late'),
    'film',
    FILM.fileId,
  );
  assert.equal((await get(known, { range: 'bytes=0-99' })).status, 206);
  const sentAway = await get(later, { range: 'bytes=0-99' });
  assert.equal(sentAway.status, 404);
  assert.equal(sentAway.headers['cache-control'], 'no-store');
  await until(() => box.status().heartbeat?.state === 'draining', 'told');
  await get(`${world.adminUrl}/undrain`, world.adminHeaders, 'POST');
  assert.equal((await get(later, { range: 'bytes=0-99' })).status, 206);
  const metrics = (await get(`${world.adminUrl}/metrics`)).body.toString();
  assert.match(metrics, /nightfill_appliance_holdings_files 1/);
  assert.match(metrics, /nightfill_appliance_refused_total\{reason="draining"\} 1/);
  const page = await get(`${world.adminUrl}/drain`, { origin: 'http://evil.test' }, 'POST');
  assert.equal(page.status, 403);
});
