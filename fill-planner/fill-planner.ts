/**
 * The planner's engine: one night's input -> one signed-ready plan set and what to tell people about it. Pure.
 *
 * Shape:      planNight(input, options) -> { planSet, summary } | refusals
 * Invariants: (1) same input and options, same bytes out
 *             (2) a plan set that the plan check refuses is never returned
 *             (3) every appliance of the input has a plan, whatever is wrong with its neighbours
 */
import { createHash } from 'node:crypto';
import type { Outcome } from '#base/outcome.ts';
import { catalogueOf, placeableIn } from './catalogue.ts';
import { planningOptions, type PlanningOptions } from './config.ts';
import type { Order, Plan, PlannerInput, PlanSet } from './contract.ts';
import { demandOf } from './demand.ts';
import { feedOf, orderOfFeed } from './feed.ts';
import { dayOf, PROBLEM_LENGTH_MAX, takeIn } from './intake.ts';
import { place } from './placement/placement.ts';
import { plansOf } from './plan.ts';
import { refusalsOf } from './plan-check.ts';
import { siteSummaryOf, type NightSummary, type SiteSummary } from './report/summary.ts';

export type { NightSummary, SiteSummary } from './report/summary.ts';
export { summaryText } from './report/summary.ts';
export { planningOptions, PlanningOptionsSchema, type PlanningOptions } from './config.ts';
export { POLICIES as CACHE_POLICIES } from './simulate/cache/catalogue.ts';
export { readTrace } from './simulate/cache/io/trace-file.ts';
export { runPolicy, type CacheResult } from './simulate/cache/run.ts';
export type { Trace } from './simulate/cache/trace.ts';

const DAY_MS = 86_400_000;
const PROBLEMS_MAX = 1000;

export interface PlannedNight {
  readonly planSet: PlanSet;
  readonly summary: NightSummary;
}

export type PlanRefusal =
  | { readonly reason: 'input'; readonly detail: string }
  | { readonly reason: 'plan-check'; readonly refusals: readonly string[] };

export function planNight(
  given: unknown,
  options: PlanningOptions = planningOptions(),
): Outcome<PlannedNight, PlanRefusal> {
  const taken = takeIn(given);
  if (!taken.ok) return { ok: false, failure: { reason: 'input', detail: taken.failure } };
  const { input } = taken.value;
  const catalogue = catalogueOf(input.titles);
  const clusters = clustersOf(input);
  const demand = demandOf(
    input,
    catalogue,
    clusters.map((cluster) => cluster.clusterId),
    options,
  );
  const nightMs = dayOf(input.planDate) * DAY_MS;
  const untilGraceMs = options.untilGraceDays * DAY_MS;
  const orders: Order[] = [];
  const plans: Plan[] = [];
  const placed = new Map<string, ReadonlySet<number>>();
  const sites: SiteSummary[] = [];
  const problems = [...taken.value.problems, ...demand.problems];
  for (const cluster of clusters) {
    const densities = demand.densities.get(cluster.clusterId) ?? new Float64Array(catalogue.rows);
    const placeable = placeableIn(catalogue, cluster.country, nightMs, untilGraceMs);
    const feed = feedOf(cluster.clusterId, catalogue, densities, placeable);
    const order = orderOfFeed(feed, input.epoch);
    const placement = place(feed, cluster.boxes);
    const header = {
      clusterId: cluster.clusterId,
      planDate: input.planDate,
      epoch: input.epoch,
      orderVersion: order.orderVersion,
    };
    orders.push(order);
    plans.push(...plansOf(header, feed, cluster.boxes, placement));
    cluster.boxes.forEach((box, at) => {
      const ordinals = feed.ordinals.filter((_, rank) => placement.held[at][rank] === 1);
      placed.set(box.applianceId, new Set(ordinals));
    });
    sites.push(siteSummaryOf(cluster, feed, placement));
    problems.push(...placementProblems(cluster, feed, catalogue.fileIds));
  }
  const summary = summaryOf(demand.viewsPerDay, sites, problems);
  const planSet: PlanSet = {
    planDate: input.planDate,
    epoch: input.epoch,
    run: runOf(given, options),
    orders,
    plans,
    summary: {
      forecastViewsPerDay: summary.forecastViewsPerDay,
      plannedOffloadShare: summary.plannedOffloadShare,
      bytesPlanned: summary.bytesPlanned,
      problems: [...summary.problems],
    },
  };
  const refusals = refusalsOf({
    planSet,
    appliances: input.appliances,
    sites: input.sites,
    catalogue,
    nightMs,
    untilGraceMs,
    placed,
  });
  if (refusals.length > 0) return { ok: false, failure: { reason: 'plan-check', refusals } };
  return { ok: true, value: { planSet, summary } };
}

export interface PlannedCluster {
  readonly siteId: string;
  readonly siteName: string;
  readonly country: string;
  readonly clusterId: string;
  readonly boxes: PlannerInput['appliances'];
}

/** Clusters that have boxes, by id; their boxes by id. */
function clustersOf(input: PlannerInput): readonly PlannedCluster[] {
  const sites = new Map(input.sites.map((site) => [site.siteId, site]));
  const byCluster = new Map<string, PlannerInput['appliances']>();
  for (const box of input.appliances) {
    byCluster.set(box.clusterId, [...(byCluster.get(box.clusterId) ?? []), box]);
  }
  return [...byCluster]
    .map(([clusterId, boxes]) => {
      const site = sites.get(boxes[0].siteId);
      return {
        siteId: boxes[0].siteId,
        siteName: site?.name ?? boxes[0].siteId,
        country: site?.country ?? '',
        clusterId,
        boxes: boxes.sort((a, b) => (a.applianceId < b.applianceId ? -1 : 1)),
      };
    })
    .sort((a, b) => (a.clusterId < b.clusterId ? -1 : 1));
}

function placementProblems(
  cluster: PlannedCluster,
  feed: { readonly ranks: number; readonly rows: Uint32Array; readonly sizes: Float64Array },
  fileIds: readonly string[],
): readonly string[] {
  const problems: string[] = [];
  for (const box of cluster.boxes) {
    if (box.storageBytes === 0)
      problems.push(`appliance ${box.applianceId} has no storage: it holds nothing`);
    if (box.servingBps === 0)
      problems.push(`appliance ${box.applianceId} serves 0 bit/s: its files serve nobody`);
  }
  const largest = Math.max(0, ...cluster.boxes.map((box) => box.storageBytes));
  if (largest === 0) return problems;
  let tooLarge = 0;
  for (let rank = 0; rank < feed.ranks; rank++) {
    if (feed.sizes[rank] <= largest) continue;
    if (tooLarge === 0) {
      problems.push(
        `cluster ${cluster.clusterId}: file ${fileIds[feed.rows[rank]]} (${feed.sizes[rank]} bytes) fits on no disk there`,
      );
    }
    tooLarge++;
  }
  if (tooLarge > 1)
    problems.push(`cluster ${cluster.clusterId}: ${tooLarge - 1} more files fit on no disk there`);
  return problems;
}

function summaryOf(
  forecastViewsPerDay: number,
  sites: readonly SiteSummary[],
  problems: readonly string[],
): NightSummary {
  let demandBytes = 0;
  let servedBytes = 0;
  let bytesPlanned = 0;
  for (const site of sites) {
    demandBytes += site.demandBytesPerDay;
    servedBytes += site.servedBytesPerDay;
    bytesPlanned += site.usedBytes;
  }
  return {
    forecastViewsPerDay,
    plannedOffloadShare: demandBytes > 0 ? Math.min(1, servedBytes / demandBytes) : 0,
    bytesPlanned,
    sites,
    problems: problems.slice(0, PROBLEMS_MAX).map((text) => text.slice(0, PROBLEM_LENGTH_MAX)),
  };
}

/** Names the run by what went in: the same input posted twice is one run. */
function runOf(given: unknown, options: PlanningOptions): string {
  return createHash('sha256')
    .update(JSON.stringify([given, options]))
    .digest('base64url');
}
