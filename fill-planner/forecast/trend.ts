/**
 * Trending inside a day: are there more starts of a title than its forecast and chance explain?
 *
 * Two looks at each 5-minute bin: the negative-binomial tail of the count (the forecast's own doubt is in its shape),
 * which sees a jump, and a CUSUM for a doubling, S <- max(0, S + x ln 2 - expected), which sees a slow rise.
 *
 * Shape:      step(state, bin) -> { state, verdict }
 * Invariants: (1) a bin without an expectation (no forecast at all) is measured against EXPECTED_MIN
 *             (2) the verdict names which look saw it, with the figure
 * Source:     planning.md; Page 1954 (CUSUM); surprise: Kleinberg-style burst by the Gamma-Poisson tail
 */
import { negativeBinomialTail } from './probability.ts';

export interface TrendBin {
  readonly starts: number;
  readonly expectedStarts: number; // of this bin, by the forecast
  readonly shape: number; // of the forecast's Gamma: 1 / relative variance
}

export type TrendVerdict =
  | { readonly kind: 'quiet' }
  | { readonly kind: 'surprise'; readonly tail: number }
  | { readonly kind: 'rising'; readonly evidence: number };

export interface TrendState {
  readonly evidence: number;
}

export const QUIET_TREND: TrendState = { evidence: 0 };
const TAIL_MAX = 1e-6;
const RATIO = 2; // a doubling is what the CUSUM looks for
const EVIDENCE_MIN = 14; // about ln(1e6): one false alarm in a million bins of steady demand
const EXPECTED_MIN = 0.01;

export function stepTrend(
  state: TrendState,
  bin: TrendBin,
): { readonly state: TrendState; readonly verdict: TrendVerdict } {
  const expected = Math.max(EXPECTED_MIN, bin.expectedStarts);
  const evidence = Math.max(
    0,
    state.evidence + bin.starts * Math.log(RATIO) - expected * (RATIO - 1),
  );
  const tail = negativeBinomialTail(bin.starts, expected, bin.shape);
  // Once it was said, evidence starts over: what goes on is said again by what comes, what is over is not.
  if (tail < TAIL_MAX) return { state: QUIET_TREND, verdict: { kind: 'surprise', tail } };
  if (evidence > EVIDENCE_MIN) {
    return { state: QUIET_TREND, verdict: { kind: 'rising', evidence } };
  }
  return { state: { evidence }, verdict: { kind: 'quiet' } };
}

/** Worth a fill now: the title trends and what it would be asked for passes the box's fill threshold (same unit). */
export function worthFilling(
  verdict: TrendVerdict,
  predictedDensity: number,
  fillDensity: number,
): boolean {
  return verdict.kind !== 'quiet' && predictedDensity >= fillDensity;
}
