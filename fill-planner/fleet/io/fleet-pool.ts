/**
 * Plans a whole fleet, region by region, on several threads. Who plans which region leaves no trace in what is written.
 *
 * Out: <region>.plans.jws, one signed plan per appliance and line, and <region>.order.f32, the order they refer to.
 */
import { Worker } from 'node:worker_threads';
import type { JWK } from '#base/jws.ts';
import type { FleetCatalogue, FleetDescription, FleetRegion } from '../fleet-files.ts';
import type { WorldShares } from '../region-demand.ts';
import { worldSharesOf } from '../region-demand.ts';
import { STAGES, type FleetClusterPlan, type Stage } from '../region-job.ts';
import { readCatalogue, readFleet, readWorld } from './fleet-disk.ts';

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
  readonly onRegion?: (done: number, all: number) => void;
}

export interface RegionResult {
  readonly regionId: string;
  readonly orderVersion: string;
  readonly candidates: number;
  readonly appliances: number;
  readonly sha256: string; // of what was written: order, then plans
  readonly clusters: readonly Omit<FleetClusterPlan, 'plans'>[];
  readonly seconds: Readonly<Record<Stage, number>>;
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
  const queue = [...regions].sort(
    (a, b) => b.clusters.length - a.clusters.length || (a.regionId < b.regionId ? -1 : 1),
  );
  const results: RegionResult[] = [];
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
      run.onRegion?.(results.length, regions.length);
    }),
  );
  await Promise.all(threads);
  results.sort((a, b) => (a.regionId < b.regionId ? -1 : 1));
  const total = (stage: Stage): number =>
    results.reduce((sum, result) => sum + result.seconds[stage], 0);
  const stageSeconds = Object.fromEntries(STAGES.map((stage) => [stage, total(stage)])) as Record<
    Stage,
    number
  >;
  stageSeconds.read += readSeconds;
  return { fleet, regions: results, seconds: (performance.now() - startMs) / 1000, stageSeconds };
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

function runThread(
  data: FleetThreadData,
  queue: FleetRegion[],
  onResult: (result: RegionResult) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./fleet-worker.ts', import.meta.url), { workerData: data });
    const next = (): void => {
      const region = queue.shift();
      worker.postMessage(region ?? null);
    };
    worker.on('message', (result: RegionResult) => {
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
