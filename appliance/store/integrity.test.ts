import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { CHUNK_BYTES, encodeChunkList, fileIdOf } from '#upstream/contract.ts';
import { openVolume } from '../io/disk-volume.ts';
import { Integrity } from './integrity.ts';
import { Store } from './store.ts';
import { verifyChunk } from './verified-chunk.ts';

const log = createLogger('test', 'silent');
const CHUNKS = 6;

test('the walk finds a flipped bit, its neighbours are read next, and a sample is read before the walk', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-scrub-'));
  const clock = new SimulatedClock();
  const volume = openVolume({ path: directory, capacityBytes: 64 * CHUNK_BYTES });
  assert.ok(volume.ok);
  const store = new Store({ volumes: [volume.value], clock, nowMs: () => clock.wallMs(), log });
  const content = Buffer.alloc(CHUNKS * CHUNK_BYTES, 'scrub');
  const chunks = Array.from({ length: CHUNKS }, (_, at) =>
    content.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES),
  );
  const hashes = Buffer.concat(chunks.map((chunk) => createHash('sha256').update(chunk).digest()));
  const chunkList = encodeChunkList(content.length, hashes);
  const fileId = fileIdOf(chunkList);
  const begun = await store.begin({
    fileId,
    sizeBytes: content.length,
    titles: ['title'],
    isPinned: true,
    forecastPerDay: 1,
    chunkList,
    from: 'test',
  });
  assert.ok(begun.ok);
  const list = await store.chunkList(begun.value);
  assert.ok(list.ok);
  for (const [at, bytes] of chunks.entries()) {
    const chunk = await verifyChunk(list.value, at, bytes);
    assert.ok(chunk !== null && (await store.writeChunk(begun.value, chunk, 'test')).ok);
  }
  await store.flush();
  const fd = openSync(path.join(directory, 'files', fileId.slice(0, 2), fileId), 'r+');
  writeSync(fd, Buffer.from([1]), 0, 1, 4 * CHUNK_BYTES + 5);
  closeSync(fd);

  let dropped = 0;
  const integrity = new Integrity({
    clock,
    log,
    store,
    bytesPerSecondMax: CHUNK_BYTES * 5, // one chunk per tick of 200 ms
    onDropped: () => dropped++,
  });
  integrity.start();
  integrity.sample(fileId, 4);
  integrity.sample(fileId, 4);
  const ticked = async (checked: number): Promise<void> => {
    clock.advance(200);
    while (integrity.figures().chunksChecked < checked) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  await ticked(1);
  assert.equal(integrity.figures().chunksBad, 1, 'the sample came first');
  assert.equal(dropped, 1);
  assert.equal(begun.value.has(4), false);
  await ticked(2);
  await ticked(3);
  await ticked(4);
  assert.equal(
    integrity.figures().walkedFiles,
    0,
    'the neighbours 2, 3 and 5 come before the walk',
  );
  await ticked(5);
  assert.equal(integrity.figures().walkedFiles, 1);
  integrity.stop();
  assert.deepEqual(await integrity.scrubAll(), { checked: 5, bad: 0 });
  await store.close();
  rmSync(directory, { recursive: true });
});
