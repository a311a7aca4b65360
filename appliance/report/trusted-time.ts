/**
 * The time that tokens, windows and records go by: the control plane's last signed time plus monotonic elapsed.
 *
 *   unsigned (later of wall clock and kept time) --signed time--> signed --signed time--> signed
 *
 * Shape:      take(state, signedMs, monotonicMs) -> state; timeAt(state, monotonicMs) -> Unix ms
 * Invariants: (1) once signed, the wall clock moves nothing: it may jump a year either way
 *             (2) an old signed time, played again, moves nothing
 *             (3) the kept time never lets the clock start earlier than it was known to be
 */
export interface TrustedTime {
  readonly baseMs: number;
  readonly baseAtMs: number; // monotonic
  readonly isSigned: boolean;
  readonly lastSignedMs: number;
}

/** Below this a new signed time is late on the wire rather than different: the clock is not set back for it. */
const JITTER_MS = 1500;
export const WALL_OFF_MS_MAX = 2000;

export function startTime(keptMs: number | null, wallMs: number, monotonicMs: number): TrustedTime {
  return {
    baseMs: Math.max(keptMs ?? 0, wallMs),
    baseAtMs: monotonicMs,
    isSigned: false,
    lastSignedMs: 0,
  };
}

export function takeSignedTime(
  state: TrustedTime,
  signedMs: number,
  monotonicMs: number,
): TrustedTime {
  if (signedMs <= state.lastSignedMs) return state;
  const currentMs = timeAt(state, monotonicMs);
  const isLate = state.isSigned && signedMs < currentMs && currentMs - signedMs <= JITTER_MS;
  return {
    baseMs: isLate ? currentMs : signedMs,
    baseAtMs: monotonicMs,
    isSigned: true,
    lastSignedMs: signedMs,
  };
}

export function timeAt(state: TrustedTime, monotonicMs: number): number {
  return state.baseMs + (monotonicMs - state.baseAtMs);
}

/** What health says about clocks: empty when all is well. */
export function timeProblems(
  state: TrustedTime,
  wallMs: number,
  monotonicMs: number,
): readonly string[] {
  if (!state.isSigned) {
    return [
      'no signed time since the start: the later of the wall clock and the last kept time is used',
    ];
  }
  const offMs = wallMs - timeAt(state, monotonicMs);
  if (Math.abs(offMs) <= WALL_OFF_MS_MAX) return [];
  const seconds = Math.round(Math.abs(offMs) / 1000);
  return [
    `the wall clock is ${seconds} s ${offMs > 0 ? 'fast' : 'slow'}: signed time is used; check NTP`,
  ];
}
