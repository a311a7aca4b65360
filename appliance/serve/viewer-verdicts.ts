/**
 * Viewer tokens: verified once, off the serving path; the verdict is remembered, its expiry looked at per request.
 *
 * Invariants: (1) a token that did not verify is never covered by a cached yes: the cache is emptied with each key set
 *             (2) a flood of forged tokens costs a bounded number of signature checks per client prefix and second
 *             (3) memory is bounded, whatever is presented
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Random } from '#base/random.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import {
  VIEWER_TOKEN_BYTES_MAX,
  verifyViewerToken,
  type TokenRefusal,
  type ViewerToken,
} from '#steering/contract.ts';

const VERDICTS_MAX = 65_536;
const REFUSALS_MAX = 16_384;
const REFUSAL_LIFE_MS = 5000; // a key that arrives late is not held against its tokens for long
const URIS_PER_TOKEN_MAX = 512; // a title's ladder and its audio on a few host names
const PREFIXES_MAX = 16_384;
/** Signature checks under way or waiting, about 0.3 ms each: a second's worth. Above it newcomers go to the next box. */
const VERIFYING_MAX = 4096;
/** Checks that run at once. They are threads' work: as many as the pool has would take the CPU from running streams. */
const VERIFYING_AT_ONCE = 8;
const FAILURES_BURST = 50;
const FAILURES_PER_SECOND = 10;

export type TokenVerdict =
  | { readonly ok: true; readonly token: KnownToken }
  | { readonly ok: false; readonly refusal: TokenRefusal | 'token-limit' | 'busy' };

export class KnownToken {
  readonly claims: ViewerToken;
  /** Monotonic: a drain keeps those whom it found here. */
  readonly firstSeenMs: number;
  /** In [0, 1), for as long as it is known: while a box ramps up, its share of new sessions is drawn by it. */
  readonly draw: number;
  readonly #covered = new Map<string, boolean>();

  constructor(claims: ViewerToken, firstSeenMs: number, draw: number) {
    this.claims = claims;
    this.firstSeenMs = firstSeenMs;
    this.draw = draw;
  }

  covers(uri: string): boolean {
    const known = this.#covered.get(uri);
    if (known !== undefined) return known;
    const covers = this.claims.covers(uri);
    if (this.#covered.size < URIS_PER_TOKEN_MAX) this.#covered.set(uri, covers);
    return covers;
  }
}

interface Budget {
  left: number; // failures that are still forgiven
  atMs: number;
  underWay: number;
}

export class ViewerVerdicts {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #keys: () => KeyRing | null;
  readonly #nowSeconds: () => number;
  readonly #known = new LRUCache<string, KnownToken>({ max: VERDICTS_MAX });
  readonly #refused = new LRUCache<string, TokenRefusal>({
    max: REFUSALS_MAX,
    ttl: REFUSAL_LIFE_MS,
  });
  readonly #verifying = new Map<string, Promise<TokenVerdict>>();
  readonly #turns: (() => void)[] = []; // of checks that wait for theirs
  #running = 0;
  readonly #budgets = new LRUCache<string, Budget>({ max: PREFIXES_MAX });
  #keysVersion = -1;

  constructor(clock: Clock, random: Random, keys: () => KeyRing | null, nowSeconds: () => number) {
    this.#clock = clock;
    this.#random = random;
    this.#keys = keys;
    this.#nowSeconds = nowSeconds;
  }

  /** The verdict if it is known; null where the token must be verified first. */
  peek(text: string): TokenVerdict | null {
    const ring = this.#keys();
    if (ring !== null && ring.version !== this.#keysVersion) {
      this.#known.clear();
      this.#refused.clear();
      this.#keysVersion = ring.version;
    }
    const token = this.#known.get(text);
    if (token !== undefined) return this.#timed(token);
    const refusal = this.#refused.get(text);
    return refusal === undefined ? null : { ok: false, refusal };
  }

  verify(text: string, remoteAddress: string): Promise<TokenVerdict> {
    if (text.length > VIEWER_TOKEN_BYTES_MAX) {
      return Promise.resolve({ ok: false, refusal: 'token-malformed' });
    }
    const underWay = this.#verifying.get(text);
    if (underWay !== undefined) return underWay;
    if (this.#verifying.size >= VERIFYING_MAX)
      return Promise.resolve({ ok: false, refusal: 'busy' });
    const prefix = prefixOf(remoteAddress);
    if (!this.#take(prefix)) return Promise.resolve({ ok: false, refusal: 'token-limit' });
    const verifying = this.#inTurn(() => this.#verify(text, prefix)).finally(() =>
      this.#verifying.delete(text),
    );
    this.#verifying.set(text, verifying);
    return verifying;
  }

  /** What a denial or a new key set makes untrue. */
  forget(): void {
    this.#known.clear();
    this.#refused.clear();
  }

  async #inTurn(check: () => Promise<TokenVerdict>): Promise<TokenVerdict> {
    if (this.#running >= VERIFYING_AT_ONCE) {
      await new Promise<void>((resolve) => this.#turns.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await check();
    } finally {
      const next = this.#turns.shift();
      if (next === undefined) this.#running--;
      else next(); // takes over this one's place
    }
  }

  async #verify(text: string, prefix: string): Promise<TokenVerdict> {
    const ring = this.#keys();
    if (ring === null) {
      this.#settle(prefix, true);
      return { ok: false, refusal: 'token-key-unknown' };
    }
    const outcome = await verifyViewerToken(text, ring, this.#nowSeconds());
    this.#settle(prefix, outcome.ok);
    if (!outcome.ok) {
      this.#refused.set(text, outcome.failure);
      return { ok: false, refusal: outcome.failure };
    }
    const token = new KnownToken(outcome.value, this.#clock.monotonicMs(), this.#random.next());
    if (this.#keys() === ring) this.#known.set(text, token);
    return { ok: true, token };
  }

  #timed(token: KnownToken): TokenVerdict {
    const now = this.#nowSeconds();
    if (token.claims.expiresAtSeconds <= now) return { ok: false, refusal: 'token-expired' };
    if (token.claims.notBeforeSeconds > now) return { ok: false, refusal: 'token-not-yet' };
    return { ok: true, token };
  }

  /**
   * Failures are what is limited. A network that has shown none lately may bring a crowd of new viewers at once
   * (a dead sibling's, a carrier's NAT); one that has is checked a few at a time.
   */
  #take(prefix: string): boolean {
    const now = this.#clock.monotonicMs();
    let budget = this.#budgets.get(prefix);
    if (budget === undefined) {
      budget = { left: FAILURES_BURST, atMs: now, underWay: 0 };
      this.#budgets.set(prefix, budget);
    }
    const earned = ((now - budget.atMs) / 1000) * FAILURES_PER_SECOND;
    budget.left = Math.min(FAILURES_BURST, budget.left + earned);
    budget.atMs = now;
    const underWayMax = budget.left >= FAILURES_BURST / 2 ? VERIFYING_MAX : Math.floor(budget.left);
    if (budget.underWay >= underWayMax) return false;
    budget.underWay++;
    return true;
  }

  #settle(prefix: string, isGood: boolean): void {
    const budget = this.#budgets.get(prefix);
    if (budget === undefined) return;
    budget.underWay = Math.max(0, budget.underWay - 1);
    if (!isGood) budget.left = Math.max(0, budget.left - 1);
  }
}

/** /24 of an IPv4 address, /48 of an IPv6 one: who is charged for forged tokens. */
export function prefixOf(address: string): string {
  const mapped = address.startsWith('::ffff:') ? address.slice(7) : address;
  if (mapped.includes(':')) return mapped.split(':').slice(0, 3).join(':');
  return mapped.slice(0, mapped.lastIndexOf('.'));
}
