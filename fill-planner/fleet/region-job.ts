/**
 * One region's night: rollups -> order -> candidates -> cuts of every cluster -> one plan per appliance, checked. Pure.
 *
 * A job is named by (plan date, region, input): any worker on any machine gives the same plans, so that a queue can carry it.
 */
import { ownerOfBuckets, type Plan } from '../contract.ts';
import { NOTHING_EVERYWHERE } from '../plan.ts';
import { candidatesOf, densityForBytes, type Candidates } from './candidates.ts';
import { cutsOf, type ClusterCuts } from './cluster-cuts.ts';
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

const DEPTH_MARGIN = 1.7; // candidates for this much storage: cuts look at 1.5 times it, and bytes are estimated

export interface RegionPlans {
  readonly regionId: string;
  readonly order: FactoredOrder;
  readonly orderVersion: string;
  readonly candidates: number;
  readonly clusters: readonly FleetClusterPlan[];
}

export interface FleetClusterPlan {
  readonly clusterId: string;
  readonly siteId: string;
  readonly cuts: Omit<ClusterCuts, 'boxes' | 'everywhereBins'>;
  readonly bytes: readonly number[]; // per box
  readonly filledBytes: readonly number[];
  readonly next: PreviousCuts; // what tomorrow night finds
  readonly plans: readonly Plan[];
}

export interface RegionJob {
  readonly fleet: FleetDescription;
  readonly region: FleetRegion;
  readonly catalogue: FleetCatalogue;
  readonly world: WorldShares;
  readonly rollup: RegionRollup;
  readonly slotFactor: number;
  readonly churnShare: number;
  /** Storage of the region's largest cluster: how deep its candidates go, whichever part of it this job is. */
  readonly largestBytes: number;
  /** Told when a stage ends; timing is the caller's. */
  readonly onStage: (stage: Stage) => void;
}

export function planRegion(job: RegionJob): RegionPlans {
  const { fleet, region, catalogue } = job;
  const order = regionOrderOf(fleet, job.world, job.rollup);
  const orderVersion = factoredOrderVersion(region.regionId, fleet.epoch, order);
  job.onStage('forecast');
  const largest = job.largestBytes;
  const least = densityForBytes(order, catalogue, DEPTH_MARGIN * largest);
  const candidates = candidatesOf(order, catalogue, least);
  job.onStage('candidates');
  const clusters = region.clusters.map((cluster) => {
    const cuts = cutsOf(
      cluster,
      bucketOwnersOf(cluster),
      candidates,
      job.slotFactor,
      job.churnShare,
    );
    return clusterPlanOf(fleet, cluster, cuts, candidates, orderVersion);
  });
  job.onStage('cuts');
  const byId = new Map(region.clusters.map((cluster) => [cluster.clusterId, cluster]));
  for (const plan of clusters) checkClusterPlan(plan, byId.get(plan.clusterId));
  job.onStage('check');
  return { regionId: region.regionId, order, orderVersion, candidates: candidates.count, clusters };
}

export function bucketOwnersOf(cluster: FleetCluster): Uint8Array {
  return ownerOfBuckets(
    cluster.boxes,
    cluster.boxes.map(() => cluster.storageBytes),
  );
}

function clusterPlanOf(
  fleet: FleetDescription,
  cluster: FleetCluster,
  cuts: ClusterCuts,
  candidates: Candidates,
  orderVersion: string,
): FleetClusterPlan {
  const members = cluster.boxes.map((applianceId) => ({
    applianceId,
    weight: cluster.storageBytes,
  }));
  const edge = (bins: number): number => (bins === 0 ? NOTHING_EVERYWHERE : candidates.edges[bins]);
  const everywhereDensity = edge(cuts.everywhereBins);
  const plans = cuts.boxes.map((box, at) => ({
    applianceId: cluster.boxes[at],
    clusterId: cluster.clusterId,
    planDate: fleet.planDate,
    epoch: fleet.epoch,
    orderVersion,
    everywhereDensity,
    shareDensity: edge(box.fillBins),
    fillDensity: edge(box.fillBins),
    members,
    ...keepOf(cluster, at, box.keepBins, box.fillBins, edge),
    pins: [],
    drops: [],
  }));
  const { boxes, everywhereBins: _, ...figures } = cuts;
  return {
    clusterId: cluster.clusterId,
    siteId: cluster.siteId,
    cuts: figures,
    bytes: boxes.map((box) => box.bytes),
    filledBytes: boxes.map((box) => box.filledBytes),
    next: { everywhereDensity, shareDensities: plans.map((plan) => plan.shareDensity) },
    plans,
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
  const { shareDensities, everywhereDensity } = cluster.previous;
  const previousDensity = Math.min(shareDensities[box], everywhereDensity);
  return { keep: { density: edge(keepBins), previousDensity } };
}

/** Throws where a plan must not go out: disk, window, numbers. Sums are exact, since cuts lie between bins. */
function checkClusterPlan(plan: FleetClusterPlan, cluster: FleetCluster | undefined): void {
  if (cluster === undefined) throw new Error(`plan of ${plan.clusterId}: no such cluster`);
  plan.plans.forEach((entry, at) => {
    const name = `plan of ${entry.applianceId}`;
    if (!(plan.bytes[at] <= cluster.storageBytes)) {
      throw new Error(`${name}: ${plan.bytes[at]} bytes on ${cluster.storageBytes} of disk`);
    }
    if (!(plan.filledBytes[at] <= cluster.fillBytes)) {
      throw new Error(`${name}: ${plan.filledBytes[at]} bytes to fill in ${cluster.fillBytes}`);
    }
    for (const value of [entry.everywhereDensity, entry.shareDensity, entry.keep?.density ?? 0]) {
      if (!Number.isFinite(value) || value < 0) throw new Error(`${name}: threshold ${value}`);
    }
  });
  const { valueBps, boundBps } = plan.cuts;
  if (!(valueBps <= boundBps * (1 + 1e-9) + 1e-6)) {
    throw new Error(`plan of ${plan.clusterId}: worth ${valueBps}, above its bound ${boundBps}`);
  }
}
