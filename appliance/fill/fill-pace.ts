/**
 * How fast may be fetched, and the bucket that keeps to it.
 *
 * Units: bits per second for limits, bytes for credit
 */
import type { Clock } from '#base/clock.ts';

/** What a limit is for: the site's own network, and the link to the world. */
export type PaceLine = 'near' | 'far';

/** Why nothing is asked for although there would be something to fetch. */
export type HoldReason = 'pause' | 'budget' | 'load';

export interface PaceLimit {
  readonly bps: number | null; // null: no limit; 0: nothing is asked for
  readonly why: HoldReason | null; // of a limit of 0
}

/** Obligation: cheap; it is asked before each run of chunks. */
export interface FillPace {
  limit(line: PaceLine): PaceLimit;
}

export const NO_LIMIT: PaceLimit = { bps: null, why: null };

/** A second's worth may be ahead: a run is asked for whole. */
const BURST_MS = 1000;

/** A token bucket over bytes: a run waits until the ones before it are paid for. */
export class RateCredit {
  readonly #clock: Clock;
  #credit = 0; // bytes
  #atMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async pay(bytes: number, bps: number): Promise<void> {
    const bytesPerMs = bps / 8 / 1000;
    const nowMs = this.#clock.monotonicMs();
    const earned = (nowMs - this.#atMs) * bytesPerMs;
    this.#credit = Math.min(BURST_MS * bytesPerMs, this.#credit + earned) - bytes;
    this.#atMs = nowMs;
    if (this.#credit >= 0) return;
    const waitMs = -this.#credit / bytesPerMs;
    await new Promise<void>((resolve) => {
      this.#clock.after(waitMs, resolve);
    });
  }
}
