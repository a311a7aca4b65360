/**
 * A region's expected shares from its rollups: title share x variant share, both shrunk to the world's.
 *
 * Title share: the mean of two discounted counts (a short and a long half-life), shrunk to the world's by
 * (own + b x world) / (own total + b); a title without views has its prior. Variant share likewise.
 *
 * Invariants: (1) shares of titles that may be shown are positive and sum to 1; the others are 0
 */
import type { FactoredOrder } from './factored-order.ts';
import type { FleetDescription, RegionRollup, WorldRollup } from './fleet-files.ts';

const HALF_LIVES_DAYS = [2, 14];
const TITLE_SHRINKAGE_VIEWS = 2000; // own views until a region's taste weighs as much as the world's
const VARIANT_SHRINKAGE_VIEWS = 2000;

export interface WorldShares {
  readonly titles: Float64Array;
  readonly variants: Float32Array;
}

export function worldSharesOf(fleet: FleetDescription, world: WorldRollup): WorldShares {
  const rates = discountedRates(world.views, fleet.titles, fleet.days);
  for (let title = 0; title < rates.length; title++) {
    rates[title] = Math.max(rates[title], world.priors[title]);
  }
  return { titles: normalised(rates), variants: world.variants };
}

export function regionOrderOf(
  fleet: FleetDescription,
  world: WorldShares,
  region: RegionRollup,
): FactoredOrder {
  const rates = discountedRates(region.views, fleet.titles, fleet.days);
  const total = sumOf(rates);
  for (let title = 0; title < rates.length; title++) {
    const shrunk = rates[title] + TITLE_SHRINKAGE_VIEWS * world.titles[title];
    rates[title] = region.placeable[title] === 1 ? shrunk / (total + TITLE_SHRINKAGE_VIEWS) : 0;
  }
  const variantViews = sumOf(region.variants);
  const variants = region.variants.map(
    (views, variant) =>
      (views + VARIANT_SHRINKAGE_VIEWS * world.variants[variant]) /
      (variantViews + VARIANT_SHRINKAGE_VIEWS),
  );
  const { previous } = region;
  return {
    titles: Float32Array.from(normalised(rates)),
    variants,
    previousTitles: previous === null ? null : previous.subarray(0, fleet.titles),
    previousVariants: previous === null ? null : previous.subarray(fleet.titles),
  };
}

/** Views per day of each title: mean of the discounted means. */
function discountedRates(views: Float32Array, titles: number, days: number): Float64Array {
  const weights = new Float64Array(days);
  for (const halfLife of HALF_LIVES_DAYS) {
    let total = 0;
    for (let day = 0; day < days; day++) total += 2 ** (-(days - 1 - day) / halfLife);
    for (let day = 0; day < days; day++) {
      weights[day] += 2 ** (-(days - 1 - day) / halfLife) / total / HALF_LIVES_DAYS.length;
    }
  }
  const rates = new Float64Array(titles);
  for (let title = 0; title < titles; title++) {
    let rate = 0;
    for (let day = 0; day < days; day++) rate += weights[day] * views[title * days + day];
    rates[title] = rate;
  }
  return rates;
}

function normalised(values: Float64Array): Float64Array {
  const total = sumOf(values);
  return total > 0 ? values.map((value) => value / total) : values;
}

function sumOf(values: Float32Array | Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
