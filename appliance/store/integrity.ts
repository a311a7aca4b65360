/**
 * Reads chunks back and compares their hashes: a slow walk over everything, and a sample of what is served.
 *
 *   suspects (neighbours of a bad chunk) > samples of what was served > the walk
 *
 * Invariants: (1) at most `bytesPerSecondMax` are read back, suspects and samples included
 *             (2) a bad chunk is dropped by the store before anybody can be given it again
 *             (3) one chunk at a time: the walk never queues behind itself
 */
import { LRUCache } from 'lru-cache';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { CHUNK_BYTES, type FileId } from '#upstream/contract.ts';
import type { StoredEntry } from './entry.ts';
import type { Store } from './store.ts';

const TICK_MS = 200;
const NEIGHBOURS = 2; // on each side: what lies beside a bad block is read next
const QUEUE_MAX = 256;

export interface IntegrityDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Store;
  readonly bytesPerSecondMax: number; // 0: off
  /** A chunk was dropped: a planned file has to be completed again. */
  readonly onDropped: () => void;
}

export interface IntegrityFigures {
  readonly chunksChecked: number;
  readonly chunksBad: number;
  readonly walksDone: number;
  readonly walkedFiles: number; // of the walk under way
}

interface Suspect {
  readonly fileId: FileId;
  readonly index: number;
}

export class Integrity {
  readonly #deps: IntegrityDeps;
  readonly #suspects: Suspect[] = [];
  readonly #samples: Suspect[] = [];
  readonly #sampledLately = new LRUCache<string, true>({ max: 4096 });
  #walk: Iterator<StoredEntry> | null = null;
  #walking: StoredEntry | null = null;
  #walkIndex = 0;
  #timer: Timer | null = null;
  #credit = 0; // bytes
  #isBusy = false;
  #chunksChecked = 0;
  #chunksBad = 0;
  #walksDone = 0;
  #walkedFiles = 0;

  constructor(deps: IntegrityDeps) {
    this.#deps = deps;
  }

  start(): void {
    if (this.#deps.bytesPerSecondMax === 0) return;
    this.#timer = this.#deps.clock.every(TICK_MS, () => void this.#tick());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** This chunk was just served: it is read back soon, unless it was lately. */
  sample(fileId: FileId, index: number): void {
    const key = `${fileId}:${index}`;
    if (this.#samples.length >= QUEUE_MAX || this.#sampledLately.has(key)) return;
    this.#sampledLately.set(key, true);
    this.#samples.push({ fileId, index });
  }

  figures(): IntegrityFigures {
    return {
      chunksChecked: this.#chunksChecked,
      chunksBad: this.#chunksBad,
      walksDone: this.#walksDone,
      walkedFiles: this.#walkedFiles,
    };
  }

  /** Reads everything back once, as fast as the disks go, and says what was found. For `scrub`. */
  async scrubAll(): Promise<{ readonly checked: number; readonly bad: number }> {
    let checked = 0;
    let bad = 0;
    for (const entry of this.#deps.store.entries()) {
      for (let index = 0; index < entry.chunkCount; index++) {
        const verdict = await this.#check(entry, index);
        if (verdict !== 'not-here') checked++;
        if (verdict === 'bad') bad++;
      }
    }
    return { checked, bad };
  }

  async #tick(): Promise<void> {
    const perTick = (this.#deps.bytesPerSecondMax * TICK_MS) / 1000;
    this.#credit = Math.min(this.#credit + perTick, Math.max(perTick, CHUNK_BYTES) * 2);
    if (this.#isBusy) return;
    this.#isBusy = true;
    while (this.#credit >= CHUNK_BYTES) {
      const next = this.#next();
      if (next === null) break;
      this.#credit -= CHUNK_BYTES;
      await this.#check(next.entry, next.index);
    }
    this.#isBusy = false;
  }

  #next(): { readonly entry: StoredEntry; readonly index: number } | null {
    const wanted = this.#suspects.shift() ?? this.#samples.shift();
    if (wanted !== undefined) {
      const entry = this.#deps.store.find(wanted.fileId);
      if (entry !== undefined) return { entry, index: wanted.index };
    }
    // A bounded look for the next chunk that is here: the rest of the walk goes on with the next tick.
    for (let looked = 0; looked < 10_000; looked++) {
      if (this.#walking === null || this.#walkIndex >= this.#walking.chunkCount) {
        if (!this.#nextFile()) return null;
        continue;
      }
      const index = this.#walkIndex++;
      if (this.#walking.has(index)) return { entry: this.#walking, index };
    }
    return null;
  }

  #nextFile(): boolean {
    this.#walk ??= this.#deps.store.entries()[Symbol.iterator]();
    const step = this.#walk.next();
    this.#walkIndex = 0;
    if (step.done === true) {
      if (this.#walkedFiles > 0) this.#walksDone++;
      this.#walk = null;
      this.#walking = null;
      this.#walkedFiles = 0;
      return false;
    }
    this.#walking = step.value;
    this.#walkedFiles++;
    return true;
  }

  async #check(entry: StoredEntry, index: number): Promise<'good' | 'bad' | 'not-here'> {
    const verdict = await this.#deps.store.checkChunk(entry, index);
    if (verdict !== 'not-here') this.#chunksChecked++;
    if (verdict !== 'bad') return verdict;
    this.#chunksBad++;
    this.#deps.onDropped();
    for (let at = index - NEIGHBOURS; at <= index + NEIGHBOURS; at++) {
      if (at === index || at < 0 || at >= entry.chunkCount) continue;
      if (this.#suspects.length < QUEUE_MAX)
        this.#suspects.push({ fileId: entry.fileId, index: at });
    }
    return verdict;
  }
}
