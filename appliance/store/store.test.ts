import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  mkdtempSync,
  openSync,
  closeSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { SimulatedClock, systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { setDigestOf } from '#control-plane/contract.ts';
import {
  CHUNK_BYTES,
  decodeChunkList,
  encodeChunkList,
  fileIdOf,
  type ChunkList,
} from '#upstream/contract.ts';
import { openVolume } from '../io/disk-volume.ts';
import { Store, type NewFile } from './store.ts';
import { verifyChunk } from './verified-chunk.ts';

const log = createLogger('test', 'silent');
const MIB = 1024 * 1024;

interface Sample {
  readonly list: ChunkList;
  readonly encoded: Buffer;
  readonly chunks: readonly Buffer[];
}

/** A file of `chunkCount` chunks (the last one short), its bytes from a seed. */
function sample(seed: number, chunkCount: number, lastBytes = 1000): Sample {
  const chunks = Array.from({ length: chunkCount }, (_, at) =>
    Buffer.alloc(at === chunkCount - 1 ? lastBytes : CHUNK_BYTES, `${seed}:${at};`),
  );
  const hashes = Buffer.concat(chunks.map((chunk) => createHash('sha256').update(chunk).digest()));
  const encoded = encodeChunkList((chunkCount - 1) * CHUNK_BYTES + lastBytes, hashes);
  const list = decodeChunkList(encoded, fileIdOf(encoded));
  assert.ok(list.ok);
  return { list: list.value, encoded, chunks };
}

function newFile(from: Sample, isPinned = true): NewFile {
  return {
    fileId: from.list.fileId,
    sizeBytes: from.list.sizeBytes,
    titles: ['title'],
    isPinned,
    forecastPerDay: isPinned ? 1 : 0,
    chunkList: from.encoded,
    from: 'test',
  };
}

class Bench {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'nightfill-store-'));
  readonly capacities: readonly number[];
  store: Store;

  constructor(capacities: readonly number[] = [64 * MIB]) {
    this.capacities = capacities;
    this.store = this.#open();
  }

  #open(): Store {
    const volumes = this.capacities.map((capacityBytes, at) => {
      const outcome = openVolume({
        path: path.join(this.directory, `volume-${at}`),
        capacityBytes,
      });
      assert.ok(outcome.ok, outcome.ok ? '' : outcome.failure.detail);
      return outcome.value;
    });
    return new Store({ volumes, clock: systemClock, nowMs: () => Date.now(), log });
  }

  async restart(): Promise<void> {
    await this.store.close();
    this.store = this.#open();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.store.close();
    rmSync(this.directory, { recursive: true });
  }

  async put(from: Sample, indexes: readonly number[], isPinned = true): Promise<void> {
    const begun = await this.store.begin(newFile(from, isPinned));
    assert.ok(begun.ok, begun.ok ? '' : begun.failure.detail);
    for (const index of indexes) {
      const chunk = await verifyChunk(from.list, index, from.chunks[index]);
      assert.ok(chunk !== null);
      const wrote = await this.store.writeChunk(begun.value, chunk, 'test');
      assert.ok(wrote.ok, wrote.ok ? '' : wrote.failure.detail);
    }
  }

  file(from: Sample, volume = 0, suffix = ''): string {
    const id = from.list.fileId;
    return path.join(this.directory, `volume-${volume}`, 'files', id.slice(0, 2), `${id}${suffix}`);
  }
}

test('a file is whole, held and named once all of its chunks are durable, and still after a restart', async () => {
  await using bench = new Bench();
  const film = sample(1, 3);
  await bench.put(film, [2, 0]);
  await bench.store.flush();
  assert.equal(bench.store.find(film.list.fileId)?.isWhole, false);
  assert.equal(bench.store.holdings.count, 0);
  const before = bench.store.holdings.version;
  await bench.put(film, [1]);
  await bench.store.flush();
  assert.equal(bench.store.find(film.list.fileId)?.isWhole, true);
  assert.deepEqual(bench.store.holdings.changesSince(before, 10)?.added, [film.list.fileId]);
  closeSync(openSync(bench.file(film), 'r'));
  await bench.restart();
  assert.equal(bench.store.find(film.list.fileId)?.isWhole, true);
  assert.equal(bench.store.holdings.digest, setDigestOf([film.list.fileId]));
  for (const index of [0, 1, 2]) {
    assert.equal(await bench.store.checkChunk(bench.store.find(film.list.fileId)!, index), 'good');
  }
});

test('a partial file keeps its durable chunks over a restart and is continued', async () => {
  await using bench = new Bench();
  const film = sample(2, 4);
  await bench.put(film, [3, 1]);
  await bench.restart();
  const entry = bench.store.find(film.list.fileId)!;
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => entry.has(index)),
    [false, true, false, true],
  );
  await bench.put(film, [0, 2]);
  await bench.store.flush();
  assert.equal(bench.store.find(film.list.fileId)?.isWhole, true);
});

test('bytes that do not match their hash never become a chunk', async () => {
  const film = sample(3, 2);
  const flipped = Buffer.from(film.chunks[0]);
  flipped[1234] ^= 1;
  assert.equal(await verifyChunk(film.list, 0, flipped), null);
  assert.equal(await verifyChunk(film.list, 1, film.chunks[0]), null);
  assert.equal(await verifyChunk(film.list, 0, film.chunks[0].subarray(1)), null);
  assert.equal(await verifyChunk(film.list, 2, film.chunks[1]), null);
});

test('a chunk list of another file is refused before anything is made', async () => {
  await using bench = new Bench();
  const film = sample(4, 2);
  const other = sample(5, 2);
  const begun = await bench.store.begin({ ...newFile(film), chunkList: other.encoded });
  assert.ok(!begun.ok);
  assert.equal(begun.failure.code, 'chunk-list-bad');
  assert.match(begun.failure.detail, /from test/);
});

test('a flipped bit on the disk is found, the chunk is dropped for good and written anew', async () => {
  await using bench = new Bench();
  const film = sample(6, 3);
  await bench.put(film, [0, 1, 2]);
  await bench.store.flush();
  const fd = openSync(bench.file(film), 'r+');
  writeSync(fd, Buffer.from([0xff]), 0, 1, CHUNK_BYTES + 77);
  closeSync(fd);
  const entry = bench.store.find(film.list.fileId)!;
  const serial = entry.serial;
  assert.equal(await bench.store.checkChunk(entry, 1), 'bad');
  assert.equal(entry.has(1), false);
  assert.notEqual(entry.serial, serial, 'nothing cached under the old serial may be served');
  assert.equal(bench.store.holdings.has(film.list.fileId), false);
  assert.equal(bench.store.figures().chunksCorrupt, 1);
  await bench.restart();
  assert.equal(bench.store.find(film.list.fileId)?.has(1), false, 'remembered over a restart');
  await bench.put(film, [1]);
  await bench.store.flush();
  assert.equal(await bench.store.checkChunk(bench.store.find(film.list.fileId)!, 1), 'good');
  assert.equal(bench.store.holdings.has(film.list.fileId), true);
});

test('a file that is missing or cut short on the disk leaves the catalogue instead of being served', async () => {
  await using bench = new Bench();
  const gone = sample(7, 2);
  const short = sample(8, 2);
  await bench.put(gone, [0, 1]);
  await bench.put(short, [0, 1]);
  await bench.restart();
  unlinkSync(bench.file(gone));
  truncateSync(bench.file(short), CHUNK_BYTES);
  const outcome = await bench.store.lease(bench.store.find(gone.list.fileId)!);
  assert.ok(!outcome.ok);
  assert.equal(bench.store.find(gone.list.fileId), undefined);
  assert.equal(await bench.store.checkChunk(bench.store.find(short.list.fileId)!, 1), 'bad');
  assert.equal(bench.store.find(short.list.fileId)?.has(0), true);
});

test('reactive files make room for planned ones, the coldest first; planned ones never leave', async () => {
  await using bench = new Bench([16 * MIB]);
  const cold = sample(10, 4);
  const warm = sample(11, 4);
  await bench.put(cold, [0, 1, 2, 3], false);
  await bench.put(warm, [0, 1, 2, 3], false);
  bench.store.accessed(bench.store.find(warm.list.fileId)!, warm.list.sizeBytes * 5);
  await bench.put(sample(12, 12), []);
  assert.equal(bench.store.find(cold.list.fileId), undefined);
  assert.notEqual(bench.store.find(warm.list.fileId), undefined);
  await bench.put(sample(13, 5), []);
  assert.equal(bench.store.find(warm.list.fileId), undefined);
  const refused = await bench.store.begin(newFile(sample(14, 8)));
  assert.ok(!refused.ok);
  assert.equal(refused.failure.code, 'no-room');
  assert.ok(bench.store.figures().usedBytes <= 16 * MIB);
});

test('what the manifest no longer names stays until room is needed', async () => {
  await using bench = new Bench([16 * MIB]);
  const first = sample(15, 6);
  await bench.put(first, [0, 1, 2, 3, 4, 5]);
  await bench.store.setWanted(new Map(), 0);
  assert.equal(bench.store.find(first.list.fileId)?.isPinned, false);
  await bench.restart();
  assert.equal(bench.store.find(first.list.fileId)?.isPinned, false, 'remembered');
  await bench.put(sample(16, 14), []);
  assert.equal(bench.store.find(first.list.fileId), undefined);
});

test('a file that left can come back at once', async () => {
  await using bench = new Bench();
  const film = sample(17, 2);
  for (let round = 0; round < 5; round++) {
    await bench.put(film, [0, 1]);
    if (round % 2 === 0) await bench.store.flush();
    bench.store.drop(bench.store.find(film.list.fileId)!);
  }
  await bench.put(film, [0, 1]);
  await bench.restart();
  const entry = bench.store.find(film.list.fileId)!;
  assert.equal(entry.isWhole, true);
  assert.equal(await bench.store.checkChunk(entry, 0), 'good');
});

test('files spread over volumes, and a lost volume takes only its own files', async () => {
  await using bench = new Bench([32 * MIB, 32 * MIB]);
  const films = Array.from({ length: 6 }, (_, at) => sample(20 + at, 3));
  for (const film of films) await bench.put(film, [0, 1, 2]);
  await bench.store.flush();
  const onFirst = films.filter((film) => bench.store.find(film.list.fileId)!.volumeAt === 0);
  assert.equal(onFirst.length, 3);
  bench.store.takeOut(bench.store.volumes()[0], 'a test');
  assert.equal(bench.store.holdings.count, 3);
  assert.match(bench.store.problems().join(), /volume-0 was taken out: a test/);
  for (const film of onFirst) assert.equal(bench.store.find(film.list.fileId), undefined);
  await bench.put(sample(30, 2), [0, 1]);
  assert.equal(bench.store.find(sample(30, 2).list.fileId)?.volumeAt, 1);
});

test('a volume belongs to one process', async () => {
  await using bench = new Bench();
  const second = openVolume({
    path: path.join(bench.directory, 'volume-0'),
    capacityBytes: 64 * MIB,
  });
  assert.ok(!second.ok);
  assert.match(second.failure.detail, /volume-0 is in use by another process/);
});

test('whatever is done to it, the store agrees with a model', async () => {
  const films = Array.from({ length: 4 }, (_, at) => sample(40 + at, at + 1));
  const film = fc.integer({ min: 0, max: films.length - 1 });
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant('write' as const), film, fc.nat(3)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant('flush' as const), film, fc.nat(3)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('bad' as const), film, fc.nat(3)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('drop' as const), film, fc.nat(3)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('pins' as const), film, fc.nat(3)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('restart' as const), film, fc.nat(3)) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      await using bench = new Bench();
      const model = films.map(() => new Set<number>());
      for (const [what, at, nth] of steps) {
        const { list } = films[at];
        const index = nth % list.chunkCount;
        const entry = bench.store.find(list.fileId);
        if (what === 'write') {
          await bench.put(films[at], [index]);
          model[at].add(index);
        } else if (what === 'flush') await bench.store.flush();
        else if (what === 'restart') await bench.restart();
        else if (what === 'bad' && entry !== undefined) {
          await bench.store.dropChunk(entry, index, 'a test');
          model[at].delete(index);
        } else if (what === 'drop' && entry !== undefined) {
          bench.store.drop(entry);
          model[at].clear();
        } else if (what === 'pins') {
          const { sizeBytes } = list;
          await bench.store.setWanted(
            new Map([[list.fileId, { titles: ['title'], sizeBytes, density: 2 }]]),
            1,
          );
        }
        for (const [k, expected] of model.entries()) {
          const found = bench.store.find(films[k].list.fileId);
          for (let chunk = 0; chunk < films[k].list.chunkCount; chunk++) {
            assert.equal(
              found?.has(chunk) ?? false,
              expected.has(chunk),
              `file ${k} chunk ${chunk}`,
            );
          }
        }
      }
      await bench.store.flush();
      const whole = films.filter((one, k) => model[k].size === one.list.chunkCount);
      assert.equal(bench.store.holdings.digest, setDigestOf(whole.map((one) => one.list.fileId)));
      for (const one of films) {
        const entry = bench.store.find(one.list.fileId);
        if (entry === undefined) continue;
        for (let chunk = 0; chunk < entry.chunkCount; chunk++) {
          if (entry.has(chunk)) assert.equal(await bench.store.checkChunk(entry, chunk), 'good');
        }
      }
    }),
    { numRuns: 40, seed: 20261120 },
  );
});

test('a store on a simulated clock commits after its delay without being told', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-store-'));
  const clock = new SimulatedClock();
  const outcome = openVolume({ path: directory, capacityBytes: 32 * MIB });
  assert.ok(outcome.ok);
  const store = new Store({ volumes: [outcome.value], clock, nowMs: () => clock.wallMs(), log });
  const film = sample(50, 1);
  const begun = await store.begin(newFile(film));
  assert.ok(begun.ok);
  const chunk = await verifyChunk(film.list, 0, film.chunks[0]);
  await store.writeChunk(begun.value, chunk!, 'test');
  assert.equal(begun.value.isWhole, false);
  clock.advance(1000);
  while (!begun.value.isWhole) await new Promise((resolve) => setTimeout(resolve, 5));
  await store.close();
  rmSync(directory, { recursive: true });
});

test('a store that is still reading its catalogue in already finds, serves and drops what it holds', async () => {
  await using bench = new Bench();
  const films = [sample(60, 1), sample(61, 2), sample(62, 3)];
  for (const film of films) await bench.put(film, [0]);
  await bench.store.close();
  const outcome = openVolume({
    path: path.join(bench.directory, 'volume-0'),
    capacityBytes: 64 * MIB,
  });
  assert.ok(outcome.ok);
  const volumes = [outcome.value];
  const store = new Store({
    volumes,
    clock: systemClock,
    nowMs: () => Date.now(),
    log,
    loads: 'later',
  });
  bench.store = store;
  assert.equal(store.isLoaded, false);
  assert.equal(store.holdings.count, 0);
  const early = store.find(films[0].list.fileId)!;
  assert.equal(await store.checkChunk(early, 0), 'good');
  store.drop(store.find(films[1].list.fileId)!);
  assert.equal(store.find(films[1].list.fileId), undefined);
  assert.equal(store.find('A'.repeat(43)), undefined);
  await store.load();
  assert.equal(store.isLoaded, true);
  assert.equal(store.find(films[0].list.fileId), early, 'not taken in twice');
  assert.equal(store.find(films[1].list.fileId), undefined);
  assert.equal(store.find(films[2].list.fileId)?.has(0), true);
  assert.equal(store.holdings.count, 1);
  const { usedBytes } = store.figures();
  assert.equal(usedBytes, films[0].list.sizeBytes + films[2].list.sizeBytes, 'accounted once');
});

test('what lies on the disk without a row is swept; what has one stays', async () => {
  await using bench = new Bench();
  const kept = sample(70, 2);
  const stray = sample(71, 2);
  await bench.put(kept, [0, 1]);
  await bench.put(stray, [0, 1]);
  await bench.store.flush();
  const volume = bench.store.volumes()[0].volume;
  bench.store.drop(bench.store.find(stray.list.fileId)!);
  await bench.restart();
  const made = await volume.files.create(stray.list.fileId);
  assert.ok(made.ok);
  volume.files.close(made.value);
  assert.equal(await bench.store.sweepStrays(), 1);
  assert.throws(() => openSync(bench.file(stray, 0, '.part'), 'r'), /ENOENT/);
  assert.equal(await bench.store.checkChunk(bench.store.find(kept.list.fileId)!, 1), 'good');
  await bench.put(stray, [0, 1]);
  assert.equal(await bench.store.sweepStrays(), 0);
});
