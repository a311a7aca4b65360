import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, get, makeFile, until, World } from './test-world.ts';

const FILM = makeFile(1, 3 * CHUNK_BYTES + 77);
const EXTRA = makeFile(2, 2 * CHUNK_BYTES);

async function post(world: World, action: string): Promise<Record<string, unknown>> {
  const answer = await get(`${world.adminUrl}/${action}`, world.adminHeaders, 'POST');
  assert.equal(answer.status, 200, answer.body.toString());
  return JSON.parse(answer.body.toString()) as Record<string, unknown>;
}

test('a drain tells who is left, and when its deadline is over sends everybody on', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  const url = await world.url('film', FILM.fileId);
  await get(url, { range: 'bytes=0-9' });
  const started = await post(world, 'drain?ms=1500');
  assert.deepEqual([started['isDraining'], started['isSafeToPowerOff']], [true, false]);
  assert.equal((await get(url, { range: 'bytes=0-9' })).status, 206, 'known viewers stay');
  assert.equal((await post(world, 'drain/progress'))['sessionsLeft'], 1);
  let status = 206;
  const deadline = performance.now() + 10_000;
  while (status === 206 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    status = (await get(url, { range: 'bytes=0-9' })).status;
  }
  assert.equal(status, 404, 'after the deadline nobody is kept');
  await post(world, 'undrain');
  assert.equal((await get(url, { range: 'bytes=0-9' })).status, 206);
});

test('explain says why a file is or is not here, volumes how the disks are, scrub what it found', async () => {
  await using world = await World.open();
  world.origin.add(FILM, EXTRA);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film', 3)]);
  await world.controlPlane.list('extra', [EXTRA]);
  const box = await world.start({ integrity: { scrubBytesPerSecond: 0 } });
  await until(() => box.store.holdings.count === 1, 'held');
  const planned = await post(world, `explain?file=${FILM.fileId}`);
  assert.equal(planned['here'], 'whole');
  assert.match(String(planned['plan']), /manifest 1 wants it: 3 views a day/);
  assert.equal(planned['from'], 'origin');
  assert.match(String((await post(world, `explain?file=${EXTRA.fileId}`))['why']), /not planned/);
  await get(await world.url('extra', EXTRA.fileId), { range: 'bytes=0-9' });
  await until(() => box.store.find(EXTRA.fileId)?.has(0) === true, 'kept');
  await get(await world.url('extra', EXTRA.fileId), { range: 'bytes=0-9' });
  await until(() => box.store.find(EXTRA.fileId)?.servedAnswers === 1, 'served from the disk');
  const kept = await post(world, `explain?file=${EXTRA.fileId}`);
  assert.match(String(kept['why']), /leaves when room is needed/);
  assert.deepEqual(planned['servedSinceStart'], { bytes: 0, answers: 0 });
  assert.deepEqual(kept['servedSinceStart'], { bytes: 10, answers: 1 }, 'what it served');
  assert.match(String((await post(world, 'explain?file=nonsense'))['problem']), /no file id/);
  const volumes = (await post(world, 'volumes'))['open'] as { state: string; files: number }[];
  assert.deepEqual([volumes[0].state, volumes[0].files], ['up', 2]);
  const file = path.join(world.directory, 'volume', 'files', FILM.fileId.slice(0, 2), FILM.fileId);
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.from([0xa5]), 0, 1, 500);
  closeSync(fd);
  const scrubbed = await post(world, 'scrub');
  assert.equal(scrubbed['bad'], 1);
  await until(() => box.store.holdings.count === 1, 'fetched again');
  assert.deepEqual((await post(world, 'scrub'))['bad'], 0);
});

test('a pre-seeded disk is taken over chunk by chunk, what is bad on it is left out, and again is cheap', async () => {
  await using world = await World.open();
  world.controlPlane.isWindowOpen = false;
  await world.controlPlane.plan(1, [entryOf(FILM, 'film'), entryOf(EXTRA, 'film')]);
  const box = await world.start();
  await until(() => world.controlPlane.heartbeats.at(-1)?.fill.manifestVersion === 1, 'planned');
  const seeded = path.join(world.directory, 'seeded');
  mkdirSync(seeded);
  writeFileSync(path.join(seeded, FILM.fileId), FILM.content);
  writeFileSync(path.join(seeded, `${FILM.fileId}.chunks`), FILM.chunkList);
  const bad = Buffer.from(EXTRA.content);
  bad[CHUNK_BYTES + 1] ^= 1;
  writeFileSync(path.join(seeded, EXTRA.fileId), bad);
  writeFileSync(path.join(seeded, `${EXTRA.fileId}.chunks`), EXTRA.chunkList);
  writeFileSync(path.join(seeded, 'A'.repeat(43)), 'no chunk list');
  const action = `adopt?path=${encodeURIComponent(seeded)}`;
  const first = await post(world, action);
  assert.deepEqual(
    [first['filesSeen'], first['filesWhole'], first['chunksTaken'], first['chunksBad']],
    [3, 1, 5, 1],
  );
  assert.match(String(first['problems']), /1 chunks do not match/);
  assert.equal(box.store.holdings.has(FILM.fileId), true);
  assert.equal((await post(world, action))['chunksTaken'], 0);
  const got = await get(await world.url('film', FILM.fileId));
  assert.ok(got.body.equals(FILM.content));
  assert.deepEqual(world.origin.requests, [], 'nothing was fetched');
});

test('a reload takes over what may change, and names what needs a restart', async () => {
  await using world = await World.open();
  const box = await world.start();
  const next = world.config({ servingBps: 5_000_000, hotCacheBytes: 0 });
  assert.deepEqual(box.reload(next), ['hotCacheBytes']);
  await until(() => box.status().heartbeat?.load.servingBps === 5_000_000, 'in the heartbeat');
});
