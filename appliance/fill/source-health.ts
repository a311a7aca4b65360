/**
 * Whether a source is asked: a circuit breaker per source, and blame for the one that gave bad bytes.
 *
 *   closed --more than half of the last 10 calls failed--> open --pause over--> half-open --ok--> closed
 *     ^                                                      ^----failed-----------'
 *     blamed: a chunk that did not match its hash; left out for BLAME_MS, doubled each time
 *
 * Shape:  note(state, event, now) -> state; isUsable(state, now)
 * Units:  monotonic milliseconds
 */
export interface SourceHealth {
  readonly recent: readonly boolean[]; // the last calls, true: it went well
  readonly openUntilMs: number; // breaker: not asked before
  readonly pauseMs: number; // the next pause
  readonly blamedUntilMs: number;
  readonly corruptChunks: number;
}

export type SourceEvent = 'ok' | 'failed' | 'corrupt';

const CALLS_LOOKED_AT = 10;
const CALLS_NEEDED = 5; // fewer say nothing
const PAUSE_FIRST_MS = 2000;
const PAUSE_MS_MAX = 60_000;
const BLAME_FIRST_MS = 60_000;
const BLAME_DOUBLINGS_MAX = 10; // 17 hours

export const HEALTHY: SourceHealth = {
  recent: [],
  openUntilMs: -Infinity,
  pauseMs: PAUSE_FIRST_MS,
  blamedUntilMs: -Infinity,
  corruptChunks: 0,
};

export function isUsable(health: SourceHealth, nowMs: number): boolean {
  return nowMs >= health.openUntilMs && nowMs >= health.blamedUntilMs;
}

export function noteCall(health: SourceHealth, event: SourceEvent, nowMs: number): SourceHealth {
  if (event === 'corrupt') {
    const doublings = Math.min(BLAME_DOUBLINGS_MAX, health.corruptChunks);
    return {
      ...health,
      corruptChunks: health.corruptChunks + 1,
      blamedUntilMs: nowMs + BLAME_FIRST_MS * 2 ** doublings,
    };
  }
  const isHalfOpen = health.openUntilMs > -Infinity && nowMs >= health.openUntilMs;
  if (event === 'ok' && isHalfOpen) {
    // Closed: what failed before the pause is not held against it any more.
    return { ...health, recent: [true], openUntilMs: -Infinity, pauseMs: PAUSE_FIRST_MS };
  }
  const recent = [...health.recent, event === 'ok'].slice(-CALLS_LOOKED_AT);
  if (event === 'ok') return { ...health, recent, pauseMs: PAUSE_FIRST_MS };
  const failures = recent.filter((wasOk) => !wasOk).length;
  const isOpening = recent.length >= CALLS_NEEDED && failures * 2 > recent.length;
  if (!isOpening) return { ...health, recent };
  return {
    ...health,
    // Half open after the pause: one more failure opens it again at once, one success closes it.
    recent: recent.slice(-CALLS_NEEDED),
    openUntilMs: nowMs + health.pauseMs,
    pauseMs: Math.min(PAUSE_MS_MAX, health.pauseMs * 2),
  };
}
