/**
 * Time as an argument. Durations use `monotonicMs`; records, tokens and windows use `wallMs`.
 *
 * Units: milliseconds. `monotonicMs` starts anywhere and never goes back; `wallMs` is Unix time and may jump.
 */
export type Milliseconds = number;

export interface Timer {
  cancel(): void;
}

export interface Clock {
  monotonicMs(): Milliseconds;
  wallMs(): Milliseconds;
  after(delayMs: Milliseconds, run: () => void): Timer;
  every(periodMs: Milliseconds, run: () => void): Timer;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, run) {
    const handle = setTimeout(run, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
  every(periodMs, run) {
    const handle = setInterval(run, periodMs);
    return { cancel: () => clearInterval(handle) };
  },
};

export function sleep(clock: Clock, delayMs: Milliseconds): Promise<void> {
  return new Promise((resolve) => {
    clock.after(delayMs, resolve);
  });
}

/**
 * A clock that only moves when told: for tests and simulations.
 *
 * Invariants: (1) timers fire in order of due time, ties in order of creation
 *             (2) while a timer runs, monotonicMs() is exactly its due time
 */
export class SimulatedClock implements Clock {
  #nowMs = 0;
  #wallOffsetMs: number;
  #sequence = 0;
  #pending: { dueMs: number; sequence: number; run: () => void; periodMs: number | null }[] = [];

  constructor(wallStartMs: Milliseconds = Date.UTC(2026, 0, 1)) {
    this.#wallOffsetMs = wallStartMs;
  }

  monotonicMs(): Milliseconds {
    return this.#nowMs;
  }

  wallMs(): Milliseconds {
    return this.#nowMs + this.#wallOffsetMs;
  }

  after(delayMs: Milliseconds, run: () => void): Timer {
    return this.#schedule(delayMs, null, run);
  }

  every(periodMs: Milliseconds, run: () => void): Timer {
    return this.#schedule(periodMs, periodMs, run);
  }

  /** The wall clock jumps; monotonic time does not notice. */
  jumpWall(byMs: Milliseconds): void {
    this.#wallOffsetMs += byMs;
  }

  /** Runs every timer that falls due within the next `durationMs`. */
  advance(durationMs: Milliseconds): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      let next = -1;
      for (let i = 0; i < this.#pending.length; i++) {
        const entry = this.#pending[i];
        if (entry.dueMs > endMs) continue;
        const best = next === -1 ? null : this.#pending[next];
        if (
          best === null ||
          entry.dueMs < best.dueMs ||
          (entry.dueMs === best.dueMs && entry.sequence < best.sequence)
        ) {
          next = i;
        }
      }
      if (next === -1) break;
      const due = this.#pending[next];
      this.#nowMs = due.dueMs;
      if (due.periodMs === null) this.#pending.splice(next, 1);
      else due.dueMs += due.periodMs;
      due.run();
    }
    this.#nowMs = endMs;
  }

  #schedule(delayMs: Milliseconds, periodMs: Milliseconds | null, run: () => void): Timer {
    const entry = {
      dueMs: this.#nowMs + Math.max(0, delayMs),
      sequence: this.#sequence++,
      run,
      periodMs,
    };
    this.#pending.push(entry);
    return {
      cancel: () => {
        const at = this.#pending.indexOf(entry);
        if (at !== -1) this.#pending.splice(at, 1);
      },
    };
  }
}
