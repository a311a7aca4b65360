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
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import { CHUNK_BYTES, type ChunkList, type FileId, type TitleId } from '#upstream/contract.ts';
import type { Admission } from './admission.ts';
import { Arrivals, type NewFile } from './arrivals.ts';
import { Catalogue } from './catalogue.ts';
import { ChunkLists } from './chunk-lists.ts';
import { Departures } from './departures.ts';
import { DiskWatch } from './disk-watch.ts';
import type { StoredEntry } from './entry.ts';
import { GroupCommit } from './group-commit.ts';
import { HALF_LIFE_MS, warmed } from './heat.ts';
import type { Holdings } from './holdings.ts';
import { Losses } from './losses.ts';
import { OpenFiles, type OpenFile } from './open-files.ts';
import { ReactiveRoom, type MissedChunk } from './reactive-room.ts';
import { verifyChunk, type VerifiedChunk } from './verified-chunk.ts';
import { VolumeState } from './volume-state.ts';
import type { Volume } from './volume.ts';
import { takeWanted, type WantedFile } from './wanted-files.ts';

const FILES_OPEN_IDLE_MAX = 2048;
const HEAT_ROWS_PER_FLUSH_MAX = 2000;

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

export type { NewFile };

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
  readonly #deps: StoreDeps;
  readonly #volumes: readonly VolumeState[];
  readonly #catalogue: Catalogue;
  readonly #openFiles: OpenFiles;
  readonly #arrivals: Arrivals;
  readonly #heatChanged = new Set<StoredEntry>();
  readonly #chunkLists = new ChunkLists();
  readonly #watch: DiskWatch;
  readonly #departures: Departures;
  readonly #room: ReactiveRoom;
  readonly #losses: Losses;
  #fillDensity = 0;
  #filesEvicted = 0;

  constructor(deps: StoreDeps) {
    this.#deps = deps;
    this.#volumes = deps.volumes.map((volume, at) => new VolumeState(at, volume));
    this.#watch = new DiskWatch({
      clock: deps.clock,
      log: deps.log,
      volumes: this.#volumes,
      onOut: (state, why) => this.#volumeOut(state, why),
    });
    this.#catalogue = new Catalogue({
      volumes: this.#volumes,
      nowMs: deps.nowMs,
      unreadable: (state, failure) => this.#watch.takeOut(state, failure.detail),
    });
    this.#departures = new Departures((state, failure) => this.#watch.failed(state, failure));
    this.#room = new ReactiveRoom({
      clock: deps.clock,
      nowMs: deps.nowMs,
      volumes: this.#volumes,
      find: (fileId) => this.#catalogue.get(fileId),
      evict: (entry) => this.#evict(entry),
    });
    this.#openFiles = new OpenFiles(
      FILES_OPEN_IDLE_MAX,
      (entry) => this.#volumes[entry.volumeAt].volume.files,
      (entry, offset, code) => this.#losses.readFailed(entry, offset, code),
    );
    this.#losses = new Losses({
      log: deps.log,
      volumes: this.#volumes,
      catalogue: this.#catalogue,
      openFiles: this.#openFiles,
      watch: this.#watch,
      drop: (entry) => this.drop(entry),
    });
    this.#arrivals = new Arrivals({
      clock: deps.clock,
      nowMs: deps.nowMs,
      volumes: this.#volumes,
      catalogue: this.#catalogue,
      openFiles: this.#openFiles,
      chunkLists: this.#chunkLists,
      departures: this.#departures,
      room: this.#room,
      watch: this.#watch,
      openFailed: (entry, failure) => this.#losses.openFailed(entry, failure),
    });
    for (const state of this.#volumes) {
      state.group = new GroupCommit(state.volume, this.#openFiles, deps.clock, {
        whole: (entry) => this.#becameWhole(entry),
        lost: (entry, chunks, failure) => this.#losses.chunksLost(entry, chunks, failure),
        commitFailed: (failure) => this.#watch.failed(state, failure),
      });
    }
    if (deps.loads !== 'later') this.#catalogue.loadNow();
  }

  get holdings(): Holdings {
    return this.#catalogue.holdings;
  }

  /** Reads the catalogues in, a page at a time: what is asked for meanwhile is looked up by itself. */
  async load(): Promise<void> {
    await this.#catalogue.load();
  }

  /** False while catalogues are being read: room and holdings are not known yet. */
  get isLoaded(): boolean {
    return this.#catalogue.isLoaded;
  }

  // ---------------------------------------------------------------- reading

  find(fileId: FileId): StoredEntry | undefined {
    return this.#catalogue.find(fileId);
  }

  entries(): Iterable<StoredEntry> {
    return this.#catalogue.entries();
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
    if (!outcome.ok) this.#losses.openFailed(entry, outcome.failure);
    return outcome;
  }

  /** One more reference of a file that the caller holds. */
  retain(file: OpenFile): void {
    this.#openFiles.retain(file);
  }

  release(file: OpenFile): void {
    this.#openFiles.release(file);
  }

  /** The checked chunk list of a file that is here, wholly or partly. */
  async chunkList(entry: StoredEntry): Promise<Outcome<ChunkList>> {
    const { volume } = this.#volumes[entry.volumeAt];
    const list = await this.#chunkLists.of(entry, volume);
    if (list.ok) return list;
    if (list.failure.code === 'chunk-list-bad') this.#losses.lose(entry, list.failure.detail);
    else this.#losses.openFailed(entry, list.failure);
    return list;
  }

  /** A viewer took `bytes` of it, in one answer. */
  accessed(entry: StoredEntry, bytes: number): void {
    entry.servedBytes += bytes;
    entry.servedAnswers++;
    const nowMs = this.#deps.nowMs();
    const { reactive } = this.#volumes[entry.volumeAt];
    const views = bytes / entry.sizeBytes;
    entry.heat = warmed(
      entry.heat,
      views,
      nowMs,
      entry.isPinned ? HALF_LIFE_MS : reactive.halfLifeMs,
    );
    this.#heatChanged.add(entry);
    if (!entry.isPinned && !entry.isGone) reactive.used(entry, nowMs, views);
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
    this.#watch.probed(this.#volumes[entry.volumeAt], this.#deps.clock.monotonicMs() - startMs);
    if (!read.ok) {
      this.#losses.readFailed(
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
  begin(file: NewFile): Promise<Outcome<StoredEntry>> {
    return this.#arrivals.begin(file);
  }

  /** Stores a chunk that was verified. "already" where it is here. */
  writeChunk(
    entry: StoredEntry,
    chunk: VerifiedChunk,
    from: string,
  ): Promise<Outcome<'stored' | 'already'>> {
    return this.#arrivals.writeChunk(entry, chunk, from);
  }

  /** A chunk turned out bad: it is not here any more, on the disk's catalogue too, before this returns. */
  dropChunk(entry: StoredEntry, index: number, why: string): Promise<void> {
    return this.#losses.dropChunk(entry, index, why);
  }

  /** Whether a chunk that was fetched on demand is kept. Remembers that it was fetched. */
  admit(missed: MissedChunk): Admission {
    return this.#room.admit(missed, this.#fillDensity);
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
    await takeWanted(
      wanted,
      this.#catalogue.entries(),
      this.#volumes,
      this.#deps.nowMs(),
      (state, failure) => this.#watch.failed(state, failure),
    );
    // A partial file that is pinned now takes all of its room.
    for (const state of this.#volumes) this.#room.make(state, 0);
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
    this.#departures.leave(this.#volumes[entry.volumeAt], entry.fileId);
  }

  /** Resolves once a file that was dropped has left its disk and the disk's catalogue. */
  left(fileId: FileId): Promise<void> {
    return this.#departures.settled(fileId);
  }

  /** Removes what lies on the disks without a row: the room of removals and beginnings that a power cut interrupted. */
  async sweepStrays(): Promise<number> {
    let removed = 0;
    for (const state of this.#volumes) {
      if (!state.isUp || !state.isLoaded) continue;
      removed += await this.#departures.sweep(
        state,
        (fileId) =>
          this.#catalogue.get(fileId)?.volumeAt === state.at || this.#arrivals.isBeginning(fileId),
      );
    }
    return removed;
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
      files: this.#catalogue.size,
      chunksCorrupt: this.#losses.chunksCorrupt,
      filesLost: this.#losses.filesLost,
      filesEvicted: this.#filesEvicted,
    };
  }

  /** What is wrong with the disks, for health: empty when all is well. */
  problems(): readonly string[] {
    return this.#watch.problems();
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
    await this.#departures.allSettled();
    this.#openFiles.closeAll();
    for (const state of this.#volumes) state.volume.catalogue.close();
  }

  // ---------------------------------------------------------------- private

  #filesOf(entry: StoredEntry): Volume['files'] {
    return this.#volumes[entry.volumeAt].volume.files;
  }

  #becameWhole(entry: StoredEntry): void {
    if (!entry.isGone) this.holdings.add(entry.fileId);
  }

  #evict(entry: StoredEntry): void {
    this.#filesEvicted++;
    this.#deps.log.debug({ event: 'evicted', fileId: entry.fileId }, 'a reactive file left');
    this.drop(entry);
  }

  #forget(entry: StoredEntry): void {
    if (entry.isGone) return;
    const state = this.#volumes[entry.volumeAt];
    entry.isGone = true;
    this.#catalogue.remove(entry);
    state.reactive.remove(entry);
    state.account(entry, -1);
    state.group.forget(entry);
    this.#heatChanged.delete(entry);
    this.#chunkLists.delete(entry.fileId);
    this.#openFiles.detach(entry);
  }

  /** The volume's files leave the holdings at once; the box serves the rest. */
  takeOut(state: VolumeState, why: string): void {
    this.#watch.takeOut(state, why);
  }

  #volumeOut(state: VolumeState, why: string): void {
    this.#deps.onVolumeOut?.(state.volume, why);
    for (const entry of this.#catalogue.entries())
      if (entry.volumeAt === state.at) this.#forget(entry);
  }
}
