/**
 * A region's expected shares from its rollups, by the forecaster's own parts (`forecast/`): title share x variant share.
 *
 * The world's title shares are learnt day by day (two half-lives, decay kernels, release priors, mixed by how well each did); a
 * region likes a title by a factor of its own, drawn to 1 by the method of moments over the region's titles; its variant shares are drawn to
 * the world's likewise. Where the nightly backtest jumped, the days since the last good night are left out, and that is said.
 *
 * Invariants: (1) shares of titles that may be shown are positive and sum to 1; the others are 0
 *             (2) a region needs its own rollup and the world's, no other region's
 */
import { dayNumberOf } from '../forecast/demand-records.ts';
import { doubtOf, whyDoubted } from '../forecast/demand-forecast.ts';
import type { Programme } from '../forecast/programmes.ts';
import { REGION_HALF_LIFE_DAYS } from '../forecast/region-shares.ts';
import {
  RateStrength,
  shareConcentration,
  shrunkFactor,
  shrunkShares,
} from '../forecast/shrinkage.ts';
import { learnShares, type DayViews } from '../forecast/title-shares.ts';
import type { FactoredOrder } from './factored-order.ts';
import {
  TITLE_CLASSES,
  type FleetDescription,
  type RegionRollup,
  type WorldRollup,
} from './fleet-files.ts';

const PLACED_AHEAD_DAYS = 2; // what comes out before the fill of the night after next is placed tonight

export interface WorldShares {
  readonly titles: Float64Array; // sum to 1
  readonly variants: Float32Array; // sum to 1
  readonly views: Float32Array; // per title and day, as rolled up
  readonly dayTotals: Float64Array;
  /** Days of the rollup that are used, from the oldest: all, or up to the last good night. */
  readonly daysUsed: number;
  readonly problems: readonly string[];
}

export function worldSharesOf(fleet: FleetDescription, world: WorldRollup): WorldShares {
  const atDay = dayNumberOf(fleet.planDate);
  const daily = dailyViews(fleet, world.views, atDay);
  const programmes = programmesOf(world);
  let learnt = learnShares(programmes, daily, atDay, PLACED_AHEAD_DAYS);
  let daysUsed = fleet.days;
  const problems: string[] = [];
  const doubt = doubtOf(learnt);
  if (doubt !== null) {
    const good = daily.filter(({ day }) => day <= doubt.lastGood);
    daysUsed = good.length;
    learnt = learnShares(programmes, good, atDay, PLACED_AHEAD_DAYS);
    problems.push(`forecast of ${fleet.planDate} fell back: ${whyDoubted(doubt)}`);
  }
  return {
    titles: learnt.shares,
    variants: Float32Array.from(normalised(world.variants)),
    views: world.views,
    dayTotals: Float64Array.from(daily, ({ total }) => total),
    daysUsed,
    problems,
  };
}

export function regionOrderOf(
  fleet: FleetDescription,
  world: WorldShares,
  region: RegionRollup,
): FactoredOrder {
  const { counts, expected } = regionCounts(fleet, world, region.views);
  const strength = new RateStrength();
  for (let title = 0; title < counts.length; title++) {
    if (counts[title] !== expected[title]) strength.add(counts[title], expected[title]);
  }
  const b = strength.strength();
  const shares = new Float64Array(fleet.titles);
  for (let title = 0; title < shares.length; title++) {
    if (region.placeable[title] === 0) continue;
    shares[title] = world.titles[title] * shrunkFactor(counts[title], expected[title], b);
  }
  const prior = Array.from(world.variants);
  const own = Array.from(region.variants);
  const variants = shrunkShares(own, prior, shareConcentration([{ counts: own, prior }]));
  const { previous } = region;
  return {
    titles: Float32Array.from(normalised(shares)),
    variants: Float32Array.from(variants),
    previousTitles: previous === null ? null : previous.subarray(0, fleet.titles),
    previousVariants: previous === null ? null : previous.subarray(fleet.titles),
  };
}

/** Discounted views of each title in the region, and what the world's taste makes of the region's views. */
function regionCounts(
  { titles, days }: FleetDescription,
  world: WorldShares,
  views: Float32Array,
): { readonly counts: Float64Array; readonly expected: Float64Array } {
  const parts = new Float64Array(days);
  const weights = new Float64Array(days);
  let weightSum = 0;
  let squareSum = 0;
  for (let day = 0; day < world.daysUsed; day++) {
    let total = 0;
    for (let title = 0; title < titles; title++) total += views[title * days + day];
    weights[day] = 0.5 ** ((days - day) / REGION_HALF_LIFE_DAYS);
    parts[day] = world.dayTotals[day] > 0 ? total / world.dayTotals[day] : 0;
    weightSum += weights[day] * total;
    squareSum += weights[day] ** 2 * total;
  }
  // A discounted count varies less than a plain one of the same size.
  const worth = squareSum > 0 ? weightSum / squareSum : 1;
  const counts = new Float64Array(titles);
  const expected = new Float64Array(titles);
  for (let title = 0; title < titles; title++) {
    let count = 0;
    let mean = 0;
    for (let day = 0; day < world.daysUsed; day++) {
      count += weights[day] * views[title * days + day];
      mean += weights[day] * parts[day] * world.views[title * days + day];
    }
    counts[title] = worth * count;
    expected[title] = worth * mean;
  }
  return { counts, expected };
}

function dailyViews(
  { titles, days }: FleetDescription,
  views: Float32Array,
  atDay: number,
): readonly DayViews[] {
  return Array.from({ length: days }, (_, day) => {
    const own = new Float64Array(titles);
    let total = 0;
    for (let title = 0; title < titles; title++) {
      own[title] = views[title * days + day];
      total += own[title];
    }
    return { day: atDay - days + day, views: own, total };
  });
}

/** One per title: a fleet's rollups do not say which titles are episodes of one season. */
function programmesOf(world: WorldRollup): readonly Programme[] {
  const alone: readonly number[] = [];
  return Array.from(world.released, (releaseDay, title) => ({
    name: '',
    titles: alone,
    class: TITLE_CLASSES[world.classes[title]] ?? TITLE_CLASSES[0],
    kind: 'film' as const,
    language: '',
    genre: '',
    priority: 0,
    previous: -1,
    releaseDay,
    firstDayShare: 1,
  }));
}

function normalised<T extends Float32Array | Float64Array>(values: T): T {
  let total = 0;
  for (const value of values) total += value;
  return (total > 0 ? values.map((value) => value / total) : values) as T;
}
