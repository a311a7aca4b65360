/**
 * What running streams notice of a crowd: their p99 alone, while 20,000 sessions of a dead sibling arrive at once, and during a flood of
 * forged tokens. Goal: at most twice the p99 alone.
 *
 * npm run bench -- overload --json         as root (network namespace), about a minute
 *   --sessions N --rounds N --sender zero-copy|portable
 *
 * The box runs on core 0; running streams and the crowd share core 1, the crowd at niceness 10, so that the streams' own clients are not
 * what waits. Each stream asks for 64 KiB every 50 ms, as a player's audio and small segments do.
 *
 * Units: milliseconds; p99 of the worst second; ratio = that during the flood over that of five seconds alone before it; the median of
 * the rounds.
 */
import { tmpdir } from 'node:os';
import { KIB } from '#base/units.ts';
import { CompleteCdn, type BenchBox, type BenchFile } from './load/complete-box.ts';
import { machineFacts, numberArgument, textArgument } from './load/facts.ts';
import type { LoadReport, LoadSpec } from './load/generator.ts';
import { load, measure } from './load/measure.ts';
import {
  isInNamespace,
  machineLoopback,
  runAgainInside,
  whyNoNamespace,
} from './load/namespace.ts';
import { medianOf } from './load/ratio.ts';
import type { BenchOptions } from './main.ts';

const ADDRESS_INSIDE = '127.0.0.1';
const ADDRESS_OUTSIDE = '127.78.0.3';
const BOX_PORT = 17_860;
const STREAMS = 64;
const PACE_MS = 50;
const CROWD_CONNECTIONS = 1000;
const CROWD_NICE = 10;
const RATIO_GOAL = 2;
const FLOOD_MS_MAX = 20_000;
const SECOND_MS = 1000;

interface Plan {
  readonly sessions: number;
  readonly rounds: number;
  readonly aloneSeconds: number;
  readonly sender: 'zero-copy' | 'portable';
  readonly isPinned: boolean;
}

interface Flood {
  readonly requests: number;
  readonly seconds: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly streamRequests: number;
  readonly p99Ms: number;
  readonly p99AloneMs: number;
  readonly ratio: number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  const sender = textArgument(options.args, '--sender') === 'portable' ? 'portable' : 'zero-copy';
  if (options.smoke) {
    return overload(
      { sessions: 300, rounds: 1, aloneSeconds: 1, sender, isPinned: false },
      ADDRESS_OUTSIDE,
    );
  }
  if (!isInNamespace()) {
    const missing = whyNoNamespace();
    if (missing !== null) throw new Error(missing);
    process.exit(await runAgainInside());
  }
  const sessions = numberArgument(options.args, '--sessions') ?? 20_000;
  const rounds = numberArgument(options.args, '--rounds') ?? 3;
  return overload({ sessions, rounds, aloneSeconds: 5, sender, isPinned: true }, ADDRESS_INSIDE);
}

async function overload(plan: Plan, address: string): Promise<unknown> {
  await using cdn = await CompleteCdn.start('files=1x16MiB;seed=7', address, 17_840, tmpdir());
  const file = cdn.files[0];
  const { sender, isPinned } = plan;
  await using box = await cdn.box({
    applianceId: 'box-overload',
    sender,
    port: BOX_PORT,
    isPinned,
  });
  await cdn.warm(box, file);
  await streams(cdn, box, file, 2 * SECOND_MS); // warms the JIT
  const result: Record<string, unknown> = {};
  for (const [name, isForged] of [
    ['crowd', false],
    ['forged', true],
  ] as const) {
    const floods: Flood[] = [];
    for (let round = 0; round < plan.rounds; round++) {
      floods.push(await flooded(cdn, box, file, plan, isForged));
      console.error(`${name}: ${JSON.stringify(floods.at(-1))}`);
    }
    const ratio = medianOf(floods.map((flood) => flood.ratio));
    result[name] = { ratio, goal: RATIO_GOAL, met: ratio <= RATIO_GOAL, rounds: floods };
  }
  return { overload: { sender, sessions: plan.sessions, ...result }, machine: machineFacts() };
}

async function flooded(
  cdn: CompleteCdn,
  box: BenchBox,
  file: BenchFile,
  plan: Plan,
  isForged: boolean,
): Promise<Flood> {
  const targetsFile = await cdn.targetsFile(file, plan.sessions, isForged); // distinct in each round
  const alone: LoadReport[] = [];
  for (let second = 0; second < plan.aloneSeconds; second++) {
    alone.push(await streams(cdn, box, file, SECOND_MS));
  }
  const crowd: LoadSpec = {
    ...specOf(cdn, box, file),
    targets: [],
    targetsFile,
    isOnce: true,
    isAnyStatus: true,
    connections: Math.min(CROWD_CONNECTIONS, plan.sessions),
    warmupMs: 0,
    durationMs: FLOOD_MS_MAX,
  };
  // The streams are measured until the crowd has its answers.
  const arriving = load(crowd, machineLoopback(), CROWD_NICE);
  const parts: LoadReport[] = [];
  let answered: LoadReport | null = null;
  const done = arriving.then((report) => {
    answered = report;
  });
  while (answered === null) parts.push(await streams(cdn, box, file, SECOND_MS));
  await done;
  const report = answered as LoadReport;
  const p99Ms = worstP99(parts);
  const p99AloneMs = worstP99(alone);
  return {
    requests: report.requests,
    seconds: round(report.durationMs / 1000),
    statuses: report.statuses,
    streamRequests: parts.reduce((sum, part) => sum + part.requests, 0),
    p99Ms: round(p99Ms),
    p99AloneMs: round(p99AloneMs),
    ratio: round(p99Ms / p99AloneMs),
  };
}

/** Of the worst second. */
function worstP99(seconds: readonly LoadReport[]): number {
  return Math.max(...seconds.map(({ latencyMs }) => latencyMs.p99));
}

async function streams(
  cdn: CompleteCdn,
  box: BenchBox,
  file: BenchFile,
  durationMs: number,
): Promise<LoadReport> {
  return (await measure({ ...specOf(cdn, box, file), durationMs }, box.pid, machineLoopback()))
    .load;
}

function specOf(cdn: CompleteCdn, box: BenchBox, file: BenchFile): LoadSpec {
  return {
    address: cdn.address,
    port: box.port,
    targets: [file.target],
    fields: ['User-Agent: Mozilla/5.0 (bench)', 'Accept: */*', 'Origin: http://player.example'],
    connections: STREAMS,
    rangeBytes: 64 * KIB,
    fileBytes: file.sizeBytes,
    alignBytes: 4 * KIB,
    warmupMs: 100,
    durationMs: SECOND_MS,
    seed: 20_261_121,
    paceMs: PACE_MS,
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
