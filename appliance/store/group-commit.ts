/**
 * Makes written chunks durable in groups, in the one order that survives a power cut.
 *
 *   chunks written -> files synced -> names synced -> catalogue commit -> whole files get their own name
 *
 * Invariants: (1) a chunk enters the catalogue only after its bytes and its file's name were synced
 *             (2) a chunk that was dropped meanwhile does not come back with the group
 *             (3) one group at a time; what is added meanwhile waits for the next
 */
import type { Clock, Timer } from '#base/clock.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { MIB } from '#base/units.ts';
import type { StoredEntry } from './entry.ts';
import type { OpenFiles } from './open-files.ts';
import type { CatalogueChange, Volume } from './volume.ts';

/** A lost tail is fetched again: at most this much, or what came in within GROUP_DELAY_MS. */
const GROUP_BYTES_MAX = 64 * MIB;
const GROUP_DELAY_MS = 250;

export interface GroupCommitHooks {
  /** All chunks of the file are durable now. */
  whole(entry: StoredEntry): void;
  /** The group could not be made durable: these chunks are not on the disk. */
  lost(entry: StoredEntry, chunks: readonly number[], failure: Failure): void;
  /** The catalogue could not be written. The bytes are on the disk; their rows are tried again with the next group. */
  commitFailed(failure: Failure): void;
}

export class GroupCommit {
  readonly #volume: Volume;
  readonly #openFiles: OpenFiles;
  readonly #clock: Clock;
  readonly #hooks: GroupCommitHooks;
  #chunks = new Map<StoredEntry, Set<number>>();
  #rows = new Set<StoredEntry>();
  #underWay: Map<StoredEntry, Set<number>> | null = null; // being synced; forgetChunk still takes chunks out
  #bytes = 0;
  #timer: Timer | null = null;
  #running: Promise<Outcome<void>> | null = null;

  constructor(volume: Volume, openFiles: OpenFiles, clock: Clock, hooks: GroupCommitHooks) {
    this.#volume = volume;
    this.#openFiles = openFiles;
    this.#clock = clock;
    this.#hooks = hooks;
  }

  /** Chunk `index` of the file was written. */
  add(entry: StoredEntry, index: number): void {
    const chunks = this.#chunks.get(entry);
    if (chunks === undefined) this.#chunks.set(entry, new Set([index]));
    else chunks.add(index);
    this.#bytes += entry.chunkBytes(index);
    this.#schedule();
  }

  /** The file's row changed: pins, titles, heat. */
  touch(entry: StoredEntry): void {
    this.#rows.add(entry);
    this.#schedule();
  }

  forget(entry: StoredEntry): void {
    this.#chunks.delete(entry);
    this.#rows.delete(entry);
  }

  forgetChunk(entry: StoredEntry, index: number): void {
    this.#chunks.get(entry)?.delete(index);
    this.#underWay?.get(entry)?.delete(index);
  }

  /** Everything that was added before is durable once this returns. */
  async flush(): Promise<Outcome<void>> {
    while (this.#running !== null) await this.#running;
    return this.#start();
  }

  #schedule(): void {
    if (this.#bytes >= GROUP_BYTES_MAX && this.#running === null) {
      void this.#start();
      return;
    }
    this.#timer ??= this.#clock.after(GROUP_DELAY_MS, () => {
      this.#timer = null;
      if (this.#running === null) void this.#start();
    });
  }

  #start(): Promise<Outcome<void>> {
    this.#timer?.cancel();
    this.#timer = null;
    const running = this.#run().then((outcome) => {
      this.#running = null;
      if (this.#chunks.size > 0 || this.#rows.size > 0) this.#schedule();
      return outcome;
    });
    this.#running = running;
    return running;
  }

  async #run(): Promise<Outcome<void>> {
    const chunks = this.#chunks;
    const rows = this.#rows;
    this.#chunks = new Map();
    this.#rows = new Set();
    this.#bytes = 0;
    this.#underWay = chunks;
    const synced = await Promise.all(
      [...chunks.keys()].map(async (entry) => ({ entry, outcome: await this.#syncFile(entry) })),
    );
    this.#underWay = null;
    let failure: Failure | null = null;
    for (const { entry, outcome } of synced) {
      if (outcome.ok) continue;
      failure = outcome.failure;
      this.#hooks.lost(entry, [...chunks.get(entry)!], outcome.failure);
      chunks.delete(entry);
    }
    const committed = this.#commit(chunks, rows);
    if (!committed.ok) {
      failure = committed.failure;
      for (const entry of [...chunks.keys(), ...rows]) this.#rows.add(entry);
      this.#hooks.commitFailed(committed.failure);
    }
    for (const entry of chunks.keys()) {
      if (entry.isGone || entry.durable !== null) continue;
      const finished = await this.#volume.files.finish(entry.fileId);
      // Without its own name a whole file is still found: only the next start is a little slower.
      if (!finished.ok) failure = finished.failure;
    }
    return failure === null ? success(undefined) : failed(failure);
  }

  async #syncFile(entry: StoredEntry): Promise<Outcome<void>> {
    if (entry.isGone) return success(undefined);
    const file = await this.#openFiles.take(entry, true);
    if (!file.ok) return file;
    const synced = await this.#volume.files.sync(file.value.content);
    this.#openFiles.release(file.value);
    if (!synced.ok || entry.isNameSafe) return synced;
    const named = await this.#volume.files.syncName(entry.fileId);
    if (named.ok) entry.isNameSafe = true;
    return named;
  }

  /** Synchronous from here: what is committed is what the entries say at this instant. */
  #commit(
    chunks: ReadonlyMap<StoredEntry, ReadonlySet<number>>,
    rows: ReadonlySet<StoredEntry>,
  ): Outcome<void> {
    const changes: CatalogueChange[] = [];
    const becameWhole: StoredEntry[] = [];
    for (const [entry, indexes] of chunks) {
      if (entry.isGone || entry.durable === null) continue;
      for (const index of indexes) entry.durable.add(index);
      if (entry.durable.isFull) {
        entry.durable = null;
        entry.readable = null;
        becameWhole.push(entry);
      }
      changes.push({ kind: 'put', row: entry.toRow() });
    }
    for (const entry of rows) {
      if (!entry.isGone && !chunks.has(entry)) changes.push({ kind: 'put', row: entry.toRow() });
    }
    if (changes.length === 0) return success(undefined);
    const committed = this.#volume.catalogue.commit(changes);
    for (const entry of becameWhole) this.#hooks.whole(entry);
    return committed;
  }
}
