/**
 * Serving from the page cache: the complete appliance beside nginx, alternating in one run, one core for the server and one for the load.
 *
 * npm run bench -- serve --json            at least 9 pairs per case, about 8 minutes, as root (network namespace)
 * npm run bench -- serve --quick           3 pairs, for a look
 *   --pairs N --seconds S                  pairs per case, seconds of each run
 *   --cases 65536x32,1048576x256           bytes x connections
 *   --listeners N                          one serving thread against N, nginx with one worker and N beside it; nothing is pinned
 *   --senders zero-copy,portable,tls       tls: the TLS listener (portable path) beside nginx with ssl, TLS 1.3 AES-128-GCM
 *
 * Units: eff = nginx's CPU-seconds per GB over ours: above 1 ours needs less. throughputRatio and p99Ratio are ours over nginx's.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { seededRandom, type Random } from '#base/random.ts';
import { KIB, MIB } from '#base/units.ts';
import { CompleteCdn, type BenchBox, type BenchFile } from './load/complete-box.ts';
import { machineFacts, numberArgument, textArgument } from './load/facts.ts';
import type { LoadSpec } from './load/generator.ts';
import { measure, type Measured, type RunningServer } from './load/measure.ts';
import {
  isInNamespace,
  machineLoopback,
  runAgainInside,
  whyNoNamespace,
} from './load/namespace.ts';
import { medianOf, ratioOf, verdictOf, type Verdict } from './load/ratio.ts';
import type { BenchOptions } from './main.ts';
import { compareListeners } from './serve/listeners.ts';
import { nginxVersion, startNginx, whyNoNginx } from './peers/nginx.ts';

const ADDRESS_INSIDE = '127.0.0.1';
const ADDRESS_OUTSIDE = '127.78.0.1'; // a smoke run shares the machine's loopback with others
const NGINX_PORT = 17_890;
const NGINX_TLS_PORT = 17_891;
const BOX_PORTS = { 'zero-copy': 17_820, portable: 17_830, tls: 17_835 } as const;
const BOX_TLS_PORT = 17_837;
const ALIGN_BYTES = 4 * KIB;
const WARM_MS = 2000; // one warming run; the JIT is warm after so many requests:
const WARM_REQUESTS = 40_000;
const WARM_RUNS_MAX = 10;
const SEED = 20_261_121;

type Contestant = keyof typeof BOX_PORTS;
type SenderKind = Exclude<Contestant, 'tls'>;

export interface Case {
  readonly bytes: number;
  readonly connections: number;
}

interface Plan {
  readonly cases: readonly Case[];
  readonly senders: readonly Contestant[];
  readonly pairs: number;
  readonly seconds: number;
  readonly fileMib: number;
  readonly listeners: number | null;
}

interface Row extends Case {
  readonly tls: boolean;
  readonly sender: SenderKind;
  readonly eff: number;
  readonly effLow: number;
  readonly effHigh: number;
  readonly throughputRatio: number;
  readonly p99Ratio: number | null; // null: a run was too short for a whole answer
  readonly pairs: number;
  readonly goal: number | null;
  readonly verdict: Verdict | null;
  readonly cpuSecondsPerGb: number;
  readonly bytesPerSecond: number;
  readonly p99Ms: number;
  readonly firstByteP99Ms: number;
}

interface SmokeRow extends Case {
  readonly sender: SenderKind;
  readonly requests: number;
}

/** Goals for the zero-copy sender: nginx's CPU per GB over ours. */
function goalOf(sender: Contestant, bytes: number): number | null {
  if (sender !== 'zero-copy') return null;
  return bytes <= 64 * KIB ? 1.25 : bytes <= MIB ? 1 : 0.95;
}

const FULL_CASES: readonly Case[] = [32, 256].flatMap((connections) =>
  [64 * KIB, MIB, 4 * MIB].map((bytes) => ({ bytes, connections })),
);

export async function run(options: BenchOptions): Promise<unknown> {
  if (options.smoke) return smoke();
  const missing = whyNoNginx() ?? (isInNamespace() ? null : whyNoNamespace());
  if (missing !== null) throw new Error(missing);
  if (!isInNamespace()) {
    // The process inside prints everything, the last line included.
    process.exit(await runAgainInside());
  }
  return full(planOf(options.args));
}

function planOf(args: readonly string[]): Plan {
  const isQuick = args.includes('--quick');
  const casesText = textArgument(args, '--cases');
  const sendersText = textArgument(args, '--senders') ?? 'zero-copy,portable,tls';
  const cases = casesText?.split(',').map((text) => {
    const [bytes, connections] = text.split('x').map(Number);
    if (!(bytes > 0) || !(connections > 0))
      throw new Error(`--cases: ${text} is no BYTESxCONNECTIONS`);
    return { bytes, connections };
  });
  const senders = sendersText.split(',').map((text) => {
    if (text !== 'zero-copy' && text !== 'portable' && text !== 'tls')
      throw new Error(`--senders: no ${text}`);
    return text;
  });
  return {
    cases: cases ?? FULL_CASES,
    senders,
    pairs: numberArgument(args, '--pairs') ?? (isQuick ? 3 : 11),
    seconds: numberArgument(args, '--seconds') ?? (isQuick ? 1 : 2),
    fileMib: 128,
    listeners: numberArgument(args, '--listeners') ?? null,
  };
}

async function full(plan: Plan): Promise<unknown> {
  const loopback = machineLoopback(); // of the namespace that this process is in
  await using cdn = await CompleteCdn.start(`files=1x${plan.fileMib}MiB;seed=7`, ADDRESS_INSIDE);
  const file = cdn.files[0];
  if (plan.listeners !== null) {
    const { pairs, seconds, cases, listeners } = plan;
    const rows = await compareListeners(cdn, { pairs, seconds, cases, listeners, specOf });
    return { listeners: rows, machine: machineFacts(), nginx: nginxVersion() };
  }
  const nginxDirectory = path.join(cdn.directory, 'nginx');
  mkdirSync(nginxDirectory);
  const certificate = makeCertificate(cdn.directory);
  await using nginx = await startNginx(
    {
      directory: nginxDirectory,
      root: cdn.originFiles,
      address: cdn.address,
      port: NGINX_PORT,
      serverLines: tlsLinesOf(certificate),
    },
    loopback,
  );
  const random = seededRandom(SEED);
  const serve: Row[] = [];
  const verified: Record<string, Verified> = {};
  for (const sender of plan.senders) {
    const port = BOX_PORTS[sender];
    await using box = await cdn.box({
      applianceId: `box-${sender}`,
      sender: sender === 'tls' ? 'portable' : sender,
      port,
      isPinned: true,
      ...(sender === 'tls' ? { tls: { port: BOX_TLS_PORT, ...certificate } } : {}),
    });
    await cdn.warm(box, file);
    verified[sender] = await verify(cdn, box, file, random, 200);
    console.error(`${sender}: ${verified[sender].ranges} ranges verified byte for byte`);
    await warmUp(cdn, box, file);
    for (const one of plan.cases) {
      const row = await compare(plan, one, sender, { cdn, box, nginx, file, random });
      serve.push(row);
      console.error(lineOf(row));
    }
  }
  return { serve, verified, machine: machineFacts(), nginx: nginxVersion() };
}

interface Contestants {
  readonly cdn: CompleteCdn;
  readonly box: BenchBox;
  readonly nginx: RunningServer;
  readonly file: BenchFile;
  readonly random: Random;
}

async function compare(plan: Plan, one: Case, sender: Contestant, who: Contestants): Promise<Row> {
  const isTls = sender === 'tls';
  const { cdn, box, nginx, file, random } = who;
  const loopback = machineLoopback();
  const durationMs = plan.seconds * 1000;
  const ourPort = isTls ? BOX_TLS_PORT : box.port;
  const theirPort = isTls ? NGINX_TLS_PORT : NGINX_PORT;
  const ours = { ...specOf(cdn.address, ourPort, file.target, file, one, durationMs), isTls };
  const theirs = {
    ...specOf(cdn.address, theirPort, file.originPath, file, one, durationMs),
    isTls,
  };
  await measure(ours, box.pid, loopback);
  await measure({ ...theirs, durationMs: 500 }, nginx.pid, loopback);
  const pairs: { readonly us: Measured; readonly them: Measured }[] = [];
  for (let pair = 0; pair < plan.pairs; pair++) {
    const seed = SEED + pair;
    // Who goes first alternates too: a drift of the machine is nobody's.
    const usFirst = pair % 2 === 0;
    const first = await measure(
      { ...(usFirst ? ours : theirs), seed },
      usFirst ? box.pid : nginx.pid,
      loopback,
    );
    const second = await measure(
      { ...(usFirst ? theirs : ours), seed },
      usFirst ? nginx.pid : box.pid,
      loopback,
    );
    pairs.push(usFirst ? { us: first, them: second } : { us: second, them: first });
  }
  const ratio = ratioOf(
    pairs.map(({ us, them }) => them.cpuSecondsPerGb / us.cpuSecondsPerGb),
    random,
  );
  const goal = goalOf(sender, one.bytes);
  const median = (of: (pair: (typeof pairs)[number]) => number): number => medianOf(pairs.map(of));
  return {
    ...one,
    tls: isTls,
    sender: isTls ? 'portable' : sender,
    eff: round(ratio.median),
    effLow: round(ratio.low),
    effHigh: round(ratio.high),
    throughputRatio: round(median(({ us, them }) => us.bytesPerSecond / them.bytesPerSecond)),
    p99Ratio: finite(median(({ us, them }) => us.load.latencyMs.p99 / them.load.latencyMs.p99)),
    pairs: ratio.pairs,
    goal,
    verdict: goal === null ? null : verdictOf(ratio, goal),
    cpuSecondsPerGb: round(median(({ us }) => us.cpuSecondsPerGb)),
    bytesPerSecond: Math.round(median(({ us }) => us.bytesPerSecond)),
    p99Ms: round(median(({ us }) => us.load.latencyMs.p99)),
    firstByteP99Ms: round(median(({ us }) => us.load.firstByteMs.p99)),
  };
}

/** On a busy machine two seconds are few requests, and half-compiled code would be measured: many small ones, then the cases. */
async function warmUp(cdn: CompleteCdn, box: BenchBox, file: BenchFile): Promise<void> {
  const small = { bytes: 64 * KIB, connections: 32 };
  const spec = specOf(cdn.address, box.port, file.target, file, small, WARM_MS);
  let requests = 0;
  for (let run = 0; run < WARM_RUNS_MAX && requests < WARM_REQUESTS; run++) {
    requests += (await measure(spec, box.pid, machineLoopback())).load.requests;
  }
}

/** Without root, nginx or a namespace: both senders run, answer and are verified. */
async function smoke(): Promise<unknown> {
  const parent = tmpdir();
  await using cdn = await CompleteCdn.start('files=1x8MiB;seed=7', ADDRESS_OUTSIDE, 17_700, parent);
  const file = cdn.files[0];
  const random = seededRandom(SEED);
  const rows: SmokeRow[] = [];
  const verified: Record<string, Verified> = {};
  for (const sender of ['zero-copy', 'portable'] as const) {
    const port = BOX_PORTS[sender] - 100;
    await using box = await cdn.box({
      applianceId: `box-${sender}`,
      sender,
      port,
      isPinned: false,
    });
    await cdn.warm(box, file);
    verified[sender] = await verify(cdn, box, file, random, 20);
    for (const one of [{ bytes: 64 * KIB, connections: 8 }]) {
      const spec = specOf(cdn.address, box.port, file.target, file, one, 300);
      const measured = await measure(spec, box.pid, machineLoopback());
      rows.push({ ...one, sender, requests: measured.load.requests });
    }
  }
  return { serve: rows, verified, smoke: true };
}

interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Self-signed, for both contestants. */
function makeCertificate(directory: string): CertificateFiles {
  const certificateFile = path.join(directory, 'tls.crt');
  const keyFile = path.join(directory, 'tls.key');
  const kind = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2'.split(' ');
  const names = ['-subj', '/CN=bench', '-keyout', keyFile, '-out', certificateFile];
  execFileSync('openssl', [...kind, ...names], { stdio: 'pipe' });
  return { certificateFile, keyFile };
}

function tlsLinesOf({ certificateFile, keyFile }: CertificateFiles): readonly string[] {
  return [
    `listen ${ADDRESS_INSIDE}:${NGINX_TLS_PORT} ssl;`,
    `ssl_certificate ${certificateFile};`,
    `ssl_certificate_key ${keyFile};`,
    'ssl_protocols TLSv1.2 TLSv1.3;',
    'ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;',
  ];
}

export type SpecOf = typeof specOf;

function specOf(
  address: string,
  port: number,
  target: string,
  file: BenchFile,
  one: Case,
  durationMs: number,
): LoadSpec {
  return {
    address,
    port,
    targets: [target],
    fields: ['User-Agent: Mozilla/5.0 (bench)', 'Accept: */*', 'Origin: http://player.example'],
    connections: one.connections,
    rangeBytes: one.bytes,
    fileBytes: file.sizeBytes,
    alignBytes: ALIGN_BYTES,
    warmupMs: 200,
    durationMs,
    seed: SEED,
    paceMs: 0,
  };
}

interface Verified {
  readonly ranges: number;
  readonly bytes: number;
  readonly wrong: number;
}

/** Random ranges of random lengths compared with the origin's bytes. Throws at the first that differs. */
async function verify(
  cdn: CompleteCdn,
  box: BenchBox,
  file: BenchFile,
  random: Random,
  ranges: number,
): Promise<Verified> {
  const fd = openSync(file.path, 'r');
  let bytes = 0;
  try {
    for (let at = 0; at < ranges; at++) {
      const start = random.below(file.sizeBytes);
      const longest = Math.min(file.sizeBytes - start, at % 4 === 0 ? 4 * MIB : 70 * KIB);
      const length = 1 + random.below(longest);
      const expected = Buffer.allocUnsafe(length);
      readSync(fd, expected, 0, length, start);
      const answer = await cdn.get(box.port, file.target, start, start + length - 1);
      if (!answer.bytes.equals(expected)) {
        throw new Error(
          `${box.name}: bytes ${start} to ${start + length - 1} are not the origin's`,
        );
      }
      bytes += length;
    }
  } finally {
    closeSync(fd);
  }
  return { ranges, bytes, wrong: 0 };
}

function lineOf(row: Row): string {
  const goal = row.goal === null ? '' : ` goal ${row.goal}: ${row.verdict}`;
  return (
    `${row.sender}${row.tls ? ', TLS' : ''} ${row.bytes / KIB} KiB x ${row.connections}: eff ${row.eff} [${row.effLow}, ${row.effHigh}]${goal}; ` +
    `throughput ${row.throughputRatio}, p99 ${row.p99Ratio} of nginx's; ${(row.bytesPerSecond / 1e9).toFixed(2)} GB/s`
  );
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? round(value) : null;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
