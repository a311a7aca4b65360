/**
 * How much a file is wanted here: the manifest's forecast blended with what this box itself has seen, discounted by age.
 *
 * Shape:  (forecast, discounted count, when, now) -> views per day, posterior mean
 * Units:  views per day; a view is the whole file once, so that half a file read is half a view
 * Source: Gamma-Poisson with exponential forgetting: prior mean = forecast, prior weight PRIOR_DAYS days of watching
 */
import { DAY_MS } from '#base/units.ts';

/** A day-old view counts half: evening habits repeat daily, releases fade in days. */
export const HALF_LIFE_MS = DAY_MS;
/** The forecast is worth as much as half a day of watching the file here. */
const PRIOR_DAYS = 0.5;
/** What nobody forecast: a hundredth of a view per day, so that a first view moves it. */
const FORECAST_UNKNOWN = 0.01;
/** The sum of all weights of an exponentially forgotten day: HALF_LIFE / ln 2. */
const MEMORY_DAYS = HALF_LIFE_MS / Math.LN2 / DAY_MS;

export interface Heat {
  readonly count: number; // discounted views as of `atMs`
  readonly atMs: number;
}

export const COLD: Heat = { count: 0, atMs: 0 };

export function warmed(heat: Heat, views: number, nowMs: number): Heat {
  return { count: countAt(heat, nowMs) + views, atMs: Math.max(nowMs, heat.atMs) };
}

export function viewsPerDay(heat: Heat, forecastPerDay: number, nowMs: number): number {
  const prior = Math.max(forecastPerDay, FORECAST_UNKNOWN);
  return (prior * PRIOR_DAYS + countAt(heat, nowMs)) / (PRIOR_DAYS + MEMORY_DAYS);
}

/** A clock that went back forgets nothing and invents nothing. */
function countAt(heat: Heat, nowMs: number): number {
  const ageMs = Math.max(0, nowMs - heat.atMs);
  return heat.count * 2 ** (-ageMs / HALF_LIFE_MS);
}
