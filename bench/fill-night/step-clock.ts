/**
 * The clock of a simulated fleet: it moves in steps, and with each step everybody looks at the queue once.
 */
import type { Clock, Timer } from '#base/clock.ts';

/** Time that moves in steps; only what the fleet needs of a clock. */
export class StepClock implements Clock {
  nowMs = 0;
  readonly #startMs: number; // Unix time
  readonly #every: { run: () => void; isOn: boolean }[] = [];
  #after: { dueMs: number; run: () => void; isOn: boolean }[] = [];

  constructor(startMs: number) {
    this.#startMs = startMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  wallMs(): number {
    return this.#startMs + this.nowMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const entry = { dueMs: this.nowMs + delayMs, run, isOn: true };
    this.#after.push(entry);
    return { cancel: () => void (entry.isOn = false) };
  }

  every(_periodMs: number, run: () => void): Timer {
    const entry = { run, isOn: true };
    this.#every.push(entry);
    return { cancel: () => void (entry.isOn = false) };
  }

  step(ms: number): void {
    this.nowMs += ms;
    const due = this.#after.filter(({ dueMs }) => dueMs <= this.nowMs);
    this.#after = this.#after.filter(({ dueMs }) => dueMs > this.nowMs);
    for (const { run, isOn } of due) if (isOn) run();
    for (const { run, isOn } of this.#every) if (isOn) run();
  }
}

/** Every promise that was resolved has been carried on with. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
