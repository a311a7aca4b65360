/**
 * What an appliance's own eviction and admission keep, beside plain LRU, SIEVE and S3-FIFO, nothing being forecast.
 *
 * npm run bench -- evict --json
 *   --data DIR     traces (default ../shared/data beside the project)
 *   --shares 0.1   cache sizes as shares of each trace's footprint (default 0.01,0.03,0.1,0.3)
 *
 * Units: hit ratios of requests (object) and of bytes (byte); sizeBytes of the cache. `nightfill` runs the store's own code.
 * Traces: a block trace (exact misses of LRU, SIEVE and S3-FIFO are checked by `cachesim`), a small text trace, and requests
 *         made from a video CDN's footprint descriptor (traces/video-trace.ts says what they cannot show)
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { seededRandom } from '#base/random.ts';
import { formatBytes } from '#base/units.ts';
import { CACHE_POLICIES, readTrace, runPolicy, type Trace } from '#fill-planner/fill-planner.ts';
import { machineFacts, textArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';
import { readFootprint, videoTrace } from './traces/video-trace.ts';

const POLICIES = ['nightfill', 'lru', 'sieve', 's3-fifo'] as const;
const SHARES = [0.01, 0.03, 0.1, 0.3];
const VIDEO_REQUESTS = 300_000;

interface Row {
  readonly trace: string;
  readonly policy: string;
  readonly share: number;
  readonly sizeBytes: number;
  readonly byteHitRatio: number;
  readonly objectHitRatio: number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  const traces = options.smoke ? [skewedTrace()] : sharedTraces(options.args);
  const given = textArgument(options.args, '--shares');
  const shares = given === null ? SHARES : given.split(',').map(Number);
  if (shares.some((share) => !(share > 0 && share <= 1))) {
    throw new Error(`--shares ${given}: each is above 0 and at most 1`);
  }
  const rows: Row[] = [];
  for (const trace of traces) {
    console.error(
      `${trace.name}: ${trace.requests} requests, ${trace.objects} objects, footprint ${formatBytes(trace.bytesDistinct)}`,
    );
    for (const share of shares) {
      const here = POLICIES.map((policy) => rowOf(trace, policy, share));
      rows.push(...here);
      console.error(
        `  ${formatBytes(here[0].sizeBytes).padEnd(9)} ${here.map(textOf).join('   ')}`,
      );
    }
  }
  return { evict: rows, machine: machineFacts() };
}

function sharedTraces(args: readonly string[]): readonly Trace[] {
  const data =
    textArgument(args, '--data') ?? path.join(import.meta.dirname, '..', '..', 'shared', 'data');
  const directory = path.join(data, 'traces');
  const block = path.join(directory, 'libCacheSim', 'cloudPhysicsIO.oracleGeneral.bin');
  const text = path.join(directory, 'webcachesim-test.tr');
  const video = path.join(directory, 'tragen-video');
  const missing = [block, text, video].filter((file) => !existsSync(file));
  if (missing.length > 0) {
    throw new Error(
      `no traces at ${missing.join(', ')}: give --data DIR, or --smoke for a generated trace`,
    );
  }
  return [
    { ...readTrace(block), name: 'cloudPhysicsIO' },
    { ...readTrace(text), name: 'webcachesim-test' },
    { ...videoTrace(readFootprint(video), VIDEO_REQUESTS, 1), name: 'tragen-video' },
  ];
}

function rowOf(trace: Trace, policy: string, share: number): Row {
  const sizeBytes = Math.max(1, Math.round(trace.bytesDistinct * share));
  const result = runPolicy(trace, CACHE_POLICIES[policy], sizeBytes);
  return {
    trace: trace.name,
    policy,
    share,
    sizeBytes,
    byteHitRatio: round(1 - result.byteMissRatio),
    objectHitRatio: round(1 - result.objectMissRatio),
  };
}

function round(ratio: number): number {
  return Math.round(ratio * 1e4) / 1e4;
}

function textOf(row: Row): string {
  const percent = (ratio: number): string => (ratio * 100).toFixed(1);
  return `${row.policy} ${percent(row.byteHitRatio)} % of bytes, ${percent(row.objectHitRatio)} % of requests`;
}

/** Zipf with exponent 1 over a day, objects of 1 to 9 MB: needs no data, shows that the bench runs. */
function skewedTrace(): Trace {
  const [objects, requests] = [5000, 30_000];
  const random = seededRandom(1);
  const ids = new Int32Array(requests);
  const sizes = new Uint32Array(requests);
  let bytesRequested = 0;
  for (let at = 0; at < requests; at++) {
    ids[at] = Math.min(objects - 1, Math.floor(objects ** random.next()) - 1);
    sizes[at] = sizeOf(ids[at]);
    bytesRequested += sizes[at];
  }
  const seconds = Float64Array.from(ids, (_, at) => (at * 86_400) / requests);
  let bytesDistinct = 0;
  for (let id = 0; id < objects; id++) bytesDistinct += sizeOf(id);
  return {
    name: 'generated',
    requests,
    objects,
    ids,
    sizes,
    seconds,
    bytesRequested,
    bytesDistinct,
  };
}

function sizeOf(id: number): number {
  return 1_000_000 * (1 + ((id * 7919) % 9));
}
