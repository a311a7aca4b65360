/**
 * A thousand clients ask for one chunk that is not here: how often is the origin asked? nginx's proxy_cache (slices, lock on) beside it.
 *
 * npm run bench -- coalesce --json         3 rounds, each on a chunk that nobody has; as root (network namespace)
 *   --clients N --rounds N
 *
 * Units: upstreamFetches = whole chunks in the bytes that the origin sent; upstreamBytes = all of them, a chunk list of 61 bytes included;
 *        both of the worst round.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { MIB } from '#base/units.ts';
import { CompleteCdn, type BenchFile } from './load/complete-box.ts';
import { machineFacts, numberArgument } from './load/facts.ts';
import type { LoadReport } from './load/generator.ts';
import { measure } from './load/measure.ts';
import {
  isInNamespace,
  machineLoopback,
  runAgainInside,
  whyNoNamespace,
} from './load/namespace.ts';
import type { BenchOptions } from './main.ts';
import { startNginx, whyNoNginx } from './peers/nginx.ts';

const CHUNK = MIB;
const BOX_PORT = 17_850;
const NGINX_PORT = 17_891;
const NEVER_MS = 3_600_000; // one request per connection
const SECONDS_PER_ROUND = 8;

interface Round {
  readonly answered: number;
  readonly upstreamFetches: number;
  readonly upstreamBytes: number;
  readonly p99Ms: number;
  readonly firstByteP50Ms: number;
}

interface Side {
  readonly clients: number;
  readonly answered: number;
  readonly upstreamFetches: number;
  readonly upstreamBytes: number;
  readonly p99Ms: number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  if (options.smoke) return compare(20, 1, '127.78.0.2', 17_600, false);
  const missing = whyNoNginx() ?? (isInNamespace() ? null : whyNoNamespace());
  if (missing !== null) throw new Error(missing);
  if (!isInNamespace()) process.exit(await runAgainInside());
  const clients = numberArgument(options.args, '--clients') ?? 1000;
  const rounds = numberArgument(options.args, '--rounds') ?? 3;
  return compare(clients, rounds, '127.0.0.1', 17_800, true);
}

async function compare(
  clients: number,
  rounds: number,
  address: string,
  portBase: number,
  withNginx: boolean,
): Promise<unknown> {
  await using cdn = await CompleteCdn.start(`files=${rounds + 1}x1MiB;seed=9`, address, portBase);
  await using box = await cdn.box({
    applianceId: 'box-coalesce',
    sender: 'zero-copy',
    port: portBase - 17_800 + BOX_PORT,
    isPinned: true,
  });
  await cdn.warm(box, cdn.files[rounds]); // it has its keys, and knows the title
  const ours: Round[] = [];
  for (const file of cdn.files.slice(0, rounds)) {
    ours.push(await ask(cdn, file, file.target, box.port, box.pid, clients));
  }
  const nightfill = sideOf(clients, ours);
  console.error(lineOf('nightfill', nightfill));
  if (!withNginx) return { coalesce: { nightfill }, smoke: true };
  const directory = path.join(cdn.directory, 'nginx');
  mkdirSync(directory);
  await using nginx = await startNginx(
    {
      directory,
      root: directory,
      address,
      port: NGINX_PORT,
      httpLines: [
        `proxy_cache_path ${directory}/cache levels=1:2 keys_zone=c:16m max_size=1g;`,
        `upstream origin { server ${new URL(cdn.originUrl).host}; keepalive 64; }`,
      ],
      location: [
        'slice 1m;',
        'proxy_cache c;',
        'proxy_cache_key $uri$slice_range;',
        'proxy_cache_valid 200 206 1h;',
        'proxy_cache_lock on;',
        'proxy_cache_lock_age 30s;',
        'proxy_cache_lock_timeout 30s;',
        'proxy_set_header Range $slice_range;',
        'proxy_set_header Connection "";',
        'proxy_set_header Host $http_host;',
        'proxy_http_version 1.1;',
        'proxy_pass http://origin;',
      ].join(' '),
    },
    machineLoopback(),
  );
  const theirs: Round[] = [];
  for (const file of cdn.files.slice(0, rounds)) {
    theirs.push(await ask(cdn, file, file.target, NGINX_PORT, nginx.pid, clients));
  }
  const peer = sideOf(clients, theirs);
  console.error(lineOf('nginx', peer));
  return { coalesce: { nightfill, nginx: peer }, machine: machineFacts() };
}

async function ask(
  cdn: CompleteCdn,
  file: BenchFile,
  target: string,
  port: number,
  pid: number,
  clients: number,
): Promise<Round> {
  const before = await originBytes(cdn);
  const spec = {
    address: cdn.address,
    port,
    targets: [target],
    fields: [],
    connections: clients,
    rangeBytes: Math.min(CHUNK, file.sizeBytes),
    fileBytes: file.sizeBytes,
    alignBytes: CHUNK,
    warmupMs: 0,
    durationMs: (clients < 100 ? 2 : SECONDS_PER_ROUND) * 1000,
    seed: 1,
    paceMs: NEVER_MS,
  };
  const { load }: { readonly load: LoadReport } = await measure(spec, pid, machineLoopback());
  const fetched = (await originBytes(cdn)) - before;
  return {
    answered: load.requests,
    upstreamFetches: Math.floor(fetched / CHUNK),
    upstreamBytes: fetched,
    p99Ms: Math.round(load.latencyMs.p99),
    firstByteP50Ms: Math.round(load.firstByteMs.p50),
  };
}

/** Body bytes that the origin sent so far, to boxes on demand and to viewers' tokens. */
async function originBytes(cdn: CompleteCdn): Promise<number> {
  const status = (await cdn.originStatus()) as { readonly serveBytes: number };
  return status.serveBytes;
}

function sideOf(clients: number, rounds: readonly Round[]): Side {
  return {
    clients,
    answered: Math.min(...rounds.map((round) => round.answered)),
    upstreamFetches: Math.max(...rounds.map((round) => round.upstreamFetches)),
    upstreamBytes: Math.max(...rounds.map((round) => round.upstreamBytes)),
    p99Ms: Math.max(...rounds.map((round) => round.p99Ms)),
  };
}

function lineOf(name: string, side: Side): string {
  return `${name}: ${side.answered} of ${side.clients} clients answered, ${side.upstreamFetches} upstream fetches, p99 ${side.p99Ms} ms`;
}
