/**
 * The nightly check on the forecaster itself: yesterday's forecast of today is scored; when the error jumps, the last good one stands.
 *
 *   trusting --jump--> doubting(since) --good night--> trusting
 *                         |  NIGHTS_DOUBTED_MAX nights of jumps: the world changed, not the data
 *                         '--> trusting
 *
 * Shape:      stepGuard(state, wape) -> { state, verdict }
 * Units:      wape: sum |error| / sum of views, one night
 * Invariants: (1) a night that jumped is no evidence for what is normal
 *             (2) fewer than NIGHTS_MIN nights of evidence: everything is trusted
 *             (3) the forecaster is doubted for NIGHTS_DOUBTED_MAX nights at most
 */
import { medianOf } from './probability.ts';

export interface GuardState {
  readonly normal: readonly number[]; // WAPE of the last good nights, oldest first
  readonly doubted: readonly number[]; // WAPE of the nights since the jump
}

export type GuardVerdict =
  | { readonly kind: 'trusted' }
  | {
      readonly kind: 'jumped';
      readonly wape: number;
      readonly usual: number;
      readonly limit: number;
    };

export const FRESH_GUARD: GuardState = { normal: [], doubted: [] };
const NIGHTS_KEPT = 28;
const NIGHTS_MIN = 7;
const NIGHTS_DOUBTED_MAX = 3;
const JUMP_RATIO = 1.5;
const JUMP_DEVIATIONS = 6; // of the median absolute deviation: about 4 sigma

export function stepGuard(
  state: GuardState,
  wape: number,
): { readonly state: GuardState; readonly verdict: GuardVerdict } {
  const usual = medianOf(state.normal);
  const deviation = medianOf(state.normal.map((value) => Math.abs(value - usual)));
  const limit = Math.max(JUMP_RATIO * usual, usual + JUMP_DEVIATIONS * deviation);
  const jumped = state.normal.length >= NIGHTS_MIN && !(wape <= limit); // NaN is a jump
  if (!jumped) {
    return {
      state: { normal: [...state.normal, wape].slice(-NIGHTS_KEPT), doubted: [] },
      verdict: { kind: 'trusted' },
    };
  }
  const doubted = [...state.doubted, wape];
  if (doubted.length > NIGHTS_DOUBTED_MAX) {
    return {
      state: { normal: doubted.filter(Number.isFinite), doubted: [] },
      verdict: { kind: 'trusted' },
    };
  }
  return { state: { ...state, doubted }, verdict: { kind: 'jumped', wape, usual, limit } };
}
