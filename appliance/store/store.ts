/**
 * The box's store: every file on every volume, in one in-memory catalogue. The one owner of that state.
 *
 * Shape:      find(fileId) -> entry; begin -> write verified chunks -> whole; lease -> an open file to serve from
 * Errors:     Failures that name the volume; a volume that breaks is taken out, and the box serves the rest
 * Invariants: (1) a chunk that an entry `has` was verified and written; nothing else can be, since only a VerifiedChunk
 *                 is taken
 *             (2) after kill -9 or a power cut every chunk in a volume's catalogue is present: group-commit.ts gives
 *                 the order of writes; a removal reaches the disk's catalogue before the file goes
 *             (3) a chunk found bad is never served again under any cached name: its entry gets a new serial first
 *             (4) sum of footprints <= capacity of each volume, unless its pinned files alone are more
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { MIB } from '#base/units.ts';
import {
  CHUNK_BYTES,
  decodeChunkList,
  type ChunkList,
  type FileId,
  type TitleId,
} from '#upstream/contract.ts';
import { decideAdmission, type Admission } from './admission.ts';
import { ChunkSet } from './chunk-set.ts';
import { StoredEntry } from './entry.ts';
import { GroupCommit } from './group-commit.ts';
import { viewsPerDay, warmed } from './heat.ts';
import { Holdings } from './holdings.ts';
import { OpenFiles, type OpenFile } from './open-files.ts';
import { choosePlacement } from './placement.ts';
import { verifyChunk, type VerifiedChunk } from './verified-chunk.ts';
import { FULL_PAUSE_MS, READ_ERRORS_MAX, VolumeState } from './volume-state.ts';
import { isSlowDisk, noteProbe } from './volume-speed.ts';
import type { CatalogueChange, CatalogueRow, Volume } from './volume.ts';

const CHUNK_LISTS_BYTES_MAX = 64 * MIB; // 2 M hashes: the lists in use, not the 240 M that exist
const FILES_OPEN_IDLE_MAX = 2048;
const FETCHED_ONCE_MAX = 65_536;
const ROWS_PER_COMMIT_MAX = 5000; // a commit of that many rows blocks for some 20 ms
const HEAT_ROWS_PER_FLUSH_MAX = 2000;
const ROWS_PER_PAGE = 1000; // read between two turns of the event loop: some 10 ms

export interface StoreDeps {
  readonly volumes: readonly Volume[];
  readonly clock: Clock;
  /** Trusted Unix time in milliseconds: heat and holdings versions live longer than this process. */
  readonly nowMs: () => number;
  readonly log: Logger;
  /** 'later': the caller calls `load`, and serves meanwhile. */
  readonly loads?: 'now' | 'later';
  /** A volume was taken out: remembered until an operator says otherwise. */
  readonly onVolumeOut?: (volume: Volume, why: string) => void;
}

/** What a file is, before its first chunk. */
export interface NewFile {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly titles: readonly TitleId[];
  readonly isPinned: boolean;
  readonly forecastPerDay: number;
  readonly chunkList: Buffer; // encoded; checked here again
  readonly from: string;
}

export interface WantedFile {
  readonly titles: readonly TitleId[];
  readonly sizeBytes: number;
  readonly density: number;
}

export interface StoreFigures {
  readonly capacityBytes: number; // of volumes that are up
  readonly usedBytes: number;
  readonly pinnedBytes: number;
  readonly reactiveBytes: number;
  readonly files: number;
  readonly chunksCorrupt: number;
  readonly filesLost: number;
  readonly filesEvicted: number;
}

export class Store {
  readonly holdings: Holdings;
  readonly #deps: StoreDeps;
  readonly #volumes: readonly VolumeState[];
  readonly #entries = new Map<FileId, StoredEntry>();
  readonly #openFiles: OpenFiles;
  readonly #leaving = new Map<FileId, Promise<void>>();
  readonly #beginning = new Map<FileId, Promise<Outcome<StoredEntry>>>();
  readonly #fetchedOnce = new LRUCache<string, true>({ max: FETCHED_ONCE_MAX });
  readonly #heatChanged = new Set<StoredEntry>();
  readonly #chunkLists = new LRUCache<FileId, ChunkList>({
    maxSize: CHUNK_LISTS_BYTES_MAX,
    sizeCalculation: (list) => list.hashes.length + 200,
  });
  readonly #loaded = Promise.withResolvers<void>();
  #fillDensity = 0;
  #chunksCorrupt = 0;
  #filesLost = 0;
  #filesEvicted = 0;

  constructor(deps: StoreDeps) {
    this.#deps = deps;
    this.holdings = new Holdings(Math.floor(deps.nowMs()));
    this.#volumes = deps.volumes.map((volume, at) => new VolumeState(at, volume));
    this.#openFiles = new OpenFiles(
      FILES_OPEN_IDLE_MAX,
      (entry) => this.#volumes[entry.volumeAt].volume.files,
      (entry, offset, code) => this.#readFailed(entry, offset, code),
    );
    for (const state of this.#volumes) {
      state.group = new GroupCommit(state.volume, this.#openFiles, deps.clock, {
        whole: (entry) => this.#becameWhole(entry),
        lost: (entry, chunks, failure) => this.#chunksLost(entry, chunks, failure),
        commitFailed: (failure) => this.#diskFailed(state, failure),
      });
    }
    if (deps.loads !== 'later')
      for (const state of this.#volumes) while (this.#loadPage(state)) continue;
  }

  /** Reads the catalogues in, a page at a time: what is asked for meanwhile is looked up by itself. */
  async load(): Promise<void> {
    for (const state of this.#volumes) {
      while (this.#loadPage(state)) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#loaded.resolve();
  }

  /** False while catalogues are being read: room and holdings are not known yet. */
  get isLoaded(): boolean {
    return this.#volumes.every((state) => state.isLoaded || !state.isUp);
  }

  // ---------------------------------------------------------------- reading

  find(fileId: FileId): StoredEntry | undefined {
    const entry = this.#entries.get(fileId);
    if (entry !== undefined || this.isLoaded) return entry;
    for (const state of this.#volumes) {
      if (state.isLoaded || !state.isUp) continue;
      const row = state.volume.catalogue.row(fileId);
      if (row !== null) return this.#take(state, row, this.#deps.nowMs());
    }
    return undefined;
  }

  entries(): Iterable<StoredEntry> {
    return this.#entries.values();
  }

  volumeOf(entry: StoredEntry): VolumeState {
    return this.#volumes[entry.volumeAt];
  }

  volumes(): readonly VolumeState[] {
    return this.#volumes;
  }

  /** An open file with one reference, if it is open already; give it back with `release`. */
  peek(entry: StoredEntry): OpenFile | null {
    return this.#openFiles.peek(entry);
  }

  async lease(entry: StoredEntry): Promise<Outcome<OpenFile>> {
    const outcome = await this.#openFiles.take(entry);
    if (!outcome.ok) this.#openFailed(entry, outcome.failure);
    return outcome;
  }

  release(file: OpenFile): void {
    this.#openFiles.release(file);
  }

  /** The checked chunk list of a file that is here, wholly or partly. */
  async chunkList(entry: StoredEntry): Promise<Outcome<ChunkList>> {
    const known = this.#chunkLists.get(entry.fileId);
    if (known !== undefined) return success(known);
    const { volume } = this.#volumes[entry.volumeAt];
    const encoded = await volume.files.readChunkList(entry.fileId);
    if (!encoded.ok) {
      this.#openFailed(entry, encoded.failure);
      return encoded;
    }
    const list = decodeChunkList(encoded.value, entry.fileId);
    if (!list.ok || list.value.sizeBytes !== entry.sizeBytes) {
      const why = list.ok ? 'another size' : list.failure;
      this.#lose(entry, `its chunk list on ${volume.name} is bad (${why})`);
      return failed({
        code: 'chunk-list-bad',
        source: 'disk',
        retry: 'another-source',
        detail: `${entry.fileId}: the chunk list on ${volume.name} is bad (${why}); the file was dropped`,
      });
    }
    this.#chunkLists.set(entry.fileId, list.value);
    return list;
  }

  /** A viewer or a peer took `bytes` of it. */
  accessed(entry: StoredEntry, bytes: number): void {
    const nowMs = this.#deps.nowMs();
    entry.heat = warmed(entry.heat, bytes / entry.sizeBytes, nowMs);
    this.#heatChanged.add(entry);
    if (!entry.isPinned && !entry.isGone) this.#volumes[entry.volumeAt].order.place(entry, nowMs);
  }

  /** Reads one chunk back and compares its hash: for the scrub and for samples of what is served. */
  async checkChunk(entry: StoredEntry, index: number): Promise<'good' | 'bad' | 'not-here'> {
    if (entry.isGone || !entry.has(index)) return 'not-here';
    const list = await this.chunkList(entry);
    if (!list.ok) return 'not-here';
    const serial = entry.serial;
    const file = await this.lease(entry);
    if (!file.ok) return 'not-here';
    const bytes = Buffer.allocUnsafeSlow(entry.chunkBytes(index));
    const offset = index * CHUNK_BYTES;
    const startMs = this.#deps.clock.monotonicMs();
    const read = await this.#filesOf(entry).read(file.value.content, bytes, offset);
    this.release(file.value);
    this.#probed(this.#volumes[entry.volumeAt], this.#deps.clock.monotonicMs() - startMs);
    if (!read.ok) {
      this.#readFailed(
        entry,
        offset,
        read.failure.code === 'file-short' ? 'SHORT' : read.failure.code,
      );
      return 'bad';
    }
    if ((await verifyChunk(list.value, index, bytes)) !== null) return 'good';
    if (entry.serial !== serial) return 'not-here'; // dropped and written anew while it was read
    await this.dropChunk(entry, index, 'its bytes on the disk do not match its hash');
    return 'bad';
  }

  // ---------------------------------------------------------------- writing

  /** Makes room for a file and its first row. A file that is here already is returned as it is. */
  async begin(file: NewFile): Promise<Outcome<StoredEntry>> {
    const here = this.#entries.get(file.fileId);
    if (here !== undefined) return success(here);
    const underWay = this.#beginning.get(file.fileId);
    if (underWay !== undefined) return underWay;
    const beginning = this.#begin(file).finally(() => this.#beginning.delete(file.fileId));
    this.#beginning.set(file.fileId, beginning);
    return beginning;
  }

  async #begin(file: NewFile): Promise<Outcome<StoredEntry>> {
    const list = decodeChunkList(file.chunkList, file.fileId);
    if (!list.ok || list.value.sizeBytes !== file.sizeBytes) {
      return failed({
        code: 'chunk-list-bad',
        source: 'upstream',
        retry: 'another-source',
        detail: `${file.fileId}: the chunk list from ${file.from} is ${list.ok ? 'for another size' : list.failure}`,
      });
    }
    await this.#leaving.get(file.fileId);
    if (!this.isLoaded) await this.#loaded.promise; // what is free is not known before
    const nowMs = this.#deps.nowMs();
    const needBytes = file.isPinned ? file.sizeBytes : Math.min(file.sizeBytes, CHUNK_BYTES);
    const rooms = this.#volumes.map((state) => state.room(this.#deps.clock.monotonicMs()));
    const heat = { count: 0, atMs: nowMs };
    const at = choosePlacement(rooms, needBytes, viewsPerDay(heat, file.forecastPerDay, nowMs));
    if (at === 'no-room' || !this.#makeRoom(this.#volumes[at], needBytes)) {
      return failed(this.#noRoom(needBytes));
    }
    const state = this.#volumes[at];
    const entry = new StoredEntry(
      at,
      { ...file, storedAtMs: nowMs },
      new ChunkSet(list.value.chunkCount),
      false,
    );
    state.account(entry, 1); // before anything awaits: the room is taken
    const made = await this.#makeFiles(state, entry, file.chunkList);
    if (!made.ok || !state.isUp) {
      if (state.isUp) state.account(entry, -1);
      if (!made.ok) this.#diskFailed(state, made.failure);
      return made.ok ? failed(this.#noRoom(needBytes)) : made;
    }
    this.#entries.set(entry.fileId, entry);
    this.#chunkLists.set(entry.fileId, list.value);
    if (!entry.isPinned) state.order.place(entry, nowMs);
    return success(entry);
  }

  async #makeFiles(
    state: VolumeState,
    entry: StoredEntry,
    chunkList: Buffer,
  ): Promise<Outcome<void>> {
    const { files } = state.volume;
    const created = await files.create(entry.fileId);
    if (!created.ok) return created;
    const listed = await files.writeChunkList(entry.fileId, chunkList);
    if (!listed.ok || !state.isUp) {
      files.close(created.value);
      return listed;
    }
    this.#openFiles.release(this.#openFiles.attach(entry, created.value));
    return success(undefined);
  }

  /** Stores a chunk that was verified. "already" where it is here. */
  async writeChunk(
    entry: StoredEntry,
    chunk: VerifiedChunk,
    from: string,
  ): Promise<Outcome<'stored' | 'already'>> {
    const state = this.#volumes[entry.volumeAt];
    if (entry.isGone) return failed(leftFailure(entry));
    if (entry.has(chunk.index)) return success('already');
    if (!entry.isPinned && !this.#makeRoom(state, chunk.bytes.length, entry)) {
      return failed(this.#noRoom(chunk.bytes.length));
    }
    const file = await this.#openFiles.take(entry, true);
    if (!file.ok) {
      this.#openFailed(entry, file.failure);
      return file;
    }
    const offset = chunk.index * CHUNK_BYTES;
    const written = await state.volume.files.write(file.value.content, chunk.bytes, offset);
    this.#openFiles.release(file.value);
    if (!written.ok) {
      this.#diskFailed(state, written.failure);
      return written;
    }
    if (entry.isGone) return failed(leftFailure(entry));
    if (entry.readable === null || !entry.readable.add(chunk.index)) return success('already');
    state.account(entry, -1);
    entry.presentBytes += chunk.bytes.length;
    state.account(entry, 1);
    entry.from = from;
    state.group.add(entry, chunk.index);
    return success('stored');
  }

  /** Whether a chunk that was fetched on demand is kept. Remembers that it was fetched. */
  admit(fileId: FileId, index: number, bytes: number): Admission {
    const entry = this.#entries.get(fileId);
    const nowMs = this.#deps.nowMs();
    const key = `${fileId}:${index}`;
    const isSecondHit = this.#fetchedOnce.has(key);
    this.#fetchedOnce.set(key, true);
    const usable = this.#volumes.filter(
      (state) => state.isUp && this.#deps.clock.monotonicMs() >= state.fullUntilMs,
    );
    const states =
      entry === undefined ? usable : usable.filter((state) => state.at === entry.volumeAt);
    let victimViewsPerDay: number | null = null;
    for (const state of states) {
      const victim = state.order.victim(nowMs, (candidate) => candidate !== entry);
      if (victim === null) continue;
      const views = viewsPerDay(victim.heat, victim.forecastPerDay, nowMs);
      if (victimViewsPerDay === null || views < victimViewsPerDay) victimViewsPerDay = views;
    }
    return decideAdmission({
      isPinned: entry?.isPinned ?? false,
      hasFreeRoom: states.some((state) => state.freeBytes >= bytes),
      isSecondHit,
      viewsPerDay: viewsPerDay(
        entry?.heat ?? { count: 0, atMs: nowMs },
        entry?.forecastPerDay ?? 0,
        nowMs,
      ),
      fillDensity: this.#fillDensity,
      victimViewsPerDay,
    });
  }

  /** A chunk turned out bad: it is not here any more, on the disk's catalogue too, before this returns. */
  async dropChunk(entry: StoredEntry, index: number, why: string): Promise<void> {
    if (entry.isGone || !entry.has(index)) return;
    this.#chunksCorrupt++;
    const state = this.#volumes[entry.volumeAt];
    this.#deps.log.warn(
      { event: 'chunk-corrupt', fileId: entry.fileId, chunk: index, volume: state.volume.name },
      `chunk ${index} of ${entry.fileId} was dropped: ${why}`,
    );
    this.#withdraw(entry, [index]);
    const committed = state.volume.catalogue.commit([{ kind: 'put', row: entry.toRow() }]);
    const synced = committed.ok ? await state.volume.catalogue.sync() : committed;
    if (!synced.ok) this.#diskFailed(state, synced.failure);
  }

  /** Takes chunks out of what is readable and durable, in memory. */
  #withdraw(entry: StoredEntry, chunks: readonly number[]): void {
    const state = this.#volumes[entry.volumeAt];
    if (entry.readable === null) {
      entry.readable = new ChunkSet(entry.chunkCount).addAll();
      entry.durable = entry.readable.copy();
      this.holdings.remove(entry.fileId);
    }
    state.account(entry, -1);
    for (const index of chunks) {
      if (entry.readable.remove(index)) entry.presentBytes -= entry.chunkBytes(index);
      entry.durable?.remove(index);
      state.group.forgetChunk(entry, index);
    }
    state.account(entry, 1);
    entry.renewSerial();
    this.#openFiles.detach(entry);
  }

  // ---------------------------------------------------------------- what is wanted

  /** Bytes that the manifest may claim: the reactive reserve is not among them. */
  plannableBytes(reactiveShare: number): number {
    const up = this.#volumes.filter((state) => state.isUp);
    return Math.floor(
      up.reduce((sum, state) => sum + state.volume.capacityBytes, 0) * (1 - reactiveShare),
    );
  }

  /**
   * Takes over the manifest's set: what it names is pinned, what it does not becomes reactive and leaves when room
   * is needed. Nothing is deleted here.
   */
  async setWanted(wanted: ReadonlyMap<FileId, WantedFile>, fillDensity: number): Promise<void> {
    this.#fillDensity = fillDensity;
    const nowMs = this.#deps.nowMs();
    const changes: CatalogueChange[][] = this.#volumes.map(() => []);
    let looked = 0;
    for (const entry of this.#entries.values()) {
      if (++looked % ROWS_PER_COMMIT_MAX === 0)
        await new Promise((resolve) => setImmediate(resolve));
      if (entry.isGone) continue;
      const want = wanted.get(entry.fileId);
      const isPinned = want !== undefined;
      const density = want?.density ?? 0;
      const titles = want === undefined ? entry.titles : union(entry.titles, want.titles);
      if (
        entry.isPinned === isPinned &&
        entry.forecastPerDay === density &&
        titles === entry.titles
      ) {
        continue;
      }
      const state = this.#volumes[entry.volumeAt];
      state.account(entry, -1);
      entry.isPinned = isPinned;
      entry.forecastPerDay = density;
      entry.titles = titles;
      state.account(entry, 1);
      if (isPinned) state.order.remove(entry);
      else state.order.place(entry, nowMs);
      changes[entry.volumeAt].push({ kind: 'put', row: entry.toRow() });
    }
    for (const [at, list] of changes.entries()) {
      const state = this.#volumes[at];
      for (let from = 0; from < list.length && state.isUp; from += ROWS_PER_COMMIT_MAX) {
        const committed = state.volume.catalogue.commit(
          list.slice(from, from + ROWS_PER_COMMIT_MAX),
        );
        if (!committed.ok) this.#diskFailed(state, committed.failure);
        await new Promise((resolve) => setImmediate(resolve));
      }
      this.#makeRoom(state, 0); // a partial file that is pinned now takes all of its room
    }
  }

  /** A file was shown, by signed data, to belong to a title. */
  addTitle(entry: StoredEntry, titleId: TitleId): void {
    if (entry.titles.includes(titleId)) return;
    entry.titles = [...entry.titles, titleId];
    this.#volumes[entry.volumeAt].group.touch(entry);
  }

  /** Takes a file out: memory at once, the disk when it comes to it. */
  drop(entry: StoredEntry): void {
    this.#forget(entry);
    this.#leave(entry);
  }

  /** Resolves once a file that was dropped has left its disk and the disk's catalogue. */
  left(fileId: FileId): Promise<void> {
    return this.#leaving.get(fileId) ?? Promise.resolve();
  }

  /** Removes what lies on the disks without a row: the room of removals and beginnings that a power cut interrupted. */
  async sweepStrays(): Promise<number> {
    let removed = 0;
    for (const state of this.#volumes) {
      if (!state.isUp || !state.isLoaded) continue;
      for await (const fileId of state.volume.files.named()) {
        const entry = this.#entries.get(fileId);
        const isKnown = entry !== undefined && entry.volumeAt === state.at;
        if (isKnown || this.#leaving.has(fileId) || this.#beginning.has(fileId)) continue;
        const removing = this.#removeStray(state, fileId);
        // As if it were leaving: whoever begins the same file meanwhile waits.
        const leaving = removing.then(() => {}).finally(() => this.#leaving.delete(fileId));
        this.#leaving.set(fileId, leaving);
        if ((await removing).ok) removed++;
        await leaving;
      }
    }
    return removed;
  }

  /** A file that another volume has too leaves this one's catalogue first. */
  async #removeStray(state: VolumeState, fileId: FileId): Promise<Outcome<void>> {
    const { catalogue, files } = state.volume;
    if (catalogue.row(fileId) !== null) {
      const committed = catalogue.commit([{ kind: 'remove', fileId }]);
      const synced = committed.ok ? await catalogue.sync() : committed;
      if (!synced.ok) return synced;
    }
    return files.remove(fileId);
  }

  // ---------------------------------------------------------------- state

  figures(): StoreFigures {
    let capacityBytes = 0;
    let usedBytes = 0;
    let pinnedBytes = 0;
    for (const state of this.#volumes) {
      if (!state.isUp) continue;
      capacityBytes += state.volume.capacityBytes;
      usedBytes += state.usedBytes;
      pinnedBytes += state.pinnedBytes;
    }
    return {
      capacityBytes,
      usedBytes,
      pinnedBytes,
      reactiveBytes: usedBytes - pinnedBytes,
      files: this.#entries.size,
      chunksCorrupt: this.#chunksCorrupt,
      filesLost: this.#filesLost,
      filesEvicted: this.#filesEvicted,
    };
  }

  /** What is wrong with the disks, for health: empty when all is well. */
  problems(): readonly string[] {
    const now = this.#deps.clock.monotonicMs();
    return this.#volumes.flatMap((state) => {
      if (state.outReason !== null) return [state.outReason];
      return now < state.fullUntilMs && state.fullReason !== null ? [state.fullReason] : [];
    });
  }

  /** True while at least one volume serves. */
  get isUsable(): boolean {
    return this.#volumes.some((state) => state.isUp);
  }

  /** Writes what has changed about access counts, a bounded piece at a time. */
  saveHeat(): void {
    let rows = 0;
    for (const entry of this.#heatChanged) {
      if (++rows > HEAT_ROWS_PER_FLUSH_MAX) return;
      this.#heatChanged.delete(entry);
      const state = this.#volumes[entry.volumeAt];
      // Rows of files without a safe name come with their first chunks.
      if (!entry.isGone && entry.isNameSafe && state.isUp) state.group.touch(entry);
    }
  }

  /** What was written of this file so far is durable, or was withdrawn. */
  async settle(entry: StoredEntry): Promise<void> {
    const state = this.#volumes[entry.volumeAt];
    if (state.isUp) await state.group.flush();
  }

  /** Everything written so far is durable. */
  async flush(): Promise<void> {
    for (const state of this.#volumes) if (state.isUp) await state.group.flush();
  }

  async close(): Promise<void> {
    this.saveHeat();
    await this.flush();
    await Promise.all(this.#leaving.values());
    this.#openFiles.closeAll();
    for (const state of this.#volumes) state.volume.catalogue.close();
  }

  // ---------------------------------------------------------------- private

  #filesOf(entry: StoredEntry): Volume['files'] {
    return this.#volumes[entry.volumeAt].volume.files;
  }

  /** False where the volume's catalogue is read to its end, or cannot be. */
  #loadPage(state: VolumeState): boolean {
    if (!state.isUp || state.isLoaded) return false;
    const page = state.volume.catalogue.page(state.loadedUntil, ROWS_PER_PAGE);
    if (!page.ok) {
      this.takeOut(state, page.failure.detail);
      return false;
    }
    const nowMs = this.#deps.nowMs();
    for (const row of page.value) if (!this.#entries.has(row.fileId)) this.#take(state, row, nowMs);
    state.loadedUntil = page.value.at(-1)?.fileId ?? state.loadedUntil;
    state.isLoaded = page.value.length < ROWS_PER_PAGE;
    return !state.isLoaded;
  }

  /** The same file on two volumes (a disk that came back): the first one that is met is kept. */
  #take(state: VolumeState, row: CatalogueRow, nowMs: number): StoredEntry {
    const entry = StoredEntry.fromRow(state.at, row);
    this.#entries.set(entry.fileId, entry);
    state.account(entry, 1);
    if (!entry.isPinned) state.order.place(entry, nowMs);
    if (entry.isWhole) this.holdings.add(entry.fileId);
    return entry;
  }

  #becameWhole(entry: StoredEntry): void {
    if (!entry.isGone) this.holdings.add(entry.fileId);
  }

  /** Evicts until `bytes` fit; false where that cannot be. `except` stays. */
  #makeRoom(state: VolumeState, bytes: number, except?: StoredEntry): boolean {
    if (!state.isUp) return false;
    const nowMs = this.#deps.nowMs();
    while (state.volume.capacityBytes - state.usedBytes < bytes) {
      const victim = state.order.victim(nowMs, (candidate) => candidate !== except);
      if (victim === null) return false;
      this.#filesEvicted++;
      this.#deps.log.debug({ event: 'evicted', fileId: victim.fileId }, 'a reactive file left');
      this.drop(victim);
    }
    return true;
  }

  #forget(entry: StoredEntry): void {
    if (entry.isGone) return;
    const state = this.#volumes[entry.volumeAt];
    entry.isGone = true;
    this.#entries.delete(entry.fileId);
    this.holdings.remove(entry.fileId);
    state.order.remove(entry);
    state.account(entry, -1);
    state.group.forget(entry);
    this.#heatChanged.delete(entry);
    this.#chunkLists.delete(entry.fileId);
    this.#openFiles.detach(entry);
  }

  /** Invariant 2: the catalogue forgets the file for good before its bytes go. */
  #leave(entry: StoredEntry): void {
    const state = this.#volumes[entry.volumeAt];
    if (!state.isUp) return;
    const leave = async (): Promise<void> => {
      const committed = state.volume.catalogue.commit([{ kind: 'remove', fileId: entry.fileId }]);
      const synced = committed.ok ? await state.volume.catalogue.sync() : committed;
      const removed = synced.ok ? await state.volume.files.remove(entry.fileId) : synced;
      if (!removed.ok) this.#diskFailed(state, removed.failure);
    };
    const leaving = leave().finally(() => this.#leaving.delete(entry.fileId));
    this.#leaving.set(entry.fileId, leaving);
  }

  #lose(entry: StoredEntry, why: string): void {
    this.#filesLost++;
    this.#deps.log.error(
      { event: 'file-lost', fileId: entry.fileId },
      `${entry.fileId} is lost: ${why}`,
    );
    this.drop(entry);
  }

  #openFailed(entry: StoredEntry, failure: Failure): void {
    if (entry.isGone || failure.code === 'file-left') return;
    const state = this.#volumes[entry.volumeAt];
    if (failure.code === 'file-missing') this.#lose(entry, failure.detail);
    else this.#diskFailed(state, failure);
  }

  #readFailed(entry: StoredEntry, offset: number, code: string): void {
    const state = this.#volumes[entry.volumeAt];
    const index = Math.floor(offset / CHUNK_BYTES);
    void this.dropChunk(entry, index, `reading it at offset ${offset} failed (${code})`);
    if (code !== 'SHORT' && ++state.readErrors >= READ_ERRORS_MAX) {
      this.takeOut(state, `${state.readErrors} read errors, the last: ${code}`);
    }
  }

  /** A disk that is slow against its siblings is as bad for viewers as one that fails, only later. */
  #probed(state: VolumeState, durationMs: number): void {
    const siblings = this.#volumes
      .filter((other) => other !== state && other.isUp && other.speed.lastP90Ms !== null)
      .filter((other) => other.volume.speed === state.volume.speed)
      .map((other) => other.speed.lastP90Ms!);
    state.speed = noteProbe(state.speed, durationMs, siblings);
    if (isSlowDisk(state.speed)) {
      this.takeOut(
        state,
        `its reads take ${Math.round(state.speed.lastP90Ms ?? 0)} ms, its siblings' a fraction`,
      );
    }
  }

  #chunksLost(entry: StoredEntry, chunks: readonly number[], failure: Failure): void {
    if (!entry.isGone) this.#withdraw(entry, chunks);
    this.#diskFailed(this.#volumes[entry.volumeAt], failure);
  }

  #diskFailed(state: VolumeState, failure: Failure): void {
    if (failure.code === 'disk-full') {
      state.fullUntilMs = this.#deps.clock.monotonicMs() + FULL_PAUSE_MS;
      if (state.fullReason === null) {
        this.#deps.log.error({ event: 'disk-full', volume: state.volume.name }, failure.detail);
      }
      state.fullReason = failure.detail;
      return;
    }
    if (failure.source === 'disk') this.takeOut(state, failure.detail);
  }

  /** The volume's files leave the holdings at once; the box serves the rest. */
  takeOut(state: VolumeState, why: string): void {
    if (!state.isUp) return;
    state.outReason = outText(state.volume.name, why);
    this.#deps.onVolumeOut?.(state.volume, why);
    this.#deps.log.error({ event: 'volume-out', volume: state.volume.name }, state.outReason);
    for (const entry of this.#entries.values())
      if (entry.volumeAt === state.at) this.#forget(entry);
  }

  #noRoom(bytes: number): Failure {
    const volumes = this.#volumes
      .map(
        (state) => `${state.volume.name}: ${state.isUp ? `${state.freeBytes} bytes free` : 'out'}`,
      )
      .join(', ');
    return {
      code: 'no-room',
      source: 'disk',
      retry: 'never',
      detail: `no volume has room for ${bytes} bytes (${volumes})`,
    };
  }
}

/** Health's words for a volume that is out. */
export function outText(name: string, why: string): string {
  return `volume ${name} was taken out: ${why}. Replace the disk, or say that it is sound: nightfill appliance readmit ${name}`;
}

function leftFailure(entry: StoredEntry): Failure {
  return {
    code: 'file-left',
    source: 'self',
    retry: 'never',
    detail: `${entry.fileId} left the store`,
  };
}

/** The same array where nothing is new. */
function union(have: readonly TitleId[], more: readonly TitleId[]): readonly TitleId[] {
  const added = more.filter((titleId) => !have.includes(titleId));
  return added.length === 0 ? have : [...have, ...added];
}
