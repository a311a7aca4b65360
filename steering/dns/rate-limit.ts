/**
 * Response rate limiting: a forged source address must not turn this server into a weapon.
 *
 * Token buckets keyed by (client /24 or /56, client subnet, kind of answer, name); one more per client block as a
 * ceiling. Of the answers that are over the limit every second one slips out cut to TC=1, so that a real client
 * behind the forged address comes back over TCP; the others are dropped. TCP and good cookies are exempt. The client
 * subnet is in the key because a big public resolver asks for many networks from one address.
 *
 * Shape:      limit.take(...) -> 'send' | 'slip' | 'drop'
 * Units:      answers per second; milliseconds of monotonic time
 * Invariants: (1) memory is fixed: BUCKETS buckets in sets of WAYS, the one idle for longest gives way
 *             (2) which bucket is whose cannot be guessed: the hash is seeded
 */
import type { Milliseconds } from '#base/clock.ts';
import { mix32 } from '../hashing.ts';

export type AnswerKind = 'positive' | 'nxdomain' | 'error';
export type RateVerdict = 'send' | 'slip' | 'drop';

export interface RateLimits {
  readonly positivePerSecond: number;
  readonly errorsPerSecond: number; // NXDOMAIN too
  readonly blockPerSecond: number;
}
export const RATE_LIMITS: RateLimits = {
  positivePerSecond: 100,
  errorsPerSecond: 20,
  blockPerSecond: 50_000,
};

const BUCKETS = 1 << 17; // 2.6 MB
const WAYS = 4;
const SLIP = 2;
const POSITIVE_SALT = 0x1b873593;

export class RateLimit {
  readonly #limits: RateLimits;
  readonly #seed: number;
  readonly #tags = new Uint32Array(BUCKETS); // 0: free
  readonly #tokens = new Float64Array(BUCKETS);
  readonly #touchedMs = new Float64Array(BUCKETS);
  #slips = 0;
  slipped = 0;
  dropped = 0;

  constructor(limits: RateLimits, seed: number) {
    this.#limits = limits;
    this.#seed = seed;
  }

  /** `nameHash` is of what the answer is about: the name, or for NXDOMAIN and errors the zone, whatever was asked. */
  take(
    address: Uint8Array,
    subnet: { readonly address: Uint8Array; readonly sourceBits: number } | null,
    kind: AnswerKind,
    nameHash: number,
    nowMs: Milliseconds,
  ): RateVerdict {
    const { errorsPerSecond, positivePerSecond } = this.#limits;
    const block = this.#blockOf(address, 0, address.length);
    const salt =
      kind === 'positive' ? POSITIVE_SALT : kind === 'nxdomain' ? 0x52dce729 : 0x38b34ae5;
    const bits = subnet?.sourceBits ?? 0;
    const key = this.#keyOf(block ^ salt, nameHash, subnet?.address ?? address, 0, bits);
    return this.#verdict(
      block,
      key,
      kind === 'positive' ? positivePerSecond : errorsPerSecond,
      nowMs,
    );
  }

  /** The same for a positive answer, with addresses that lie somewhere in memory; `subnetBits` 0: no client subnet. */
  takeAt(
    address: Uint8Array,
    addressAt: number,
    addressBytes: number,
    subnet: Uint8Array,
    subnetAt: number,
    subnetBits: number,
    nameHash: number,
    nowMs: Milliseconds,
  ): RateVerdict {
    const block = this.#blockOf(address, addressAt, addressBytes);
    const key = this.#keyOf(block ^ POSITIVE_SALT, nameHash, subnet, subnetAt, subnetBits);
    return this.#verdict(block, key, this.#limits.positivePerSecond, nowMs);
  }

  #blockOf(address: Uint8Array, at: number, bytes: number): number {
    return hashBytes(this.#seed ^ bytes, address, at, bytes === 4 ? 3 : 7);
  }

  #keyOf(
    base: number,
    nameHash: number,
    subnet: Uint8Array,
    subnetAt: number,
    subnetBits: number,
  ): number {
    const key = mix32(mix32(base) ^ nameHash);
    if (subnetBits === 0) return key;
    return hashBytes(key ^ subnetBits, subnet, subnetAt, (subnetBits + 7) >> 3);
  }

  #verdict(block: number, key: number, rate: number, nowMs: Milliseconds): RateVerdict {
    if (
      this.#spend(key, rate, nowMs) &&
      this.#spend(mix32(block + 0x5bd1e995), this.#limits.blockPerSecond, nowMs)
    ) {
      return 'send';
    }
    if (++this.#slips % SLIP === 0) {
      this.slipped++;
      return 'slip';
    }
    this.dropped++;
    return 'drop';
  }

  /** A bucket holds one second's worth at most. */
  #spend(key: number, perSecond: number, nowMs: Milliseconds): boolean {
    const tag = (key | 1) >>> 0;
    const first = (mix32(key ^ this.#seed) & (BUCKETS / WAYS - 1)) * WAYS;
    let at = first;
    for (let way = first; way < first + WAYS; way++) {
      if (this.#tags[way] === tag) {
        at = way;
        break;
      }
      if (this.#touchedMs[way] < this.#touchedMs[at]) at = way;
    }
    if (this.#tags[at] !== tag) {
      this.#tags[at] = tag;
      this.#tokens[at] = perSecond;
      this.#touchedMs[at] = nowMs;
    }
    const earned = ((nowMs - this.#touchedMs[at]) / 1000) * perSecond;
    const tokens = Math.min(perSecond, this.#tokens[at] + earned);
    this.#touchedMs[at] = nowMs;
    this.#tokens[at] = tokens >= 1 ? tokens - 1 : tokens;
    return tokens >= 1;
  }
}

function hashBytes(seed: number, bytes: Uint8Array, from: number, count: number): number {
  let hash = seed;
  for (let at = from; at < from + count; at++) hash = Math.imul(hash ^ bytes[at], 0x01000193);
  return mix32(hash);
}
