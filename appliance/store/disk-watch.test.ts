/** What each fault of a disk does to the store: which volume leaves, what stays served, what health says. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { failed, type Failure, type Outcome } from '#base/outcome.ts';
import { seededRandom } from '#base/random.ts';
import { decodeChunkList, encodeChunkList, fileIdOf } from '#upstream/contract.ts';
import { diskFailure } from '../io/disk-files.ts';
import { PowerCutDisk } from './power-cut-disk.ts';
import { Store } from './store.ts';
import { verifyChunk } from './verified-chunk.ts';
import { PROBES_PER_WINDOW } from './volume-speed.ts';
import type { Volume, VolumeFiles } from './volume.ts';

const FILES = 6;
const CAPACITY_BYTES = 1_000_000;

/** A sound volume whose reads and writes fail, or take long, when the test says so. */
class FaultyVolume implements Volume {
  readonly #sound: Volume;
  readonly #clock: SimulatedClock;
  readonly name: string;
  readonly id: string;
  readonly speed = 'fast';
  readonly capacityBytes = CAPACITY_BYTES;
  readonly files: VolumeFiles;
  fault: { readonly on: 'read' | 'write' | 'sync'; readonly code: string } | null = null;
  readMs = 1;

  constructor(name: string, clock: SimulatedClock) {
    this.name = name;
    this.id = name;
    this.#clock = clock;
    this.#sound = new PowerCutDisk(seededRandom(1)).volume(CAPACITY_BYTES);
    const sound = this.#sound.files;
    this.files = new Proxy(sound, {
      get: (_, property) => {
        const method = Reflect.get(sound, property) as (...given: unknown[]) => unknown;
        return (...given: unknown[]) =>
          this.#failureOf(String(property)) ?? method.apply(sound, given);
      },
    });
  }

  get catalogue(): Volume['catalogue'] {
    return this.#sound.catalogue;
  }

  #failureOf(method: string): Promise<Outcome<never>> | null {
    if (method === 'read') this.#clock.advance(this.readMs);
    if (this.fault?.on !== method) return null;
    const thrown = Object.assign(new Error(this.fault.code), { code: this.fault.code });
    const failure: Failure = diskFailure(this.name, method, thrown);
    return Promise.resolve(failed(failure));
  }
}

class Box {
  readonly clock = new SimulatedClock(Date.UTC(2026, 10, 21));
  readonly volumes = ['disk-a', 'disk-b'].map((name) => new FaultyVolume(name, this.clock));
  readonly out: string[] = [];
  readonly store = new Store({
    volumes: this.volumes,
    clock: this.clock,
    nowMs: () => this.clock.wallMs(),
    log: createLogger('test', 'silent'),
    onVolumeOut: (volume, why) => this.out.push(`${volume.name}: ${why}`),
  });

  async put(at: number): Promise<Outcome<unknown>> {
    const bytes = Buffer.alloc(900, `file ${at};`);
    const chunkList = encodeChunkList(900, createHash('sha256').update(bytes).digest());
    const fileId = fileIdOf(chunkList);
    const begun = await this.store.begin({
      fileId,
      sizeBytes: 900,
      titles: ['title'],
      isPinned: true,
      forecastPerDay: 1,
      chunkList,
      from: 'test',
    });
    if (!begun.ok) return begun;
    const list = decodeChunkList(chunkList, fileId);
    const chunk = list.ok ? await verifyChunk(list.value, 0, bytes) : null;
    assert.ok(chunk !== null);
    const wrote = await this.store.writeChunk(begun.value, chunk, 'test');
    await this.store.flush();
    return wrote;
  }

  async filled(): Promise<this> {
    for (let at = 0; at < FILES; at++) assert.ok((await this.put(at)).ok);
    assert.equal(this.store.holdings.count, FILES);
    return this;
  }

  async readEverything(): Promise<void> {
    const all = Array.from(this.store.entries()); // what is read may leave
    for (const entry of all) await this.store.checkChunk(entry, 0);
  }

  on(volumeAt: number): number {
    return [...this.store.entries()].filter((entry) => entry.volumeAt === volumeAt).length;
  }
}

test('EIO on reads: each bad chunk is dropped, and after three the volume is out and its files leave the holdings', async () => {
  const box = await new Box().filled();
  const before = box.on(1);
  box.volumes[0].fault = { on: 'read', code: 'EIO' };
  await box.readEverything();
  assert.match(box.out.join(), /^disk-a: 3 read errors, the last: disk-eio$/);
  assert.equal(box.on(0), 0);
  assert.equal(box.on(1), before, 'the other disk keeps what it has');
  assert.equal(box.store.holdings.count, before);
  assert.ok(box.store.isUsable);
  assert.match(box.store.problems().join(), /volume disk-a was taken out.*readmit disk-a/);
  await box.readEverything();
  assert.equal(box.on(1), before, 'and serves it');
});

for (const [what, on, code] of [
  ['a read-only remount', 'write', 'EROFS'],
  ['EIO on a write', 'write', 'EIO'],
  ['EIO on fsync', 'sync', 'EIO'],
] as const) {
  test(`${what}: the volume is out at once, and the next file goes to its neighbour`, async () => {
    const box = await new Box().filled();
    box.volumes[0].fault = { on, code };
    for (let at = FILES; at < FILES + 4; at++) await box.put(at);
    assert.equal(box.out.length, 1);
    assert.match(box.out[0], new RegExp(`^disk-a: .*${code}`));
    assert.equal(box.on(0), 0);
    assert.equal(box.store.holdings.count, box.on(1));
    assert.ok((await box.put(99)).ok);
  });
}

test('no space left: nothing leaves, nothing new is placed there for a while, then it is tried again', async () => {
  const box = await new Box().filled();
  box.volumes[0].fault = { on: 'write', code: 'ENOSPC' };
  for (let at = FILES; at < FILES + 4; at++) await box.put(at);
  assert.deepEqual(box.out, []);
  assert.match(box.store.problems().join(), /no space left on disk-a/);
  const held = box.on(0);
  assert.ok((await box.put(50)).ok, 'goes to the other disk');
  assert.equal(box.on(0), held);
  box.volumes[0].fault = null;
  box.clock.advance(11_000);
  assert.deepEqual(box.store.problems(), []);
  for (let at = 60; at < 64; at++) assert.ok((await box.put(at)).ok);
  assert.ok(box.on(0) > held);
});

test('a disk that is only slow beside its sibling is out after three windows; one that is slow alone with all is not', async () => {
  const box = await new Box().filled();
  const windows = Math.ceil((4 * PROBES_PER_WINDOW) / Math.min(box.on(0), box.on(1)));
  box.volumes[0].readMs = 900;
  box.volumes[1].readMs = 800;
  for (let round = 0; round < windows; round++) await box.readEverything();
  assert.deepEqual(box.out, [], 'both alike');
  box.volumes[1].readMs = 20;
  for (let round = 0; round < windows; round++) await box.readEverything();
  assert.match(box.out.join(), /^disk-a: its reads take 900 ms, its siblings' a fraction$/);
  assert.equal(box.store.holdings.count, box.on(1));
});
