/**
 * Fill grants of other boxes, each shown with a proof that its key is held: verified once, remembered until they expire; and the
 * budget that they share, apart from viewers'.
 *
 * Invariants: (1) no grant without a proof for this box by the grant's key, at most a minute old (control-plane/possession.ts)
 *             (2) signatures are checked off the serving path, at most VERIFYING_MAX at once: those above are told to come again
 *             (3) both caches are bounded, whatever is presented
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import { PossessionDesk } from '#control-plane/control-plane.ts';
import {
  openFillGrant,
  type FillGrant,
  type GrantRefusal,
  type KeyRing,
  type PossessionRefusal,
} from '#control-plane/contract.ts';

const GRANTS_MAX = 4096;
const REFUSALS_MAX = 4096;
const REFUSAL_LIFE_MS = 5000;
const GRANT_BYTES_MAX = 4096;
const PROOFS_MAX = 8192; // each box makes one in half a minute
const VERIFYING_MAX = 64;

export type GrantVerdict =
  | { readonly ok: true; readonly grant: FillGrant }
  | { readonly ok: false; readonly refusal: GrantRefusal | PossessionRefusal | 'busy' };

export class GrantVerdicts {
  readonly #keys: () => KeyRing | null;
  readonly #nowSeconds: () => number;
  readonly #possessions: PossessionDesk;
  readonly #known = new LRUCache<string, FillGrant>({ max: GRANTS_MAX });
  readonly #refused = new LRUCache<string, GrantRefusal>({
    max: REFUSALS_MAX,
    ttl: REFUSAL_LIFE_MS,
  });
  #keysVersion = -1;
  #verifying = 0;

  /** `self`: the box whose grants these are shown to, and for whom proofs must be made. */
  constructor(self: string, keys: () => KeyRing | null, nowSeconds: () => number) {
    this.#keys = keys;
    this.#nowSeconds = nowSeconds;
    this.#possessions = new PossessionDesk(self, PROOFS_MAX);
  }

  /** The verdict if it is known; null where a signature must be checked first. */
  peek(text: string, proof: string | undefined): GrantVerdict | null {
    const ring = this.#keys();
    if (ring !== null && ring.version !== this.#keysVersion) {
      this.#known.clear();
      this.#refused.clear();
      this.#keysVersion = ring.version;
    }
    const grant = this.#known.get(text);
    if (grant !== undefined) {
      if (grant.exp <= this.#nowSeconds()) return { ok: false, refusal: 'grant-expired' };
      const problem = this.#possessions.peek(proof, grant, this.#nowSeconds());
      return problem === undefined ? null : verdictOf(grant, problem);
    }
    const refusal = this.#refused.get(text);
    return refusal === undefined ? null : { ok: false, refusal };
  }

  async verify(text: string, proof: string | undefined): Promise<GrantVerdict> {
    if (this.#verifying >= VERIFYING_MAX) return { ok: false, refusal: 'busy' };
    this.#verifying++;
    try {
      const grant = this.#known.get(text) ?? (await this.#open(text));
      if (typeof grant === 'string') return { ok: false, refusal: grant };
      const problem = await this.#possessions.check(proof, grant, this.#nowSeconds());
      return verdictOf(grant, problem);
    } finally {
      this.#verifying--;
    }
  }

  async #open(text: string): Promise<FillGrant | GrantRefusal> {
    const ring = this.#keys();
    if (ring === null || text.length > GRANT_BYTES_MAX) return 'grant-invalid';
    const outcome = await openFillGrant(text, ring, this.#nowSeconds());
    if (!outcome.ok) {
      this.#refused.set(text, outcome.failure);
      return outcome.failure;
    }
    if (this.#keys() === ring) this.#known.set(text, outcome.value);
    return outcome.value;
  }
}

function verdictOf(grant: FillGrant, problem: PossessionRefusal | null): GrantVerdict {
  return problem === null ? { ok: true, grant } : { ok: false, refusal: problem };
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
