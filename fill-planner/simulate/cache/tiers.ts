/**
 * Caches one behind the other: what the first misses is asked of the second, what the last misses comes from the origin.
 *
 * Each tier keeps what it fetched, by its own policy; nothing is moved down on eviction, as boxes do not either.
 */
import { POLICIES } from './catalogue.ts';
import type { CachePolicy } from './policy.ts';
import type { CacheResult } from './run.ts';
import { nextRequests, secondsOf, type Trace } from './trace.ts';

export interface Tier {
  readonly sizeBytes: number;
  readonly policy: string; // of POLICIES
}

interface Counted {
  readonly policy: CachePolicy;
  readonly sizeBytes: number;
  requests: number;
  bytes: number;
  missObjects: number;
  missBytes: number;
  oversizeRequests: number;
}

export class TieredRun {
  readonly #trace: Trace;
  readonly #tiers: readonly Counted[];
  #at = 0;

  constructor(trace: Trace, tiers: readonly Tier[]) {
    this.#trace = trace;
    this.#tiers = tiers.map(({ sizeBytes, policy }) => ({
      policy: POLICIES[policy]({
        objects: trace.objects,
        capacityBytes: sizeBytes,
        nextAt: () => nextRequests(trace),
        secondsAt: secondsOf(trace),
      }),
      sizeBytes,
      requests: 0,
      bytes: 0,
      missObjects: 0,
      missBytes: 0,
      oversizeRequests: 0,
    }));
  }

  get isDone(): boolean {
    return this.#at === this.#trace.requests;
  }

  step(requests: number): void {
    const { ids, sizes } = this.#trace;
    const end = Math.min(this.#trace.requests, this.#at + requests);
    for (; this.#at < end; this.#at++) {
      const sizeBytes = sizes[this.#at];
      for (const tier of this.#tiers) {
        tier.requests++;
        tier.bytes += sizeBytes;
        if (tier.policy.request(ids[this.#at], sizeBytes, this.#at)) break;
        tier.missObjects++;
        tier.missBytes += sizeBytes;
        if (sizeBytes > tier.sizeBytes) tier.oversizeRequests++;
      }
    }
  }

  /** Of each tier, its ratios over the requests that reached it. */
  results(): readonly CacheResult[] {
    return this.#tiers.map(({ requests, bytes, missObjects, missBytes, oversizeRequests }) => ({
      requests,
      missObjects,
      missBytes,
      objectMissRatio: requests === 0 ? 0 : missObjects / requests,
      byteMissRatio: bytes === 0 ? 0 : missBytes / bytes,
      oversizeRequests,
    }));
  }
}
