/**
 * How much a file is wanted here: the manifest's forecast blended with what this box itself has seen, discounted by age.
 *
 * Shape:  (forecast, discounted count, when, now, half-life) -> views per day, posterior mean
 * Units:  views per day; a view is the whole file once, so that half a file read is half a view
 * Source: Gamma-Poisson with exponential forgetting: prior mean = forecast, prior weight PRIOR_DAYS days of watching
 */
import { DAY_MS } from '#base/units.ts';

/** A day-old view counts half: evening habits repeat daily, releases fade in days. The longest; reactive-set.ts says when it is less. */
export const HALF_LIFE_MS = DAY_MS;
/** The forecast is worth as much as half a day of watching the file here. */
const PRIOR_DAYS = 0.5;
/** What nobody forecast: a hundredth of a view per day, so that a first view moves it. */
const FORECAST_UNKNOWN = 0.01;

export interface Heat {
  readonly count: number; // discounted views as of `atMs`
  readonly atMs: number;
}

export const COLD: Heat = { count: 0, atMs: 0 };

export function warmed(heat: Heat, views: number, nowMs: number, halfLifeMs = HALF_LIFE_MS): Heat {
  return { count: countAt(heat, nowMs, halfLifeMs) + views, atMs: Math.max(nowMs, heat.atMs) };
}

export function viewsPerDay(
  heat: Heat,
  forecastPerDay: number,
  nowMs: number,
  halfLifeMs = HALF_LIFE_MS,
): number {
  const prior = Math.max(forecastPerDay, FORECAST_UNKNOWN);
  const memoryDays = halfLifeMs / Math.LN2 / DAY_MS; // the sum of all weights, exponentially forgotten
  const count = countAt(heat, nowMs, halfLifeMs);
  return (prior * PRIOR_DAYS + count) / (PRIOR_DAYS + memoryDays);
}

/** A clock that went back forgets nothing and invents nothing. */
function countAt(heat: Heat, nowMs: number, halfLifeMs: number): number {
  const ageMs = Math.max(0, nowMs - heat.atMs);
  return heat.count * 2 ** (-ageMs / halfLifeMs);
}
