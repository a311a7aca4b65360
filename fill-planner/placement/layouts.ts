/**
 * The portfolio: ways to share the densities out between the boxes of a cluster. No single one is safe, so several are
 * rounded and the best is kept.
 *
 * Layouts: everything by storage; a head by throughput and the rest by storage; one range of densities per type, where the
 * bound's multipliers part them and somewhat to either side; each with the head on one, or on several boxes.
 */
import type { Multipliers } from './bound.ts';
import type { BoxType, ClusterProblem } from './problem.ts';
import type { Band } from './rounding.ts';

const HEAD_SHARES = [0.25, 0.5, 0.75]; // of the demand, by throughput
const TYPE_SHIFTS = [1, 0.5, 2, 0.25, 4]; // where the ranges of two types meet, times this
const REPLICATION = [0, 2, 8, 32]; // a file of 1/beta of a box's throughput gets a second copy
export const BANDS_MAX = 64;

interface Range {
  readonly endRank: number;
  readonly weights: readonly number[];
}

export function* layoutsOf(
  problem: ClusterProblem,
  types: readonly BoxType[],
  multipliers: Multipliers,
): Generator<readonly Band[]> {
  const seen = new Set<string>();
  const able = problem.boxes.filter((box) => box.storageBytes > 0).length;
  for (const beta of able > 1 ? REPLICATION : [0]) {
    for (const ranges of rangesOf(problem, types, multipliers, able)) {
      const bands = replicated(problem, ranges, beta);
      const key = JSON.stringify(bands);
      if (seen.has(key)) continue;
      seen.add(key);
      yield bands;
    }
  }
}

function* rangesOf(
  problem: ClusterProblem,
  types: readonly BoxType[],
  multipliers: Multipliers,
  able: number,
): Generator<readonly Range[]> {
  const { feed, boxes } = problem;
  const byStorage = boxes.map((box) => box.storageBytes);
  const everything = { endRank: feed.ranks, weights: byStorage };
  if (able < 2) {
    yield [everything];
    return;
  }
  if (types.length > 1) {
    for (const shift of TYPE_SHIFTS) yield typeRanges(problem, types, multipliers, shift);
  }
  yield [everything];
  if (types.length === 1) return;
  const byThroughput = boxes.map((box) => (box.storageBytes > 0 ? box.servingBps : 0));
  if (byThroughput.every((weight) => weight === 0)) return;
  const totalBytes = byStorage.reduce((sum, bytes) => sum + bytes, 0);
  for (const share of HEAD_SHARES) {
    yield [{ endRank: headRank(problem, totalBytes, share), weights: byThroughput }, everything];
  }
}

/** How long a head carries this share of the demand that fits on the cluster. */
function headRank(problem: ClusterProblem, totalBytes: number, share: number): number {
  const { feed } = problem;
  let bytes = 0;
  let fits = 0;
  let demand = 0;
  while (fits < feed.ranks && bytes + feed.sizes[fits] <= totalBytes) {
    bytes += feed.sizes[fits];
    demand += feed.densities[fits] * feed.sizes[fits];
    fits++;
  }
  let rank = 0;
  for (let part = 0; rank < fits && part < share * demand; rank++) {
    part += feed.densities[rank] * feed.sizes[rank];
  }
  return rank;
}

/** Which type wants each density most; the flattest line wants the lowest. */
function typeRanges(
  problem: ClusterProblem,
  types: readonly BoxType[],
  multipliers: Multipliers,
  shift: number,
): readonly Range[] {
  const { feed, boxes } = problem;
  const ranges: Range[] = [];
  let current = -1;
  for (let rank = 0; rank < feed.ranks; rank++) {
    let best = 0;
    let bestWorth = -Infinity;
    types.forEach((_, t) => {
      const worth =
        multipliers.alpha[t] * feed.densities[rank] * shift - multipliers.mu[t] - multipliers.nu[t];
      if (worth > bestWorth) {
        best = t;
        bestWorth = worth;
      }
    });
    if (best !== current && ranges.length < BANDS_MAX / 4) {
      current = best;
      const weights = boxes.map((box, at) =>
        types[best].boxes.includes(at) ? box.storageBytes : 0,
      );
      ranges.push({ endRank: rank + 1, weights });
    } else ranges[ranges.length - 1] = { ...ranges[ranges.length - 1], endRank: rank + 1 };
  }
  return ranges.length > 0
    ? ranges
    : [{ endRank: feed.ranks, weights: boxes.map((box) => box.storageBytes) }];
}

/** k = ceil(d beta / T) copies, in powers of two or on all boxes, never more down the order than up. */
function replicated(
  problem: ClusterProblem,
  ranges: readonly Range[],
  beta: number,
): readonly Band[] {
  const { feed, boxes } = problem;
  const limits = boxes.filter((box) => box.storageBytes > 0).map((box) => box.servingBps);
  const limit = limits.reduce((sum, bps) => sum + bps, 0) / Math.max(1, limits.length);
  const factor = Math.max(...problem.slotFactors);
  let bytes = 0;
  for (const size of feed.sizes) bytes += size;
  const meanSize = feed.ranks > 0 ? bytes / feed.ranks : 0;
  const all = limits.length;
  const copiesAt = (rank: number): number => {
    const least = Math.max(1, Math.min(problem.copiesMin, all));
    if (beta === 0 || limit <= 0) return least;
    const wanted = Math.ceil((feed.densities[rank] * meanSize * factor * beta) / limit);
    let copies = least;
    while (copies < wanted && copies < all) copies *= 2;
    return Math.min(copies, all);
  };
  const bands: Band[] = [];
  let rank = 0;
  for (const range of ranges) {
    while (rank < range.endRank) {
      const copies = copiesAt(rank);
      let end = rank + 1;
      while (end < range.endRank && copiesAt(end) === copies) end++;
      const able = range.weights.filter((weight) => weight > 0).length;
      // More copies than the type has boxes: all boxes of the cluster take part.
      const weights = copies > able ? boxes.map((box) => box.storageBytes) : range.weights;
      bands.push({ endRank: end, copies, weights });
      rank = end;
    }
  }
  return bands.length > 0 && bands.length <= BANDS_MAX
    ? bands
    : [{ endRank: feed.ranks, copies: 1, weights: boxes.map((box) => box.storageBytes) }];
}
