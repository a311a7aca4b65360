/**
 * Remembers which one-time ids were used, until they would have expired anyway.
 *
 * Invariants: (1) an id that is remembered is never forgotten before it expires
 *             (2) at most `idsMax` are kept; beyond that new ones are refused, never old ones dropped,
 *                 because a dropped id could be played again
 */
export class ReplayCache {
  readonly #idsMax: number;
  readonly #expiresMs = new Map<string, number>();

  constructor(idsMax: number) {
    this.#idsMax = idsMax;
  }

  use(id: string, expiresMs: number, nowMs: number): 'fresh' | 'replayed' | 'full' {
    if (this.#expiresMs.has(id)) return 'replayed';
    if (this.#expiresMs.size >= this.#idsMax) this.#prune(nowMs);
    if (this.#expiresMs.size >= this.#idsMax) return 'full';
    this.#expiresMs.set(id, expiresMs);
    return 'fresh';
  }

  #prune(nowMs: number): void {
    for (const [id, expiresMs] of this.#expiresMs) {
      if (expiresMs <= nowMs) this.#expiresMs.delete(id);
    }
  }
}
