/**
 * What was pulled through on one volume, and which of it leaves first: a queue on trial before bins by popularity.
 *
 *   first request ---> on trial --wanted again--> among the wanted --least, longest unused--> left
 *   second request ------|--------------------------^                                          |
 *                        '--not wanted again, and its turn came--> left   (its heat is remembered, reactive-memory.ts)
 *
 * Most of what nobody forecast is asked for once. On trial it takes a tenth of the room at most, first in, first out, so that
 * it never pushes out what is wanted; without a trial a newcomer could not show that it is wanted at all. Heat is forgotten
 * at the pace at which files leave, at most HALF_LIFE_MS: a box whose content turns over in hours must not rank by last
 * night.
 *
 * Invariants: (1) a file is on trial or in one bin, from `enter` to `remove`
 *             (2) `trialBytes` is the sum of what `grew` and `enter` said of files on trial
 *             (3) pinned files are never in here: the manifest alone lets them go
 * Source:     probation as in Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023
 */
import { EvictionOrder } from './eviction.ts';
import { HALF_LIFE_MS } from './heat.ts';

/** Of the room that the manifest does not claim. */
export const TRIAL_SHARE = 0.1;
/** Views while on trial, the first one included, that show that it is wanted: more than one viewer's. */
const WANTED_VIEWS = 1.5;
/** Heat halves in so many times what files stay unused before they leave. */
const HALF_LIFE_IN_STAYS = 4;
const HALF_LIFE_MS_MIN = 60_000;
const HALF_LIFE_MS_AT_START = 3_600_000; // until some files left
/** How far one file that leaves moves the pace. */
const PACE_WEIGHT = 0.01;

export interface ReactiveFacts<K> {
  viewsPerDay(key: K, nowMs: number, halfLifeMs: number): number;
  lastUsedMs(key: K): number;
  bytes(key: K): number;
}

interface Trial {
  bytes: number;
  views: number;
}

export class ReactiveSet<K> {
  readonly #facts: ReactiveFacts<K>;
  readonly #wanted: EvictionOrder<K>;
  readonly #trial = new Map<K, Trial>(); // in order of entry
  #trialBytes = 0;
  #halfLifeMs = HALF_LIFE_MS_AT_START;

  constructor(facts: ReactiveFacts<K>) {
    this.#facts = facts;
    this.#wanted = new EvictionOrder((key, nowMs) =>
      facts.viewsPerDay(key, nowMs, this.#halfLifeMs),
    );
  }

  /** What heat is discounted by now. */
  get halfLifeMs(): number {
    return this.#halfLifeMs;
  }

  get trialBytes(): number {
    return this.#trialBytes;
  }

  isOnTrial(key: K): boolean {
    return this.#trial.has(key);
  }

  enter(key: K, nowMs: number, isOnTrial: boolean): void {
    if (!isOnTrial) {
      this.#wanted.place(key, nowMs);
      return;
    }
    const bytes = this.#facts.bytes(key);
    this.#trial.set(key, { bytes, views: 0 });
    this.#trialBytes += bytes;
  }

  /** `views` of it went out; its heat says so already. */
  used(key: K, nowMs: number, views: number): void {
    const trial = this.#trial.get(key);
    if (trial === undefined) this.#wanted.place(key, nowMs);
    else trial.views += views;
  }

  /** Its bytes changed. */
  grew(key: K): void {
    const trial = this.#trial.get(key);
    if (trial === undefined) return;
    const bytes = this.#facts.bytes(key);
    this.#trialBytes += bytes - trial.bytes;
    trial.bytes = bytes;
  }

  remove(key: K): void {
    const trial = this.#trial.get(key);
    if (trial !== undefined) this.#trialBytes -= trial.bytes;
    this.#trial.delete(key);
    this.#wanted.remove(key);
  }

  /** The file to let go first among those that `mayLeave`; null where there is none. It stays until `remove`. */
  victim(
    nowMs: number,
    trialBytesMax: number,
    mayLeave: (key: K) => boolean = () => true,
  ): K | null {
    if (this.#trialBytes > trialBytesMax) {
      const failed = this.#failedTrial(nowMs, mayLeave);
      if (failed !== null) return failed;
    }
    return this.#wanted.victim(nowMs, mayLeave) ?? this.#failedTrial(nowMs, mayLeave);
  }

  /** The victim did leave, for room: how long it was unused tells how fast content turns over here. */
  left(key: K, nowMs: number): void {
    if (!this.isOnTrial(key)) {
      const stayMs = Math.max(0, nowMs - this.#facts.lastUsedMs(key));
      const halfLifeMs =
        this.#halfLifeMs + (stayMs * HALF_LIFE_IN_STAYS - this.#halfLifeMs) * PACE_WEIGHT;
      this.#halfLifeMs = Math.min(HALF_LIFE_MS, Math.max(HALF_LIFE_MS_MIN, halfLifeMs));
    }
    this.remove(key);
  }

  /** The oldest on trial that was not wanted again; those that were move on, each once in its life here. */
  #failedTrial(nowMs: number, mayLeave: (key: K) => boolean): K | null {
    for (const [key, trial] of this.#trial) {
      if (trial.views >= WANTED_VIEWS) {
        this.remove(key);
        this.#wanted.place(key, nowMs);
      } else if (mayLeave(key)) return key;
    }
    return null;
  }
}
