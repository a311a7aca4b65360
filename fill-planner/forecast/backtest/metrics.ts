/**
 * How a forecast is judged. Every function takes what was forecast and what came, in the same order.
 *
 * WAPE = sum |forecast - actual| / sum actual; bias = sum (forecast - actual) / sum actual.
 * Poisson floor: of counts with known mean m no forecast does better than the mean absolute deviation
 * E|X - m| = 2 m^(k+1) e^-m / k!, k = floor(m), about sqrt(2 m / pi).
 */
import { logGamma } from '../probability.ts';

export type AgeClass = 'new' | 'decaying' | 'catalogue';

export interface Score {
  readonly cases: number;
  readonly wape: number | null; // null: nothing was watched
  readonly bias: number | null;
}

/** One model on one data set at one step: a row of the printed table and of the JSON line. */
export interface ModelScore extends Score {
  readonly data: string;
  readonly model: string;
  readonly step: number;
  readonly classes: { readonly [name: string]: Score };
  readonly coverage?: number; // share of actuals within the 10-90 % band
  readonly leaverError?: number; // distance to the interval [0, last place] / sum of the last places
  readonly brier?: number; // of being on the list then
  readonly regret?: number; // share of demand that the oracle's placement serves and this one does not
  readonly floorRatio?: number; // WAPE / that of the true means
}

export class ErrorSum {
  #missed = 0;
  #over = 0;
  #actual = 0;
  #cases = 0;

  add(forecast: number, actual: number): void {
    this.#missed += Math.abs(forecast - actual);
    this.#over += forecast - actual;
    this.#actual += actual;
    this.#cases++;
  }

  score(): Score {
    const has = this.#actual > 0;
    return {
      cases: this.#cases,
      wape: has ? this.#missed / this.#actual : null,
      bias: has ? this.#over / this.#actual : null,
    };
  }
}

/** E|X - mean| for X ~ Poisson(mean): exact. */
export function poissonFloor(mean: number): number {
  if (mean <= 0) return 0;
  const k = Math.floor(mean);
  return 2 * Math.exp((k + 1) * Math.log(mean) - mean - logGamma(k + 1));
}

/**
 * What a box of limited storage serves of `actual` when it is filled by the density `forecast / size`, largest first.
 * A file that does not fit is passed over. Ties by position.
 */
export function servedByDensity(
  forecast: ArrayLike<number>,
  actual: ArrayLike<number>,
  sizes: ArrayLike<number>,
  storage: number,
): number {
  const order = Array.from({ length: forecast.length }, (_, i) => i).sort(
    (a, b) => forecast[b] / sizes[b] - forecast[a] / sizes[a] || a - b,
  );
  let left = storage;
  let served = 0;
  for (const i of order) {
    if (sizes[i] > left) continue;
    left -= sizes[i];
    served += actual[i];
  }
  return served;
}

/** Demand that the oracle's plan serves and this one does not, as a share of all demand. */
export class RegretSum {
  #lost = 0;
  #demand = 0;

  add(
    forecast: ArrayLike<number>,
    actual: ArrayLike<number>,
    sizes: ArrayLike<number>,
    storage: number,
  ): void {
    this.#lost +=
      servedByDensity(actual, actual, sizes, storage) -
      servedByDensity(forecast, actual, sizes, storage);
    for (let i = 0; i < actual.length; i++) this.#demand += actual[i];
  }

  share(): number | undefined {
    return this.#demand > 0 ? this.#lost / this.#demand : undefined;
  }
}
