/**
 * The level of one cluster: how much is watched there in a slot, whatever it is. Holt-Winters with a weekly season.
 *
 * State: level and damped trend added, season multiplied. A missing slot (NaN) moves time and nothing else.
 *
 * Shape:      fitLevel(series, season) -> model; levelAt(model, stepsAhead) -> forecast
 * Units:      series in any unit >= 0, one value per slot (season 168: hours of a week; season 7: days)
 * Invariants: (1) a forecast is finite and >= 0
 *             (2) only the series is looked at: the parameters are those of the least one-step error within it
 * Source:     Holt 1957, Winters 1960; damped trend: Gardner and McKenzie 1985
 */
import { medianOf } from './probability.ts';

export interface LevelModel {
  readonly level: number;
  readonly trend: number;
  readonly season: Float64Array; // factors by slot; position of the next slot is `next`
  readonly next: number;
  readonly oneStepError: number; // mean |error| / mean level, within the series
}

interface LevelParameters {
  readonly alpha: number;
  readonly beta: number;
  readonly gamma: number;
}

const DAMPING = 0.9;
const ALPHAS = [0.1, 0.25, 0.5];
const BETAS = [0, 0.05];
const GAMMAS = [0.05, 0.2];

export function fitLevel(series: ArrayLike<number>, seasonLength: number): LevelModel {
  const first = firstSeason(series, seasonLength);
  let best: LevelModel | null = null;
  for (const alpha of ALPHAS) {
    for (const beta of BETAS) {
      for (const gamma of first.known ? GAMMAS : [0]) {
        const model = run(series, first.factors, { alpha, beta, gamma });
        if (best === null || model.oneStepError < best.oneStepError) best = model;
      }
    }
  }
  return best ?? run(series, first.factors, { alpha: 0.25, beta: 0, gamma: 0 });
}

/** `stepsAhead` 1 is the slot after the series' last. */
export function levelAt(model: LevelModel, stepsAhead: number): number {
  let trend = 0;
  let damping = 1;
  for (let step = 0; step < stepsAhead; step++) {
    damping *= DAMPING;
    trend += damping * model.trend;
  }
  const factor = model.season[(model.next + stepsAhead - 1) % model.season.length];
  return Math.max(0, model.level + trend) * factor;
}

/** Factors by slot: the median of slot / mean of its own season, over the whole seasons there are; flat below two. */
function firstSeason(
  series: ArrayLike<number>,
  length: number,
): { factors: Float64Array; known: boolean } {
  const ratios: number[][] = Array.from({ length }, () => []);
  const seasons = Math.floor(series.length / length);
  const flat = { factors: new Float64Array(length).fill(1), known: false };
  if (seasons < 2 || length === 1) return flat;
  const offset = series.length - seasons * length;
  for (let s = 0; s < seasons; s++) {
    let sum = 0;
    let known = 0;
    for (let i = 0; i < length; i++) {
      const value = series[offset + s * length + i];
      if (!Number.isFinite(value)) continue;
      sum += value;
      known++;
    }
    if (known < length / 2 || sum === 0) continue;
    for (let i = 0; i < length; i++) {
      const value = series[offset + s * length + i];
      if (Number.isFinite(value)) ratios[(offset + i) % length].push((value * known) / sum);
    }
  }
  if (ratios.some((slot) => slot.length === 0)) return flat;
  const factors = Float64Array.from(ratios, medianOf);
  const mean = factors.reduce((sum, factor) => sum + factor, 0) / length;
  if (!(mean > 0)) return flat;
  return { factors: factors.map((factor) => Math.max(0.01, factor / mean)), known: true };
}

function run(
  series: ArrayLike<number>,
  first: Float64Array,
  { alpha, beta, gamma }: LevelParameters,
): LevelModel {
  const season = first.slice();
  let level = Number.NaN;
  let trend = 0;
  let errors = 0;
  let total = 0;
  for (let at = 0; at < series.length; at++) {
    const value = series[at];
    const slot = at % season.length;
    if (!Number.isFinite(value)) {
      trend *= DAMPING;
      continue;
    }
    const bare = value / season[slot];
    if (Number.isNaN(level)) {
      level = bare;
      continue;
    }
    const expected = Math.max(0, level + DAMPING * trend);
    errors += Math.abs(value - expected * season[slot]);
    total += value;
    const next = alpha * bare + (1 - alpha) * expected;
    trend = beta * (next - level) + (1 - beta) * DAMPING * trend;
    level = next;
    if (level > 0) season[slot] = gamma * (value / level) + (1 - gamma) * season[slot];
    season[slot] = Math.max(0.01, season[slot]);
  }
  return {
    level: Number.isNaN(level) ? 0 : level,
    trend,
    season,
    next: series.length % season.length,
    oneStepError: total > 0 ? errors / total : Number.POSITIVE_INFINITY,
  };
}
