/**
 * What is known of a chunk's pages: whether they were in memory a moment ago, and whether somebody asked for them before.
 *
 * The page cache should be the hot set: a cold chunk is read past it (O_DIRECT) the first time, and through it when it is
 * asked for again, as one viewer who reads a film once would otherwise wash out what many watch.
 *
 * Invariants: (1) memory is bounded: two sets of SEEN_MAX keys, RESIDENT_SLOTS entries
 *             (2) a chunk is believed resident for RESIDENT_MS_MAX at most: after that it is looked at again
 */
const CHUNKS_PER_FILE_MAX = 2 ** 20; // FILE_BYTES_MAX / CHUNK_BYTES
const SEEN_MAX = 65_536; // 64 GiB of chunks in each set
const RESIDENT_SLOTS = 8191;
const RESIDENT_MS_MAX = 1000;

export class ChunkHistory {
  #seen = new Set<number>();
  #seenEarlier = new Set<number>();
  readonly #resident = new Float64Array(RESIDENT_SLOTS).fill(-1);
  readonly #residentAtMs = new Float64Array(RESIDENT_SLOTS);

  /** True from the second call for a chunk on, while it is remembered. */
  isSecondHit(fileSerial: number, chunk: number): boolean {
    const key = keyOf(fileSerial, chunk);
    if (this.#seen.has(key)) return true;
    const wasSeen = this.#seenEarlier.has(key);
    if (this.#seen.size >= SEEN_MAX) {
      this.#seenEarlier = this.#seen;
      this.#seen = new Set();
    }
    this.#seen.add(key);
    return wasSeen;
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
