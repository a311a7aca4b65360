/**
 * How many fetches for viewers may be tried again at another source after one failed: a share of all of them.
 *
 * Why: when a tier or the origin fails, every miss fails once and is tried again elsewhere, and what is left of the sources gets twice the
 * load just then. A budget lets single failures be repaired at once and keeps a general one from growing.
 *
 * Shape:      began() for each first attempt, take() before each further one -> whether it may be made
 * Invariants: (1) over time at most `share` further attempts per first one, and RESERVE at once
 */
const RESERVE = 20; // a quiet box repairs as many in a row

export class RetryBudget {
  readonly #share: number;
  #left = RESERVE;
  spent = 0; // attempts that were not made

  constructor(share: number) {
    this.#share = share;
  }

  began(): void {
    this.#left = Math.min(RESERVE, this.#left + this.#share);
  }

  take(): boolean {
    if (this.#left < 1) {
      this.spent++;
      return false;
    }
    this.#left--;
    return true;
  }
}
