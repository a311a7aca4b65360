/**
 * How long a viewer waits when the box dies: the kit's loader against real boxes, and whole players in a browser.
 *
 * npm run bench -- failover --json
 *   --part loader|browser|starts|exclusion|all   each part sets up a CDN of its own
 *   loader:    --runs N (per fault; 500)   --viewers N (at a time; 10)
 *   browser:   --kit-runs N (hls.js, and dash.js, with the kit, per fault; 30)   --stock-runs N (hls.js, and dash.js; 5)
 *              --players hls-kit,dash-kit,hls,dash
 *   both:      --faults kill,black-hole,drain-404
 *   starts:    --starts N (per player; 20)
 *   exclusion: --killed N (15)   --silent N (10)   --pauses N (100)
 *
 * Faults: kill (kill -9), black-hole (the box's link goes down: nothing comes back), drain-404 (the box refuses everybody).
 * Viewers' browsers stand behind a link of 20 Mbit/s (tbf). Needs root (namespaces with links), for the players Chromium and ffmpeg.
 * Units: milliseconds from the fault to the next good byte.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { whyNoBrowser, type BrowserResult, type BrowserSpec } from './failover/browser.ts';
import type { ExclusionResult, ExclusionSpec } from './failover/exclusion.ts';
import { loaderShape, type Fault, type LoaderRow, type LoaderSpec } from './failover/loader.ts';
import { playerShape } from './failover/player-fleet.ts';
import type { PlayerName } from './failover/player-page.ts';
import { machineFacts, numberArgument, textArgument } from './load/facts.ts';
import { linksOf, type FleetShape } from './load/linked-fleet.ts';
import { openLinks } from './load/links.ts';
import { NODE_FLAGS } from './load/measure.ts';
import { whyNoNamespace } from './load/namespace.ts';
import type { BenchOptions } from './main.ts';

const PARTS = ['loader', 'browser', 'starts', 'exclusion'] as const;
const FAULTS: readonly Fault[] = ['kill', 'black-hole', 'drain-404'];
const PLAYERS: readonly PlayerName[] = ['hls-kit', 'dash-kit', 'hls', 'dash'];
const STARTERS: readonly PlayerName[] = ['hls-kit', 'hls', 'dash-kit', 'dash'];
const VIEWER_BPS = 20e6;

export async function run(options: BenchOptions): Promise<unknown> {
  const missing = whyNoNamespace();
  if (missing !== null) {
    if (!options.smoke) throw new Error(missing);
    return { failover: [], skipped: missing };
  }
  const wanted = partsOf(options);
  const loader = wanted.includes('loader') ? await loaderRows(options) : [];
  const browser = wanted.includes('browser') ? await browserRows(options, 'browser') : null;
  const starts = wanted.includes('starts') ? await browserRows(options, 'starts') : null;
  const exclusion = wanted.includes('exclusion') ? await exclusionOf(options) : null;
  return {
    failover: [...loader, ...(browser?.rows ?? [])],
    excludedMs: exclusion?.excludedMs ?? null,
    exclusion,
    starts: starts?.starts ?? [],
    machine: machineFacts(),
  };
}

function partsOf({ args, smoke }: BenchOptions): readonly string[] {
  if (smoke) return ['loader'];
  const part = textArgument(args, '--part') ?? 'all';
  if (part === 'all') return PARTS;
  if (!PARTS.some((one) => one === part)) {
    throw new Error(`--part is one of ${PARTS.join(', ')} or all, not "${part}"`);
  }
  return [part];
}

/** `--name a,b` of what there is; all of it where the argument is missing. */
function chosen<T extends string>(
  args: readonly string[],
  name: string,
  all: readonly T[],
): readonly T[] {
  const text = textArgument(args, name);
  if (text === null) return all;
  const words = text.split(',');
  const unknown = words.filter((word) => !all.some((one) => one === word));
  if (unknown.length > 0) {
    throw new Error(`${name} takes of ${all.join(',')}, not "${unknown.join(',')}"`);
  }
  return all.filter((one) => words.includes(one));
}

function browserRows({ args }: BenchOptions, part: 'browser' | 'starts'): Promise<BrowserResult> {
  const why = whyNoBrowser();
  if (why !== null) throw new Error(why);
  const kitRuns = numberArgument(args, '--kit-runs') ?? 30;
  const stockRuns = numberArgument(args, '--stock-runs') ?? 5;
  const runs = chosen(args, '--faults', FAULTS).flatMap((fault) =>
    chosen(args, '--players', PLAYERS).map((player) => ({
      player,
      fault,
      runs: player.endsWith('-kit') ? kitRuns : stockRuns,
    })),
  );
  const each = numberArgument(args, '--starts') ?? 20;
  const starts = chosen(args, '--players', STARTERS).map((player) => ({ player, runs: each }));
  const shape = playerShape(VIEWER_BPS);
  const spec: BrowserSpec = {
    shape,
    runs: part === 'browser' ? runs : [],
    starts: part === 'starts' ? starts : [],
  };
  return inLinks(shape, 'browser.ts', spec);
}

function exclusionOf({ args }: BenchOptions): Promise<ExclusionResult> {
  const shape = playerShape(VIEWER_BPS);
  const spec: ExclusionSpec = {
    shape,
    killed: numberArgument(args, '--killed') ?? 15,
    silent: numberArgument(args, '--silent') ?? 10,
    pauses: numberArgument(args, '--pauses') ?? 100,
    seed: 1,
  };
  return inLinks(shape, 'exclusion.ts', spec);
}

function loaderRows({ args, smoke }: BenchOptions): Promise<readonly LoaderRow[]> {
  const shape = loaderShape();
  const spec: LoaderSpec = {
    shape,
    faults: smoke ? ['drain-404'] : chosen(args, '--faults', FAULTS),
    runs: smoke ? 5 : (numberArgument(args, '--runs') ?? 500),
    viewers: smoke ? 5 : (numberArgument(args, '--viewers') ?? 10),
    seed: 1,
  };
  return inLinks(shape, 'loader.ts', spec);
}

/** Runs a part of the bench inside the core of the links; what it prints as its last line. */
async function inLinks<T>(shape: FleetShape, file: string, spec: object): Promise<T> {
  using links = openLinks(linksOf(shape));
  const script = path.join(import.meta.dirname, 'failover', file);
  const argv = links.inside([process.execPath, ...NODE_FLAGS, script, JSON.stringify(spec)]);
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
  if (code !== 0) throw new Error(`${file} ended with status ${code}`);
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as T;
}
