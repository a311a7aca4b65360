/**
 * Which clusters a client aggregate is better not sent to, by what the boxes measured towards it.
 *
 * A pair (aggregate, cluster) is *demoted* where it is worse than the best other cluster that serves the aggregate: its first
 * bytes take longer by a margin, or fail more often, and there is enough of both to be sure. One in twenty sessions goes
 * there all the same, so that a path that has recovered is found out.
 *
 * Shape:      judgePaths(entries) -> demotions; aggregateOf(address) -> the key of its demotions
 * Units:      histogram bucket k holds [2^(k-1), 2^k) ms; compared as means of log2
 * Invariants: (1) a cluster without an alternative in the same aggregate is never demoted; the best one never is
 *             (2) fewer than SAMPLES_MIN samples on either side demote nobody
 */
import { formatPrefix, maskBytes } from '#base/address.ts';
import type { ClusterId, PathQualityEntry } from '#control-plane/contract.ts';
import { mix32 } from './hashing.ts';
import { unmapped } from './place.ts';

export const SAMPLES_MIN = 50;
/** Twice as long, in powers of two: less is weather. */
const MARGIN_LOG2 = 1;
/** Standard errors between the two means. */
const CONFIDENCE = 3;
const ERROR_SHARE_MARGIN = 0.05;
export const EXPLORED_SHARE = 0.05;
const BITS_V4 = 24;
const BITS_V6 = 48;

/** Demoted clusters by client aggregate. */
export type Demotions = ReadonlyMap<string, readonly ClusterId[]>;

interface Path {
  readonly clusterId: ClusterId;
  readonly samples: number;
  readonly mean: number; // of log2(first byte)
  readonly variance: number;
  readonly errorShare: number;
}

export function judgePaths(entries: readonly PathQualityEntry[]): Demotions {
  const byAggregate = new Map<string, Path[]>();
  for (const entry of entries) {
    const path = pathOf(entry);
    if (path.samples < SAMPLES_MIN) continue;
    const paths = byAggregate.get(entry.prefix);
    if (paths === undefined) byAggregate.set(entry.prefix, [path]);
    else paths.push(path);
  }
  const demotions = new Map<string, readonly ClusterId[]>();
  for (const [prefix, paths] of byAggregate) {
    const worse = paths.filter((path) => paths.some((other) => isWorse(path, other)));
    // Slower than one and failing more than another may go in a circle: then none is better.
    if (worse.length > 0 && worse.length < paths.length) {
      demotions.set(
        prefix,
        worse.map(({ clusterId }) => clusterId),
      );
    }
  }
  return demotions;
}

const judged = new WeakMap<readonly PathQualityEntry[], Demotions>();
const NONE: Demotions = new Map();

/** The same, worked out once per list: a snapshot's list outlives most deltas. */
export function demotionsOf(entries: readonly PathQualityEntry[] | undefined): Demotions {
  if (entries === undefined) return NONE;
  let known = judged.get(entries);
  if (known === undefined) {
    known = judgePaths(entries);
    judged.set(entries, known);
  }
  return known;
}

/** The key of the aggregate that an address belongs to. */
export function aggregateOf(address: Uint8Array): string {
  const bytes = unmapped(address);
  const length = bytes.length === 4 ? BITS_V4 : BITS_V6;
  return formatPrefix({
    family: bytes.length === 4 ? 4 : 6,
    bytes: maskBytes(bytes, length),
    length,
  });
}

/** Whether this session is one of those that try a demoted path. */
export function explores(sessionHash: number): boolean {
  return mix32(sessionHash ^ 0x5bd1e995) < EXPLORED_SHARE * 4294967296;
}

function pathOf({ clusterId, firstByteMs, errors }: PathQualityEntry): Path {
  let samples = 0;
  let sum = 0;
  let squares = 0;
  firstByteMs.forEach((count, bucket) => {
    samples += count;
    sum += count * bucket;
    squares += count * bucket * bucket;
  });
  const mean = samples === 0 ? 0 : sum / samples;
  return {
    clusterId,
    samples: samples + errors,
    mean,
    variance: samples < 2 ? 0 : Math.max(0, squares / samples - mean * mean),
    errorShare: errors === 0 ? 0 : errors / (samples + errors),
  };
}

function isWorse(path: Path, other: Path): boolean {
  const error = Math.sqrt(path.variance / path.samples + other.variance / other.samples);
  const slower = path.mean - other.mean;
  if (slower >= MARGIN_LOG2 && slower >= CONFIDENCE * error) {
    return path.errorShare >= other.errorShare - ERROR_SHARE_MARGIN;
  }
  const failing = path.errorShare - other.errorShare;
  const spread = Math.sqrt(
    (path.errorShare * (1 - path.errorShare)) / path.samples +
      (other.errorShare * (1 - other.errorShare)) / other.samples,
  );
  return failing >= ERROR_SHARE_MARGIN && failing >= CONFIDENCE * spread;
}
