/**
 * Demand over the hours: a day curve in local time, a weekly one, and a level that nobody knew the day before.
 *
 * Invariants: (1) the mean over a week is 1
 */
import { nameKey, normal } from './chance.ts';
import { DAY_CURVES, DAY_LEVEL_SIGMA, WEEKDAY_FACTORS } from './parameters.ts';

const DAY_MS = 86_400_000;
const PURPOSE = 21;
const WEEK_MEAN = WEEKDAY_FACTORS.reduce((sum, value) => sum + value, 0) / 7;

export function curveAt(coefficients: readonly number[], localHour: number): number {
  let log = coefficients[0];
  for (let cycle = 1; 2 * cycle < coefficients.length; cycle++) {
    const angle = (2 * Math.PI * cycle * localHour) / 24;
    log +=
      coefficients[2 * cycle - 1] * Math.cos(angle) + coefficients[2 * cycle] * Math.sin(angle);
  }
  return Math.exp(log);
}

/** Mean of the two metros' curves per local hour, 24 of them, mean 1. */
export function hourFactors(): Float64Array {
  const mean = DAY_CURVES.eu.map((value, at) => (value + DAY_CURVES.us[at]) / 2);
  const factors = Float64Array.from({ length: 24 }, (_, hour) => curveAt(mean, hour + 0.5));
  const total = factors.reduce((sum, value) => sum + value, 0);
  return factors.map((value) => (value * 24) / total);
}

/** Demand over its weekly mean, by UTC hour from the scenario's first day. */
export class Diurnal {
  readonly #factors = hourFactors();
  readonly #seed: number;
  readonly #firstWeekday: number; // Monday 0
  readonly peakToMean = (Math.max(...this.#factors) * Math.max(...WEEKDAY_FACTORS)) / WEEK_MEAN;

  constructor(startDate: string, seed: number) {
    this.#seed = seed;
    this.#firstWeekday = (Math.floor(Date.parse(startDate) / DAY_MS) + 3) % 7; // 1970-01-01 was a Thursday
  }

  /** Of a country's sites at that offset from UTC: one factor per hour. */
  hours(days: number, offsetHours: number, country: string): Float64Array {
    const key = nameKey(country);
    return Float64Array.from({ length: days * 24 }, (_, hour) => {
      const local = hour + offsetHours;
      const day = Math.floor(local / 24);
      const weekday = (((this.#firstWeekday + day) % 7) + 7) % 7;
      const level = Math.exp(DAY_LEVEL_SIGMA * normal(this.#seed, PURPOSE, key, day + 1000));
      return (this.#factors[local - day * 24] * WEEKDAY_FACTORS[weekday] * level) / WEEK_MEAN;
    });
  }
}
