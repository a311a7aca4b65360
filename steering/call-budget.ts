/**
 * How often a caller may ask: a bucket of calls per service token, so that one that runs wild does not starve the others.
 *
 * Shape:      budget.take(name, calls, now) -> 0 where they are granted, else milliseconds until they would be
 * Invariants: (1) in any time T no name is granted more than perSecond x (T + BURST_SECONDS)
 */
import type { Milliseconds } from '#base/clock.ts';

const BURST_SECONDS = 2;
const NAMES_MAX = 1024; // names come from the configuration: far fewer

export class CallBudget {
  readonly #perSecond: number;
  readonly #buckets = new Map<string, { left: number; atMs: Milliseconds }>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  take(name: string, calls: number, nowMs: Milliseconds): Milliseconds {
    const most = this.#perSecond * BURST_SECONDS;
    let bucket = this.#buckets.get(name);
    if (bucket === undefined) {
      if (this.#buckets.size >= NAMES_MAX) this.#buckets.clear();
      bucket = { left: most, atMs: nowMs };
      this.#buckets.set(name, bucket);
    }
    bucket.left = Math.min(most, bucket.left + ((nowMs - bucket.atMs) * this.#perSecond) / 1000);
    bucket.atMs = nowMs;
    // More at once than a full bucket holds can never be granted: it takes the full bucket.
    const wanted = Math.min(calls, most);
    if (bucket.left < wanted) {
      return Math.ceil(((wanted - bucket.left) * 1000) / this.#perSecond);
    }
    bucket.left -= wanted;
    return 0;
  }
}
