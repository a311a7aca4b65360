/**
 * `npm run bench -- plan [--data DIR] [--json] [part ...]`: how long a night's planning takes and how far its plans are from a proven bound,
 * with 72 million files.
 *
 * The standard fleet is the published list of Open Connect sites (`plan/topology.ts`: 8,151 appliances, 3,087 sites, 140 countries), looked for
 * under --data, else under ../shared/data beside the repository; where there is none a made-up fleet of that size is
 * planned, and that is said. The last part, "17,000 appliances", is always made up: 6,000 sites.
 *
 * Parts: "one site", "largest country", "half the sites", "whole fleet", "17,000 appliances"; without a name all are run.
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
import {
  generatedTopology,
  OPEN_CONNECT_LIST,
  readPublishedTopology,
  type Topology,
} from './plan/topology.ts';

const CHURN_SHARE = 0.25;
const HOP_WORTH = 0.8;
const SAMPLE_SHARE = 0.01;
const DEFAULT_DATA = path.join(import.meta.dirname, '..', '..', 'shared', 'data');
const SCALE_PART = '17,000 appliances';
const STANDARD_SIZE = { regions: 140, sites: 3087, appliances: 8151 };
const SCALE_SIZE = { regions: 140, sites: 6000, appliances: 17_000 };
const SMOKE_SIZE = { regions: 2, sites: 16, appliances: 40 };

const FULL: FleetShape = {
  seed: 20261120,
  titles: 60_000,
  variants: 1200,
  storageScale: 1,
};
const SMOKE: FleetShape = {
  ...FULL,
  titles: 500,
  variants: 40,
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
  const { names, data } = argumentsOf(options.args);
  const plan: unknown[] = [];
  if (options.smoke) {
    const topology = generatedTopology(seededRandom(SMOKE.seed), SMOKE_SIZE);
    return { plan: await measureFleet(SMOKE, topology, (parts) => parts.slice(-1)) };
  }
  const isWanted = (name: string): boolean => names.length === 0 || names.includes(name);
  if (STANDARD_PARTS.some(isWanted)) {
    const topology = standardTopology(data);
    plan.push(
      ...(await measureFleet(FULL, topology, (parts) =>
        parts.filter(({ name }) => isWanted(name)),
      )),
    );
  }
  if (isWanted(SCALE_PART)) {
    const topology = generatedTopology(seededRandom(FULL.seed), SCALE_SIZE);
    plan.push(
      ...(await measureFleet(FULL, topology, (parts) => [{ ...parts[3], name: SCALE_PART }])),
    );
  }
  return { plan };
}

const STANDARD_PARTS = ['one site', 'largest country', 'half the sites', 'whole fleet'];

function argumentsOf(args: readonly string[]): { names: readonly string[]; data: string } {
  const at = args.indexOf('--data');
  if (at !== -1 && args[at + 1] === undefined) throw new Error('--data needs a directory');
  const names = at === -1 ? args : [...args.slice(0, at), ...args.slice(at + 2)];
  const known = [...STANDARD_PARTS, SCALE_PART];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new Error(
      `no part "${unknown}": known are ${known.map((name) => `"${name}"`).join(', ')}`,
    );
  }
  return { names, data: at === -1 ? DEFAULT_DATA : args[at + 1] };
}

function standardTopology(data: string): Topology {
  const published = readPublishedTopology(data);
  if (published !== null) return published;
  say(`no ${OPEN_CONNECT_LIST} under ${data}: a made-up fleet of that size is planned instead`);
  return generatedTopology(seededRandom(FULL.seed), STANDARD_SIZE);
}

async function measureFleet(
  shape: FleetShape,
  topology: Topology,
  choose: (parts: readonly Part[]) => readonly Part[],
): Promise<readonly unknown[]> {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-bench-plan-'));
  try {
    return await measure(shape, topology, directory, choose);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function measure(
  shape: FleetShape,
  topology: Topology,
  directory: string,
  choose: (parts: readonly Part[]) => readonly Part[],
): Promise<readonly unknown[]> {
  const workers = Math.min(2, availableParallelism());
  const { privateJwk } = await generateSigningKey('EdDSA');
  const base = {
    directory,
    planKey: privateJwk,
    workers,
    slotFactor: SLOT_FACTOR,
    churnShare: CHURN_SHARE,
    hopWorth: HOP_WORTH,
  };
  say(`generating ${shape.titles * shape.variants} files for the fleet: ${topology.name} …`);
  const generated = new GeneratedFleet(shape, topology, directory);
  const chosen = choose(partsOf(generated.fleet.regions));
  await nightBefore(generated, base, chosen);
  const plan: unknown[] = [];
  for (const part of chosen) {
    const out = path.join(directory, 'out');
    mkdirSync(out);
    const before = process.cpuUsage();
    const result = await planFleet({ ...base, ...part, out });
    const { user, system } = process.cpuUsage(before);
    const cpuSeconds = round((user + system) / 1e6); // what it took, however busy the machine was
    const row = { fleet: topology.name, ...rowOf(part.name, result, workers), cpuSeconds };
    say(JSON.stringify(row));
    plan.push({ ...row, ...expandSome(directory, out, result) });
    say(JSON.stringify(plan.at(-1)));
    rmSync(out, { recursive: true });
  }
  return plan;
}

/** Plans the night before without a fill limit, and leaves its thresholds and orders as what the boxes hold. */
async function nightBefore(
  generated: GeneratedFleet,
  base: Omit<Parameters<typeof planFleet>[0], 'out'>,
  chosen: readonly Part[],
): Promise<void> {
  const { directory } = base;
  const out = path.join(directory, 'before');
  mkdirSync(out);
  const empty = generated.fleet.regions.map((region) => ({
    ...region,
    clusters: region.clusters.map((cluster) => ({
      ...cluster,
      boxes: cluster.boxes.map((box) => ({ ...box, fillBytes: box.storageBytes })),
    })),
  }));
  generated.writeNight(directory, 0, empty);
  say('planning the night before, on empty boxes …');
  // Only what tonight's parts need.
  const regions = chosen.some((part) => part.regions === undefined)
    ? {}
    : { regions: chosen.flatMap((part) => part.regions ?? []) };
  const before = await planFleet({ ...base, ...regions, out });
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
  const tonight = generated.fleet.regions.map((region) => ({
    ...region,
    clusters: region.clusters.map((cluster) => ({
      ...cluster,
      previous: cuts.get(cluster.clusterId) ?? null,
    })),
  }));
  generated.writeNight(directory, 1, tonight);
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
  for (const { siteId, figures, filledBytes, bytes: held } of clusters) {
    const site = sites.get(siteId) ?? { value: 0, bound: 0 };
    site.value += figures.valueBps;
    site.bound += figures.boundBps;
    sites.set(siteId, site);
    served += figures.servedBps;
    free += figures.boundWithoutFillLimitBps;
    demand += figures.ownDemandBps; // what passes from tier to tier counts once
    filled += filledBytes.reduce((sum, add) => sum + add, 0);
    bytes += held.reduce((sum, add) => sum + add, 0);
  }
  const all = [...sites.values()];
  const value = all.reduce((sum, site) => sum + site.value, 0);
  const bound = all.reduce((sum, site) => sum + site.bound, 0);
  const families = new Set(
    result.fleet.regions.flatMap((region) =>
      region.clusters.flatMap(({ parentId }) => (parentId === null ? [] : [parentId])),
    ),
  );
  const gaps = all.map((site) => 1 - site.value / site.bound).sort((a, b) => a - b);
  return {
    name,
    appliances: result.regions.reduce((sum, region) => sum + region.appliances, 0),
    sites: sites.size,
    exchangesWithLeaves: clusters.filter(({ clusterId }) => families.has(clusterId)).length,
    pinsLacking: clusters.reduce((sum, { pinsLacking }) => sum + pinsLacking, 0),
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
