/**
 * A process made to be killed: it writes, drops and evicts in a store as fast as it can, from a seed.
 *
 * Arguments: volume directory, seed. It says "ready" once the store is open, then works until SIGKILL.
 */
import { createHash } from 'node:crypto';
import { systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom } from '#base/random.ts';
import {
  CHUNK_BYTES,
  chunkCountOf,
  decodeChunkList,
  encodeChunkList,
  fileIdOf,
  type ChunkList,
} from '#upstream/contract.ts';
import { Store } from '../store/store.ts';
import { verifyChunk } from '../store/verified-chunk.ts';
import { openVolume } from './disk-volume.ts';

export const KILL_LOOP_FILES = 8;
export const KILL_LOOP_CAPACITY_BYTES = 24 * CHUNK_BYTES; // less than all files: they push each other out

export interface SeededFile {
  readonly list: ChunkList;
  readonly encoded: Buffer;
  chunk(index: number): Buffer;
}

/** Files of 1 to 8 chunks whose bytes anybody can make again. */
export function seededFile(at: number): SeededFile {
  const sizeBytes = at * CHUNK_BYTES + 1000 + at;
  const chunk = (index: number): Buffer =>
    Buffer.alloc(
      Math.min(CHUNK_BYTES, sizeBytes - index * CHUNK_BYTES),
      `file ${at} chunk ${index};`,
    );
  const hashes = Array.from({ length: chunkCountOf(sizeBytes) }, (_, index) =>
    createHash('sha256').update(chunk(index)).digest(),
  );
  const encoded = encodeChunkList(sizeBytes, Buffer.concat(hashes));
  const list = decodeChunkList(encoded, fileIdOf(encoded));
  if (!list.ok) throw new Error(list.failure);
  return { list: list.value, encoded, chunk };
}

export function openKillLoopStore(directory: string): Store {
  const volume = openVolume({ path: directory, capacityBytes: KILL_LOOP_CAPACITY_BYTES });
  if (!volume.ok) throw new Error(volume.failure.detail);
  return new Store({
    volumes: [volume.value],
    clock: systemClock,
    nowMs: () => Date.now(),
    log: createLogger('kill-loop', 'silent'),
  });
}

async function work(directory: string, seed: number): Promise<never> {
  const random = seededRandom(seed);
  const files = Array.from({ length: KILL_LOOP_FILES }, (_, at) => seededFile(at));
  const store = openKillLoopStore(directory);
  process.stdout.write('ready\n');
  for (;;) {
    const file = files[random.below(files.length)];
    const dice = random.next();
    const entry = store.find(file.list.fileId);
    if (dice < 0.03 && entry !== undefined) {
      store.drop(entry);
    } else if (dice < 0.06 && entry !== undefined) {
      await store.dropChunk(entry, random.below(entry.chunkCount), 'the kill loop says so');
    } else if (dice < 0.2) {
      await store.flush();
    } else {
      const begun = await store.begin({
        fileId: file.list.fileId,
        sizeBytes: file.list.sizeBytes,
        titles: ['title'],
        isPinned: false,
        forecastPerDay: random.next(),
        chunkList: file.encoded,
        from: 'kill-loop',
      });
      const index = random.below(file.list.chunkCount);
      const chunk = await verifyChunk(file.list, index, file.chunk(index));
      if (begun.ok && chunk !== null) await store.writeChunk(begun.value, chunk, 'kill-loop');
    }
  }
}

if (process.argv[1] === import.meta.filename) {
  await work(process.argv[2], Number(process.argv[3]));
}
