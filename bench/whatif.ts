/**
 * `npm run bench -- whatif --json`: thirty days of the whole network by the fluid engine: seconds; and how far it is from real keys on
 * sampled sites.
 *
 *   npm run bench -- whatif [--json] [--data DIR] [--days 30] [--sites 20] [--sample 0.0625] [--request-days 30]
 *
 * Sampled are sites of ISPs with at most 8 boxes, evenly over the list; both engines run them alone, over the same days.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  generatedTopology,
  parseTopology,
  runFluid,
  runRequest,
  scenarioOf,
  type Scenario,
  type TopologySite,
} from '#fill-planner/fill-planner.ts';
import { assert } from '#base/outcome.ts';

const TOPOLOGY = 'openconnect/netflix-ocas-2023-08-02.csv';
const BOXES_MAX = 8;
const SEED = 1;
const SMOKE = { days: 2, catalogue: { programmes: 400, variants: 80 } };

export async function run(options: {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly args: readonly string[];
}): Promise<unknown> {
  const number = (name: string, fallback: number): number => {
    const at = options.args.indexOf(name);
    return at === -1 ? fallback : Number(options.args[at + 1]);
  };
  const topology = options.smoke ? generatedTopology(SEED, 60) : readTopology(options.args);
  const days = number('--days', 30);
  const scenario = scenarioFor(options.smoke ? SMOKE : { days });
  const before = process.cpuUsage();
  const startMs = performance.now();
  const fluid = await runFluid(scenario, topology, SEED, { variant: 'base', threads: 2 });
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  assert(fluid.ok, fluid.ok ? '' : fluid.failure);
  const { meta, totals } = fluid.value;
  console.error(
    `fluid: ${meta.sites} sites, ${meta.appliances} appliances, ${meta.days} days in ${seconds.toFixed(1)} s`,
  );
  const row = {
    engine: 'fluid',
    sites: meta.sites,
    appliances: meta.appliances,
    files: meta.files,
    days: meta.days,
    seconds: round(seconds),
    cpuSeconds: round((user + system) / 1e6),
    offloadShare: totals.offloadShare,
  };
  const requestScenario = scenarioFor(
    options.smoke ? SMOKE : { days: number('--request-days', days) },
  );
  const sample = sampled(topology, options.smoke ? 3 : number('--sites', 20));
  const share = options.smoke ? 0.25 : number('--sample', 1 / 16);
  return { whatif: [row, await errorOn(requestScenario, sample, share)] };
}

async function errorOn(
  scenario: Scenario,
  sites: readonly TopologySite[],
  sampleShare: number,
): Promise<unknown> {
  const startMs = performance.now();
  const request = await runRequest(scenario, sites, SEED, {
    variant: 'base',
    sampleShare,
    pause: () => Promise.resolve(),
    onProgress: (share) => console.error(`request level: ${Math.round(share * 100)} %`),
  });
  const seconds = (performance.now() - startMs) / 1000;
  const fluid = await runFluid(scenario, sites, SEED, { variant: 'base', threads: 2 });
  assert(request.ok, request.ok ? '' : request.failure);
  assert(fluid.ok, fluid.ok ? '' : fluid.failure);
  const points = request.value.sites.map(
    (site, at) => 100 * (fluid.value.sites[at].offloadShare - site.offloadShare),
  );
  const row = {
    engine: 'request',
    sites: sites.length,
    days: scenario.days,
    sampleShare,
    seconds: round(seconds),
    offloadShare: request.value.totals.offloadShare,
    fluidOffloadShare: fluid.value.totals.offloadShare,
    errorPoints: round(100 * (fluid.value.totals.offloadShare - request.value.totals.offloadShare)),
    errorPointsMeanAbsolute: round(
      points.reduce((sum, value) => sum + Math.abs(value), 0) / points.length,
    ),
    errorPointsMax: round(Math.max(...points.map(Math.abs))),
  };
  console.error(JSON.stringify(row));
  return row;
}

function scenarioFor(given: object): Scenario {
  const read = scenarioOf({ name: 'whatif', ...given });
  assert(read.ok, read.ok ? '' : read.failure.join('; '));
  return read.value;
}

function sampled(topology: readonly TopologySite[], count: number): readonly TopologySite[] {
  const able = topology.filter((site) => !site.isExchange && site.boxes <= BOXES_MAX);
  return Array.from(
    { length: Math.min(count, able.length) },
    (_, at) => able[Math.floor(((at + 0.5) * able.length) / count)],
  );
}

function readTopology(args: readonly string[]): readonly TopologySite[] {
  const at = args.indexOf('--data');
  const directory =
    at === -1 ? path.join(import.meta.dirname, '..', '..', 'shared', 'data') : args[at + 1];
  const file = path.join(directory, TOPOLOGY);
  if (!existsSync(file)) {
    console.error(`no ${file}: give --data DIR; a made-up network of 3,087 sites is used`);
    return generatedTopology(SEED, 3087);
  }
  const parsed = parseTopology(readFileSync(file, 'utf8'));
  if (!parsed.ok) throw new Error(`${file}: ${parsed.failure}`);
  return parsed.value;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
