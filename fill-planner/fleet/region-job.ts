/**
 * One region's night: rollups -> order -> candidates -> cuts of every cluster -> one plan per appliance, checked. Pure.
 *
 * A job is named by (plan date, region, input): any worker on any machine gives the same plans, so that a queue can carry it.
 */
import type { Plan, PlanBand } from '../contract.ts';
import { NOTHING_EVERYWHERE } from '../plan.ts';
import { familiesOf } from '../families.ts';
import { candidatesOf, densityForBytes, type Candidates } from './candidates.ts';
import type { ClusterCuts } from './cluster-cuts.ts';
import { cutFamily, type CutCluster, type FleetFigures } from './family-cuts.ts';
import { factoredOrderVersion, type FactoredOrder } from './factored-order.ts';
import type {
  FleetCatalogue,
  FleetCluster,
  FleetDescription,
  FleetRegion,
  PreviousCuts,
  RegionRollup,
} from './fleet-files.ts';
import { regionOrderOf, type WorldShares } from './region-demand.ts';

export const STAGES = ['read', 'forecast', 'candidates', 'cuts', 'check', 'sign'] as const;
export type Stage = (typeof STAGES)[number];

const DEPTH_MARGIN = 1.4; // candidates for this much storage: cuts look at 1.2 times it, and bytes are estimated

/** What all parts of a region share: worked out once by a thread that plans several of them. */
export interface RegionBase {
  readonly regionId: string;
  readonly order: FactoredOrder;
  readonly orderVersion: string;
  readonly candidates: Candidates;
}

export interface FleetClusterPlan {
  readonly clusterId: string;
  readonly siteId: string;
  readonly figures: FleetFigures;
  readonly bytes: readonly number[]; // per box
  readonly filledBytes: readonly number[];
  readonly pinsLacking: number; // files of releases without room for all their copies
  readonly next: PreviousCuts; // what tomorrow night finds
  readonly plans: readonly Plan[];
}

export interface RegionJob {
  readonly fleet: FleetDescription;
  readonly region: FleetRegion;
  readonly catalogue: FleetCatalogue;
  readonly world: WorldShares;
  readonly rollup: RegionRollup;
  /** Storage that the region's candidates must be enough for, whichever part of it this job is. */
  readonly largestBytes: number;
  /** Told when a stage ends; timing is the caller's. */
  readonly onStage: (stage: Stage) => void;
}

export interface PartJob {
  readonly fleet: FleetDescription;
  readonly clusters: readonly FleetCluster[];
  readonly slotFactor: number;
  readonly churnShare: number;
  readonly hopWorth: number;
  readonly onStage: (stage: Stage) => void;
}

export function regionBaseOf(job: RegionJob): RegionBase {
  const { fleet, region, catalogue, rollup } = job;
  const order = regionOrderOf(fleet, job.world, rollup);
  const orderVersion = factoredOrderVersion(region.regionId, fleet.epoch, order);
  job.onStage('forecast');
  const least = densityForBytes(order, catalogue, DEPTH_MARGIN * job.largestBytes);
  const candidates = candidatesOf(order, catalogue, least, rollup.pins);
  job.onStage('candidates');
  return { regionId: region.regionId, order, orderVersion, candidates };
}

export function planPart(base: RegionBase, job: PartJob): readonly FleetClusterPlan[] {
  const { candidates } = base;
  const byId = new Map(job.clusters.map((cluster) => [cluster.clusterId, cluster]));
  const cut = new Map<string, CutCluster>();
  for (const family of fleetFamiliesOf(job.clusters)) {
    for (const entry of cutFamily({ ...job, candidates }, family)) {
      cut.set(entry.cluster.clusterId, entry);
    }
  }
  const plans = job.clusters.flatMap(({ clusterId }) => {
    const entry = cut.get(clusterId);
    return entry === undefined ? [] : [clusterPlanOf(job.fleet, entry, base)];
  });
  job.onStage('cuts');
  for (const plan of plans) checkClusterPlan(plan, byId.get(plan.clusterId));
  job.onStage('check');
  return plans;
}

/** Clusters that are planned together, children before parents. A parent outside the list counts as none. */
export function fleetFamiliesOf(
  clusters: readonly FleetCluster[],
): readonly (readonly FleetCluster[])[] {
  const byId = new Map(clusters.map((cluster) => [cluster.clusterId, cluster]));
  const parents = new Map(
    clusters.flatMap(({ clusterId, parentId }) =>
      parentId !== null && byId.has(parentId) ? [[clusterId, parentId] as const] : [],
    ),
  );
  return familiesOf([...byId.keys()], parents).map((ids) =>
    ids.flatMap((id) => byId.get(id) ?? []),
  );
}

function clusterPlanOf(
  fleet: FleetDescription,
  { cluster, sums, cuts, figures }: CutCluster,
  { candidates, orderVersion }: RegionBase,
): FleetClusterPlan {
  const edge = (bins: number): number => (bins === 0 ? NOTHING_EVERYWHERE : candidates.edges[bins]);
  const members = cluster.boxes.map(({ applianceId, storageBytes }) => ({
    applianceId,
    weight: Math.max(1, storageBytes),
  }));
  const bands = bandsOf(cuts, sums.groups, edge);
  const everywhereDensity = edge(cuts.everywhereBins);
  const rangeOf = (box: number): { readonly from: number; readonly below: number } => {
    const isFirst = sums.groups.length > 1 && sums.groups[0].boxes.includes(box);
    const start = isFirst ? cuts.startBin : cuts.splitBin;
    const { fillBins } = cuts.boxes[box];
    const isEmpty = fillBins <= start && cuts.everywhereBins === 0;
    return {
      from: isEmpty ? NOTHING_EVERYWHERE : edge(fillBins),
      below: start === 0 ? NOTHING_EVERYWHERE : edge(start),
    };
  };
  const ranges = cluster.boxes.map((_, box) => rangeOf(box));
  const plans = cuts.boxes.map((box, at): Plan => {
    const shareDensity = ranges[at].from;
    const thresholds = {
      everywhereDensity,
      shareDensity,
      ...keepOf(cluster, at, box.keepBins, box.fillBins, edge),
    };
    return {
      applianceId: cluster.boxes[at].applianceId,
      clusterId: cluster.clusterId,
      planDate: fleet.planDate,
      epoch: fleet.epoch,
      orderVersion,
      ...thresholds,
      fillDensity: shareDensity,
      members,
      ...(bands === null ? {} : { bands }),
      ...exceptionsOf(cuts.pins.files[at], candidates, thresholds),
    };
  });
  return {
    clusterId: cluster.clusterId,
    siteId: cluster.siteId,
    figures,
    bytes: cuts.boxes.map((box) => box.bytes),
    filledBytes: cuts.boxes.map((box) => box.filledBytes),
    pinsLacking: cuts.pins.lacking,
    next: {
      everywhereDensity,
      from: ranges.map((range) => range.from),
      below: ranges.map((range) => range.below),
    },
    plans,
  };
}

/** Null where all boxes share all densities: their own weights say how. */
function bandsOf(
  { startBin, splitBin }: ClusterCuts,
  groups: CutCluster['sums']['groups'],
  edge: (bins: number) => number,
): PlanBand[] | null {
  const nobody = groups[0].weights.map(() => 0);
  const bands: PlanBand[] = [];
  if (startBin > 0) bands.push({ fromDensity: edge(startBin), copies: 1, weights: nobody });
  if (groups.length > 1 && splitBin > startBin) {
    bands.push({ fromDensity: edge(splitBin), copies: 1, weights: [...groups[0].weights] });
  }
  if (groups.length === 1 && bands.length === 0) return null;
  const last = groups[groups.length - 1];
  return [...bands, { fromDensity: 0, copies: 1, weights: [...last.weights] }];
}

/** Pinned files are what `pins` says on every box; where the thresholds would say otherwise, `drops` does. */
function exceptionsOf(
  held: readonly number[],
  { pinned }: Candidates,
  thresholds: Pick<Plan, 'everywhereDensity' | 'shareDensity' | 'keep'>,
): Pick<Plan, 'pins' | 'drops'> {
  const isHeld = new Set(held);
  const { everywhereDensity, shareDensity, keep } = thresholds;
  const least = Math.min(everywhereDensity, shareDensity, keep?.density ?? Infinity);
  const drops: number[] = [];
  for (let at = 0; at < pinned.rows.length; at++) {
    if (!isHeld.has(at) && pinned.densities[at] >= least) drops.push(pinned.rows[at]);
  }
  return {
    pins: held.map((at) => pinned.rows[at]).sort((a, b) => a - b),
    drops: drops.sort((a, b) => a - b),
  };
}

function keepOf(
  cluster: FleetCluster,
  box: number,
  keepBins: number,
  fillBins: number,
  edge: (bins: number) => number,
): Pick<Plan, 'keep'> {
  if (cluster.previous === null || keepBins <= fillBins) return {};
  const { from, below, everywhereDensity } = cluster.previous;
  const previousDensity = Math.min(from[box], everywhereDensity);
  const previousBelow = below[box] < NOTHING_EVERYWHERE ? { previousBelow: below[box] } : {};
  return { keep: { density: edge(keepBins), previousDensity, ...previousBelow } };
}

/** Throws where a plan must not go out: disk, window, numbers. Sums are exact, since cuts lie between bins. */
function checkClusterPlan(plan: FleetClusterPlan, cluster: FleetCluster | undefined): void {
  if (cluster === undefined) throw new Error(`plan of ${plan.clusterId}: no such cluster`);
  plan.plans.forEach((entry, at) => {
    const { storageBytes, fillBytes } = cluster.boxes[at];
    const name = `plan of ${entry.applianceId}`;
    if (!(plan.bytes[at] <= storageBytes)) {
      throw new Error(`${name}: ${plan.bytes[at]} bytes on ${storageBytes} of disk`);
    }
    if (!(plan.filledBytes[at] <= fillBytes)) {
      throw new Error(`${name}: ${plan.filledBytes[at]} bytes to fill in ${fillBytes}`);
    }
    for (const value of [entry.everywhereDensity, entry.shareDensity, entry.keep?.density ?? 0]) {
      if (!Number.isFinite(value) || value < 0) throw new Error(`${name}: threshold ${value}`);
    }
  });
  const { valueBps, boundBps, servedBps, demandBps } = plan.figures;
  if (!(valueBps <= boundBps * (1 + 1e-9) + 1e-6)) {
    throw new Error(`plan of ${plan.clusterId}: worth ${valueBps}, above its bound ${boundBps}`);
  }
  if (!(servedBps <= demandBps * (1 + 1e-9) + 1e-6)) {
    throw new Error(
      `plan of ${plan.clusterId}: ${servedBps} bit/s served of ${demandBps} that reach it`,
    );
  }
}
