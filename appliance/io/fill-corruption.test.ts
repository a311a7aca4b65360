import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, FakeSource, get, makeFile, until, World } from './test-world.ts';

test('a peer that gives a bad chunk during fill: refused before it is stored, counted, the rest comes from elsewhere', async () => {
  await using world = await World.open();
  const film = makeFile(1, 5 * CHUNK_BYTES + 11);
  const peer = await new FakeSource().start();
  try {
    peer.add(film);
    peer.misbehaviour = 'tampers';
    world.origin.add(film);
    world.controlPlane.sources = [peer.as('peer', 'box-2'), world.origin.as('origin', 'origin')];
    await world.controlPlane.plan(1, [entryOf(film, 'film')]);
    const box = await world.start();
    await until(() => box.store.holdings.has(film.fileId), 'filled all the same');
    await until(
      () => (world.controlPlane.heartbeats.at(-1)?.counters.chunksCorrupt ?? 0) >= 1,
      'told in the heartbeat',
    );
    assert.ok(peer.requests.length > 0, 'the peer was asked first');
    assert.equal(box.store.figures().chunksCorrupt, 0, 'nothing bad reached the disk');
    const entry = box.store.find(film.fileId)!;
    for (let at = 0; at < entry.chunkCount; at++) {
      assert.equal(await box.store.checkChunk(entry, at), 'good');
    }
    const { body } = await get(await world.url('film', film.fileId));
    assert.ok(body.equals(film.content));
  } finally {
    await peer.stop();
  }
});
