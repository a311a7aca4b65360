/**
 * How far a drain is: who still watches here, and when the box may be powered off.
 *
 *   idle --start--> draining (viewers of before are served) --deadline--> draining (everybody is sent on) --undrain--> idle
 *
 * Invariants: (1) "safe to power off" only when no viewer was seen for QUIET_MS and nothing is being sent
 *             (2) after the deadline nobody is kept: their players go to the next box at once
 */
export const DRAIN_MS_DEFAULT = 270_000; // within the five minutes that an operator is promised
/** A player that plays asks at least this often. */
const WINDOW_MS = 15_000;
const SESSIONS_COUNTED_MAX = 65_536;

export interface DrainProgress {
  readonly isDraining: boolean;
  readonly sessionsLeft: number;
  readonly answersUnderWay: number;
  readonly etaMs: number | null; // until nobody is left, at the latest
  readonly isSafeToPowerOff: boolean;
}

export class DrainWatch {
  #sinceMs: number | null = null;
  #deadlineMs = Infinity;
  #windowAtMs = 0;
  #current = new Set<object>();
  #previous = new Set<object>();

  start(nowMs: number, durationMs: number): void {
    this.#sinceMs ??= nowMs;
    this.#deadlineMs = nowMs + durationMs;
  }

  stop(): void {
    this.#sinceMs = null;
    this.#deadlineMs = Infinity;
    this.#current.clear();
    this.#previous.clear();
  }

  get isDraining(): boolean {
    return this.#sinceMs !== null;
  }

  isOverdue(nowMs: number): boolean {
    return nowMs >= this.#deadlineMs;
  }

  /** A viewer of before the drain was served. */
  note(session: object, nowMs: number): void {
    this.#turn(nowMs);
    if (this.#current.size < SESSIONS_COUNTED_MAX) this.#current.add(session);
  }

  progress(nowMs: number, answersUnderWay: number): DrainProgress {
    this.#turn(nowMs);
    const sessions = new Set([...this.#current, ...this.#previous]);
    const isQuiet = this.#sinceMs !== null && nowMs - this.#sinceMs >= WINDOW_MS;
    const isSafeToPowerOff = isQuiet && sessions.size === 0 && answersUnderWay === 0;
    return {
      isDraining: this.isDraining,
      sessionsLeft: sessions.size,
      answersUnderWay,
      etaMs:
        this.#sinceMs === null
          ? null
          : isSafeToPowerOff
            ? 0
            : Math.max(0, this.#deadlineMs - nowMs) + 2 * WINDOW_MS,
      isSafeToPowerOff,
    };
  }

  /** Two windows: whoever was seen in this one or the one before still watches. */
  #turn(nowMs: number): void {
    const elapsedMs = nowMs - this.#windowAtMs;
    if (elapsedMs < WINDOW_MS) return;
    this.#previous = elapsedMs < 2 * WINDOW_MS ? this.#current : new Set();
    this.#current = new Set();
    this.#windowAtMs = nowMs;
  }
}
