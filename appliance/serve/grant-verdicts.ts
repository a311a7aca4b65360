/**
 * Fill grants of other boxes: verified once, remembered until they expire; and the budget that they share, apart from viewers'.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import {
  openFillGrant,
  type FillGrant,
  type GrantRefusal,
  type KeyRing,
} from '#control-plane/contract.ts';

const GRANTS_MAX = 4096;
const REFUSALS_MAX = 4096;
const REFUSAL_LIFE_MS = 5000;
const GRANT_BYTES_MAX = 4096;

export type GrantVerdict =
  | { readonly ok: true; readonly grant: FillGrant }
  | { readonly ok: false; readonly refusal: GrantRefusal };

export class GrantVerdicts {
  readonly #keys: () => KeyRing | null;
  readonly #nowSeconds: () => number;
  readonly #known = new LRUCache<string, FillGrant>({ max: GRANTS_MAX });
  readonly #refused = new LRUCache<string, GrantRefusal>({
    max: REFUSALS_MAX,
    ttl: REFUSAL_LIFE_MS,
  });
  #keysVersion = -1;

  constructor(keys: () => KeyRing | null, nowSeconds: () => number) {
    this.#keys = keys;
    this.#nowSeconds = nowSeconds;
  }

  peek(text: string): GrantVerdict | null {
    const ring = this.#keys();
    if (ring !== null && ring.version !== this.#keysVersion) {
      this.#known.clear();
      this.#refused.clear();
      this.#keysVersion = ring.version;
    }
    const grant = this.#known.get(text);
    if (grant !== undefined) {
      return grant.exp > this.#nowSeconds()
        ? { ok: true, grant }
        : { ok: false, refusal: 'grant-expired' };
    }
    const refusal = this.#refused.get(text);
    return refusal === undefined ? null : { ok: false, refusal };
  }

  async verify(text: string): Promise<GrantVerdict> {
    const ring = this.#keys();
    if (ring === null || text.length > GRANT_BYTES_MAX)
      return { ok: false, refusal: 'grant-invalid' };
    const outcome = await openFillGrant(text, ring, this.#nowSeconds());
    if (!outcome.ok) {
      this.#refused.set(text, outcome.failure);
      return { ok: false, refusal: outcome.failure };
    }
    if (this.#keys() === ring) this.#known.set(text, outcome.value);
    return { ok: true, grant: outcome.value };
  }
}

/** A second's worth of bytes that may be owed: a run of chunks is let through whole, then paid off. */
const BURST_MS = 1000;

/** What peers may take of this box's line: a token bucket over bytes really sent, and a number of answers at once. */
export class PeerBudget {
  readonly #clock: Clock;
  readonly #bytesPerMs: number;
  readonly #answersMax: number;
  #credit: number;
  #atMs: number;
  #answers = 0;

  constructor(clock: Clock, bps: number, answersMax: number) {
    this.#clock = clock;
    this.#bytesPerMs = bps / 8 / 1000;
    this.#answersMax = answersMax;
    this.#credit = this.#bytesPerMs * BURST_MS;
    this.#atMs = clock.monotonicMs();
  }

  take(): boolean {
    const now = this.#clock.monotonicMs();
    this.#credit = Math.min(
      this.#bytesPerMs * BURST_MS,
      this.#credit + (now - this.#atMs) * this.#bytesPerMs,
    );
    this.#atMs = now;
    if (this.#credit <= 0 || this.#answers >= this.#answersMax) return false;
    this.#answers++;
    return true;
  }

  sent(bytes: number): void {
    this.#credit -= bytes;
  }

  giveBack(): void {
    this.#answers--;
  }
}
