import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signCompact } from '#base/jws.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, FakeSource, get, makeFile, otherBox, until, World } from './test-world.ts';

const FILM = makeFile(1, 5 * CHUNK_BYTES + 77);
const OTHER = makeFile(3, 3 * CHUNK_BYTES + 1);

test('a miss is fetched once for 100 viewers, verified, served, kept and not called held before it is whole', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  world.origin.delayMs = 30;
  await world.controlPlane.list('film', [FILM]);
  const box = await world.start();
  const url = await world.url('film', FILM.fileId);
  const from = CHUNK_BYTES + 10;
  const answers = await Promise.all(
    Array.from({ length: 100 }, () => get(url, { range: `bytes=${from}-${from + 5000}` })),
  );
  for (const answer of answers) {
    assert.equal(answer.status, 206);
    assert.ok(answer.body.equals(FILM.content.subarray(from, from + 5001)));
  }
  assert.match(String(answers[0].headers['cache-status']), /^box-1; fwd=uri-miss/);
  assert.deepEqual(world.origin.requests, [
    `${FILM.fileId} bytes=${CHUNK_BYTES}-${2 * CHUNK_BYTES - 1} miss`,
  ]);
  await until(() => box.store.find(FILM.fileId)?.has(1) === true, 'kept');
  const entry = box.store.find(FILM.fileId)!;
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].map((at) => entry.has(at)),
    [false, true, false, false, false, false],
  );
  assert.equal(box.store.holdings.count, 0);

  const whole = await get(url);
  assert.ok(whole.body.equals(FILM.content), 'the bytes differ');
  assert.match(String(whole.headers['cache-status']), /fwd=partial/);
  await until(() => box.store.holdings.count === 1, 'whole now');
  const again = await get(url);
  assert.equal(again.headers['cache-status'], 'box-1; hit');
  const fetched = world.origin.requests.length;
  await get(url, { range: 'bytes=0-10' });
  assert.equal(world.origin.requests.length, fetched, 'nothing is fetched twice');
  const missBytes = world.controlPlane.heartbeats.at(-1)!.counters.missBytes.origin;
  assert.ok(missBytes <= FILM.sizeBytes);
});

for (const misbehaviour of [
  'tampers',
  'lies-200',
  'short',
  'closes',
  'stalls',
  'wrong-etag',
  'refuses',
] as const) {
  test(`a peer that ${misbehaviour} costs the viewer nothing: another source goes on`, async () => {
    await using world = await World.open();
    await using peer = disposable(await new FakeSource().start());
    peer.source.add(FILM);
    peer.source.misbehaviour = misbehaviour;
    world.origin.add(FILM);
    world.controlPlane.sources = [
      peer.source.as('peer', 'box-2'),
      world.origin.as('origin', 'origin'),
    ];
    await world.controlPlane.list('film', [FILM]);
    const box = await world.start({ miss: { firstByteMsMax: 15_000 } });
    const got = await get(await world.url('film', FILM.fileId), {
      range: `bytes=100-${3 * CHUNK_BYTES}`,
    });
    assert.equal(got.status, 206, got.body.subarray(0, 300).toString());
    assert.ok(got.isWhole);
    assert.ok(got.body.equals(FILM.content.subarray(100, 3 * CHUNK_BYTES + 1)), 'the bytes differ');
    await until(() => box.store.find(FILM.fileId)?.has(3) === true, 'kept');
    const entry = box.store.find(FILM.fileId)!;
    for (let at = 0; at < entry.chunkCount; at++) {
      if (entry.has(at)) assert.equal(await box.store.checkChunk(entry, at), 'good');
    }
    if (misbehaviour === 'tampers') {
      const asked = peer.source.requests.length;
      await get(await world.url('film', FILM.fileId), { range: `bytes=${4 * CHUNK_BYTES}-` });
      assert.equal(peer.source.requests.length, asked, 'a source that was blamed is left out');
    }
  });
}

test('when no source has a file the answer is 404 with Proxy-Status, never 503, and a cut body never looks whole', async () => {
  await using world = await World.open();
  await world.controlPlane.list('film', [FILM]);
  await world.start();
  const got = await get(await world.url('film', FILM.fileId));
  assert.equal(got.status, 404);
  assert.equal(got.headers['cache-control'], 'no-store');
  assert.match(String(got.headers['proxy-status']), /^box-1; error=destination_unavailable/);
  const unknown = await get(await world.url('nobody-knows', FILM.fileId));
  assert.equal(unknown.status, 404);
  assert.match(String(unknown.headers['proxy-status']), /destination_not_found/);
  // A source that dies halfway: the first chunks are on their way already.
  world.origin.add(OTHER);
  await world.controlPlane.list('other', [OTHER]);
  world.origin.misbehaviour = 'short';
  const cut = await get(await world.url('other', OTHER.fileId));
  assert.equal(cut.status, 200);
  assert.equal(cut.isWhole, false);
});

test('onMiss: refuse answers 404 at once and fetches nothing', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.list('film', [FILM]);
  await world.start({ miss: { onMiss: 'refuse' } });
  assert.equal((await get(await world.url('film', FILM.fileId))).status, 404);
  assert.deepEqual(world.origin.requests, []);
});

test('another box is given chunks, chunk list and listing under its grant, and never makes this box fetch', async () => {
  await using world = await World.open();
  world.origin.add(FILM, OTHER);
  await world.controlPlane.list('film', [FILM]);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  const asBox = await (await otherBox(world.keys, 'box-2')).headers();
  const base = `${world.contentUrl}/t/film/${FILM.fileId}`;
  const part = await get(base, { ...asBox, range: 'bytes=5-9', 'nightfill-purpose': 'fill' });
  assert.equal(part.status, 206);
  assert.ok(part.body.equals(FILM.content.subarray(5, 10)));
  const list = await get(`${base}.chunks`, asBox);
  assert.ok(list.body.equals(FILM.chunkList));
  await get(await world.url('film', OTHER.fileId)); // makes it look the listing up
  const listing = await get(`${world.contentUrl}/t/film/listing`, asBox);
  assert.equal(listing.body.toString(), world.controlPlane.listings.get('film'));
  const asked = world.origin.requests.length;
  assert.equal((await get(`${world.contentUrl}/t/film/${OTHER.fileId}`, asBox)).status, 404);
  assert.equal(world.origin.requests.length, asked);
  const forged = await signCompact(world.keys.token, 'nf-grant+jwt', { sub: 'box-2' });
  const refused = await get(base, { authorization: `Bearer ${forged}` });
  assert.equal(refused.status, 403);
  assert.equal(refused.headers['nightfill-refused'], 'grant-invalid');
  assert.equal(box.status().heartbeat === null, false);
});

function disposable(source: FakeSource): { source: FakeSource } & AsyncDisposable {
  return { source, [Symbol.asyncDispose]: () => source.stop() };
}
