/**
 * Serving what is not in memory: 1 MiB ranges whose pages were just dropped, beside nginx with aio threads and nginx with directio; what
 * that does to hot requests of the same process; and the disk by itself, which is the end of it.
 *
 * npm run bench -- cold --json             at least 9 rounds, as root (network namespace); two copies of the file: 25 GiB of disk
 * npm run bench -- cold --quick            3 rounds of a smaller file, for a look
 *   --rounds N --hot-rounds N --seconds S --mib N   rounds; seconds of each run; size of the file
 *
 * Every range is a first read: each round has a part of the file of its own, and in it no place comes twice. What is asked for a second
 * time goes through the page cache by design, and from then on is no cold read.
 *
 * Units: throughput ratios are ours over theirs, cpuRatio is our CPU-seconds per GB over theirs; hotP99Ratio is the p99 of hot requests
 *        beside cold ones over their p99 alone.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { seededRandom, type Random } from '#base/random.ts';
import { KIB, MIB } from '#base/units.ts';
import { CompleteCdn, type BenchBox, type BenchFile } from './load/complete-box.ts';
import { machineFacts, numberArgument } from './load/facts.ts';
import type { LoadSpec } from './load/generator.ts';
import { measure, NODE_FLAGS, type Measured } from './load/measure.ts';
import {
  isInNamespace,
  machineLoopback,
  runAgainInside,
  whyNoNamespace,
} from './load/namespace.ts';
import { medianOf, ratioOf, verdictOf, type Ratio, type Verdict } from './load/ratio.ts';
import type { BenchOptions } from './main.ts';
import { startNginx, whyNoNginx } from './peers/nginx.ts';

const PORTS = { nightfill: 17_860, 'nginx-aio-threads': 17_892, 'nginx-directio': 17_893 } as const;
const CONNECTIONS = 32;
const HOT_CONNECTIONS = 8;
const HOT_PACE_MS = 5;
const SEED = 20_261_122;
const HOT_MS = 700;
const HOT_LEAD_MS = 200; // cold requests are under way before the hot ones are counted
const MIB_PER_SECOND_MAX = 1500; // a round's part of the file is made for this; a faster one reads on into the next part
const GOAL_THROUGHPUT_AIO = 1.2;
const GOAL_THROUGHPUT_DIRECTIO = 1;
const GOAL_CPU_DIRECTIO = 1 / 0.6; // their CPU per GB over ours
const GOAL_HOT_P99 = 2;

type Name = keyof typeof PORTS;

interface Contestant {
  readonly name: Name;
  readonly pid: number;
  readonly cold: LoadSpec;
  readonly hot: LoadSpec;
}

interface Row {
  readonly name: Name;
  readonly bytesPerSecond: number;
  readonly cpuSecondsPerGb: number;
  readonly p99Ms: number;
}

interface Hot {
  readonly name: Name;
  readonly aloneP99Ms: number;
  readonly besideColdP99Ms: number;
  readonly hotP99Ratio: Ratio;
}

interface Plan {
  readonly rounds: number;
  readonly hotRounds: number;
  readonly durationMs: number;
  readonly mib: number;
}

/** Where in its scattered order of the file a run begins. */
interface Parts {
  readonly round: (round: number) => number;
  readonly warmUp: number;
  readonly hot: (round: number) => number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  if (options.smoke) return smoke();
  const missing = whyNoNginx() ?? (isInNamespace() ? null : whyNoNamespace());
  if (missing !== null) throw new Error(missing);
  if (!isInNamespace()) process.exit(await runAgainInside());
  const { args } = options;
  const isQuick = args.includes('--quick');
  const rounds = numberArgument(args, '--rounds') ?? (isQuick ? 3 : 9);
  const hotRounds = numberArgument(args, '--hot-rounds') ?? (isQuick ? 2 : 5);
  const durationMs = (numberArgument(args, '--seconds') ?? 0.4) * 1000;
  const neededMs = (rounds + 1) * durationMs + hotRounds * (HOT_MS + HOT_LEAD_MS);
  const mib = numberArgument(args, '--mib') ?? Math.ceil((neededMs / 1000) * MIB_PER_SECOND_MAX);
  return full({ rounds, hotRounds, durationMs, mib });
}

async function full(plan: Plan): Promise<unknown> {
  const { durationMs, mib } = plan;
  await using cdn = await CompleteCdn.start(`files=1x${mib}MiB,1x32MiB;seed=5`);
  await using box = await cdn.box({
    applianceId: 'box-cold',
    sender: 'zero-copy',
    port: PORTS.nightfill,
    isPinned: true,
  });
  await cdn.adopt(box);
  const [big, small] = bySize(cdn.files);
  const nginx = async (name: Name, lines: readonly string[]) => {
    const directory = path.join(cdn.directory, name);
    mkdirSync(directory);
    return startNginx(
      {
        directory,
        root: cdn.originFiles,
        address: cdn.address,
        port: PORTS[name],
        mainLines: ['thread_pool default threads=32;'],
        serverLines: lines,
      },
      machineLoopback(),
    );
  };
  await using threads = await nginx('nginx-aio-threads', ['aio threads;']);
  await using direct = await nginx('nginx-directio', [
    'aio threads;',
    'directio 512;',
    'output_buffers 2 1m;',
  ]);
  const specs = (name: Name, isOurs: boolean): Pick<Contestant, 'cold' | 'hot'> => ({
    cold: specOf(cdn, PORTS[name], isOurs ? big.target : big.originPath, big, durationMs),
    hot: {
      ...specOf(cdn, PORTS[name], isOurs ? small.target : small.originPath, small, durationMs),
      connections: HOT_CONNECTIONS,
      rangeBytes: 64 * KIB,
      paceMs: HOT_PACE_MS,
    },
  });
  const contestants: readonly Contestant[] = [
    { name: 'nightfill', pid: box.pid, ...specs('nightfill', true) },
    { name: 'nginx-aio-threads', pid: threads.pid, ...specs('nginx-aio-threads', false) },
    { name: 'nginx-directio', pid: direct.pid, ...specs('nginx-directio', false) },
  ];
  const files = [big.path, ...volumeFiles(cdn, 'box-cold', big)];
  const parts = partsOf(plan);
  spawnSync('sync'); // what was written just now is not to be measured
  dropPages(files);
  const disk = diskByItself(plan, parts, files[1], big.sizeBytes);
  const measured = await alternate(contestants, plan.rounds, parts, files);
  const hot: Hot[] = [];
  for (const one of contestants.slice(0, 2)) hot.push(await hotBeside(one, plan, parts, files));
  return report(contestants, measured, hot, disk, seededRandom(SEED));
}

/** The file is shared out by how long each kind of run reads. */
function partsOf({ rounds, hotRounds, durationMs, mib }: Plan): Parts {
  const hotMs = HOT_MS + HOT_LEAD_MS;
  const mibPerMs = mib / ((rounds + 1) * durationMs + hotRounds * hotMs);
  return {
    round: (round) => Math.floor(round * durationMs * mibPerMs),
    warmUp: Math.floor(rounds * durationMs * mibPerMs),
    hot: (round) => Math.floor(((rounds + 1) * durationMs + round * hotMs) * mibPerMs),
  };
}

/** Bytes a second of O_DIRECT reads by nobody's server, the median of as many runs. */
function diskByItself(
  { rounds, durationMs }: Plan,
  parts: Parts,
  file: string,
  fileBytes: number,
): number {
  const reader = path.join(import.meta.dirname, 'load', 'disk-reads.ts');
  const rates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const argv = [...NODE_FLAGS, reader, file, fileBytes, parts.round(round), durationMs];
    const env = { ...process.env, UV_THREADPOOL_SIZE: '32' };
    const ended = spawnSync(process.execPath, argv.map(String), { encoding: 'utf8', env });
    if (ended.status !== 0) throw new Error(`the disk cannot be read: ${ended.stderr}`);
    rates.push((JSON.parse(ended.stdout) as { readonly bytesPerSecond: number }).bytesPerSecond);
  }
  return medianOf(rates);
}

/** Each round everybody once, in rotating order, with the pages of both copies dropped before. */
async function alternate(
  contestants: readonly Contestant[],
  rounds: number,
  parts: Parts,
  files: readonly string[],
): Promise<Readonly<Record<Name, readonly Measured[]>>> {
  const measured: Record<Name, Measured[]> = {
    nightfill: [],
    'nginx-aio-threads': [],
    'nginx-directio': [],
  };
  for (const one of contestants) {
    await measure({ ...one.cold, walkFrom: parts.warmUp }, one.pid, machineLoopback());
  }
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const one = contestants[(round + turn) % contestants.length];
      dropPages(files);
      const spec = { ...one.cold, walkFrom: parts.round(round) };
      measured[one.name].push(await measure(spec, one.pid, machineLoopback()));
    }
  }
  return measured;
}

/** p99 of hot requests alone, and with cold ones at the same process; in pairs. */
async function hotBeside(
  one: Contestant,
  { hotRounds }: Plan,
  parts: Parts,
  files: readonly string[],
): Promise<Hot> {
  const loopback = machineLoopback();
  await measure({ ...one.hot, rangeBytes: 0, paceMs: 0 }, one.pid, loopback); // makes it hot
  const aloneMs: number[] = [];
  const besideMs: number[] = [];
  for (let round = 0; round < hotRounds; round++) {
    const alone = await measure({ ...one.hot, durationMs: HOT_MS }, one.pid, loopback);
    dropPages(files);
    const spec = { ...one.cold, walkFrom: parts.hot(round), durationMs: HOT_MS + HOT_LEAD_MS };
    const cold = measure(spec, one.pid, loopback);
    const hot = { ...one.hot, warmupMs: HOT_LEAD_MS, durationMs: HOT_MS - HOT_LEAD_MS };
    const beside = await measure(hot, one.pid, loopback);
    await cold;
    aloneMs.push(alone.load.latencyMs.p99);
    besideMs.push(beside.load.latencyMs.p99);
  }
  return {
    name: one.name,
    aloneP99Ms: round3(medianOf(aloneMs)),
    besideColdP99Ms: round3(medianOf(besideMs)),
    hotP99Ratio: ratioOf(
      besideMs.map((beside, at) => beside / aloneMs[at]),
      seededRandom(SEED),
    ),
  };
}

function report(
  contestants: readonly Contestant[],
  measured: Readonly<Record<Name, readonly Measured[]>>,
  hot: readonly Hot[],
  diskBytesPerSecond: number,
  random: Random,
): unknown {
  const rows = contestants.map(({ name }): Row => {
    const of = (pick: (one: Measured) => number): number => medianOf(measured[name].map(pick));
    return {
      name,
      bytesPerSecond: Math.round(of((one) => one.bytesPerSecond)),
      cpuSecondsPerGb: round3(of((one) => one.cpuSecondsPerGb)),
      p99Ms: Math.round(of((one) => one.load.latencyMs.p99)),
    };
  });
  const against = (name: Name, pick: (us: Measured, them: Measured) => number): Ratio =>
    ratioOf(
      measured.nightfill.map((us, at) => pick(us, measured[name][at])),
      random,
    );
  const judged = (ratio: Ratio, goal: number): Ratio & { goal: number; verdict: Verdict } => ({
    ...rounded(ratio),
    goal: round3(goal),
    verdict: verdictOf(ratio, goal),
  });
  const throughput = (us: Measured, them: Measured): number =>
    us.bytesPerSecond / them.bytesPerSecond;
  const cpu = (us: Measured, them: Measured): number => them.cpuSecondsPerGb / us.cpuSecondsPerGb;
  const cold = {
    rows,
    diskBytesPerSecond: Math.round(diskBytesPerSecond),
    throughputOverAioThreads: judged(against('nginx-aio-threads', throughput), GOAL_THROUGHPUT_AIO),
    throughputOverDirectio: judged(against('nginx-directio', throughput), GOAL_THROUGHPUT_DIRECTIO),
    directioCpuOverOurs: judged(against('nginx-directio', cpu), GOAL_CPU_DIRECTIO),
    hot: hot.map((one) => ({ ...one, hotP99Ratio: rounded(one.hotP99Ratio) })),
    hotGoal: GOAL_HOT_P99,
  };
  console.error(`the disk by itself: ${(diskBytesPerSecond / 1e9).toFixed(2)} GB/s`);
  for (const row of rows) {
    const rate = (row.bytesPerSecond / 1e9).toFixed(2);
    console.error(
      `${row.name}: ${rate} GB/s, p99 ${row.p99Ms} ms, ${row.cpuSecondsPerGb} CPU-s/GB`,
    );
  }
  for (const one of hot) {
    console.error(
      `${one.name}: hot p99 ${one.aloneP99Ms} ms alone, ${one.besideColdP99Ms} ms beside cold requests`,
    );
  }
  return { cold, machine: machineFacts() };
}

async function smoke(): Promise<unknown> {
  await using cdn = await CompleteCdn.start('files=1x8MiB;seed=5', '127.78.0.3', 17_500);
  const [file] = cdn.files;
  await using box: BenchBox = await cdn.box({
    applianceId: 'box-cold',
    sender: 'zero-copy',
    port: 17_560,
    isPinned: false,
  });
  await cdn.warm(box, file);
  dropPages(volumeFiles(cdn, 'box-cold', file));
  const spec = { ...specOf(cdn, 17_560, file.target, file, 300), connections: 4 };
  const { load } = await measure(spec, box.pid, machineLoopback());
  return { cold: { requests: load.requests, bytes: load.totalBytes }, smoke: true };
}

function specOf(
  cdn: CompleteCdn,
  port: number,
  target: string,
  file: BenchFile,
  durationMs: number,
): LoadSpec {
  return {
    address: cdn.address,
    port,
    targets: [target],
    fields: [],
    connections: CONNECTIONS,
    rangeBytes: MIB,
    fileBytes: file.sizeBytes,
    alignBytes: MIB,
    warmupMs: 0,
    durationMs,
    seed: SEED,
    paceMs: 0,
  };
}

function bySize(files: readonly BenchFile[]): readonly BenchFile[] {
  return files.toSorted((a, b) => b.sizeBytes - a.sizeBytes);
}

/** Where the box keeps the file: the files of its volume whose name holds the id. */
function volumeFiles(cdn: CompleteCdn, applianceId: string, file: BenchFile): readonly string[] {
  const volume = path.join(cdn.directory, applianceId, 'volume');
  const found = globSync(`**/*${file.fileId}*`, { cwd: volume });
  if (found.length === 0) throw new Error(`${volume} holds nothing of ${file.fileId}`);
  return found.map((name) => path.join(volume, name));
}

/** Drops the clean pages of these files only: the machine's other work keeps its cache. */
function dropPages(files: readonly string[]): void {
  for (const file of files) {
    const how = ['oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'];
    const ended = spawnSync('dd', ['if=/dev/null', `of=${file}`, ...how], { encoding: 'utf8' });
    if (ended.status !== 0) throw new Error(`the pages of ${file} stay: ${ended.stderr}`);
  }
}

function rounded({ pairs, median, low, high }: Ratio): Ratio {
  return { pairs, median: round3(median), low: round3(low), high: round3(high) };
}

function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}
