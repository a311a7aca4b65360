/**
 * The cache simulator against libCacheSim's exact misses, and its speed and memory.
 *
 *   npm run bench -- cachesim [--json] [--data DIR]
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { seededRandom } from '#base/random.ts';
import { CACHE_POLICIES, readTrace, runPolicy, type Trace } from '#fill-planner/fill-planner.ts';

const TRACE = 'traces/libCacheSim/cloudPhysicsIO.oracleGeneral.bin';
const EXPECTED = 'traces/libCacheSim/expected_miss.json';
const SPEED_POLICIES = ['lru', 'fifo', 'sieve'];
const ZIPF_LIKE_OBJECTS = 1_000_000;
const REQUESTS = 20_000_000;
const ROUNDS = 3;

/** libCacheSim's name of each of our deterministic policies. */
const NAMES: Readonly<Record<string, string>> = {
  lru: 'LRU',
  fifo: 'FIFO',
  clock: 'Clock',
  lfu: 'LFU',
  sieve: 'Sieve',
  's3-fifo': 'S3FIFO',
  arc: 'ARC',
  gdsf: 'GDSF',
  belady: 'Belady',
};

interface Options {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly args: readonly string[];
}

export async function run(options: Options): Promise<unknown> {
  const rows = [...compare(dataDirectory(options.args)), ...speed(options.smoke)];
  return { cachesim: rows };
}

function dataDirectory(args: readonly string[]): string {
  const at = args.indexOf('--data');
  return at === -1 ? path.join(import.meta.dirname, '..', '..', 'shared', 'data') : args[at + 1];
}

function compare(directory: string): unknown[] {
  const file = path.join(directory, TRACE);
  if (!existsSync(file)) {
    console.log(`no trace at ${file}: give --data DIR; only speed is measured`);
    return [];
  }
  const trace = readTrace(file);
  const { cache_size_bytes: sizes, expected } = JSON.parse(
    readFileSync(path.join(directory, EXPECTED), 'utf8'),
  ) as {
    cache_size_bytes: number[];
    expected: Record<string, { miss_cnt: number[]; miss_byte: number[] }>;
  };
  const rows: unknown[] = [];
  for (const [policy, name] of Object.entries(NAMES)) {
    let exact = 0;
    sizes.forEach((sizeBytes, at) => {
      const startedMs = performance.now();
      const { missObjects, missBytes } = runPolicy(trace, CACHE_POLICIES[policy], sizeBytes);
      const seconds = (performance.now() - startedMs) / 1000;
      const isExact =
        missObjects === expected[name].miss_cnt[at] && missBytes === expected[name].miss_byte[at];
      if (isExact) exact++;
      rows.push({
        policy,
        sizeBytes,
        missObjects,
        missBytes,
        isExact,
        requestsPerSecond: Math.round(trace.requests / seconds),
      });
    });
    console.log(
      `${policy.padEnd(10)} object and byte misses exact at ${exact} of ${sizes.length} sizes`,
    );
  }
  return rows;
}

/** Requests a second on one core, ids dense, warm: the median of three runs, policies alternating. */
function speed(smoke: boolean): unknown[] {
  const trace = skewedTrace(smoke ? REQUESTS / 20 : REQUESTS);
  const capacity = Math.round(ZIPF_LIKE_OBJECTS * 0.1);
  const rates = new Map<string, number[]>(SPEED_POLICIES.map((policy) => [policy, []]));
  for (let round = 0; round < (smoke ? 1 : ROUNDS); round++) {
    for (const policy of SPEED_POLICIES) {
      const startedMs = performance.now();
      runPolicy(trace, CACHE_POLICIES[policy], capacity);
      rates.get(policy)?.push((trace.requests / (performance.now() - startedMs)) * 1000);
    }
  }
  return SPEED_POLICIES.map((policy) => {
    const sorted = (rates.get(policy) ?? []).sort((a, b) => a - b);
    const requestsPerSecond = Math.round(sorted[sorted.length >> 1]);
    const bytesPerObject = bytesPerObjectOf(trace, policy, capacity);
    console.log(
      `${policy.padEnd(10)} ${(requestsPerSecond / 1e6).toFixed(1)} M requests/s, ${bytesPerObject} bytes an object`,
    );
    return { policy, objects: trace.objects, requestsPerSecond, bytesPerObject };
  });
}

/** What one policy allocates for its objects, from the process's own count of array buffers. */
function bytesPerObjectOf(trace: Trace, policy: string, capacityBytes: number): number {
  collectGarbage(); // or freed arrays of an earlier run would be counted against this one
  const before = process.memoryUsage().arrayBuffers;
  const kept = CACHE_POLICIES[policy]({
    objects: trace.objects,
    capacityBytes,
    nextAt: () => new Int32Array(0),
    secondsAt: (at) => at,
  });
  const bytes = process.memoryUsage().arrayBuffers - before;
  kept.bytesHeld();
  return Math.round((bytes / trace.objects) * 10) / 10;
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  if (typeof collect === 'function') collect();
}

/** id = objects^u: every order of magnitude of ranks gets the same share of the requests (Zipf with exponent 1). */
function skewedTrace(requests: number): Trace {
  const random = seededRandom(1);
  const ids = new Int32Array(requests);
  for (let at = 0; at < requests; at++) {
    ids[at] = Math.min(ZIPF_LIKE_OBJECTS - 1, Math.floor(ZIPF_LIKE_OBJECTS ** random.next()) - 1);
  }
  return {
    name: 'skewed',
    requests,
    objects: ZIPF_LIKE_OBJECTS,
    ids,
    sizes: new Uint32Array(requests).fill(1),
    bytesRequested: requests,
    bytesDistinct: ZIPF_LIKE_OBJECTS,
  };
}
