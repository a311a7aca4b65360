import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom, type Random } from '#base/random.ts';
import {
  CHUNK_BYTES,
  chunkCountOf,
  decodeChunkList,
  encodeChunkList,
  fileIdOf,
  type ChunkList,
} from '#upstream/contract.ts';
import { PowerCutDisk } from './power-cut-disk.ts';
import { Store } from './store.ts';
import { verifyChunk, type VerifiedChunk } from './verified-chunk.ts';

/** `NIGHTFILL_POWER_CUTS=10000 NIGHTFILL_SEED=7` for more, or another seed. */
const CUTS = Number(process.env['NIGHTFILL_POWER_CUTS'] ?? 1000);
const SEED = Number(process.env['NIGHTFILL_SEED'] ?? 20261121);
const CUTS_PER_DISK = 5; // what one cut left behind meets the next one
const STEPS_MAX = 40;
const OPERATIONS_MAX = 160;
const CAPACITY_BYTES = 3 * CHUNK_BYTES; // less than all files: they push each other out

interface Sample {
  readonly list: ChunkList;
  readonly encoded: Buffer;
  readonly chunks: readonly VerifiedChunk[];
}

async function sample(at: number, sizeBytes: number): Promise<Sample> {
  const content = Buffer.alloc(sizeBytes, `sample ${at};`);
  const parts = Array.from({ length: chunkCountOf(sizeBytes) }, (_, index) =>
    content.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES),
  );
  const hashes = parts.map((part) => createHash('sha256').update(part).digest());
  const encoded = encodeChunkList(sizeBytes, Buffer.concat(hashes));
  const list = decodeChunkList(encoded, fileIdOf(encoded));
  assert.ok(list.ok);
  const chunks = await Promise.all(
    parts.map((part, index) => verifyChunk(list.value, index, part)),
  );
  assert.ok(chunks.every((chunk) => chunk !== null));
  return { list: list.value, encoded, chunks: chunks };
}

function open(disk: PowerCutDisk, clock: SimulatedClock): Store {
  return new Store({
    volumes: [disk.volume(CAPACITY_BYTES)],
    clock,
    nowMs: () => clock.wallMs(),
    log: createLogger('test', 'silent'),
  });
}

/** Works on the store until it is done or the power goes. */
async function work(
  store: Store,
  samples: readonly Sample[],
  random: Random,
  clock: SimulatedClock,
): Promise<void> {
  for (let step = 0; step < STEPS_MAX; step++) {
    const one = samples[random.below(samples.length)];
    const entry = store.find(one.list.fileId);
    const dice = random.next();
    if (dice < 0.08 && entry !== undefined) store.drop(entry);
    else if (dice < 0.16 && entry !== undefined) {
      await store.dropChunk(entry, random.below(entry.chunkCount), 'a test');
    } else if (dice < 0.3) await store.flush();
    else if (dice < 0.4) clock.advance(1000);
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

test(`${CUTS} power cuts on a disk that forgets, tears and reorders: no chunk is called present that is not`, async () => {
  const samples = await Promise.all(
    [500, 1000, CHUNK_BYTES + 10, 20, 700, 3000].map((bytes, at) => sample(at, bytes)),
  );
  let cuts = 0;
  let chunksChecked = 0;
  let wholeSeen = 0;
  for (let lineage = 0; cuts < CUTS; lineage++) {
    const random = seededRandom(SEED + lineage);
    const disk = new PowerCutDisk(random);
    for (let cut = 0; cut < CUTS_PER_DISK; cut++, cuts++) {
      const clock = new SimulatedClock(Date.UTC(2026, 10, 21) + cuts * 1000);
      disk.cutAfter(random.below(OPERATIONS_MAX));
      await untilOff(disk, work(open(disk, clock), samples, random, clock));
      disk.restore();
      const store = open(disk, clock);
      const where = `seed ${SEED + lineage}, cut ${cut}`;
      for (const entry of store.entries()) {
        if (entry.isWhole) wholeSeen++;
        for (let index = 0; index < entry.chunkCount; index++) {
          if (!entry.has(index)) continue;
          chunksChecked++;
          const verdict = await store.checkChunk(entry, index);
          assert.equal(verdict, 'good', `${where}: ${entry.fileId} chunk ${index}`);
        }
      }
      assert.equal(store.figures().filesLost, 0, `${where}: a file or its chunk list is missing`);
    }
  }
  assert.ok(
    chunksChecked > CUTS / 2,
    `${chunksChecked} chunks were checked: the test shows something`,
  );
  assert.ok(wholeSeen > 0, 'some files were whole');
});

test('the disk that loses power does lose: without a sync, chunks are gone or torn after a cut', async () => {
  const one = await sample(9, 3000);
  let lost = 0;
  for (let seed = 0; seed < 50; seed++) {
    const disk = new PowerCutDisk(seededRandom(seed));
    const { files } = disk.volume(CAPACITY_BYTES);
    const made = await files.create(one.list.fileId);
    assert.ok(made.ok);
    await files.syncName(one.list.fileId);
    await files.write(made.value, one.chunks[0].bytes, 0);
    disk.cutAfter(0);
    disk.spend();
    disk.restore();
    const again = await files.open(one.list.fileId, false);
    assert.ok(again.ok);
    const into = Buffer.alloc(3000);
    await files.read(again.value, into, 0);
    if (!into.equals(one.chunks[0].bytes)) lost++;
  }
  assert.ok(lost > 10 && lost < 50, `${lost} of 50 were lost`);
});
