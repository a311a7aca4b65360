/**
 * Which file leaves when room is needed: least recently used among the least wanted.
 *
 * Files lie in bins by the power of two of their views per day; within a bin by last access. An access moves a file
 * to the tail of its bin of now: O(1). A victim is the head of the lowest bin, after the heads of all bins were
 * looked at again, since a file that is not accessed cools without anybody telling: O(bins).
 *
 * Invariants: (1) a file is in exactly one bin from `place` to `remove`
 *             (2) pinned files are never placed here: the manifest alone lets them go
 */
const BINS = 32;
const LOWEST_EXPONENT = -16; // 1.5e-5 views per day and below
const HEADS_LOOKED_AT_MAX = 64; // re-binned per victim: bounds the work, the rest is looked at next time

export class EvictionOrder<K> {
  readonly #bins: readonly Map<K, true>[] = Array.from({ length: BINS }, () => new Map<K, true>());
  readonly #binOf = new Map<K, number>();
  readonly #viewsPerDay: (key: K, nowMs: number) => number;

  /** `viewsPerDay` is asked again whenever a file is placed or stands at the head of its bin. */
  constructor(viewsPerDay: (key: K, nowMs: number) => number) {
    this.#viewsPerDay = viewsPerDay;
  }

  get size(): number {
    return this.#binOf.size;
  }

  has(key: K): boolean {
    return this.#binOf.has(key);
  }

  /** Adds the file, or moves it to where it belongs after an access. */
  place(key: K, nowMs: number): void {
    this.remove(key);
    const bin = binOf(this.#viewsPerDay(key, nowMs));
    this.#bins[bin].set(key, true);
    this.#binOf.set(key, bin);
  }

  remove(key: K): void {
    const bin = this.#binOf.get(key);
    if (bin === undefined) return;
    this.#bins[bin].delete(key);
    this.#binOf.delete(key);
  }

  /** The file to let go first among those that `mayLeave`; null where there is none. It stays placed. */
  victim(nowMs: number, mayLeave: (key: K) => boolean = () => true): K | null {
    this.#coolHeads(nowMs);
    for (const bin of this.#bins) {
      for (const key of bin.keys()) if (mayLeave(key)) return key;
    }
    return null;
  }

  #coolHeads(nowMs: number): void {
    let looked = 0;
    for (let at = 1; at < BINS; at++) {
      for (const key of this.#bins[at].keys()) {
        if (++looked > HEADS_LOOKED_AT_MAX) return;
        const bin = binOf(this.#viewsPerDay(key, nowMs));
        if (bin >= at) break;
        // It arrives at the tail of the cooler bin, as if it had been accessed there when it cooled.
        this.#bins[at].delete(key);
        this.#bins[bin].set(key, true);
        this.#binOf.set(key, bin);
      }
    }
  }
}

function binOf(viewsPerDay: number): number {
  if (viewsPerDay <= 0) return 0;
  const exponent = Math.floor(Math.log2(viewsPerDay));
  return Math.min(BINS - 1, Math.max(0, exponent - LOWEST_EXPONENT));
}
