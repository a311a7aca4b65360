/**
 * How long a viewer waits when the box dies: the kit's loader against real boxes, and whole players in a browser.
 *
 * npm run bench -- failover --json
 *   --part loader|browser|all   --runs N (loader, per fault; 500)   --viewers N (at a time; 10)
 *   --browser-runs N (kit, per fault; 10)   --stock-runs N (5)   --starts N (5)   --faults kill,silent,drain-404 (of the browser)
 *
 * Faults: kill (kill -9), black-hole (the box's link goes down: nothing comes back), silent (the same for the browser, whose CDN has no
 * links: the box is stopped and says nothing), drain-404 (the box refuses newcomers).
 * Needs root (namespaces with links of their own), for the players Chromium. Units: milliseconds from the fault to the next good byte.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { MIB } from '#base/units.ts';
import {
  runBrowser,
  whyNoBrowser,
  type BrowserFault,
  type BrowserResult,
} from './failover/browser.ts';
import type { Fault, LoaderRow, LoaderSpec } from './failover/loader.ts';
import { machineFacts, numberArgument, textArgument } from './load/facts.ts';
import { linksOf, type FleetShape } from './load/linked-fleet.ts';
import { openLinks } from './load/links.ts';
import { NODE_FLAGS } from './load/measure.ts';
import { whyNoNamespace } from './load/namespace.ts';
import type { BenchOptions } from './main.ts';

const BROWSER_FAULTS: readonly BrowserFault[] = ['kill', 'silent', 'drain-404'];
const LINK_BPS = 1e9;

export async function run(options: BenchOptions): Promise<unknown> {
  const part = textArgument(options.args, '--part') ?? 'all';
  const missing = whyNoNamespace();
  if (missing !== null) {
    if (!options.smoke) throw new Error(missing);
    return { failover: [], skipped: missing };
  }
  const failover: object[] = [];
  if (part !== 'browser') failover.push(...(await loaderRows(options)));
  const inBrowser = part === 'loader' || options.smoke ? null : await browserRows(options);
  return {
    failover: [...failover, ...(inBrowser?.rows ?? [])],
    excludedMs: inBrowser?.excludedMs ?? null,
    starts: inBrowser?.starts ?? [],
    machine: machineFacts(),
  };
}

function browserRows({ args }: BenchOptions): Promise<BrowserResult> {
  const why = whyNoBrowser();
  if (why !== null) throw new Error(why);
  const wanted = textArgument(args, '--faults')?.split(',') ?? BROWSER_FAULTS;
  return runBrowser({
    kitRuns: numberArgument(args, '--browser-runs') ?? 10,
    stockRuns: numberArgument(args, '--stock-runs') ?? 5,
    starts: numberArgument(args, '--starts') ?? 5,
    faults: BROWSER_FAULTS.filter((fault) => wanted.includes(fault)),
  });
}

function loaderRows(options: BenchOptions): Promise<readonly LoaderRow[]> {
  const shape: FleetShape = {
    sites: 3,
    boxesPerSite: 1,
    originBps: LINK_BPS,
    siteBps: LINK_BPS,
    boxBytes: 256 * MIB,
    servingBps: 2e9,
    concurrency: 4,
  };
  const faults: readonly Fault[] = options.smoke
    ? ['drain-404']
    : ['kill', 'black-hole', 'drain-404'];
  const spec: LoaderSpec = {
    shape,
    faults,
    runs: options.smoke ? 5 : (numberArgument(options.args, '--runs') ?? 500),
    viewers: options.smoke ? 5 : (numberArgument(options.args, '--viewers') ?? 10),
    seed: 1,
  };
  return inLinks(shape, path.join(import.meta.dirname, 'failover', 'loader.ts'), spec);
}

/** Runs a part of the bench inside the core of the links; what it prints as its last line. */
async function inLinks<T>(shape: FleetShape, file: string, spec: object): Promise<T> {
  using links = openLinks(linksOf(shape));
  const argv = links.inside([process.execPath, ...NODE_FLAGS, file, JSON.stringify(spec)]);
  const child = spawn(argv[0], argv.slice(1), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, NIGHTFILL_BENCH_NAMESPACE: links.name ?? '' },
  });
  const onExit = (): void => void child.kill('SIGTERM');
  process.on('exit', onExit);
  let output = '';
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  process.off('exit', onExit);
  if (code !== 0) throw new Error(`${path.basename(file)} ended with status ${code}`);
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as T;
}
