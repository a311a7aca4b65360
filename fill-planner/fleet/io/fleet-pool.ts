/**
 * Plans a whole fleet, region by region, on several threads. Who plans which region leaves no trace in what is written.
 *
 * A large region is cut into parts of so many boxes, always the same ones, each a job of its own.
 *
 * Out: <region>.<part>.plans.jws, one signed plan per appliance and line, and <region>.order.f32, the order they refer to.
 */
import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { JWK } from '#base/jws.ts';
import type { FleetCatalogue, FleetDescription, FleetRegion } from '../fleet-files.ts';
import type { WorldShares } from '../region-demand.ts';
import { worldSharesOf } from '../region-demand.ts';
import { STAGES, type FleetClusterPlan, type Stage } from '../region-job.ts';
import { readCatalogue, readFleet, readWorld } from './fleet-disk.ts';

const BOXES_PER_PART = 400; // some seconds of work: enough to pay for finding the candidates again

export interface FleetRun {
  readonly directory: string;
  readonly out: string;
  readonly planKey: JWK;
  readonly workers: number;
  readonly slotFactor: number;
  readonly churnShare: number;
  /** Which part of the fleet; all of it where it is left out. */
  readonly regions?: readonly string[];
  readonly sites?: readonly string[];
  /** A part of a region has at most so many boxes. */
  readonly boxesPerPart?: number;
  readonly onRegion?: (done: number, all: number) => void;
}

export interface RegionResult {
  readonly regionId: string;
  readonly orderVersion: string;
  readonly parts: number;
  readonly candidates: number;
  readonly appliances: number;
  readonly sha256: string; // of what was written: order, then plans
  readonly clusters: readonly Omit<FleetClusterPlan, 'plans'>[];
  readonly seconds: Readonly<Record<Stage, number>>;
}

/** What a thread is asked for. */
export interface RegionPart {
  readonly region: FleetRegion; // with this part's clusters only
  readonly part: number;
  readonly largestBytes: number;
}

/** What a thread answers. */
export interface PartResult extends RegionResult {
  readonly part: number;
}

export interface FleetResult {
  readonly fleet: FleetDescription;
  readonly regions: readonly RegionResult[]; // by region id
  readonly seconds: number; // wall, reading included
  /** Seconds of work per stage, summed over threads. */
  readonly stageSeconds: Readonly<Record<Stage, number>>;
}

export interface FleetThreadData {
  readonly directory: string;
  readonly out: string;
  readonly planKey: JWK;
  readonly fleet: FleetDescription;
  readonly catalogue: FleetCatalogue;
  readonly world: WorldShares;
  readonly slotFactor: number;
  readonly churnShare: number;
}

export async function planFleet(run: FleetRun): Promise<FleetResult> {
  const startMs = performance.now();
  const fleet = readFleet(run.directory);
  const catalogue = readCatalogue(run.directory, fleet);
  const rollup = readWorld(run.directory, fleet);
  const readSeconds = (performance.now() - startMs) / 1000;
  const world = worldSharesOf(fleet, rollup);
  const regions = chosenRegions(fleet, run);
  // The longest first, so that no thread is left with a large one at the end.
  const queue = regions
    .flatMap((region) => partsOf(region, run.boxesPerPart ?? BOXES_PER_PART))
    .sort(
      (a, b) =>
        boxesOf(b.region) - boxesOf(a.region) ||
        (a.region.regionId < b.region.regionId ? -1 : 1) ||
        a.part - b.part,
    );
  const jobs = queue.length;
  const results: PartResult[] = [];
  const { directory, out, planKey, slotFactor, churnShare } = run;
  const data: FleetThreadData = {
    directory,
    out,
    planKey,
    fleet: { ...fleet, regions: [] },
    catalogue,
    world,
    slotFactor,
    churnShare,
  };
  const threads = Array.from({ length: Math.min(run.workers, queue.length) }, () =>
    runThread(data, queue, (result) => {
      results.push(result);
      run.onRegion?.(results.length, jobs);
    }),
  );
  await Promise.all(threads);
  const total = (stage: Stage): number =>
    results.reduce((sum, result) => sum + result.seconds[stage], 0);
  const stageSeconds = Object.fromEntries(STAGES.map((stage) => [stage, total(stage)])) as Record<
    Stage,
    number
  >;
  stageSeconds.read += readSeconds;
  return {
    fleet,
    regions: merged(results),
    seconds: (performance.now() - startMs) / 1000,
    stageSeconds,
  };
}

function chosenRegions(fleet: FleetDescription, run: FleetRun): readonly FleetRegion[] {
  return fleet.regions
    .filter((region) => run.regions === undefined || run.regions.includes(region.regionId))
    .map((region) => ({
      ...region,
      clusters: region.clusters.filter(
        (cluster) => run.sites === undefined || run.sites.includes(cluster.siteId),
      ),
    }))
    .filter((region) => region.clusters.length > 0);
}

/** Parts of at most so many boxes, in the order of the region's clusters: the same whatever runs them. */
function partsOf(region: FleetRegion, boxesMax: number): readonly RegionPart[] {
  const largestBytes = Math.max(0, ...region.clusters.map((c) => c.storageBytes * c.boxes.length));
  const parts: FleetRegion['clusters'][number][][] = [];
  let boxes = Infinity;
  for (const cluster of region.clusters) {
    if (boxes + cluster.boxes.length > boxesMax) {
      parts.push([]);
      boxes = 0;
    }
    parts[parts.length - 1].push(cluster);
    boxes += cluster.boxes.length;
  }
  return parts.map((clusters, part) => ({ region: { ...region, clusters }, part, largestBytes }));
}

function boxesOf(region: FleetRegion): number {
  return region.clusters.reduce((sum, cluster) => sum + cluster.boxes.length, 0);
}

/** Parts back to regions, by region id: who finished first leaves no trace. */
function merged(parts: readonly PartResult[]): readonly RegionResult[] {
  const byRegion = new Map<string, PartResult[]>();
  for (const part of parts) {
    const known = byRegion.get(part.regionId);
    if (known === undefined) byRegion.set(part.regionId, [part]);
    else known.push(part);
  }
  return [...byRegion.values()]
    .map((own) => {
      own.sort((a, b) => a.part - b.part);
      const sum = (of: (part: PartResult) => number): number =>
        own.reduce((total, part) => total + of(part), 0);
      const hash = createHash('sha256');
      for (const { sha256 } of own) hash.update(sha256);
      return {
        regionId: own[0].regionId,
        orderVersion: own[0].orderVersion,
        parts: own.length,
        candidates: own[0].candidates,
        appliances: sum((part) => part.appliances),
        sha256: hash.digest('base64url'),
        clusters: own.flatMap((part) => part.clusters),
        seconds: Object.fromEntries(
          STAGES.map((stage) => [stage, sum((part) => part.seconds[stage])]),
        ) as Record<Stage, number>,
      };
    })
    .sort((a, b) => (a.regionId < b.regionId ? -1 : 1));
}

function runThread(
  data: FleetThreadData,
  queue: RegionPart[],
  onResult: (result: PartResult) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./fleet-worker.ts', import.meta.url), { workerData: data });
    const next = (): void => {
      worker.postMessage(queue.shift() ?? null);
    };
    worker.on('message', (result: PartResult) => {
      onResult(result);
      next();
    });
    worker.on('error', reject);
    worker.on('exit', (code) =>
      code === 0 ? resolve() : reject(new Error(`a planning thread ended with status ${code}`)),
    );
    next();
  });
}
