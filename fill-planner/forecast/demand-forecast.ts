/**
 * Tonight's forecast: views of every file in every home cluster on the day that the plan is for.
 *
 *   views(file, cluster) = level(cluster, day of week) x share(programme | world) x factors down the region tree
 *                          x share(title | programme) x share(file | title, country)
 *
 * Never a series per file: the factors are learnt where there is data for them, and multiplied where they are needed.
 *
 * Shape:      forecastDemand(records, titles, clusters, atDay) -> DemandForecast
 * Units:      views per day; a view of a file = as many bytes as the file has; days are UTC
 * Errors:     records that cannot be used are left out and named in `problems`; nothing here throws on data
 * Invariants: (1) deterministic; the order of the records does not matter
 *             (2) no record of `atDay` or later is looked at
 *             (3) every figure is finite and >= 0; the densities of a cluster sum to its level
 *             (4) when the nightly backtest jumped, the forecast is that of the last good night, and `verdict` says so
 */
import { assert } from '#base/outcome.ts';
import {
  dayNumberOf,
  HOME_NOT_KNOWN,
  isoDayOf,
  takeRecords,
  type DemandDay,
  type DemandRecord,
} from './demand-records.ts';
import { learnFileShares, type FileShares } from './file-shares.ts';
import { FRESH_GUARD, stepGuard, type GuardVerdict } from './forecast-guard.ts';
import { fitLevel, levelAt } from './level.ts';
import { gammaQuantile } from './probability.ts';
import { forecastCatalogueOf, type ForecastCatalogue, type ForecastTitle } from './programmes.ts';
import { learnRegionShares, sharesOfCluster, type RegionShares } from './region-shares.ts';
import { regionTreeOf, type ForecastCluster, type RegionTree } from './region-tree.ts';
import { learnTitleShares, type TitleShares } from './title-shares.ts';

export interface DemandForecast {
  readonly atDay: string;
  readonly clusterIds: readonly string[];
  readonly ordinals: Uint32Array; // of the rows, rising
  readonly sizes: Float64Array; // bytes, by row
  readonly levels: Float64Array; // views per day by cluster
  /** Views per day of every file in one cluster, by row. */
  densitiesOf(cluster: number, into?: Float64Array): Float64Array;
  /** Views per day that a file stays above with probability 1 - p: p = 0.1 and 0.9 make an 80 % band. */
  quantileOf(row: number, viewsPerDay: number, p: number): number;
  /** Relative variance of a day's views beyond that of chance, by row: 1 / the shape of the forecast's Gamma. */
  spreadOf(row: number): number;
  readonly titleShares: TitleShares;
  readonly verdict: ForecastVerdict;
  readonly problems: readonly string[];
}

export type ForecastVerdict =
  | { readonly kind: 'fresh' }
  | { readonly kind: 'no-history' }
  | { readonly kind: 'fell-back'; readonly toDay: string; readonly why: string };

export interface ForecastOptions {
  /** The word by which records name viewers whose home is not known: they count for the world only. */
  readonly homeUnknown: string;
  /**
   * A release within so many days after `atDay` is forecast as on its first whole day, so that it is placed before it is
   * asked for; 0 forecasts the day itself.
   */
  readonly aheadDays?: number;
}

const SEASON_DAYS = 7;
const LEVEL_DAYS = 56;
const UNSEEN_VIEWS_PER_FILE = 1; // a fleet without any history

export function forecastDemand(
  records: Iterable<DemandRecord>,
  titles: readonly ForecastTitle[],
  clusters: readonly ForecastCluster[],
  atDay: string,
  options: ForecastOptions = { homeUnknown: 'unknown' },
): DemandForecast {
  const day = dayNumberOf(atDay);
  assert(!Number.isNaN(day), `the day of a forecast is a UTC date, not "${atDay}"`);
  const catalogue = forecastCatalogueOf(titles);
  const indexOf = new Map(clusters.map(({ clusterId }, at) => [clusterId, at]));
  const { days, problems } = takeRecords(
    records,
    {
      file: (ordinal) => {
        const row = catalogue.rowOfOrdinal.get(ordinal);
        return row === undefined ? undefined : { row, sizeBytes: catalogue.sizes[row] };
      },
      cluster: (home) => (home === options.homeUnknown ? HOME_NOT_KNOWN : indexOf.get(home)),
    },
    day,
  );
  const tree = regionTreeOf(clusters);
  const aheadDays = options.aheadDays ?? 0;
  const learnt = learn(catalogue, tree, days, day, aheadDays);
  const doubt = doubtOf(learnt.titles);
  if (doubt === null) {
    const kind = days.length === 0 ? 'no-history' : 'fresh';
    return assemble(catalogue, tree, clusters, days, day, learnt, { kind }, problems);
  }
  const good = days.filter((past) => past.day <= doubt.lastGood);
  const verdict: ForecastVerdict = {
    kind: 'fell-back',
    toDay: isoDayOf(doubt.lastGood),
    why: whyDoubted(doubt),
  };
  return assemble(
    catalogue,
    tree,
    clusters,
    good,
    day,
    learn(catalogue, tree, good, day, aheadDays),
    verdict,
    [`forecast of ${atDay} fell back: ${verdict.why}`, ...problems],
  );
}

interface Learnt {
  readonly titles: TitleShares;
  readonly regions: RegionShares;
  readonly files: FileShares;
}

function learn(
  catalogue: ForecastCatalogue,
  tree: RegionTree,
  days: readonly DemandDay[],
  atDay: number,
  aheadDays: number,
): Learnt {
  return {
    titles: learnTitleShares(catalogue, days, atDay, aheadDays),
    regions: learnRegionShares(catalogue, tree, days, atDay),
    files: learnFileShares(catalogue, tree, days, atDay),
  };
}

export interface Doubt {
  readonly lastGood: number;
  readonly jumpedOn: number;
  readonly wape: number;
  readonly usual: number;
  readonly limit: number;
}

export function whyDoubted(doubt: Doubt): string {
  return (
    `the error of ${isoDayOf(doubt.jumpedOn)} is ${percent(doubt.wape)} where ${percent(doubt.usual)} is usual ` +
    `(limit ${percent(doubt.limit)}): the records since ${isoDayOf(doubt.lastGood)} are not used`
  );
}

/** Null where the last night was trusted. */
export function doubtOf({ nights }: Pick<TitleShares, 'nights'>): Doubt | null {
  let state = FRESH_GUARD;
  let verdict: GuardVerdict = { kind: 'trusted' };
  let lastGood = nights.length > 0 ? nights[0].day : 0;
  let jumpedOn = lastGood;
  for (const { day, wape } of nights) {
    ({ state, verdict } = stepGuard(state, wape));
    if (verdict.kind === 'trusted') lastGood = day;
    else jumpedOn = day;
  }
  return verdict.kind === 'trusted'
    ? null
    : { lastGood, jumpedOn, wape: verdict.wape, usual: verdict.usual, limit: verdict.limit };
}

function assemble(
  catalogue: ForecastCatalogue,
  tree: RegionTree,
  clusters: readonly ForecastCluster[],
  days: readonly DemandDay[],
  atDay: number,
  learnt: Learnt,
  verdict: ForecastVerdict,
  problems: readonly string[],
): DemandForecast {
  const levels = clusterLevels(clusters, days, atDay, catalogue.rows);
  const programmeShares = new Float64Array(catalogue.programmes.length);
  const programmeOfRow = Int32Array.from(
    catalogue.titleOfRow,
    (title) => catalogue.programmeOfTitle[title],
  );
  const spreadOf = (row: number): number =>
    learnt.titles.spread[learnt.titles.classes[programmeOfRow[row]]];
  return {
    atDay: isoDayOf(atDay),
    clusterIds: clusters.map(({ clusterId }) => clusterId),
    ordinals: catalogue.ordinals,
    sizes: catalogue.sizes,
    levels,
    densitiesOf(cluster, into = new Float64Array(catalogue.rows)) {
      sharesOfCluster(learnt.regions, tree, cluster, learnt.titles.shares, programmeShares);
      const files = learnt.files.ofCountry(tree.paths[cluster][2]);
      for (let row = 0; row < catalogue.rows; row++) {
        into[row] =
          levels[cluster] *
          programmeShares[programmeOfRow[row]] *
          learnt.files.titleShares[catalogue.titleOfRow[row]] *
          files[row];
      }
      return into;
    },
    spreadOf,
    quantileOf(row, viewsPerDay, p) {
      const spread = spreadOf(row);
      return gammaQuantile(p, viewsPerDay, viewsPerDay + spread * viewsPerDay * viewsPerDay);
    },
    titleShares: learnt.titles,
    verdict,
    problems,
  };
}

/**
 * Views per day of each cluster on `atDay`, by its own days; the fleet's views per capacity where it has none.
 * A day on which nobody reported is missing everywhere; before its first record a cluster did not exist.
 */
function clusterLevels(
  clusters: readonly ForecastCluster[],
  days: readonly DemandDay[],
  atDay: number,
  rows: number,
): Float64Array {
  const levels = new Float64Array(clusters.length).fill(Number.NaN);
  if (days.length > 0) {
    const last = days[days.length - 1].day;
    const first = Math.max(days[0].day, last - LEVEL_DAYS + 1);
    const length = last - first + 1;
    const reported = new Uint8Array(length);
    const views = new Float64Array(clusters.length * length);
    for (const day of days) {
      if (day.day < first) continue;
      reported[day.day - first] = 1;
      for (let i = 0; i < day.rows.length; i++) {
        if (day.clusters[i] < 0) continue;
        views[day.clusters[i] * length + day.day - first] += day.views[i];
      }
    }
    for (let cluster = 0; cluster < clusters.length; cluster++) {
      const own = views.subarray(cluster * length, (cluster + 1) * length);
      const begins = own.findIndex((value) => value > 0);
      if (begins === -1) continue;
      const series = own
        .slice(begins)
        .map((value, i) => (reported[begins + i] ? value : Number.NaN));
      levels[cluster] = levelAt(fitLevel(series, SEASON_DAYS), atDay - last);
    }
  }
  return filledByCapacity(clusters, levels, rows);
}

function filledByCapacity(
  clusters: readonly ForecastCluster[],
  levels: Float64Array,
  rows: number,
): Float64Array {
  let views = 0;
  let capacity = 0;
  let known = 0;
  clusters.forEach((cluster, at) => {
    if (!(levels[at] > 0)) return;
    views += levels[at];
    capacity += cluster.capacity ?? 0;
    known++;
  });
  return levels.map((level, at) => {
    if (level > 0) return level;
    if (known === 0) return UNSEEN_VIEWS_PER_FILE * Math.max(1, rows);
    const own = clusters[at].capacity ?? 0;
    return capacity > 0 && own > 0 ? (views * own) / capacity : views / known;
  });
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
