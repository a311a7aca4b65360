/**
 * A rate out of a counter that only grows: an exponential average with a time constant, fed about once a second.
 */
const TIME_CONSTANT_MS = 3000;

export class RateMeter {
  #last = 0;
  #lastAtMs: number | null = null;
  #perSecond = 0;

  /** Units of the counter per second, as of now. */
  feed(counter: number, nowMs: number): number {
    if (this.#lastAtMs !== null && nowMs > this.#lastAtMs) {
      const elapsedMs = nowMs - this.#lastAtMs;
      const rate = ((counter - this.#last) / elapsedMs) * 1000;
      this.#perSecond += (1 - Math.exp(-elapsedMs / TIME_CONSTANT_MS)) * (rate - this.#perSecond);
      if (this.#perSecond < 1e-3) this.#perSecond = 0;
    }
    this.#last = counter;
    this.#lastAtMs = nowMs;
    return this.#perSecond;
  }
}
