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
import { JWS_TYPE } from '#control-plane/contract.ts';
import type {
  FleetCatalogue,
  FleetCluster,
  FleetDescription,
  FleetRegion,
} from '../fleet-files.ts';
import { worldSharesOf, type WorldShares } from '../region-demand.ts';
import { fleetFamiliesOf, STAGES, type FleetClusterPlan, type Stage } from '../region-job.ts';
import { catalogueSlices, readFleet, readWorld, type ReadSlice } from './fleet-disk.ts';

const BOXES_PER_PART = 400; // some seconds of work: enough to pay for finding the candidates again

export interface FleetRun {
  readonly directory: string;
  readonly out: string;
  readonly planKey: JWK;
  readonly workers: number;
  readonly slotFactor: number;
  readonly churnShare: number;
  /** What a bit served one tier higher is worth of one served below. */
  readonly hopWorth: number;
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
  readonly region: FleetRegion; // with this part's clusters only: whole families
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
  readonly problems: readonly string[];
}

/** What the pool tells a thread: first what to read, then what to plan with, then part by part; null ends it. */
export type ThreadOrder =
  | { readonly kind: 'read'; readonly slices: readonly ReadSlice[] }
  | { readonly kind: 'data'; readonly data: FleetThreadData }
  | { readonly kind: 'part'; readonly part: RegionPart }
  | null;

/** And what it answers. */
export type ThreadAnswer =
  | { readonly kind: 'read'; readonly seconds: number }
  | { readonly kind: 'part'; readonly result: PartResult };

export interface FleetThreadData {
  readonly directory: string;
  readonly out: string;
  readonly planKey: JWK;
  readonly planType: string; // `typ` of a signed plan
  readonly fleet: FleetDescription;
  readonly catalogue: FleetCatalogue;
  readonly world: WorldShares;
  readonly slotFactor: number;
  readonly churnShare: number;
  readonly hopWorth: number;
}

export async function planFleet(run: FleetRun): Promise<FleetResult> {
  const startMs = performance.now();
  const fleet = readFleet(run.directory);
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
  // Threads read the catalogue while this one reads and forecasts the world.
  const { catalogue, slices } = catalogueSlices(run.directory, fleet);
  const threads = Array.from({ length: Math.max(1, run.workers) }, () => new PlanningThread());
  const reading = Promise.all(
    threads.map((thread, at) =>
      thread.read(slices.filter((_, slice) => slice % threads.length === at)),
    ),
  );
  reading.catch(() => undefined); // looked at below, unless reading the world fails first
  try {
    const worldMs = performance.now();
    const rollup = readWorld(run.directory, fleet);
    const forecastMs = performance.now();
    const world = worldSharesOf(fleet, rollup);
    const forecastSeconds = (performance.now() - forecastMs) / 1000;
    const readSeconds = (await reading).reduce(
      (sum, seconds) => sum + seconds,
      (forecastMs - worldMs) / 1000,
    );
    const { directory, out, planKey, slotFactor, churnShare, hopWorth } = run;
    const data: FleetThreadData = {
      directory,
      out,
      planKey,
      planType: JWS_TYPE.plan,
      fleet: { ...fleet, regions: [] },
      catalogue,
      world,
      slotFactor,
      churnShare,
      hopWorth,
    };
    const jobs = queue.length;
    const results: PartResult[] = [];
    await Promise.all(
      threads.map((thread) =>
        thread.plan(data, queue, (result) => {
          results.push(result);
          run.onRegion?.(results.length, jobs);
        }),
      ),
    );
    const stageSeconds = Object.fromEntries(
      STAGES.map((stage) => [
        stage,
        results.reduce((sum, result) => sum + result.seconds[stage], 0),
      ]),
    ) as Record<Stage, number>;
    stageSeconds.read += readSeconds;
    stageSeconds.forecast += forecastSeconds;
    return {
      fleet,
      regions: merged(results),
      seconds: (performance.now() - startMs) / 1000,
      stageSeconds,
      problems: world.problems,
    };
  } finally {
    for (const thread of threads) await thread.end();
  }
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

/** Whole families, at most so many boxes unless one has more, in the order of the region's families: the same whatever runs them. */
function partsOf(region: FleetRegion, boxesMax: number): readonly RegionPart[] {
  const storageOf = ({ boxes }: FleetCluster): number =>
    boxes.reduce((sum, box) => sum + box.storageBytes, 0);
  const parts: FleetCluster[][] = [];
  let boxes = Infinity;
  let largestBytes = 0;
  for (const family of fleetFamiliesOf(region.clusters)) {
    const count = family.reduce((sum, cluster) => sum + cluster.boxes.length, 0);
    if (boxes + count > boxesMax) {
      parts.push([]);
      boxes = 0;
    }
    parts[parts.length - 1].push(...family);
    boxes += count;
    // A tier above begins where its leaves end.
    const most = family.map(storageOf).sort((a, b) => b - a);
    largestBytes = Math.max(largestBytes, most[0] + (most[1] ?? 0));
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

/** One worker and the question it was last asked. */
class PlanningThread {
  readonly #worker = new Worker(new URL('./fleet-worker.ts', import.meta.url));
  #waiting: {
    readonly resolve: (answer: ThreadAnswer) => void;
    readonly reject: (thrown: Error) => void;
  } | null = null;
  #failure: Error | null = null;

  constructor() {
    const fail = (thrown: Error): void => {
      this.#failure ??= thrown;
      this.#waiting?.reject(thrown);
      this.#waiting = null;
    };
    this.#worker.on('message', (answer: ThreadAnswer) => {
      const waiting = this.#waiting;
      this.#waiting = null;
      waiting?.resolve(answer);
    });
    this.#worker.on('error', (thrown) => {
      fail(thrown instanceof Error ? thrown : new Error(String(thrown)));
    });
    this.#worker.on('exit', (code) => {
      if (code !== 0) fail(new Error(`a planning thread ended with status ${code}`));
    });
  }

  async read(slices: readonly ReadSlice[]): Promise<number> {
    const answer = await this.#ask({ kind: 'read', slices });
    return answer.kind === 'read' ? answer.seconds : 0;
  }

  /** Parts of the region that it planned last come first: what the region's parts share is still there. */
  async plan(
    data: FleetThreadData,
    queue: RegionPart[],
    onResult: (result: PartResult) => void,
  ): Promise<void> {
    this.#worker.postMessage({ kind: 'data', data } satisfies ThreadOrder);
    let last = '';
    for (;;) {
      const same = queue.findIndex(({ region }) => region.regionId === last);
      const [part] = queue.splice(Math.max(0, same), 1);
      if (part === undefined) return;
      last = part.region.regionId;
      const answer = await this.#ask({ kind: 'part', part });
      if (answer.kind === 'part') onResult(answer.result);
    }
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #ask(order: ThreadOrder): Promise<ThreadAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      this.#waiting = { resolve, reject };
      this.#worker.postMessage(order);
    });
  }
}
