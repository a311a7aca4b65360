/**
 * `npm run bench -- plan --json`: how long a night's planning takes and how far its plans are from a proven bound, from one site to
 * the whole fleet of 17,000 appliances in 6,000 sites and 72 million files.
 *
 * `npm run bench -- plan --json "one site" "largest country"`: only those; the others are "half the sites" and "whole fleet".
 *
 * The clock runs from rollups on disk to one signed plan per appliance on disk; making the rollups and planning the night before
 * (so that the boxes hold something) are not counted. A sample of the plans is expanded and summed on its own.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { generateSigningKey, peekPayload } from '#base/jws.ts';
import { assert } from '#base/outcome.ts';
import { seededRandom } from '#base/random.ts';
import type { Plan } from '#fill-planner/contract.ts';
import {
  expandSample,
  planFleet,
  readCatalogue,
  readRegion,
  writeArray,
  type FleetRegion,
  type FleetResult,
} from '#fill-planner/fill-planner.ts';
import { GeneratedFleet, SLOT_FACTOR, type FleetShape } from './plan/generated-fleet.ts';

const CHURN_SHARE = 0.25;
const SAMPLE_SHARE = 0.01;

const FULL: FleetShape = {
  seed: 20261120,
  titles: 60_000,
  variants: 1200,
  regions: 140,
  sites: 6000,
  appliances: 17_000,
  storageScale: 1,
};
const SMOKE: FleetShape = {
  ...FULL,
  titles: 500,
  variants: 40,
  regions: 2,
  sites: 16,
  appliances: 40,
  storageScale: 1 / 2000,
};

interface Part {
  readonly name: string;
  readonly regions?: readonly string[];
  readonly sites?: readonly string[];
}

export async function run(options: {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly args: readonly string[];
}): Promise<unknown> {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-bench-plan-'));
  try {
    return await measure(options.smoke ? SMOKE : FULL, directory, options.args);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function measure(
  shape: FleetShape,
  directory: string,
  names: readonly string[],
): Promise<unknown> {
  const workers = Math.min(2, availableParallelism());
  const { privateJwk } = await generateSigningKey('EdDSA');
  const base = {
    directory,
    planKey: privateJwk,
    workers,
    slotFactor: SLOT_FACTOR,
    churnShare: CHURN_SHARE,
  };
  say(`generating ${shape.titles * shape.variants} files, ${shape.sites} sites …`);
  const generated = new GeneratedFleet(shape, directory);
  const regions = await nightBefore(generated, base);
  const plan: unknown[] = [];
  const parts = partsOf(regions);
  const chosen = parts.filter((part) => names.length === 0 || names.includes(part.name));
  for (const part of shape === SMOKE ? parts.slice(-1) : chosen) {
    const out = path.join(directory, 'out');
    mkdirSync(out);
    const before = process.cpuUsage();
    const result = await planFleet({ ...base, ...part, out });
    const { user, system } = process.cpuUsage(before);
    const cpuSeconds = round((user + system) / 1e6); // what it took, however busy the machine was
    const row = { ...rowOf(part.name, result, workers), cpuSeconds };
    say(JSON.stringify(row));
    const isWhole = part.regions === undefined && part.sites === undefined;
    plan.push(isWhole ? { ...row, ...expandSome(directory, out, result) } : row);
    rmSync(out, { recursive: true });
  }
  say(JSON.stringify(plan.at(-1), null, 2));
  return { plan };
}

/** Plans the night before without a fill limit, and leaves its thresholds and orders as what the boxes hold. */
async function nightBefore(
  generated: GeneratedFleet,
  base: Omit<Parameters<typeof planFleet>[0], 'out'>,
): Promise<readonly FleetRegion[]> {
  const { directory } = base;
  const out = path.join(directory, 'before');
  mkdirSync(out);
  const empty = generated.fleet.regions.map((region) => ({
    ...region,
    clusters: region.clusters.map((cluster) => ({
      ...cluster,
      fillBytes: cluster.storageBytes,
    })),
  }));
  generated.writeNight(directory, 0, empty);
  say('planning the night before, on empty boxes …');
  const before = await planFleet({ ...base, out });
  const cuts = new Map(
    before.regions.flatMap((region) =>
      region.clusters.map((cluster) => [cluster.clusterId, cluster.next] as const),
    ),
  );
  for (const { regionId } of before.regions) {
    const bytes = readFileSync(path.join(out, `${regionId}.order.f32`));
    writeArray(directory, `${regionId}.previous.f32`, bytes);
  }
  rmSync(out, { recursive: true });
  const regions = generated.fleet.regions.map((region) => ({
    ...region,
    clusters: region.clusters.map((cluster) => ({
      ...cluster,
      previous: cuts.get(cluster.clusterId) ?? null,
    })),
  }));
  generated.writeNight(directory, 1, regions);
  return regions;
}

function partsOf(regions: readonly FleetRegion[]): readonly Part[] {
  const largest = [...regions].sort((a, b) => b.clusters.length - a.clusters.length)[0];
  const sites = regions.flatMap((region) => region.clusters.map((cluster) => cluster.siteId));
  const half = new Set([...new Set(sites)].filter((_, at) => at % 2 === 0));
  return [
    {
      name: 'one site',
      regions: [largest.regionId],
      sites: [largest.clusters[0].siteId],
    },
    { name: 'largest country', regions: [largest.regionId] },
    { name: 'half the sites', sites: [...half] },
    { name: 'whole fleet' },
  ];
}

function rowOf(name: string, result: FleetResult, workers: number) {
  const clusters = result.regions.flatMap((region) => region.clusters);
  const sites = new Map<string, { value: number; bound: number }>();
  let served = 0;
  let free = 0;
  let demand = 0;
  let filled = 0;
  let bytes = 0;
  for (const { siteId, cuts, filledBytes, bytes: held } of clusters) {
    const site = sites.get(siteId) ?? { value: 0, bound: 0 };
    site.value += cuts.valueBps;
    site.bound += cuts.boundBps;
    sites.set(siteId, site);
    served += cuts.servedBps;
    free += cuts.boundWithoutFillLimitBps;
    demand += cuts.demandBps;
    filled += filledBytes.reduce((sum, add) => sum + add, 0);
    bytes += held.reduce((sum, add) => sum + add, 0);
  }
  const all = [...sites.values()];
  const value = all.reduce((sum, site) => sum + site.value, 0);
  const bound = all.reduce((sum, site) => sum + site.bound, 0);
  const gaps = all.map((site) => 1 - site.value / site.bound).sort((a, b) => a - b);
  return {
    name,
    appliances: result.regions.reduce((sum, region) => sum + region.appliances, 0),
    sites: sites.size,
    files: result.fleet.titles * result.fleet.variants,
    workers,
    seconds: round(result.seconds),
    stageSeconds: Object.fromEntries(
      Object.entries(result.stageSeconds).map(([stage, seconds]) => [stage, round(seconds)]),
    ),
    rssBytes: process.resourceUsage().maxRSS * 1024,
    candidatesMean: Math.round(
      result.regions.reduce((sum, region) => sum + region.candidates, 0) / result.regions.length,
    ),
    gapWeighted: 1 - value / bound,
    gapP99: gaps[Math.min(gaps.length - 1, Math.floor(0.99 * gaps.length))],
    gapWithoutFillLimit: 1 - served / free,
    offload: served / demand,
    refilledShare: filled / bytes,
  };
}

/** One plan in a hundred, opened from what was written and expanded on its own: the bytes must be those that were planned. */
function expandSome(directory: string, out: string, result: FleetResult) {
  const random = seededRandom(1);
  const catalogue = readCatalogue(directory, result.fleet);
  let sampled = 0;
  let secondsMax = 0;
  for (const region of result.regions) {
    const lines = Array.from({ length: region.parts }, (_, part) =>
      readFileSync(path.join(out, `${region.regionId}.${part}.plans.jws`), 'utf8')
        .trim()
        .split('\n'),
    ).flat();
    const planned = region.clusters.flatMap((cluster) => cluster.bytes);
    const chosen = planned.flatMap((_, at) => (random.next() < SAMPLE_SHARE ? [at] : []));
    if (chosen.length === 0) continue;
    const factors = readFileSync(path.join(out, `${region.regionId}.order.f32`));
    const order = new Float32Array(new Uint8Array(factors).buffer);
    const { previous } = readRegion(directory, result.fleet, region.regionId);
    for (const at of chosen) {
      const plan = peekPayload(lines[at]) as Plan;
      const startMs = performance.now();
      const expanded = expandSample(
        plan,
        {
          titles: order.subarray(0, result.fleet.titles),
          variants: order.subarray(result.fleet.titles),
          previousTitles: previous?.subarray(0, result.fleet.titles) ?? null,
          previousVariants: previous?.subarray(result.fleet.titles) ?? null,
        },
        catalogue,
      );
      secondsMax = Math.max(secondsMax, (performance.now() - startMs) / 1000);
      assert(
        expanded.bytes === planned[at],
        `${plan.applianceId} expands to ${expanded.bytes} bytes, planned were ${planned[at]}`,
      );
      sampled++;
    }
  }
  return { sampled, expandSecondsMax: round(secondsMax) };
}

function round(seconds: number): number {
  return Math.round(seconds * 100) / 100;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
