/**
 * How many DNS answers a second one core gives, by the client's network: ours, gdnsd (geoip) and PowerDNS (geoip), the same zone.
 *
 * npm run bench -- dns --json        3 rounds of 4 s each, in turn
 *   --rounds N --seconds S --servers nightfill,nightfill-portable,gdnsd,powerdns
 *
 * Queries come from 256 source addresses (127.90.x.y), each with a client subnet of its own among 4,096 networks; ours limits rates and has
 * cookies on. The servers are pinned to one core, the generator to the other; with --dnsperf, dnsperf asks as well (one source, one subnet, so
 * ours without rate limits then).
 *
 * Units: queries answered per second; milliseconds from a burst's sending to each answer; microseconds of the server's CPU per query
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { cpuSecondsOf } from './load/cpu.ts';
import type { DnsLoadReport, DnsLoadSpec } from './load/dns-generator.ts';
import { NAME } from './load/dns-zone.ts';
import { machineFacts, numberArgument, textArgument } from './load/facts.ts';
import { NODE_FLAGS, pinned, startServer, type RunningServer } from './load/measure.ts';
import { machineLoopback } from './load/namespace.ts';
import type { BenchOptions } from './main.ts';
import { gdnsd, powerDns, whyMissing } from './peers/dns-servers.ts';

const PORT = 15_353;
const SOURCES = 256;
const SUBNET_BITS = 16; // 11.0.0.0/8 in /24 networks
const DNSPERF_SUBNET = '8:000118000b0520'; // 11.5.32.0/24

interface Plan {
  readonly server: string;
  readonly address: string;
  readonly why: string | null;
  start(directory: string): Promise<RunningServer>;
}

interface Run {
  readonly load: DnsLoadReport;
  readonly cpuMicrosPerQuery: number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  const wanted = (
    textArgument(options.args, '--servers') ?? 'nightfill,nightfill-portable,gdnsd,powerdns'
  ).split(',');
  const rounds = options.smoke ? 1 : (numberArgument(options.args, '--rounds') ?? 3);
  const seconds = options.smoke ? 0.3 : (numberArgument(options.args, '--seconds') ?? 4);
  const plans = PLANS.filter(({ server }) => wanted.includes(server));
  const missing = plans.flatMap(({ why }) => (why === null ? [] : [why]));
  if (missing.length > 0 && !options.smoke) throw new Error(missing.join('\n'));
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-dns-bench-'));
  const running: { plan: Plan; server: RunningServer; runs: Run[] }[] = [];
  try {
    for (const plan of plans) {
      if (plan.why !== null) continue;
      running.push({ plan, server: await plan.start(path.join(directory, plan.server)), runs: [] });
    }
    for (let round = 0; round < rounds; round++) {
      // Who goes first alternates: a machine that slows down slows each of them.
      for (const entry of round % 2 === 0 ? running : running.toReversed()) {
        entry.runs.push(await measure(entry.plan.address, entry.server.pid, seconds, round));
        console.error(
          `round ${round + 1}, ${entry.plan.server}: ${JSON.stringify(entry.runs.at(-1))}`,
        );
      }
    }
    const dnsperf = options.args.includes('--dnsperf')
      ? await withDnsperf(running, directory, seconds)
      : undefined;
    return {
      dns: running.map(({ plan, runs }) => summary(plan.server, runs)),
      ...(dnsperf === undefined ? {} : { dnsperf }),
      machine: machineFacts(),
    };
  } finally {
    for (const { server } of running) await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  }
}

function startOurs(address: string, ...how: readonly string[]): Promise<RunningServer> {
  const file = path.join(import.meta.dirname, 'load', 'dns-node.ts');
  const argv = [process.execPath, ...NODE_FLAGS, file, address, String(PORT), ...how];
  return startServer('nightfill', argv, machineLoopback(), (output) =>
    output.includes('dns ready'),
  );
}

const PLANS: readonly Plan[] = [
  {
    server: 'nightfill',
    address: '127.91.0.1',
    why: null,
    start: () => startOurs('127.91.0.1', 'batches'),
  },
  {
    server: 'nightfill-portable',
    address: '127.91.0.2',
    why: null,
    start: () => startOurs('127.91.0.2', 'portable'),
  },
  {
    server: 'gdnsd',
    address: '127.91.0.3',
    why: whyMissing('gdnsd', 'gdnsd'),
    start: (directory) => {
      const { argv, isReady } = gdnsd(directory, '127.91.0.3', PORT);
      return startServer('gdnsd', argv, machineLoopback(), isReady);
    },
  },
  {
    server: 'powerdns',
    address: '127.91.0.4',
    why: whyMissing('pdns_server', 'pdns-server pdns-backend-geoip'),
    start: (directory) => {
      const { argv, isReady } = powerDns(directory, '127.91.0.4', PORT);
      return startServer('powerdns', argv, machineLoopback(), isReady);
    },
  },
];

async function measure(address: string, pid: number, seconds: number, round: number): Promise<Run> {
  const spec: DnsLoadSpec = {
    address,
    port: PORT,
    name: NAME,
    sources: SOURCES,
    seconds,
    warmUpSeconds: Math.min(1, seconds),
    burst: 16,
    underWay: 8,
    seed: 1000 + round,
    subnetBits: SUBNET_BITS,
  };
  const file = path.join(import.meta.dirname, 'load', 'dns-generator.ts');
  const before = cpuSecondsOf(pid);
  const output = await textOf(
    pinned('load', [process.execPath, ...NODE_FLAGS, file, JSON.stringify(spec)]),
  );
  const cpuSeconds = cpuSecondsOf(pid) - before;
  const load = JSON.parse(output) as DnsLoadReport;
  const total = (load.answered * (spec.seconds + spec.warmUpSeconds)) / spec.seconds;
  return { load, cpuMicrosPerQuery: Number(((cpuSeconds * 1e6) / total).toFixed(2)) };
}

function textOf(argv: readonly string[]): Promise<string> {
  const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  const onExit = (): void => void child.kill('SIGKILL');
  process.on('exit', onExit);
  let output = '';
  child.stdout.on('data', (part: Buffer) => (output += part.toString()));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      process.off('exit', onExit);
      if (code === 0) resolve(output);
      else reject(new Error(`${argv.join(' ')} ended with status ${code}`));
    });
  });
}

function summary(server: string, runs: readonly Run[]): object {
  const median = (of: (run: Run) => number): number => {
    const sorted = runs.map(of).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  };
  return {
    server,
    qps: median(({ load }) => load.qps),
    p50Ms: median(({ load }) => load.p50Ms),
    p99Ms: median(({ load }) => load.p99Ms),
    cpuMicrosPerQuery: median(({ cpuMicrosPerQuery }) => cpuMicrosPerQuery),
    lost: runs.reduce((sum, { load }) => sum + load.lost, 0),
    bad: runs.reduce((sum, { load }) => sum + load.bad, 0),
    qpsOfRounds: runs.map(({ load }) => load.qps),
  };
}

/** dnsperf's own figures: one source address and one client subnet. */
async function withDnsperf(
  running: readonly { readonly plan: Plan }[],
  directory: string,
  seconds: number,
): Promise<object> {
  const why = whyMissing('dnsperf', 'dnsperf');
  if (why !== null) throw new Error(why);
  const file = path.join(directory, 'queries');
  writeFileSync(file, `${NAME} A\n`);
  await using unlimited = await startOurs('127.91.0.9', 'batches', 'unlimited');
  void unlimited;
  const figures: Record<string, object> = {};
  for (const { plan } of running) {
    if (plan.server === 'nightfill-portable') continue;
    const address = plan.server === 'nightfill' ? '127.91.0.9' : plan.address;
    const argv = pinned('load', [
      'dnsperf',
      '-s',
      address,
      '-p',
      String(PORT),
      '-d',
      file,
      '-l',
      String(Math.ceil(seconds)),
      '-c',
      '8',
      '-e',
      '-E',
      DNSPERF_SUBNET,
    ]);
    const { stdout } = spawnSync(argv[0], argv.slice(1), { encoding: 'utf8' });
    const qps = Number(/Queries per second:\s+([\d.]+)/.exec(stdout)?.[1]);
    const averageMs = Number(/Average Latency \(s\):\s+([\d.]+)/.exec(stdout)?.[1]) * 1000;
    figures[plan.server] = { qps: Math.round(qps), averageMs: Number(averageMs.toFixed(3)) };
  }
  return figures;
}
