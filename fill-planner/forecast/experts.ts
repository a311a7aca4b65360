/**
 * Online mixing of forecasts: exponential weights with a fixed share, so that a forecaster that became good again is heard soon.
 *
 * Shape:      learn(weights, losses, options) -> weights
 * Units:      losses in [0, 1]; anything above counts as 1, and a loss that is not a number as the worst
 * Invariants: (1) weights are positive and sum to 1
 *             (2) with `share` 0 the summed loss of the mix exceeds that of the best by at most
 *                 ln(n) / rate + rate x steps / 8 for losses that are convex in the forecast
 * Source:     Cesa-Bianchi and Lugosi, Prediction, Learning, and Games, 2.2 and 5.2 (Herbster and Warmuth 1998)
 */
export interface ExpertOptions {
  readonly rate: number;
  readonly share: number; // part of the weight that is dealt out evenly at each step
}

export function evenWeights(count: number): readonly number[] {
  return Array.from({ length: count }, () => 1 / count);
}

export function learn(
  weights: readonly number[],
  losses: readonly number[],
  options: ExpertOptions,
): readonly number[] {
  const bounded = losses.map((loss) =>
    Number.isFinite(loss) ? Math.min(1, Math.max(0, loss)) : 1,
  );
  const least = Math.min(...bounded); // taken off all alike: it cancels, and exp() stays in range
  const raised = weights.map(
    (weight, i) => weight * Math.exp(-options.rate * (bounded[i] - least)),
  );
  const total = raised.reduce((sum, weight) => sum + weight, 0);
  return raised.map(
    (weight) => (1 - options.share) * (weight / total) + options.share / weights.length,
  );
}

export function mixOf(weights: readonly number[], forecasts: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i] * forecasts[i];
  return sum;
}
