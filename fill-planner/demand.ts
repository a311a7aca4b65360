/**
 * Expected demand by home cluster: views of each file per day, from what was asked for, whichever box served it.
 *
 * With a day of records or more the forecaster says (forecast/). Without one, on a fleet's first day, discounted counts of
 * today's records do: density(file, cluster) = level(cluster) x share(file, cluster), a cluster's share being its own count shrunk
 * to the fleet's: (own views + b x fleet share) / (own total + b). A cluster without history gets the fleet's taste and a level by its
 * serving capacity; a title without views gets a prior while it is new.
 *
 * Units:      views per day; a view of a file = as many bytes as the file has
 * Invariants: (1) every density is finite and positive: nothing is said to be never watched
 *             (2) days nobody reported are no evidence: they count neither as views nor as time
 */
import { HOME_UNKNOWN } from '#control-plane/contract.ts';
import type { Catalogue } from './catalogue.ts';
import type { PlanningOptions } from './config.ts';
import type { PlannerInput } from './contract.ts';
import { gammaQuantile } from './forecast/probability.ts';
import { forecastOfInput } from './forecast/planner-input.ts';
import { dayOf } from './intake.ts';

const DAY_MS = 86_400_000;
const SPREAD_OF_ONE_DAY = 1; // counted on the first day: a file may well be asked for twice as much
const UNSEEN_LEVEL_VIEWS_PER_FILE = 1; // a fleet without any history: one view of each file a day

export interface Demand {
  /** Per cluster, in the order of `clusterIds`: expected views of each row per day. */
  readonly densities: ReadonlyMap<string, Float64Array>;
  readonly viewsPerDay: number;
  /** Relative variance of a day's views beyond that of chance, by row. */
  spreadOf(row: number): number;
  readonly problems: readonly string[];
}

/** 10th and 90th percentile of a day's views: where four days in five end. */
export function bandOf(
  demand: Demand,
  row: number,
  viewsPerDay: number,
): readonly [number, number] {
  const variance = viewsPerDay + demand.spreadOf(row) * viewsPerDay * viewsPerDay;
  return [gammaQuantile(0.1, viewsPerDay, variance), gammaQuantile(0.9, viewsPerDay, variance)];
}

export function demandOf(
  input: PlannerInput,
  catalogue: Catalogue,
  clusterIds: readonly string[],
  options: PlanningOptions,
): Demand {
  return (
    forecastDemandOf(input, catalogue, clusterIds, options) ??
    countedDemandOf(input, catalogue, clusterIds, options)
  );
}

/** Null where there is no whole day of records to learn from. */
function forecastDemandOf(
  input: PlannerInput,
  catalogue: Catalogue,
  clusterIds: readonly string[],
  options: PlanningOptions,
): Demand | null {
  const days = new Set(input.demand.map((record) => record.day));
  days.delete(input.planDate);
  if (days.size === 0) return null;
  const known = new Set(clusterIds);
  const demand = [...homesKnown(input.demand, known)];
  const forecast = forecastOfInput({ ...input, demand }, clusterIds);
  if (forecast.verdict.kind === 'no-history') return null;
  const densities = new Map<string, Float64Array>();
  let viewsPerDay = 0;
  clusterIds.forEach((clusterId, at) => {
    const level = forecast.levels[at];
    const floor = (options.floorShare * level) / Math.max(1, catalogue.rows);
    const own = forecast.densitiesOf(at).map((density) => Math.max(density, floor));
    densities.set(clusterId, own);
    viewsPerDay += level;
  });
  const { verdict } = forecast;
  return {
    densities,
    viewsPerDay,
    spreadOf: (row) => forecast.spreadOf(row),
    problems: [
      ...missingDays(new Set([...days].map(dayOf))),
      ...(verdict.kind === 'fell-back'
        ? [`the forecast of ${verdict.toDay} is used, the last good one: ${verdict.why}`]
        : []),
    ],
  };
}

/** A home that is no cluster with boxes counts for the fleet, as an unknown one does; several of them are one record a day. */
function* homesKnown(
  demand: PlannerInput['demand'],
  known: ReadonlySet<string>,
): Generator<PlannerInput['demand'][number]> {
  const homeless = new Map<string, PlannerInput['demand'][number]>();
  for (const record of demand) {
    if (known.has(record.home)) {
      yield record;
      continue;
    }
    const key = `${record.ordinal} ${record.day}`;
    const bytes = record.bytes + (homeless.get(key)?.bytes ?? 0);
    homeless.set(key, { ...record, home: HOME_UNKNOWN, bytes });
  }
  yield* homeless.values();
}

function countedDemandOf(
  input: PlannerInput,
  catalogue: Catalogue,
  clusterIds: readonly string[],
  options: PlanningOptions,
): Demand {
  const counts = discountedCounts(input, catalogue, clusterIds, options);
  const fleet = fleetShares(input, catalogue, counts.fleet, options);
  const levels = clusterLevels(input, clusterIds, counts, catalogue.rows);
  const densities = new Map<string, Float64Array>();
  let viewsPerDay = 0;
  for (const clusterId of clusterIds) {
    const own = counts.byCluster.get(clusterId);
    const level = levels.get(clusterId) ?? 0;
    const density = new Float64Array(catalogue.rows);
    const total = own === undefined ? 0 : sumOf(own);
    const b = options.shrinkageViews;
    for (let row = 0; row < catalogue.rows; row++) {
      density[row] = (level * ((own?.[row] ?? 0) + b * fleet[row])) / (total + b);
    }
    densities.set(clusterId, density);
    viewsPerDay += level;
  }
  return {
    densities,
    viewsPerDay,
    spreadOf: () => SPREAD_OF_ONE_DAY,
    problems: missingDays(counts.days),
  };
}

interface Counts {
  readonly fleet: Float64Array; // discounted views
  readonly byCluster: ReadonlyMap<string, Float64Array>;
  readonly exposureDays: number; // discounted days that were reported
  readonly days: ReadonlySet<number>;
}

function discountedCounts(
  input: PlannerInput,
  catalogue: Catalogue,
  clusterIds: readonly string[],
  options: PlanningOptions,
): Counts {
  const planDay = dayOf(input.planDate);
  const fleet = new Float64Array(catalogue.rows);
  const byCluster = new Map<string, Float64Array>();
  const known = new Set(clusterIds);
  const days = new Set<number>();
  for (const record of input.demand) {
    const row = catalogue.rowOfOrdinal.get(record.ordinal);
    if (row === undefined) continue;
    const day = dayOf(record.day);
    days.add(day);
    const views =
      (record.bytes / catalogue.sizes[row]) * 2 ** (-(planDay - day) / options.demandHalfLifeDays);
    fleet[row] += views;
    if (record.home === HOME_UNKNOWN || !known.has(record.home)) continue;
    let own = byCluster.get(record.home);
    if (own === undefined) byCluster.set(record.home, (own = new Float64Array(catalogue.rows)));
    own[row] += views;
  }
  let exposureDays = 0;
  for (const day of [...days].sort((a, b) => a - b)) {
    exposureDays += 2 ** (-(planDay - day) / options.demandHalfLifeDays);
  }
  return { fleet, byCluster, exposureDays, days };
}

/** What share of all views goes to each file, over the fleet; sums to 1. */
function fleetShares(
  input: PlannerInput,
  catalogue: Catalogue,
  views: Float64Array,
  options: PlanningOptions,
): Float64Array {
  const mean = Math.max(sumOf(views) / Math.max(1, catalogue.rows), Number.MIN_VALUE);
  const hasViews = sumOf(views) > 0;
  const shares = views.map((own) => (hasViews ? own + options.floorShare * mean : 1));
  const nightMs = dayOf(input.planDate) * DAY_MS;
  for (const { listing, rows, takenInAtMs } of catalogue.titles) {
    // New since it was taken in, or, where that comes later, since its release.
    const sinceMs = Math.max(takenInAtMs, Date.parse(listing.release?.at ?? '') || 0);
    const ageDays = Math.max(0, (nightMs - sinceMs) / DAY_MS);
    const newness = options.newTitleDays === 0 ? 0 : 1 - ageDays / options.newTitleDays;
    if (newness <= 0) continue;
    const boost = listing.class === 'release' ? options.releaseBoost : 1;
    const prior = boost * newness * (hasViews ? mean : 1);
    for (const row of rows) shares[row] = Math.max(shares[row], prior);
  }
  const total = sumOf(shares);
  return shares.map((share) => share / total);
}

/** Views per day of each cluster: its own, or the fleet's mean per bit/s of serving capacity where it has none. */
function clusterLevels(
  input: PlannerInput,
  clusterIds: readonly string[],
  counts: Counts,
  rows: number,
): ReadonlyMap<string, number> {
  const capacity = capacityOf(input, clusterIds);
  const own = new Map<string, number>();
  let knownViews = 0;
  let knownCapacity = 0;
  for (const clusterId of clusterIds) {
    const views = counts.byCluster.get(clusterId);
    const level = views === undefined ? 0 : sumOf(views) / counts.exposureDays;
    if (level === 0) continue;
    own.set(clusterId, level);
    knownViews += level;
    knownCapacity += capacity.get(clusterId) ?? 0;
  }
  const perBps = knownCapacity > 0 ? knownViews / knownCapacity : 0;
  const unseen = UNSEEN_LEVEL_VIEWS_PER_FILE * Math.max(1, rows);
  return new Map(
    clusterIds.map((id) => {
      const level = own.get(id) ?? (capacity.get(id) ?? 0) * perBps;
      return [id, level > 0 ? level : unseen];
    }),
  );
}

function capacityOf(
  input: PlannerInput,
  clusterIds: readonly string[],
): ReadonlyMap<string, number> {
  const capacity = new Map<string, number>(clusterIds.map((id) => [id, 0]));
  for (const box of input.appliances) {
    capacity.set(box.clusterId, (capacity.get(box.clusterId) ?? 0) + box.servingBps);
  }
  return capacity;
}

/** A day without a single record between two that have some was lost, not quiet. */
function missingDays(days: ReadonlySet<number>): readonly string[] {
  const sorted = [...days].sort((a, b) => a - b);
  const problems: string[] = [];
  for (let at = 1; at < sorted.length; at++) {
    const gap = sorted[at] - sorted[at - 1] - 1;
    if (gap === 0) continue;
    const first = isoDay(sorted[at - 1] + 1);
    problems.push(
      gap === 1
        ? `no view record of ${first}: the day is left out of the mean`
        : `no view record of ${gap} days from ${first}: they are left out of the mean`,
    );
  }
  return problems;
}

function isoDay(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
