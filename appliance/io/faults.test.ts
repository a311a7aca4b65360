import assert from 'node:assert/strict';
import { closeSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { generateSigningKey, signCompact } from '#base/jws.ts';
import { JWS_TYPE } from '#control-plane/contract.ts';
import { CHUNK_BYTES, signedContentUrl } from '#upstream/contract.ts';
import { entryOf, get, makeFile, nowSeconds, until, World } from './test-world.ts';

const FILM = makeFile(1, 3 * CHUNK_BYTES + 77);

function flipBit(world: World, volume: string, fileId: string, offset: number): void {
  const file = path.join(world.directory, volume, 'files', fileId.slice(0, 2), fileId);
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.from([0xa5]), 0, 1, offset);
  closeSync(fd);
}

test('a flipped bit on the disk: found by a sample of what is served, dropped, fetched again, never served twice', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start({
    integrity: { sampleOneIn: 1, scrubBytesPerSecond: 64 * CHUNK_BYTES },
  });
  await until(() => box.store.holdings.count === 1, 'held');
  flipBit(world, 'volume', FILM.fileId, CHUNK_BYTES + 500);
  const url = await world.url('film', FILM.fileId);
  const range = `bytes=${CHUNK_BYTES}-${CHUNK_BYTES + 999}`;
  await get(url, { range }); // may carry the bad byte: it is what the sample then reads back
  await until(() => box.store.figures().chunksCorrupt === 1, 'found');
  await until(() => box.store.holdings.count === 1, 'whole again');
  const again = await get(url, { range });
  assert.ok(again.body.equals(FILM.content.subarray(CHUNK_BYTES, CHUNK_BYTES + 1000)));
  await until(
    () => (world.controlPlane.heartbeats.at(-1)?.counters.chunksCorrupt ?? 0) >= 1,
    'told',
  );
});

test('a disk that was taken out stays out over a restart, its neighbour serves on, and an operator readmits it', async () => {
  await using world = await World.open();
  const films = Array.from({ length: 4 }, (_, at) => makeFile(10 + at, CHUNK_BYTES + at));
  world.origin.add(...films);
  await world.controlPlane.plan(
    1,
    films.map((film) => entryOf(film, 'film')),
  );
  const volumes = ['volume-a', 'volume-b'].map((name) => ({
    path: path.join(world.directory, name),
    capacityBytes: 128 * CHUNK_BYTES,
  }));
  const first = await world.start({ volumes });
  await until(() => first.store.holdings.count === 4, 'held');
  const [lost] = first.store.volumes();
  const lostFiles = films.filter((film) => first.store.find(film.fileId)?.volumeAt === 0);
  assert.ok(lostFiles.length > 0 && lostFiles.length < films.length, 'files lie on both');
  world.controlPlane.isWindowOpen = false;
  await until(() => world.controlPlane.heartbeats.length > 3, 'the window closes');
  first.store.takeOut(lost, 'the test says so');
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.holdings.files === films.length - lostFiles.length,
    'told',
  );
  for (const film of films) {
    const got = await get(await world.url('film', film.fileId));
    assert.ok(
      got.body.equals(film.content),
      'held files are served, the others are passed through',
    );
  }
  await first.stop();
  const second = await world.start({ volumes });
  assert.equal(second.store.volumes().length, 1);
  await until(() => second.status().heartbeat !== null, 'a heartbeat');
  assert.match(
    second.status().heartbeat!.health.reasons.join(),
    /volume-a was taken out: the test says so/,
  );
  const answer = await get(
    `${world.adminUrl}/volumes/readmit?path=${encodeURIComponent(lost.volume.name)}`,
    world.adminHeaders,
    'POST',
  );
  assert.equal(answer.status, 200, answer.body.toString());
  await second.stop();
  const third = await world.start({ volumes });
  assert.equal(third.store.volumes().length, 2);
});

test('a flood of forged tokens is refused in a bounded number of signature checks, and known viewers are served', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  const known = await world.url('film', FILM.fileId);
  assert.equal((await get(known, { range: 'bytes=0-9' })).status, 206);
  const stranger = (await generateSigningKey('ES256')).key;
  // The right key id with a stranger's signature: each would cost a check.
  const forge = (at: number): Promise<string> =>
    signCompact({ ...stranger, kid: world.keys.token.kid }, JWS_TYPE.viewer, {
      n: at,
      exp: nowSeconds() + 60,
    });
  const forged = await Promise.all(Array.from({ length: 300 }, (_, at) => forge(at)));
  const words = new Map<string, number>();
  for (let at = 0; at < forged.length; at += 50) {
    const answers = await Promise.all(
      forged
        .slice(at, at + 50)
        .map((token) => get(signedContentUrl(world.contentUrl, token, 'film', FILM.fileId))),
    );
    for (const answer of answers) {
      assert.equal(answer.status, 403);
      const word = String(answer.headers['nightfill-refused']);
      words.set(word, (words.get(word) ?? 0) + 1);
    }
  }
  assert.ok((words.get('token-limit') ?? 0) > 100, JSON.stringify([...words]));
  assert.equal(
    (await get(known, { range: 'bytes=0-9' })).status,
    206,
    'a known viewer of the same network',
  );
});

test('1,000 ranges in one header are answered as one whole body, cheaply', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  const ranges = Array.from({ length: 1000 }, (_, at) => `${at * 2}-${at * 2}`).join(',');
  const got = await get(await world.url('film', FILM.fileId), { range: `bytes=${ranges}` });
  assert.equal(got.status, 200);
  assert.ok(got.body.equals(FILM.content));
});

test('the wall clock jumps by a year either way in the middle of a session: the session and new ones go on, and it is said', async () => {
  await using world = await World.open();
  const file = makeFile(72, 5000);
  world.origin.add(file);
  await world.controlPlane.plan(1, [entryOf(file, 'film')]);
  let jumpMs = 0;
  const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + jumpMs };
  const box = await world.start({}, clock);
  await until(() => box.store.holdings.count === 1, 'held');
  const session = await world.url('film', file.fileId);
  assert.equal((await get(session)).status, 200);
  for (const yearMs of [365 * 86_400_000, -365 * 86_400_000]) {
    jumpMs = yearMs;
    assert.equal((await get(session)).status, 200);
    const late = await world.token('film', `home-${yearMs > 0}`);
    const newcomer = signedContentUrl(world.contentUrl, late, 'film', file.fileId);
    assert.equal((await get(newcomer)).status, 200);
    await until(
      () => box.status().heartbeat?.health.reasons.some((why) => why.includes('clock')) === true,
      'its operator is told',
    );
    const sentAtMs = box.status().heartbeat!.sentAtMs;
    assert.ok(Math.abs(sentAtMs - Date.now()) < 60_000, 'trusted time did not jump');
  }
});
