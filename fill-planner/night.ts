/**
 * One night in three steps, so that the middle one may run anywhere: prepare (demand of the whole fleet), plan each family of
 * clusters, gather (one plan set, checked).
 *
 * Invariants: (1) planFamily depends on nothing but its arguments: any worker gives the same answer
 *             (2) gather sorts by cluster: the order in which workers finish leaves no trace
 */
import { createHash } from 'node:crypto';
import type { Outcome } from '#base/outcome.ts';
import { catalogueOf, placeableIn, type Catalogue } from './catalogue.ts';
import type { PlanningOptions } from './config.ts';
import type { FillWindow } from '#control-plane/contract.ts';
import type { Order, Plan, PlannerInput, PlanSet } from './contract.ts';
import { fillAllowance } from './fill-allowance.ts';
import { demandOf, type Demand } from './demand.ts';
import { feedOf, orderOfFeed, type Feed } from './feed.ts';
import { dayOf, PROBLEM_LENGTH_MAX, takeIn } from './intake.ts';
import { placeFamily } from './placement/family.ts';
import { place, type Placement } from './placement/placement.ts';
import { churnPriceOf, type ClusterProblem, type PlacementBox } from './placement/problem.ts';
import { copiesOf } from './placement/rounding.ts';
import { plansOf } from './plan.ts';
import { refusalsOf } from './plan-check.ts';
import { pinnedRanks } from './releases.ts';
import {
  nightSummaryOf,
  siteSummaryOf,
  type NightSummary,
  type SiteSummary,
} from './report/summary.ts';
import { familiesOf } from './families.ts';
import { parentsOf, TIER_NAMES, type TierName } from './tiers.ts';

const DAY_MS = 86_400_000;
const DAY_SECONDS = 86_400;
const PROBLEMS_MAX = 1000;

export interface PreparedNight {
  readonly run: string;
  readonly input: PlannerInput;
  readonly options: PlanningOptions;
  readonly catalogue: Catalogue;
  readonly clusters: readonly NightCluster[];
  /** Clusters that are planned together, children before parents: most are alone. */
  readonly families: readonly (readonly NightCluster[])[];
  readonly demand: Demand;
  readonly nightMs: number;
  readonly untilGraceMs: number;
  readonly problems: readonly string[];
}

const NO_WINDOW = { startLocal: '00:00', hours: 0 };

export interface NightCluster {
  readonly siteId: string;
  readonly country: string;
  readonly clusterId: string;
  readonly window: Pick<FillWindow, 'startLocal' | 'hours'>;
  /** The cluster that takes what this one cannot serve; null at the top of its family. */
  readonly parentId: string | null;
  readonly boxes: PlannerInput['appliances'];
}

/** A cluster with its share of the family's placement; its feed is the demand that reaches it. */
export interface PlacedNightCluster {
  readonly cluster: NightCluster;
  readonly problem: ClusterProblem;
  readonly placement: Placement;
  readonly ownDemandBps: number;
  readonly tier: TierName | null; // null: it stands alone
}

export interface ClusterPlan {
  readonly clusterId: string;
  readonly order: Order;
  readonly plans: readonly Plan[];
  readonly placed: readonly {
    readonly applianceId: string;
    readonly ordinals: readonly number[];
  }[];
  /** Files of releases, with the copies they are due. */
  readonly pins: readonly { readonly ordinal: number; readonly copies: number }[];
  readonly summary: SiteSummary;
  readonly problems: readonly string[];
}

export interface PlannedNight {
  readonly planSet: PlanSet;
  readonly summary: NightSummary;
}

export type PlanRefusal =
  | { readonly reason: 'input'; readonly detail: string }
  | { readonly reason: 'plan-check'; readonly refusals: readonly string[] };

export function prepareNight(
  given: unknown,
  options: PlanningOptions,
): Outcome<PreparedNight, PlanRefusal> {
  const taken = takeIn(given);
  if (!taken.ok) return { ok: false, failure: { reason: 'input', detail: taken.failure } };
  const { input, problems } = taken.value;
  const catalogue = catalogueOf(input.titles);
  const { clusters, problems: parentProblems } = clustersOf(input);
  const byId = new Map(clusters.map((cluster) => [cluster.clusterId, cluster]));
  const clusterIds = clusters.map((cluster) => cluster.clusterId);
  const demand = demandOf(input, catalogue, clusterIds, options);
  return {
    ok: true,
    value: {
      run: runOf(given, options),
      input,
      options,
      catalogue,
      clusters,
      families: familiesOf(clusterIds, parentsById(clusters)).map((ids) =>
        ids.flatMap((id) => byId.get(id) ?? []),
      ),
      demand,
      nightMs: dayOf(input.planDate) * DAY_MS,
      untilGraceMs: options.untilGraceDays * DAY_MS,
      problems: [...problems, ...parentProblems, ...demand.problems],
    },
  };
}

export function planFamily(
  night: PreparedNight,
  family: readonly NightCluster[],
): readonly ClusterPlan[] {
  return placedFamily(night, family).map((placed) => clusterPlanOf(night, placed));
}

/** What `plan explain` looks at too. */
export function placedFamily(
  night: PreparedNight,
  family: readonly NightCluster[],
): readonly PlacedNightCluster[] {
  if (family.length === 1) {
    const problem = clusterProblemOf(night, family[0]);
    const placement = place(problem);
    const ownDemandBps = placement.proof.demandBps;
    return [{ cluster: family[0], problem, placement, ownDemandBps, tier: null }];
  }
  const placed = placeFamily(
    family.map((cluster) => ({
      problem: clusterProblemOf(night, cluster),
      parent: family.findIndex(({ clusterId }) => clusterId === cluster.parentId),
      churnShare: night.options.churnShare,
    })),
    night.options.hopWorth,
  );
  return placed.map((entry, at) => ({
    cluster: family[at],
    ...entry,
    tier: TIER_NAMES[entry.height],
  }));
}

function clusterPlanOf(night: PreparedNight, placed: PlacedNightCluster): ClusterPlan {
  const { catalogue, input } = night;
  const { cluster, problem, placement } = placed;
  const { feed } = problem;
  const order = orderOfFeed(feed, input.epoch);
  const header = {
    clusterId: cluster.clusterId,
    planDate: input.planDate,
    epoch: input.epoch,
    orderVersion: order.orderVersion,
  };
  return {
    clusterId: cluster.clusterId,
    order,
    plans: plansOf(header, feed, problem.boxes, placement),
    placed: problem.boxes.map((box, at) => ({
      applianceId: box.applianceId,
      ordinals: Array.from(feed.ordinals).filter((_, rank) => placement.held[at][rank] === 1),
    })),
    pins: Array.from(problem.pins, ([rank, copies]) => ({ ordinal: feed.ordinals[rank], copies })),
    summary: siteSummaryOf(cluster, problem, placement, placed),
    problems: [
      ...boxProblems(cluster),
      ...sizeProblems(cluster, feed, catalogue),
      ...pinProblems(cluster, problem, placement.held, catalogue),
    ],
  };
}

/** What placement is asked for one cluster by its own viewers. */
function clusterProblemOf(night: PreparedNight, cluster: NightCluster): ClusterProblem {
  const { catalogue, options } = night;
  const placeable = placeableIn(catalogue, cluster.country, night.nightMs, night.untilGraceMs);
  const densities = night.demand.densities.get(cluster.clusterId);
  const none = new Float64Array(catalogue.rows);
  const feed = feedOf(cluster.clusterId, catalogue, densities ?? none, placeable);
  const holdings = new Map(
    night.input.holdings.map((entry) => [entry.applianceId, entry.ordinals]),
  );
  const slotFactors = slotFactorsOf(options);
  const boxes = cluster.boxes.map((box) => placementBox(box, cluster.window, options));
  return {
    feed,
    boxes,
    present: cluster.boxes.map((box) => presentRanks(feed, holdings.get(box.applianceId) ?? [])),
    slotFactors,
    churnPrice: churnPriceOf(feed, boxes, slotFactors, options.churnShare),
    copiesMin: options.copiesMin,
    pins: pinnedRanks(night, cluster, feed),
  };
}

export function gatherNight(
  night: PreparedNight,
  clusterPlans: readonly ClusterPlan[],
): Outcome<PlannedNight, PlanRefusal> {
  const sorted = clusterPlans.toSorted((a, b) => (a.clusterId < b.clusterId ? -1 : 1));
  const problems = [...night.problems, ...sorted.flatMap((entry) => entry.problems)]
    .slice(0, PROBLEMS_MAX)
    .map((text) => text.slice(0, PROBLEM_LENGTH_MAX));
  const summary = nightSummaryOf(
    night.demand.viewsPerDay,
    sorted.map((entry) => entry.summary),
    problems,
  );
  const planSet: PlanSet = {
    planDate: night.input.planDate,
    epoch: night.input.epoch,
    run: night.run,
    orders: sorted.map((entry) => entry.order),
    plans: sorted.flatMap((entry) => entry.plans),
    summary: {
      forecastViewsPerDay: summary.forecastViewsPerDay,
      plannedOffloadShare: summary.plannedOffloadShare,
      bytesPlanned: summary.bytesPlanned,
      gapShare: summary.gapShare,
      gapWithoutFillLimitShare: summary.gapWithoutFillLimitShare,
      problems,
    },
  };
  const refusals = refusalsOf({
    planSet,
    input: night.input,
    catalogue: night.catalogue,
    nightMs: night.nightMs,
    untilGraceMs: night.untilGraceMs,
    fillBytesOf: fillAllowances(night),
    pinsOf: new Map(sorted.map(({ clusterId, pins }) => [clusterId, pins])),
    flow: {
      families: night.families,
      claims: new Map(sorted.map(({ clusterId, summary: site }) => [clusterId, site])),
      slotFactors: slotFactorsOf(night.options),
      densities: night.demand.densities,
    },
    placed: new Map(
      sorted.flatMap(({ placed }) =>
        placed.map(({ applianceId, ordinals }) => [applianceId, new Set(ordinals)]),
      ),
    ),
  });
  if (refusals.length > 0) return { ok: false, failure: { reason: 'plan-check', refusals } };
  return { ok: true, value: { planSet, summary } };
}

function fillAllowances(night: PreparedNight): ReadonlyMap<string, number> {
  return new Map(
    night.clusters.flatMap((cluster) =>
      cluster.boxes.map((box) => {
        const { fillBytes } = placementBox(box, cluster.window, night.options);
        return [box.applianceId, fillBytes] as const;
      }),
    ),
  );
}

/** View-bytes a day to bit/s, at each peak. */
function slotFactorsOf(options: PlanningOptions): readonly number[] {
  return options.peaksToMean.map((peak) => (peak * 8) / DAY_SECONDS);
}

function placementBox(
  box: PlannerInput['appliances'][number],
  window: NightCluster['window'],
  options: PlanningOptions,
): PlacementBox {
  const fillBps = box.applianceClass === 'flash' ? options.fillBpsFlash : options.fillBpsStorage;
  return {
    applianceId: box.applianceId,
    applianceClass: box.applianceClass,
    storageBytes: box.storageBytes,
    servingBps: box.servingBps,
    fillBytes: fillAllowance(fillBps, window, box.fillHourlyBps ?? null),
  };
}

function presentRanks(feed: Feed, ordinals: readonly number[]): Uint8Array {
  const held = new Set(ordinals);
  return Uint8Array.from(feed.ordinals, (ordinal) => (held.has(ordinal) ? 1 : 0));
}

/** Clusters that have boxes, by id; their boxes by id. */
function clustersOf(input: PlannerInput): {
  readonly clusters: readonly NightCluster[];
  readonly problems: readonly string[];
} {
  const sites = new Map(input.sites.map((site) => [site.siteId, site]));
  const byCluster = new Map<string, PlannerInput['appliances']>();
  for (const box of input.appliances) {
    const boxes = byCluster.get(box.clusterId);
    if (boxes === undefined) byCluster.set(box.clusterId, [box]);
    else boxes.push(box);
  }
  const parents = parentsOf(input.sites, new Set(byCluster.keys()));
  const clusters = [...byCluster]
    .map(([clusterId, boxes]) => {
      const site = sites.get(boxes[0].siteId);
      return {
        siteId: boxes[0].siteId,
        country: site?.country ?? '',
        clusterId,
        window: site?.fillWindow ?? NO_WINDOW,
        parentId: parents.of.get(clusterId) ?? null,
        boxes: boxes.sort((a, b) => (a.applianceId < b.applianceId ? -1 : 1)),
      };
    })
    .sort((a, b) => (a.clusterId < b.clusterId ? -1 : 1));
  return { clusters, problems: parents.problems };
}

function parentsById(clusters: readonly NightCluster[]): ReadonlyMap<string, string> {
  return new Map(
    clusters.flatMap(({ clusterId, parentId }) =>
      parentId === null ? [] : [[clusterId, parentId] as const],
    ),
  );
}

function boxProblems(cluster: NightCluster): readonly string[] {
  return cluster.boxes.flatMap(({ applianceId, storageBytes, servingBps }) => [
    ...(storageBytes === 0 ? [`appliance ${applianceId} has no storage: it holds nothing`] : []),
    ...(servingBps === 0
      ? [`appliance ${applianceId} serves 0 bit/s: its files serve nobody`]
      : []),
  ]);
}

function sizeProblems(cluster: NightCluster, feed: Feed, catalogue: Catalogue): readonly string[] {
  const largest = Math.max(0, ...cluster.boxes.map((box) => box.storageBytes));
  if (largest === 0) return [];
  const tooLarge = [...feed.rows].filter((row) => catalogue.sizes[row] > largest);
  if (tooLarge.length === 0) return [];
  const first = tooLarge[0];
  const more = tooLarge.length > 1 ? `, and ${tooLarge.length - 1} more files` : '';
  return [
    `cluster ${cluster.clusterId}: file ${catalogue.fileIds[first]} (${catalogue.sizes[first]} bytes) fits on no disk there${more}`,
  ];
}

function pinProblems(
  cluster: NightCluster,
  problem: ClusterProblem,
  held: readonly Uint8Array[],
  catalogue: Catalogue,
): readonly string[] {
  const short = [...problem.pins].filter(([rank, copies]) => copiesOf(held, rank) < copies);
  if (short.length === 0) return [];
  const fileId = catalogue.fileIds[problem.feed.rows[short[0][0]]];
  return [
    `cluster ${cluster.clusterId}: more pins than room: ${short.length} of ${problem.pins.size} files of releases lack copies, first ${fileId}`,
  ];
}

/** Names the run by what went in: the same input posted twice is one run. */
function runOf(given: unknown, options: PlanningOptions): string {
  return createHash('sha256')
    .update(JSON.stringify([given, options]))
    .digest('base64url');
}
