/**
 * Bytes that are not here, for a viewer who wants them now: each chunk is fetched once for any number of viewers,
 * verified, passed on, and kept if the store admits it.
 *
 *   viewer asks chunk i -> here: from the disk
 *                       -> under way: waits for the same flight
 *                       -> else a run of up to RUN_CHUNKS_MAX missing chunks takes off, by one request
 *
 * Invariants: (1) at most one flight per chunk
 *             (2) at most `flightsMax` chunks under way: above it the answer is no, at once
 *             (3) a viewer is given verified chunks only, in order
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { MIB } from '#base/units.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';
import type { StoredEntry } from '../store/entry.ts';
import type { Store } from '../store/store.ts';
import type { VerifiedChunk } from '../store/verified-chunk.ts';
import type { ChunkFetcher, FetchedFile } from './chunk-fetcher.ts';

/** Chunks of one request: read-ahead that pays for itself, and memory that many viewers can have at once. */
const RUN_CHUNKS_MAX = 4;
/** Chunks that just came in stay within reach, admitted or not: whoever comes a moment later fetches nothing. */
const RECENT_BYTES_MAX = 32 * MIB;
const LISTS_MAX = 256;

export interface MissPathDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly store: Store;
  readonly fetcher: ChunkFetcher;
  readonly flightsMax: number;
}

export interface MissedFile {
  readonly fileId: FileId;
  readonly titleId: TitleId;
  readonly sizeBytes: number; // by signed data
  readonly forecastPerDay: number;
}

interface KnownFile extends FetchedFile {
  readonly encoded: Buffer;
}

interface Flight {
  readonly promise: Promise<Outcome<VerifiedChunk>>;
  settle(outcome: Outcome<VerifiedChunk>): void;
}

export class MissPath {
  readonly #deps: MissPathDeps;
  readonly #flights = new Map<string, Flight>();
  readonly #recent = new LRUCache<string, VerifiedChunk>({
    maxSize: RECENT_BYTES_MAX,
    sizeCalculation: (chunk) => chunk.bytes.length,
  });
  readonly #files = new LRUCache<FileId, KnownFile>({ max: LISTS_MAX });
  readonly #asking = new Map<FileId, Promise<Outcome<KnownFile>>>();

  constructor(deps: MissPathDeps) {
    this.#deps = deps;
  }

  get flights(): number {
    return this.#flights.size;
  }

  /** What must be known of a file before its chunks can be asked for. Coalesced like the chunks. */
  file(missed: MissedFile): Promise<Outcome<KnownFile>> {
    const known = this.#files.get(missed.fileId);
    if (known !== undefined) return Promise.resolve(success(known));
    const asking = this.#asking.get(missed.fileId);
    if (asking !== undefined) return asking;
    const learning = this.#learn(missed).finally(() => this.#asking.delete(missed.fileId));
    this.#asking.set(missed.fileId, learning);
    return learning;
  }

  /**
   * One chunk, from a flight under way or a new one. `lastWanted`: how far the viewer's range goes; the run
   * does not go further.
   */
  async chunk(
    missed: MissedFile,
    file: KnownFile,
    index: number,
    lastWanted: number,
  ): Promise<Outcome<VerifiedChunk>> {
    const key = keyOf(missed.fileId, index);
    const recent = this.#recent.get(key);
    if (recent !== undefined) return success(recent);
    const flight = this.#flights.get(key);
    if (flight !== undefined) return flight.promise;
    if (this.#flights.size >= this.#deps.flightsMax) {
      return failed({
        code: 'miss-limit',
        source: 'self',
        retry: 'another-source',
        detail: `${this.#flights.size} chunks are being fetched on demand: the limit`,
      });
    }
    const last = this.#runEnd(missed, index, lastWanted);
    for (let at = index; at <= last; at++) this.#takeOff(keyOf(missed.fileId, at));
    void this.#run(missed, file, index, last);
    return this.#flights.get(key)!.promise;
  }

  /** Starts the flight of a chunk that will be wanted next, without waiting for it. */
  readAhead(missed: MissedFile, file: KnownFile, index: number, lastWanted: number): void {
    if (index > lastWanted || this.#deps.store.find(missed.fileId)?.has(index) === true) return;
    void this.chunk(missed, file, index, lastWanted);
  }

  #runEnd(missed: MissedFile, first: number, lastWanted: number): number {
    const entry = this.#deps.store.find(missed.fileId);
    let last = first;
    while (
      last < lastWanted &&
      last + 1 - first < RUN_CHUNKS_MAX &&
      this.#flights.size + (last + 1 - first) < this.#deps.flightsMax &&
      entry?.has(last + 1) !== true &&
      !this.#flights.has(keyOf(missed.fileId, last + 1))
    ) {
      last++;
    }
    return last;
  }

  #takeOff(key: string): void {
    let settle: (outcome: Outcome<VerifiedChunk>) => void = () => {};
    const promise = new Promise<Outcome<VerifiedChunk>>((resolve) => {
      settle = resolve;
    });
    this.#flights.set(key, { promise, settle });
  }

  async #run(missed: MissedFile, file: KnownFile, first: number, last: number): Promise<void> {
    const outcome = await this.#deps.fetcher.run(
      file,
      first,
      last,
      'miss',
      async (chunk, source) => {
        this.#flights.get(keyOf(missed.fileId, chunk.index))?.settle(success(chunk));
        // Kept in reach before the flight lands: nobody falls between the two and fetches it again.
        this.#recent.set(keyOf(missed.fileId, chunk.index), chunk);
        void this.#keep(missed, file, chunk, source.id).finally(() =>
          this.#flights.delete(keyOf(missed.fileId, chunk.index)),
        );
        return 'go-on';
      },
    );
    if (outcome.ok) return;
    for (let at = first; at <= last; at++) {
      const key = keyOf(missed.fileId, at);
      const flight = this.#flights.get(key);
      if (flight === undefined || this.#recent.has(key)) continue;
      this.#flights.delete(key);
      flight.settle(outcome);
    }
  }

  async #keep(
    missed: MissedFile,
    file: KnownFile,
    chunk: VerifiedChunk,
    from: string,
  ): Promise<void> {
    const { store, log } = this.#deps;
    const { fileId, forecastPerDay } = missed;
    const bytes = chunk.bytes.length;
    const admission = store.admit({ fileId, index: chunk.index, bytes, forecastPerDay });
    if (admission.verdict === 'pass') return;
    const begun = await store.begin({
      fileId,
      sizeBytes: missed.sizeBytes,
      titles: [missed.titleId],
      isPinned: false,
      forecastPerDay,
      chunkList: file.encoded,
      from,
      isOnTrial: admission.verdict === 'keep-on-trial',
    });
    const wrote = begun.ok ? await store.writeChunk(begun.value, chunk, from) : begun;
    if (wrote.ok) return;
    // The viewer has the bytes; that they are not kept is the disk's matter, and told there.
    log.debug(
      { event: 'miss-not-kept', fileId: missed.fileId, code: wrote.failure.code },
      wrote.failure.detail,
    );
  }

  async #learn(missed: MissedFile): Promise<Outcome<KnownFile>> {
    const listed = await this.#deps.fetcher.chunkList(missed.fileId, missed.titleId, 'miss');
    if (!listed.ok) return listed;
    const { encoded, list } = listed.value;
    if (list.sizeBytes !== missed.sizeBytes) return failed(wrongSize(missed, list.sizeBytes));
    const { fileId, titleId } = missed;
    const file: KnownFile = { fileId, titleId, list, encoded };
    this.#files.set(fileId, file);
    return success(file);
  }
}

/** The part of a run that is in the store already: chunks from `index` on that are here, up to `last`. */
export function presentUntil(entry: StoredEntry, index: number, last: number): number {
  let at = index;
  while (at < last && entry.has(at + 1)) at++;
  return at;
}

function keyOf(fileId: FileId, index: number): string {
  return `${fileId}:${index}`;
}

function wrongSize(missed: MissedFile, actual: number): Failure {
  return {
    code: 'listing-size-wrong',
    source: 'upstream',
    retry: 'never',
    detail: `${missed.fileId}: signed data says ${missed.sizeBytes} bytes, its chunk list says ${actual}`,
  };
}
