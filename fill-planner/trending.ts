/**
 * What is watched far more than forecast right now, and which of its files are worth a fill before tonight.
 *
 * Asked every quarter hour with the control plane's input: the starts of today so far, less those of the time before, are
 * one bin per (title, home cluster). What a cluster's viewers started in it, shared out by the forecast, is what was
 * expected; `forecast/trend.ts` says whether chance and doubt explain the difference. A file of a trending title is worth a fill
 * where what it would be asked for passes the fill threshold of tonight's plan and no box of the cluster holds it.
 *
 * Shape:      trendingNow(input, book, options) -> the next book, what trends, entries for the fast track
 * Invariants: (1) pure: the same input and book, the same answer
 *             (2) without a book, after a gap or over midnight nothing trends: there is nothing to compare with
 *             (3) at most FAST_TRACK_MAX entries, the most worth first
 */
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import type { Outcome } from '#base/outcome.ts';
import { FAST_TRACK_MAX, type FastTrackEntry } from '#control-plane/contract.ts';
import { planningOptions, type PlanningOptions } from './config.ts';
import { QUIET_TREND, stepTrend, worthFilling, type TrendVerdict } from './forecast/trend.ts';
import {
  planFamily,
  prepareNight,
  type NightCluster,
  type PlanRefusal,
  type PreparedNight,
} from './night.ts';

const BIN_MS_MAX = 3_600_000; // a longer gap is no bin: what rose in it is in tonight's forecast soon
const STAYS_MS = 24 * 3_600_000; // then tonight's plan knows
const RISE_MAX = 100; // times the forecast: a few starts of a file that nobody watched say no more
const WHY_LENGTH_MAX = 120;

/** What one look leaves for the next. */
const TrendBookSchema = Type.Object({
  planDate: Type.String(),
  atMs: Type.Number(),
  /** By "home titleId": starts of the day so far, and the evidence for a slow rise. */
  titles: Type.Record(
    Type.String(),
    Type.Object({ starts: Type.Number(), evidence: Type.Number() }),
  ),
});
export type TrendBook = Static<typeof TrendBookSchema>;
export const checkTrendBook = checker(TrendBookSchema);

export interface Trend {
  readonly titleId: string;
  readonly home: string;
  readonly starts: number;
  readonly expectedStarts: number;
  readonly rise: number; // times the forecast, drawn to 1 by the forecast's own doubt
  readonly verdict: TrendVerdict;
}

export interface TrendReport {
  readonly book: TrendBook;
  /** Minutes that were compared; null where there was nothing to compare with. */
  readonly binMinutes: number | null;
  readonly trends: readonly Trend[];
  readonly entries: readonly FastTrackEntry[];
}

export function trendingNow(
  given: unknown,
  book: TrendBook | null,
  options: PlanningOptions = planningOptions(),
): Outcome<TrendReport, PlanRefusal> {
  const prepared = prepareNight(given, options);
  if (!prepared.ok) return prepared;
  const night = prepared.value;
  const { planDate, cutAtMs } = night.input;
  const binMs = book === null || book.planDate !== planDate ? Infinity : cutAtMs - book.atMs;
  const before = book !== null && binMs > 0 && binMs <= BIN_MS_MAX ? book : null;
  const started = startsOfToday(night);
  const trends: Trend[] = [];
  const titles: TrendBook['titles'] = {};
  for (const cluster of night.clusters) {
    const own = started.get(cluster.clusterId);
    if (own === undefined) continue;
    for (const trend of clusterTrends(night, cluster.clusterId, own, before, titles)) {
      trends.push(trend);
    }
  }
  return {
    ok: true,
    value: {
      book: { planDate, atMs: cutAtMs, titles },
      binMinutes: before === null ? null : binMs / 60_000,
      trends,
      entries: entriesOf(night, trends),
    },
  };
}

/** Starts of the plan date so far, by home and title. */
function startsOfToday(night: PreparedNight): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const titleOfOrdinal = new Map<number, string>();
  for (const { listing, ordinals } of night.input.titles) {
    for (const ordinal of ordinals) {
      if (!titleOfOrdinal.has(ordinal)) titleOfOrdinal.set(ordinal, listing.titleId);
    }
  }
  const byHome = new Map<string, Map<string, number>>();
  for (const { ordinal, home, day, starts } of night.input.demand) {
    const titleId = titleOfOrdinal.get(ordinal);
    if (day !== night.input.planDate || titleId === undefined) continue;
    const own = byHome.get(home) ?? new Map<string, number>();
    byHome.set(home, own);
    own.set(titleId, (own.get(titleId) ?? 0) + starts);
  }
  return byHome;
}

function clusterTrends(
  night: PreparedNight,
  home: string,
  started: ReadonlyMap<string, number>,
  before: TrendBook | null,
  next: TrendBook['titles'],
): readonly Trend[] {
  let binStarts = 0;
  const inBin = new Map<string, number>();
  for (const [titleId, starts] of started) {
    const known = before?.titles[`${home} ${titleId}`]?.starts ?? 0;
    const fresh = before === null ? 0 : Math.max(0, starts - known);
    inBin.set(titleId, fresh);
    binStarts += fresh;
  }
  const densities = night.demand.densities.get(home) ?? new Float64Array(night.catalogue.rows);
  const level = densities.reduce((sum, density) => sum + density, 0);
  const trends: Trend[] = [];
  for (const { listing, rows } of night.catalogue.titles) {
    const starts = started.get(listing.titleId);
    if (starts === undefined) continue;
    const key = `${home} ${listing.titleId}`;
    const fresh = inBin.get(listing.titleId) ?? 0;
    const share = rows.reduce((sum, row) => sum + densities[row], 0) / Math.max(level, 1e-300);
    const expectedStarts = binStarts * share;
    const spread = night.demand.spreadOf(rows[0] ?? 0);
    const shape = 1 / Math.max(1e-3, spread);
    const evidence = before?.titles[key]?.evidence ?? QUIET_TREND.evidence;
    const step = stepTrend({ evidence }, { starts: fresh, expectedStarts, shape });
    next[key] = { starts, evidence: before === null ? 0 : step.state.evidence };
    if (before === null || step.verdict.kind === 'quiet') continue;
    trends.push({
      titleId: listing.titleId,
      home,
      starts: fresh,
      expectedStarts,
      rise: Math.min(RISE_MAX, (shape + fresh) / (shape + expectedStarts)),
      verdict: step.verdict,
    });
  }
  return trends;
}

/** Files of what trends that pass the fill threshold and are on no box of the cluster. */
function entriesOf(night: PreparedNight, trends: readonly Trend[]): readonly FastTrackEntry[] {
  const { catalogue, input } = night;
  const found = new Map<string, { entry: FastTrackEntry; worth: number }>();
  const byHome = Map.groupBy(trends, ({ home }) => home);
  for (const [home, own] of byHome) {
    const cluster = night.clusters.find(({ clusterId }) => clusterId === home);
    if (cluster === undefined) continue;
    const { threshold, densityOf } = clusterThresholds(night, cluster);
    const held = heldIn(night, cluster);
    for (const trend of own) {
      const title = catalogue.titles.find(({ listing }) => listing.titleId === trend.titleId);
      for (const row of title?.rows ?? []) {
        const ordinal = catalogue.ordinals[row];
        const predicted = trend.rise * (densityOf.get(ordinal) ?? 0);
        if (held.has(ordinal) || !worthFilling(trend.verdict, predicted, threshold)) continue;
        const fileId = catalogue.fileIds[row];
        const known = found.get(fileId);
        found.set(fileId, {
          worth: (known?.worth ?? 0) + predicted,
          entry: {
            fileId,
            sizeBytes: catalogue.sizes[row],
            titles: [...new Set([...(known?.entry.titles ?? []), trend.titleId])],
            clusters: [...(known?.entry.clusters ?? []), home],
            untilMs: input.cutAtMs + STAYS_MS,
            why: known?.entry.why ?? whyText(trend),
          },
        });
      }
    }
  }
  return [...found.values()]
    .sort((a, b) => b.worth - a.worth || (a.entry.fileId < b.entry.fileId ? -1 : 1))
    .slice(0, FAST_TRACK_MAX)
    .map(({ entry }) => entry);
}

/** The lowest fill threshold of a cluster's boxes by tonight's plan; 0 where all that it may show would fit. */
function clusterThresholds(
  night: PreparedNight,
  cluster: NightCluster,
): { readonly threshold: number; readonly densityOf: ReadonlyMap<number, number> } {
  const family = night.families.find((members) => members.includes(cluster)) ?? [cluster];
  const plan = planFamily(night, family).find(({ clusterId }) => clusterId === cluster.clusterId);
  const densityOf = new Map<number, number>();
  plan?.order.ordinals.forEach((ordinal, at) => densityOf.set(ordinal, plan.order.densities[at]));
  const able = (plan?.plans ?? []).filter(({ applianceId }) =>
    cluster.boxes.some((box) => box.applianceId === applianceId && box.storageBytes > 0),
  );
  const threshold = able.reduce((least, { fillDensity }) => Math.min(least, fillDensity), Infinity);
  return { threshold, densityOf };
}

function heldIn(night: PreparedNight, cluster: NightCluster): ReadonlySet<number> {
  const own = new Set(cluster.boxes.map(({ applianceId }) => applianceId));
  return new Set(
    night.input.holdings.flatMap(({ applianceId, ordinals }) =>
      own.has(applianceId) ? ordinals : [],
    ),
  );
}

function whyText({ titleId, home, starts, expectedStarts, verdict }: Trend): string {
  const seen = verdict.kind === 'rising' ? 'rises steadily' : 'jumped';
  return `${titleId} ${seen} at ${home}: ${starts} starts, ${Number(expectedStarts.toPrecision(2))} expected`.slice(
    0,
    WHY_LENGTH_MAX,
  );
}
