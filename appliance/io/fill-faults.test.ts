import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FillStatus } from '#appliance/contract.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { grantProblem } from '../fill/grant-age.ts';
import type { FillPreview } from '../fill/fill-preview.ts';
import { entryOf, FakeSource, get, makeFile, signGrant, until, World } from './test-world.ts';

async function post<T>(world: World, action: string): Promise<T> {
  const answer = await get(`${world.adminUrl}/${action}`, world.adminHeaders, 'POST');
  assert.equal(answer.status, 200, answer.body.toString());
  return JSON.parse(answer.body.toString()) as T;
}

/** Chunks that were asked for, of one file, each as often as it was asked for. */
function chunksAsked(source: FakeSource, fileId: string): readonly number[] {
  return source.requests
    .filter((line) => line.startsWith(fileId))
    .flatMap((line) => {
      const [, start, end] = /bytes=(\d+)-(\d+)/.exec(line) ?? [];
      const first = Math.floor(Number(start) / CHUNK_BYTES);
      const last = Math.floor(Number(end) / CHUNK_BYTES);
      return Array.from({ length: last - first + 1 }, (_, at) => first + at);
    });
}

test('a window that ends in the middle of a file leaves its chunks, and the next one asks for the rest only', async () => {
  await using world = await World.open();
  const film = makeFile(1, 40 * CHUNK_BYTES);
  world.origin.add(film);
  world.origin.delayMs = 2500; // a run of chunks outlives two heartbeats
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  const box = await world.start();
  await until(() => (box.store.find(film.fileId)?.presentBytes ?? 0) > 0, 'some of it is here');
  world.controlPlane.isWindowOpen = false;
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.waitingFor === 'window',
    'it waits for the window',
  );
  assert.equal(box.store.holdings.count, 0);
  world.origin.delayMs = 0;
  world.controlPlane.isWindowOpen = true;
  await until(() => box.store.holdings.count === 1, 'whole');
  const asked = chunksAsked(world.origin, film.fileId);
  assert.equal(new Set(asked).size, 40);
  assert.equal(asked.length, 40, 'no chunk twice');
});

test('with all its peers down a box fills from the origin', async () => {
  await using world = await World.open();
  const film = makeFile(2, 3 * CHUNK_BYTES);
  world.origin.add(film);
  const dead = await new FakeSource().start();
  const peers = [dead.as('peer', 'box-2'), { ...dead.as('peer', 'box-3') }];
  await dead.stop();
  world.controlPlane.sources = [...peers, world.origin.as('origin', 'origin')];
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'whole');
  const { byKind } = await post<FillStatus>(world, 'fill');
  assert.deepEqual(
    byKind.map(({ kind, bytes }) => [kind, bytes]),
    [
      ['peer', 0],
      ['tier', 0],
      ['origin', film.sizeBytes],
    ],
  );
});

test('a source that lies is left out, named in the status and in the heartbeat, and its bytes are nowhere', async () => {
  await using world = await World.open();
  const films = [makeFile(3, 2 * CHUNK_BYTES), makeFile(4, 2 * CHUNK_BYTES)];
  world.origin.add(...films);
  const liar = (await new FakeSource().start()).add(...films);
  liar.misbehaviour = 'tampers';
  world.controlPlane.sources = [liar.as('peer', 'liar'), world.origin.as('origin', 'origin')];
  await world.controlPlane.plan(
    1,
    films.map((film) => entryOf(film, 'film')),
  );
  const box = await world.start({ fill: { concurrency: 1 } });
  await until(() => box.store.holdings.count === 2, 'whole');
  const { leftOut } = await post<FillStatus>(world, 'fill');
  assert.equal(leftOut.length, 1);
  assert.deepEqual([leftOut[0].id, leftOut[0].why], ['liar', 'bad-bytes']);
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.leftOut?.includes('liar') === true,
    'told',
  );
  assert.ok(liar.requests.length <= 2, 'asked once, not again');
  for (const film of films) {
    const got = await get(await world.url('film', film.fileId));
    assert.ok(got.body.equals(film.content));
  }
  await liar.stop();
});

test('a file that left the manifest and comes back in the next one is not fetched twice', async () => {
  await using world = await World.open();
  const films = Array.from({ length: 12 }, (_, at) => makeFile(20 + at, CHUNK_BYTES + at));
  const entries = films.map((film) => entryOf(film, 'film'));
  world.origin.add(...films);
  await world.controlPlane.plan(1, entries);
  const box = await world.start();
  await until(() => box.store.holdings.count === 12, 'held');
  const fetched = world.origin.requests.length;
  await world.controlPlane.plan(2, entries.slice(1));
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.filesWanted === 11,
    'the second manifest',
  );
  const plan = await post<FillPreview>(world, 'fill/plan');
  assert.deepEqual(plan.leaving, { files: 1, bytes: films[0].sizeBytes });
  await world.controlPlane.plan(3, entries);
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.filesHeld === 12,
    'the third manifest, all of it held',
  );
  assert.equal(world.origin.requests.length, fetched, 'nothing was fetched again');
  assert.equal(box.store.find(films[0].fileId)?.isPinned, true);
});

test('an operator pauses the fill at once and over a restart; viewers’ misses go on; resuming fills', async () => {
  await using world = await World.open();
  const film = makeFile(5, 2 * CHUNK_BYTES);
  world.origin.add(film);
  world.controlPlane.isWindowOpen = true;
  const first = await world.start();
  const paused = await post<FillStatus>(world, 'fill?pause=1');
  assert.equal(paused.budget.isPaused, true);
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.waitingFor === 'pause',
    'it waits for its operator',
  );
  assert.equal(world.origin.requests.length, 0);
  await first.stop();
  const second = await world.start();
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.waitingFor === 'pause',
    'remembered',
  );
  const miss = await get(await world.url('film', film.fileId), { range: 'bytes=0-9' });
  assert.equal(miss.status, 206, 'serving is not the fill');
  await post(world, 'fill?pause=0');
  await until(() => second.store.holdings.count === 1, 'filled');
});

test('a pause breaks off what is under way, blames no source for it, and resuming goes on from there', async () => {
  await using world = await World.open();
  const film = makeFile(80, 12 * CHUNK_BYTES);
  world.origin.add(film);
  world.origin.misbehaviour = 'stalls'; // half of the run, then nothing for as long as one waits
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  const box = await world.start();
  await until(
    () => (box.store.find(film.fileId)?.presentBytes ?? 0) >= 5 * CHUNK_BYTES,
    'half of it',
  );
  await post(world, 'fill?pause=1');
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.fill.waitingFor === 'pause',
    'nothing is under way any more',
  );
  const { leftOut, problem } = await post<FillStatus>(world, 'fill');
  assert.deepEqual([leftOut, problem], [[], null], 'broken off before the stall was a failure');
  world.origin.misbehaviour = 'none';
  await post(world, 'fill?pause=0');
  await until(() => box.store.holdings.count === 1, 'whole');
  const asked = chunksAsked(world.origin, film.fileId);
  assert.equal(asked.filter((chunk) => chunk === 0).length, 1, 'what was here stayed');
});

test('a box that is turned up says filling, and serves from its first whole file on', async () => {
  await using world = await World.open();
  const [hot, cold] = [makeFile(6, CHUNK_BYTES), makeFile(7, CHUNK_BYTES)];
  world.origin.add(hot); // nobody has the other one
  await world.controlPlane.plan(1, [entryOf(hot, 'film', 1), entryOf(cold, 'film', 5)]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'the first file');
  await until(
    () => world.controlPlane.heartbeats.at(-1)?.holdings.files === 1,
    'the fleet knows it',
  );
  assert.equal(world.controlPlane.heartbeats.at(-1)?.state, 'filling');
  assert.equal((await get(await world.url('film', hot.fileId))).status, 200);
  world.origin.add(cold);
  await until(() => world.controlPlane.heartbeats.at(-1)?.state === 'serving', 'turned up');
});

test('a dry run says what would come from where, and fetches nothing', async () => {
  await using world = await World.open();
  const films = [makeFile(8, 2 * CHUNK_BYTES), makeFile(9, CHUNK_BYTES)];
  world.origin.add(...films);
  world.controlPlane.isWindowOpen = false;
  await world.controlPlane.plan(
    1,
    films.map((film) => entryOf(film, 'film')),
  );
  await world.start();
  await until(() => world.controlPlane.heartbeats.at(-1)?.fill.filesWanted === 2, 'planned');
  const plan = await post<FillPreview>(world, 'fill/plan');
  assert.deepEqual(plan.toFetch, { files: 2, bytes: 3 * CHUNK_BYTES });
  assert.deepEqual(plan.from.origin, plan.toFetch);
  assert.equal(plan.window.open, false);
  assert.equal(world.origin.requests.length, 0);
});

test('the control plane goes in the middle of the window: the box says so and finishes from the sources that it knows', async () => {
  await using world = await World.open();
  const films = Array.from({ length: 6 }, (_, at) => makeFile(60 + at, CHUNK_BYTES + at));
  world.origin.add(...films);
  world.origin.delayMs = 400;
  await world.controlPlane.plan(
    1,
    films.map((film) => entryOf(film, 'film')),
  );
  const box = await world.start({ fill: { concurrency: 1 } });
  await until(() => box.store.holdings.count > 0, 'some of it');
  await world.controlPlane.stop();
  assert.ok(box.store.holdings.count < films.length, 'not all of it');
  await until(() => box.store.holdings.count === films.length, 'the rest without a control plane');
  const status = await post<FillStatus>(world, 'fill');
  assert.equal(status.filesHeld, films.length);
  assert.equal(box.status().connectedToControlPlane, false);
});

test('a grant that ends while nobody renews it is said in health, and viewers are served on', async () => {
  await using world = await World.open();
  const film = makeFile(70, CHUNK_BYTES);
  world.origin.add(film);
  world.controlPlane.grantSeconds = 2;
  await world.controlPlane.plan(1, [entryOf(film, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  await until(
    () => /fill grant ended/.test(box.status().heartbeat?.health.reasons.join() ?? ''),
    'said',
  );
  assert.equal(box.status().heartbeat?.health.status, 'degraded', 'not down');
  const got = await get(await world.url('film', film.fileId));
  assert.ok(got.body.equals(film.content));
});

test('a grant that ended is said, with what still works', async () => {
  await using world = await World.open();
  const grant = await signGrant(world.keys, 'box-1');
  const now = Date.now() / 1000;
  assert.equal(grantProblem(grant, now), null);
  assert.equal(grantProblem(null, now), null);
  assert.match(
    grantProblem(grant, now + 7 * 86_400) ?? '',
    /ended 167 h ago: .* viewers are served what is held/,
  );
});
