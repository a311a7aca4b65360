/**
 * How the demand for a release falls with its age: a burst of the fans and a long tail, one curve per class.
 *
 *   h(age) = w exp(-age / t1) + (1 - w) (1 + age / t2)^-p,   h(0) = 1
 *
 * Fitted on past releases only: each has a scale of its own (profiled out), the curve is shared; the loss is the
 * Poisson deviance, so that a day with few views counts little. Where a class has too little data it gets the default.
 *
 * Units:      age in days, 0 on the day of release
 * Invariants: (1) h falls, 0 < h <= 1
 *             (2) parameters stay within KERNEL_BOUNDS
 */
import { simplexSearch } from './simplex-search.ts';

export interface DecayKernel {
  readonly w: number;
  readonly t1: number;
  readonly t2: number;
  readonly p: number;
}

/** One release seen day by day. `exposure` is the level of that day: views are expected as scale x exposure x h(age). */
export interface ReleaseHistory {
  readonly ages: readonly number[];
  readonly views: readonly number[];
  readonly exposures: readonly number[];
}

/** Anchor: popular shows get 75 % of their views in the first 15 days (published by Open Connect). */
export const DEFAULT_KERNEL: DecayKernel = { w: 0.6, t1: 3, t2: 12, p: 1.6 };
export const KERNEL_BOUNDS = { t1: [0.3, 30], t2: [0.5, 200], p: [0.2, 5] } as const;

const OBSERVATIONS_MIN = 30;
const EVALUATIONS_MAX = 400;

export function decayAt(kernel: DecayKernel, ageDays: number): number {
  const age = Math.max(0, ageDays);
  return (
    kernel.w * Math.exp(-age / kernel.t1) + (1 - kernel.w) * (1 + age / kernel.t2) ** -kernel.p
  );
}

export function fitDecayKernel(histories: readonly ReleaseHistory[]): DecayKernel {
  const observations = histories.reduce((sum, history) => sum + history.ages.length, 0);
  if (observations < OBSERVATIONS_MIN) return DEFAULT_KERNEL;
  const found = simplexSearch(
    (at) => deviance(kernelOf(at), histories),
    [
      Math.log(DEFAULT_KERNEL.w / (1 - DEFAULT_KERNEL.w)),
      Math.log(DEFAULT_KERNEL.t1),
      Math.log(DEFAULT_KERNEL.t2),
      Math.log(DEFAULT_KERNEL.p),
    ],
    0.5,
    EVALUATIONS_MAX,
  );
  return kernelOf(found);
}

function kernelOf(at: readonly number[]): DecayKernel {
  return {
    w: 1 / (1 + Math.exp(-Math.min(30, Math.max(-30, at[0])))),
    t1: within(Math.exp(at[1]), KERNEL_BOUNDS.t1),
    t2: within(Math.exp(at[2]), KERNEL_BOUNDS.t2),
    p: within(Math.exp(at[3]), KERNEL_BOUNDS.p),
  };
}

/** Poisson deviance with each release's best scale = its views / its expected views at scale 1. */
function deviance(kernel: DecayKernel, histories: readonly ReleaseHistory[]): number {
  let sum = 0;
  for (const { ages, views, exposures } of histories) {
    let seen = 0;
    let expected = 0;
    const shape = ages.map((age, i) => exposures[i] * decayAt(kernel, age));
    for (let i = 0; i < ages.length; i++) {
      seen += views[i];
      expected += shape[i];
    }
    if (seen === 0 || expected === 0) continue;
    for (let i = 0; i < ages.length; i++) {
      const mean = (seen / expected) * shape[i];
      if (views[i] > 0 && mean > 0) sum += views[i] * Math.log(views[i] / mean);
    }
  }
  return sum;
}

function within(value: number, [low, high]: readonly [number, number]): number {
  return Math.min(high, Math.max(low, value));
}
