/**
 * What is known of a chunk's pages: whether they were in memory a moment ago, and whether somebody asked for them before.
 *
 * The page cache should be the hot set: a cold chunk is read past it (O_DIRECT) the first time, and through it when it is
 * asked for again, as one viewer who reads a film once would otherwise wash out what many watch. A read that begins where the last one of
 * its chunk ended is the same viewer going on: players' ranges do not end where chunks do.
 *
 * Invariants: (1) memory is bounded: two maps of SEEN_MAX keys, RESIDENT_SLOTS entries
 *             (2) a chunk is believed resident for RESIDENT_MS_MAX at most: after that it is looked at again
 */
import { CHUNK_BYTES } from '#upstream/contract.ts';

const CHUNKS_PER_FILE_MAX = 2 ** 20; // FILE_BYTES_MAX / CHUNK_BYTES
const SEEN_MAX = 65_536; // 64 GiB of chunks in each map
const RESIDENT_SLOTS = 8191;
const RESIDENT_MS_MAX = 1000;

export class ChunkHistory {
  #seen = new Map<number, number>(); // chunk -> file offset where its last read ended
  #seenEarlier = new Map<number, number>();
  readonly #resident = new Float64Array(RESIDENT_SLOTS).fill(-1);
  readonly #residentAtMs = new Float64Array(RESIDENT_SLOTS);

  /** A read of [offset, end) of a file begins: true where its first chunk was asked for before, by somebody who is not going on. */
  isSecondHit(fileSerial: number, offset: number, end: number): boolean {
    const key = keyOf(fileSerial, Math.floor(offset / CHUNK_BYTES));
    const endedAt = this.#seen.get(key) ?? this.#seenEarlier.get(key);
    if (this.#seen.size >= SEEN_MAX && !this.#seen.has(key)) {
      this.#seenEarlier = this.#seen;
      this.#seen = new Map();
    }
    this.#seen.set(key, end);
    return endedAt !== undefined && endedAt !== offset;
  }

  wasResident(fileSerial: number, chunk: number, nowMs: number): boolean {
    const key = keyOf(fileSerial, chunk);
    const slot = key % RESIDENT_SLOTS;
    return this.#resident[slot] === key && nowMs - this.#residentAtMs[slot] < RESIDENT_MS_MAX;
  }

  foundResident(fileSerial: number, chunk: number, nowMs: number): void {
    const key = keyOf(fileSerial, chunk);
    const slot = key % RESIDENT_SLOTS;
    this.#resident[slot] = key;
    this.#residentAtMs[slot] = nowMs;
  }
}

function keyOf(fileSerial: number, chunk: number): number {
  return fileSerial * CHUNKS_PER_FILE_MAX + chunk;
}
