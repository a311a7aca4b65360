/**
 * Runs one policy at one size over a trace. Misses are counted per object AND per byte; the two are never mixed.
 */
import type { CachePolicy, PolicyFactory } from './policy.ts';
import { nextRequests, secondsOf, type Trace } from './trace.ts';

export interface CacheResult {
  readonly requests: number;
  readonly missObjects: number;
  readonly missBytes: number;
  readonly objectMissRatio: number; // of requests
  readonly byteMissRatio: number; // of bytes requested
  readonly oversizeRequests: number; // for objects larger than the cache: always misses
}

/** One run that can be stopped between two requests, and says then what it has. */
export class CacheRun {
  readonly #trace: Trace;
  readonly #policy: CachePolicy;
  readonly #capacityBytes: number;
  #at = 0;
  #bytes = 0; // of the requests so far
  #missObjects = 0;
  #missBytes = 0;
  #oversizeRequests = 0;

  constructor(trace: Trace, create: PolicyFactory, capacityBytes: number) {
    this.#trace = trace;
    this.#capacityBytes = capacityBytes;
    this.#policy = create({
      objects: trace.objects,
      capacityBytes,
      nextAt: () => nextRequests(trace),
      secondsAt: secondsOf(trace),
    });
  }

  get isDone(): boolean {
    return this.#at === this.#trace.requests;
  }

  /** The hot loop: everything it touches is local. */
  step(requests: number): void {
    const { ids, sizes } = this.#trace;
    const policy = this.#policy;
    const capacityBytes = this.#capacityBytes;
    const end = Math.min(this.#trace.requests, this.#at + requests);
    let bytes = 0;
    let missObjects = 0;
    let missBytes = 0;
    let oversizeRequests = 0;
    for (let at = this.#at; at < end; at++) {
      const sizeBytes = sizes[at];
      bytes += sizeBytes;
      if (policy.request(ids[at], sizeBytes, at)) continue;
      missObjects++;
      missBytes += sizeBytes;
      if (sizeBytes > capacityBytes) oversizeRequests++;
    }
    this.#at = end;
    this.#bytes += bytes;
    this.#missObjects += missObjects;
    this.#missBytes += missBytes;
    this.#oversizeRequests += oversizeRequests;
  }

  result(): CacheResult {
    return {
      requests: this.#at,
      missObjects: this.#missObjects,
      missBytes: this.#missBytes,
      objectMissRatio: this.#at === 0 ? 0 : this.#missObjects / this.#at,
      byteMissRatio: this.#bytes === 0 ? 0 : this.#missBytes / this.#bytes,
      oversizeRequests: this.#oversizeRequests,
    };
  }
}

export function runPolicy(trace: Trace, create: PolicyFactory, capacityBytes: number): CacheResult {
  const run = new CacheRun(trace, create, capacityBytes);
  run.step(trace.requests);
  return run.result();
}

/**
 * PFOO-L: a lower bound on the misses of ANY policy, offline or not, with objects of any size.
 *
 * A hit needs its object in the cache from the previous request to this one: size x interval of space-time. All
 * policies together have capacity x requests of it. Buying the cheapest hits first (per hit, or per byte) gives a bound
 * that no schedule can beat, because it forgets that space must be free at each instant.
 *
 * Source: Berger, Beckmann, Harchol-Balter, "Practical Bounds on Optimal Caching with Variable Object Sizes", SIGMETRICS 2018
 */
export function pfooLower(
  trace: Trace,
  capacityBytes: number,
): { missObjects: number; missBytes: number } {
  const next = nextRequests(trace);
  const space: number[] = [];
  const intervals: number[] = [];
  const sizes: number[] = [];
  for (let at = 0; at < trace.requests; at++) {
    const again = next[at];
    if (again >= trace.requests || trace.sizes[again] > capacityBytes) continue;
    intervals.push(again - at);
    sizes.push(trace.sizes[again]);
    space.push((again - at) * trace.sizes[again]);
  }
  const budget = capacityBytes * trace.requests;
  const byObject = [...space.keys()].sort((a, b) => space[a] - space[b]);
  const byByte = [...space.keys()].sort((a, b) => intervals[a] - intervals[b]);
  let hits = 0;
  let left = budget;
  for (const at of byObject) {
    if (space[at] > left) break;
    left -= space[at];
    hits++;
  }
  let hitBytes = 0;
  left = budget;
  for (const at of byByte) {
    if (space[at] > left) {
      hitBytes += left / intervals[at]; // a part of the last one keeps it a bound
      break;
    }
    left -= space[at];
    hitBytes += sizes[at];
  }
  // The first interval that does not fit whole may still be worth up to one hit.
  const maxHits = Math.min(hits + 1, space.length);
  return {
    missObjects: trace.requests - maxHits,
    missBytes: Math.max(0, trace.bytesRequested - Math.ceil(hitBytes)),
  };
}
