/**
 * Quantiles of a handful of runs: the value itself, never between two.
 */
export function quantileOf(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * share) - 1))];
}

export function medianOf(values: readonly number[]): number {
  return quantileOf(values, 0.5);
}
