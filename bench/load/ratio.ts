/**
 * Two servers compared by pairs that ran one after the other: the median ratio, and how far chance may have moved it.
 *
 * Shape:      (ratios of the pairs, random) -> median with its 95 % bootstrap interval
 * Invariants: (1) low <= median <= high
 *             (2) the same ratios and seed give the same interval
 * Source:     percentile bootstrap (Efron), 4,000 resamples; data-plane.md, "Reading a ratio"
 */
import type { Random } from '#base/random.ts';

const RESAMPLES = 4000;
/** A goal counts as met when the interval's lower end reaches it minus this much. */
export const GOAL_SLACK = 0.03;
/** Fewer pairs than this say nothing about a goal. */
export const PAIRS_MIN = 9;

export interface Ratio {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly pairs: number;
}

export type Verdict = 'met' | 'missed' | 'not resolved' | 'too few pairs';

export function ratioOf(ratios: readonly number[], random: Random): Ratio {
  if (ratios.length === 0) throw new RangeError('there is no pair to compare');
  const medians = new Float64Array(RESAMPLES);
  const sample = Array.from(ratios);
  for (let at = 0; at < RESAMPLES; at++) {
    for (let i = 0; i < sample.length; i++) sample[i] = ratios[random.below(ratios.length)];
    medians[at] = medianOf(sample);
  }
  medians.sort();
  const median = medianOf(ratios);
  return {
    median,
    low: Math.min(median, medians[Math.floor(RESAMPLES * 0.025)]),
    high: Math.max(median, medians[Math.ceil(RESAMPLES * 0.975) - 1]),
    pairs: ratios.length,
  };
}

/** For a goal of "at least". Where the interval lies on both sides of the goal, the noise is wider than the question. */
export function verdictOf(ratio: Ratio, goal: number): Verdict {
  if (ratio.pairs < PAIRS_MIN) return 'too few pairs';
  if (ratio.low >= goal - GOAL_SLACK) return 'met';
  return ratio.high < goal ? 'missed' : 'not resolved';
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value that `share` of the sorted samples do not exceed; 0 where there are none. */
export function percentileOf(sorted: ArrayLike<number>, share: number): number {
  if (sorted.length === 0) return 0;
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];
}
