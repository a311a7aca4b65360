/**
 * How well viewers are served: what players say of themselves (CMCD), and what each path to them did, minute by minute.
 *
 * A path is a client aggregate, /24 or /48: no full address outlives its answer here.
 *
 * Invariants: (1) at most PREFIXES_MAX aggregates a minute; the others' answers are counted as left out
 *             (2) a histogram is written to once per answer; a minute is given out once
 *             (3) nothing here decides about a request
 */
import type { PathQuality } from '#appliance/contract.ts';
import { formatPrefix, maskBytes, parseAddress } from '#base/address.ts';
import { KIB } from '#base/units.ts';
import { readCmcd } from './cmcd.ts';
import { LogHistogram, type HistogramCounts } from './log-histogram.ts';
import { prefixOf } from './viewer-verdicts.ts';

export const PREFIXES_MAX = 10_000; // the contract's maxItems
export const FIRST_BYTE_BUCKETS = 16;
export const RATE_BUCKETS = 24;
const MINUTE_SECONDS = 60;
/** What the kernel takes of a smaller body at once says nothing of the path. */
const RATED_BYTES_MIN = 1024 * KIB;
const QOE_BUCKETS = 26; // 2^24 kbit/s, 2^24 ms
const IPV4_AGGREGATE_BITS = 24;
const IPV6_AGGREGATE_BITS = 48;

/** What players said since this box started. */
export class QoeCounters {
  requests = 0; // that carried CMCD
  starved = 0;
  readonly bitrateKbps = new LogHistogram(QOE_BUCKETS);
  readonly throughputKbps = new LogHistogram(QOE_BUCKETS);
  readonly bufferMs = new LogHistogram(QOE_BUCKETS);
}

interface Path {
  readonly address: string; // of whoever was here first: its prefix is what is told
  readonly firstByteMs: LogHistogram;
  readonly rateKbps: LogHistogram;
  errors: number;
}

/** One answer to a viewer, from its request to its end. */
export interface DeliveryFacts {
  readonly remoteAddress: string;
  readonly firstByteMs: number | null; // null: no byte was sent
  readonly durationMs: number; // from the first byte to the last
  readonly bytes: number;
  readonly isError: boolean; // cut because it was slow or could not be finished
  readonly throughputKbps: number | null; // the player's own measurement, where it gave one
}

/** What one thread's ledger hands to another's. */
export interface QualityCounts {
  readonly requests: number;
  readonly starved: number;
  readonly bitrateKbps: HistogramCounts;
  readonly throughputKbps: HistogramCounts;
  readonly bufferMs: HistogramCounts;
  readonly paths: readonly {
    readonly key: string;
    readonly address: string;
    readonly firstByteMs: HistogramCounts;
    readonly rateKbps: HistogramCounts;
    readonly errors: number;
  }[];
  readonly answersLeftOut: number;
}

export class QualityLedger {
  readonly qoe = new QoeCounters();
  #minute = 0;
  #paths = new Map<string, Path>();
  #finished: PathQuality | null = null;
  answersLeftOut = 0;
  readonly #isOwner: boolean;

  /** `isOwner` false: a thread's ledger, emptied by `hand` often; minutes are its owner's. */
  constructor(isOwner = true) {
    this.#isOwner = isOwner;
  }

  /** Counts what the target's CMCD says; the player's measured throughput, where it says one. */
  heard(target: string, queryAt: number): number | null {
    const said = readCmcd(target, queryAt);
    if (said === null) return null;
    const { qoe } = this;
    qoe.requests++;
    if (said.starved) qoe.starved++;
    if (said.bitrateKbps !== null) qoe.bitrateKbps.add(said.bitrateKbps);
    if (said.throughputKbps !== null) qoe.throughputKbps.add(said.throughputKbps);
    if (said.bufferMs !== null) qoe.bufferMs.add(said.bufferMs);
    return said.throughputKbps;
  }

  delivered(facts: DeliveryFacts, nowSeconds: number): void {
    this.#turn(nowSeconds);
    const path = this.#path(prefixOf(facts.remoteAddress), facts.remoteAddress);
    if (path === null) {
      this.answersLeftOut++;
      return;
    }
    if (facts.firstByteMs !== null) path.firstByteMs.add(facts.firstByteMs);
    const rateKbps = facts.throughputKbps ?? rateOf(facts);
    if (rateKbps !== null) path.rateKbps.add(rateKbps);
    if (facts.isError) path.errors++;
  }

  /** Everything that was counted since the last call: another ledger takes it over. */
  hand(): QualityCounts {
    const { qoe } = this;
    const counts: QualityCounts = {
      requests: qoe.requests,
      starved: qoe.starved,
      bitrateKbps: qoe.bitrateKbps.take(),
      throughputKbps: qoe.throughputKbps.take(),
      bufferMs: qoe.bufferMs.take(),
      paths: [...this.#paths].map(([key, path]) => ({
        key,
        address: path.address,
        firstByteMs: path.firstByteMs.take(),
        rateKbps: path.rateKbps.take(),
        errors: path.errors,
      })),
      answersLeftOut: this.answersLeftOut,
    };
    qoe.requests = 0;
    qoe.starved = 0;
    this.answersLeftOut = 0;
    this.#paths.clear();
    return counts;
  }

  /** Takes over what another ledger counted: in the minute that is now. */
  takeOver(counts: QualityCounts, nowSeconds: number): void {
    this.#turn(nowSeconds);
    const { qoe } = this;
    qoe.requests += counts.requests;
    qoe.starved += counts.starved;
    qoe.bitrateKbps.addAll(counts.bitrateKbps);
    qoe.throughputKbps.addAll(counts.throughputKbps);
    qoe.bufferMs.addAll(counts.bufferMs);
    this.answersLeftOut += counts.answersLeftOut;
    for (const { key, address, firstByteMs, rateKbps, errors } of counts.paths) {
      const path = this.#path(key, address);
      if (path === null) {
        this.answersLeftOut += sum(firstByteMs.counts);
        continue;
      }
      path.firstByteMs.addAll(firstByteMs);
      path.rateKbps.addAll(rateKbps);
      path.errors += errors;
    }
  }

  /** Null: there are as many paths as are told apart. */
  #path(key: string, address: string): Path | null {
    let path = this.#paths.get(key);
    if (path !== undefined) return path;
    if (this.#paths.size >= PREFIXES_MAX) return null;
    path = {
      address,
      firstByteMs: new LogHistogram(FIRST_BYTE_BUCKETS),
      rateKbps: new LogHistogram(RATE_BUCKETS),
      errors: 0,
    };
    this.#paths.set(key, path);
    return path;
  }

  /** The last whole minute, once; null while there is none, or nobody was served in it. */
  take(nowSeconds: number): PathQuality | null {
    this.#turn(nowSeconds);
    const finished = this.#finished;
    this.#finished = null;
    return finished;
  }

  #turn(nowSeconds: number): void {
    const minute = Math.floor(nowSeconds / MINUTE_SECONDS);
    if (minute === this.#minute || !this.#isOwner) return;
    if (this.#paths.size > 0) this.#finished = reportOf(this.#minute, this.#paths.values());
    this.#minute = minute;
    this.#paths = new Map();
  }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

function rateOf({ bytes, durationMs }: DeliveryFacts): number | null {
  return bytes < RATED_BYTES_MIN || durationMs <= 0 ? null : (bytes * 8) / durationMs;
}

function reportOf(minute: number, paths: Iterable<Path>): PathQuality {
  const byPrefix = new Map<string, PathQuality['aggregates'][number]>();
  for (const path of paths) {
    const prefix = aggregateOf(path.address);
    if (prefix === null) continue;
    const same = byPrefix.get(prefix);
    byPrefix.set(prefix, {
      prefix,
      firstByteMs: added(same?.firstByteMs, path.firstByteMs),
      rateKbps: added(same?.rateKbps, path.rateKbps),
      errors: path.errors + (same?.errors ?? 0),
    });
  }
  return { minute: minute * MINUTE_SECONDS, aggregates: [...byPrefix.values()] };
}

/** Empty buckets at the end are not sent. */
function added(before: readonly number[] | undefined, histogram: LogHistogram): number[] {
  const sum = [...histogram.counts].map((count, at) => count + (before?.[at] ?? 0));
  while (sum.length > 0 && sum.at(-1) === 0) sum.pop();
  return sum;
}

/** "192.0.2.7" -> "192.0.2.0/24", "2001:db8:1:2::3" -> "2001:db8:1::/48". */
export function aggregateOf(address: string): string | null {
  const bytes = parseAddress(address);
  if (bytes === null) return null;
  const length = bytes.length === 4 ? IPV4_AGGREGATE_BITS : IPV6_AGGREGATE_BITS;
  const family = bytes.length === 4 ? 4 : 6;
  return formatPrefix({ family, bytes: maskBytes(bytes, length), length });
}
