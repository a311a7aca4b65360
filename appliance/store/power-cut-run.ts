/**
 * Works on a store until its disk loses power, brings the power back, and reads back every chunk that is called present.
 *
 * Shape:  (cuts, seed) -> what was read back, and the first thing that was wrong
 */
import { createHash } from 'node:crypto';
import { SimulatedClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { assert } from '#base/outcome.ts';
import { seededRandom, type Random } from '#base/random.ts';
import {
  CHUNK_BYTES,
  chunkCountOf,
  decodeChunkList,
  encodeChunkList,
  fileIdOf,
  type ChunkList,
} from '#upstream/contract.ts';
import type { StoredEntry } from './entry.ts';
import { PowerCutDisk } from './power-cut-disk.ts';
import { Store } from './store.ts';
import { verifyChunk, type VerifiedChunk } from './verified-chunk.ts';

const CUTS_PER_DISK = 5; // what one cut left behind meets the next one
const STEPS_MAX = 40;
const OPERATIONS_MAX = 160;
const CAPACITY_BYTES = 3 * CHUNK_BYTES; // less than all files: they push each other out
const SAMPLE_BYTES = [500, 1000, CHUNK_BYTES + 10, 20, 700, 3000];

export interface PowerCutReport {
  readonly cuts: number;
  readonly chunksChecked: number;
  readonly wholeFiles: number;
  readonly chunksWrong: number; // called present, and not there or not right
  readonly filesLost: number; // in the catalogue, and not on the disk
  readonly first: string | null;
}

export async function cutPower(cuts: number, seed: number): Promise<PowerCutReport> {
  const samples = await Promise.all(SAMPLE_BYTES.map((bytes, at) => sample(at, bytes)));
  const seen = { chunksChecked: 0, wholeFiles: 0, chunksWrong: 0, filesLost: 0 };
  let first: string | null = null;
  for (let done = 0, lineage = 0; done < cuts; lineage++) {
    const random = seededRandom(seed + lineage);
    const disk = new PowerCutDisk(random);
    for (let cut = 0; cut < CUTS_PER_DISK; cut++, done++) {
      const clock = new SimulatedClock(Date.UTC(2026, 10, 21) + done * 1000);
      disk.cutAfter(random.below(OPERATIONS_MAX));
      const damage = new Damage(disk);
      await untilOff(disk, work(open(disk, clock), samples, random, clock, damage));
      disk.restore();
      damage.takeBackUnnoticed();
      const found = await readBack(open(disk, clock));
      seen.chunksChecked += found.chunksChecked;
      seen.wholeFiles += found.wholeFiles;
      seen.chunksWrong += found.chunksWrong;
      seen.filesLost += found.filesLost;
      const where = `seed ${seed + lineage}, cut ${cut}`;
      if (found.problem !== null) first ??= `${where}: ${found.problem}`;
    }
  }
  return { cuts, ...seen, first };
}

async function readBack(store: Store): Promise<{
  readonly chunksChecked: number;
  readonly wholeFiles: number;
  readonly chunksWrong: number;
  readonly filesLost: number;
  readonly problem: string | null;
}> {
  const seen = { chunksChecked: 0, wholeFiles: 0, chunksWrong: 0 };
  let problem: string | null = null;
  for (const entry of store.entries()) {
    if (entry.isWhole) seen.wholeFiles++;
    for (let index = 0; index < entry.chunkCount; index++) {
      if (!entry.has(index)) continue;
      seen.chunksChecked++;
      const verdict = await store.checkChunk(entry, index);
      if (verdict === 'good') continue;
      seen.chunksWrong++;
      problem ??= `${entry.fileId} chunk ${index} is ${verdict}`;
    }
  }
  const { filesLost } = store.figures();
  if (filesLost > 0) problem ??= `${filesLost} files or chunk lists are missing`;
  return { ...seen, filesLost, problem };
}

interface Sample {
  readonly list: ChunkList;
  readonly encoded: Buffer;
  readonly chunks: readonly VerifiedChunk[];
}

/** A file whose bytes come from its number. */
async function sample(at: number, sizeBytes: number): Promise<Sample> {
  const content = Buffer.alloc(sizeBytes, `sample ${at};`);
  const parts = Array.from({ length: chunkCountOf(sizeBytes) }, (_, index) =>
    content.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );
  const hashes = parts.map((part) => createHash('sha256').update(part).digest());
  const encoded = encodeChunkList(sizeBytes, Buffer.concat(hashes));
  const list = decodeChunkList(encoded, fileIdOf(encoded));
  assert(list.ok, 'a list just encoded decodes');
  const chunks = await Promise.all(
    parts.map((part, index) => verifyChunk(list.value, index, part)),
  );
  assert(
    chunks.every((chunk) => chunk !== null),
    'chunks match their own hashes',
  );
  return { list: list.value, encoded, chunks };
}

function open(disk: PowerCutDisk, clock: SimulatedClock): Store {
  return new Store({
    volumes: [disk.volume(CAPACITY_BYTES)],
    clock,
    nowMs: () => clock.wallMs(),
    log: createLogger('power-cuts', 'silent'),
  });
}

/** Chunks that went bad on the disk. Once the store has dropped one, no power cut may bring it back. */
class Damage {
  readonly #disk: PowerCutDisk;
  #unnoticed: (() => void)[] = [];

  constructor(disk: PowerCutDisk) {
    this.#disk = disk;
  }

  async found(store: Store, entry: StoredEntry, index: number): Promise<void> {
    if (!entry.has(index)) return;
    const length = entry.chunkBytes(index);
    const takeBack = this.#disk.rot(entry.fileId, index * CHUNK_BYTES, length);
    if (takeBack === null) return;
    this.#unnoticed.push(takeBack);
    const verdict = await store.checkChunk(entry, index);
    if (verdict === 'bad') this.#unnoticed = this.#unnoticed.filter((one) => one !== takeBack);
  }

  takeBackUnnoticed(): void {
    for (const takeBack of this.#unnoticed) takeBack();
  }
}

/** Works on the store until it is done or the power goes. */
async function work(
  store: Store,
  samples: readonly Sample[],
  random: Random,
  clock: SimulatedClock,
  damage: Damage,
): Promise<void> {
  for (let step = 0; step < STEPS_MAX; step++) {
    const one = samples[random.below(samples.length)];
    const entry = store.find(one.list.fileId);
    const dice = random.next();
    if (dice < 0.08 && entry !== undefined) store.drop(entry);
    else if (dice < 0.16 && entry !== undefined) {
      await store.dropChunk(entry, random.below(entry.chunkCount), 'a test');
    } else if (dice < 0.24 && entry !== undefined) {
      await damage.found(store, entry, random.below(entry.chunkCount));
    } else if (dice < 0.36) await store.flush();
    else if (dice < 0.46) clock.advance(1000);
    else {
      const begun = await store.begin({
        fileId: one.list.fileId,
        sizeBytes: one.list.sizeBytes,
        titles: ['title'],
        isPinned: random.next() < 0.2,
        forecastPerDay: random.next(),
        chunkList: one.encoded,
        from: 'test',
      });
      const chunk = one.chunks[random.below(one.chunks.length)];
      if (begun.ok) await store.writeChunk(begun.value, chunk, 'test');
    }
  }
}

/** Rejects never: a store whose disk is off waits for ever, and is left there. */
async function untilOff(disk: PowerCutDisk, working: Promise<void>): Promise<void> {
  let isDone = false;
  void working.then(() => {
    isDone = true;
  });
  while (!disk.isOff && !isDone) await new Promise((resolve) => setImmediate(resolve));
}
