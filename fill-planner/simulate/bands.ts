/**
 * Several seeds of one scenario -> the first one's result with bands: where a further seed should fall.
 *
 * A band is a prediction interval, mean +- t s sqrt(1 + 1/n): it is about the next run, not about the mean.
 *
 * Errors:     a bug where there is no result, or results of different scenarios
 * Invariants: (1) one seed has no bands: nothing is known of its spread
 */
import { assert } from '#base/outcome.ts';
import { totalsWithMeaning, type Band, type SimulationResult } from './result.ts';

export const BAND_LEVEL = 0.9;
/** Student's t, 95 % quantile, for 1, 2, ... degrees of freedom. */
const T95 = [
  6.314, 2.92, 2.353, 2.132, 2.015, 1.943, 1.895, 1.86, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761,
  1.753, 1.746, 1.74, 1.734, 1.729, 1.725,
];

export function withBands(results: readonly SimulationResult[]): SimulationResult {
  assert(results.length > 0, 'bands are of at least one result');
  const [first] = results;
  const metrics = totalsWithMeaning(first.meta.engine);
  const bands = results.length < 2 ? [] : metrics.map((metric) => bandOf(metric, results));
  return {
    ...first,
    meta: {
      ...first.meta,
      seeds: results.map((result) => result.meta.seed),
      isPartial: results.some((result) => result.meta.isPartial),
      bandLevel: BAND_LEVEL,
    },
    bands,
  };
}

function bandOf(metric: Band['metric'], results: readonly SimulationResult[]): Band {
  const values = results.map((result) => result.totals[metric as keyof SimulationResult['totals']]);
  const { mean, halfWidth } = predictionOf(values);
  return { metric, mean, low: mean - halfWidth, high: mean + halfWidth, values };
}

export function predictionOf(values: readonly number[]): { mean: number; halfWidth: number } {
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n < 2) return { mean, halfWidth: Infinity };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  return { mean, halfWidth: t95(n - 1) * Math.sqrt(variance * (1 + 1 / n)) };
}

/** Beyond the list by Cornish and Fisher (Abramowitz and Stegun 26.7.5): there it is right to four digits. */
function t95(freedom: number): number {
  return T95[freedom - 1] ?? 1.64485 + 1.5238 / freedom + 1.4202 / freedom ** 2;
}
