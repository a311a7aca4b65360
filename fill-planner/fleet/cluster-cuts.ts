/**
 * Tonight's thresholds of one cluster of equal boxes, from one pass over the region's candidates, with the proven bound.
 *
 * The pass sums, per box and density bin, the bytes and view-bytes that are its own by rendezvous, apart for what it holds
 * already. All else works on these sums: the bound, each box's keep and fill cut, and a head on every box where throughput is short.
 * Cuts lie between bins, so that the sums are exact and so is the check against disk and window.
 *
 * Units:      densities are shares of the region's views; factor turns share x bytes into bit/s at the peak
 * Invariants: (1) bytes <= storage and newly filled bytes <= fill allowance, for every box
 *             (2) valueBps <= boundBps
 */
import { leastBound, type BoundProblem } from '../placement/bound.ts';
import { prefixSums, type Mass } from '../placement/mass.ts';
import { gapOf } from '../report/summary.ts';
import { pricesOf, type Prices } from '../placement/placement.ts';
import { densityKey, type Candidates } from './candidates.ts';
import type { FleetCluster } from './fleet-files.ts';

const DEPTH = 1.5; // of the cluster's storage: what lies deeper is summed up as one point of the bound
const HEAD_SHARES = [0, 0.02, 0.05, 0.1, 0.2, 0.35]; // of the demand, on every box

export interface ClusterCuts {
  readonly everywhereBins: number;
  readonly boxes: readonly BoxCuts[];
  readonly demandBps: number;
  readonly servedBps: number;
  readonly valueBps: number;
  readonly boundBps: number;
  readonly boundWithoutFillLimitBps: number;
  readonly prices: Prices;
}

export interface BoxCuts {
  readonly fillBins: number; // own files of the first so many bins are held
  readonly keepBins: number; // and of so many, if they were held last night
  readonly bytes: number;
  readonly filledBytes: number;
}

/** One box's own files, per bin. */
export interface OwnSums {
  readonly presentBytes: Float64Array;
  readonly presentViews: Float64Array; // share x bytes
  readonly absentBytes: Float64Array;
  readonly absentViews: Float64Array;
}

export function cutsOf(
  cluster: FleetCluster,
  ownerOfBucket: Uint8Array,
  candidates: Candidates,
  slotFactor: number,
  churnShare: number,
): ClusterCuts {
  const count = cluster.boxes.length;
  const factor = slotFactor * cluster.viewsPerDay;
  const pooledBytes = count * cluster.storageBytes;
  const depth = binsHolding(candidates, DEPTH * pooledBytes);
  const heads = count > 1 ? headsOf(candidates, depth) : [0];
  const sums = passOver(cluster, ownerOfBucket, candidates, depth);
  const atCut = candidates.edges[binsHolding(candidates, pooledBytes)];
  const churnPrice = candidates.bytesAbove[depth] > pooledBytes ? churnShare * factor * atCut : 0;
  const problem = boundProblemOf(cluster, sums, candidates, depth, factor, churnPrice);
  const least = leastBound(problem);
  const missing = headsMissing(cluster, ownerOfBucket, candidates, Math.max(...heads));
  let best: Rounded | null = null;
  for (const head of heads) {
    const rounded = round(cluster, sums, missing, head, candidates, factor, churnPrice);
    if (rounded !== null && (best === null || rounded.value > best.value)) best = rounded;
    if (best !== null && gapOf(best.value, least.bound) < 1e-4) break;
  }
  if (best === null) throw new Error(`cluster ${cluster.clusterId}: no head at all always fits`);
  return {
    everywhereBins: best.head,
    boxes: best.boxes,
    demandBps: factor * candidates.viewBytes,
    servedBps: best.served,
    valueBps: best.value,
    boundBps: least.bound,
    boundWithoutFillLimitBps: leastBound(freeFill(problem)).bound,
    prices: pricesOf(problem, least),
  };
}

/** How many leading bins hold at most that many bytes. */
export function binsHolding(
  { bytesAbove, bins }: Pick<Candidates, 'bytesAbove' | 'bins'>,
  bytes: number,
): number {
  let low = 0;
  let high = bins;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (bytesAbove[middle] <= bytes) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Bins that carry each share of the demand, as far as they may matter. */
function headsOf(candidates: Candidates, depth: number): readonly number[] {
  const heads: number[] = [];
  let views = 0;
  let bin = 0;
  for (const share of HEAD_SHARES) {
    while (bin < depth && views < share * candidates.viewBytes) {
      for (let at = candidates.firstOfBin[bin]; at < candidates.firstOfBin[bin + 1]; at++) {
        views += candidates.sizes[at] * candidates.densities[at];
      }
      bin++;
    }
    heads.push(bin);
  }
  return [...new Set(heads)];
}

function passOver(
  cluster: FleetCluster,
  ownerOfBucket: Uint8Array,
  candidates: Candidates,
  depth: number,
): readonly OwnSums[] {
  const sums = cluster.boxes.map(() => ({
    presentBytes: new Float64Array(depth),
    presentViews: new Float64Array(depth),
    absentBytes: new Float64Array(depth),
    absentViews: new Float64Array(depth),
  }));
  const heldFrom = heldKeys(cluster);
  const { firstOfBin, sizes, densities, buckets, previousKeys } = candidates;
  // Of one bin, per box: absent bytes and views, present bytes and views. It stays in the nearest cache.
  const bin4 = new Float64Array(4 * sums.length);
  for (let bin = 0; bin < depth; bin++) {
    bin4.fill(0);
    const end = firstOfBin[bin + 1];
    for (let at = firstOfBin[bin]; at < end; at++) {
      const owner = ownerOfBucket[buckets[at]];
      const size = sizes[at];
      const cell = (owner << 2) + (previousKeys[at] >= heldFrom[owner] ? 2 : 0);
      bin4[cell] += size;
      bin4[cell + 1] += size * densities[at];
    }
    for (let box = 0; box < sums.length; box++) {
      sums[box].absentBytes[bin] = bin4[4 * box];
      sums[box].absentViews[bin] = bin4[4 * box + 1];
      sums[box].presentBytes[bin] = bin4[4 * box + 2];
      sums[box].presentViews[bin] = bin4[4 * box + 3];
    }
  }
  return sums;
}

/** Per box: the key from which last night's order says it holds its own files. */
function heldKeys(cluster: FleetCluster): Uint32Array {
  const { previous } = cluster;
  if (previous === null) return new Uint32Array(cluster.boxes.length).fill(0xffffffff);
  return Uint32Array.from(cluster.boxes, (_, box) =>
    Math.min(densityKey(previous.shareDensities[box]), densityKey(previous.everywhereDensity)),
  );
}

/** Per box and bin of the longest head: bytes that the box lacks, its own files and the others'. */
function headsMissing(
  cluster: FleetCluster,
  ownerOfBucket: Uint8Array,
  candidates: Candidates,
  bins: number,
): readonly Float64Array[] {
  const heldFrom = heldKeys(cluster);
  const everywhere =
    cluster.previous === null ? 0xffffffff : densityKey(cluster.previous.everywhereDensity);
  return cluster.boxes.map((_, box) => {
    const missing = new Float64Array(bins);
    for (let bin = 0; bin < bins; bin++) {
      for (let at = candidates.firstOfBin[bin]; at < candidates.firstOfBin[bin + 1]; at++) {
        const key = candidates.previousKeys[at];
        const isOwn = ownerOfBucket[candidates.buckets[at]] === box;
        if (key < everywhere && !(isOwn && key >= heldFrom[box]))
          missing[bin] += candidates.sizes[at];
      }
    }
    return missing;
  });
}

export function boundProblemOf(
  cluster: Pick<FleetCluster, 'boxes' | 'storageBytes' | 'servingBps' | 'fillBytes'>,
  sums: readonly OwnSums[],
  candidates: Pick<Candidates, 'edges' | 'viewBytes'>,
  depth: number,
  factor: number,
  churnPrice: number,
): BoundProblem {
  const count = cluster.boxes.length;
  const grid = candidates.edges.subarray(0, depth + 1);
  const present = new Float64Array(depth + 1);
  const absent = new Float64Array(depth + 1);
  let seen = 0;
  for (let bin = 0; bin < depth; bin++) {
    let presentBytes = 0;
    let presentViews = 0;
    let absentBytes = 0;
    let absentViews = 0;
    for (const own of sums) {
      presentBytes += own.presentBytes[bin];
      presentViews += own.presentViews[bin];
      absentBytes += own.absentBytes[bin];
      absentViews += own.absentViews[bin];
    }
    spread(present, grid, bin, presentBytes, presentViews);
    spread(absent, grid, bin, absentBytes, absentViews);
    seen += presentViews + absentViews;
  }
  // Everything deeper as bytes of the lowest density that is left: their worth is convex and 0 at 0, so this is no less.
  const rest = Math.max(0, candidates.viewBytes - seen);
  if (grid[depth] > 0) present[depth] += rest / grid[depth];
  const mass: Mass = {
    grid,
    memberships: [prefixSums(grid, 0, absent), prefixSums(grid, 1, present)],
  };
  return {
    mass,
    types: [
      {
        storageBytes: count * cluster.storageBytes,
        servingBps: count * cluster.servingBps,
        fillBytes: count * cluster.fillBytes,
      },
    ],
    slotFactors: [factor],
    churnPrice,
  };
}

/** Bytes of a bin to its two edges, bytes and view-bytes kept. */
function spread(
  mass: Float64Array,
  grid: Float64Array,
  bin: number,
  bytes: number,
  views: number,
): void {
  if (bytes === 0) return;
  const share = (views - grid[bin + 1] * bytes) / (grid[bin] - grid[bin + 1]);
  mass[bin] += share;
  mass[bin + 1] += bytes - share;
}

function freeFill(problem: BoundProblem): BoundProblem {
  const [absent, present] = problem.mass.memberships;
  const all = {
    mask: 0,
    bytes: absent.bytes.map((bytes, at) => bytes + present.bytes[at]),
    viewBytes: absent.viewBytes.map((views, at) => views + present.viewBytes[at]),
  };
  return {
    mass: { grid: problem.mass.grid, memberships: [all] },
    types: problem.types.map((type) => ({ ...type, fillBytes: Infinity })),
    slotFactors: problem.slotFactors,
    churnPrice: 0,
  };
}

interface Rounded {
  readonly head: number;
  readonly boxes: readonly BoxCuts[];
  readonly served: number;
  readonly value: number;
}

/** With the first `head` bins on every box: each box's best cuts, and what they serve together. Null: the head does not fit. */
function round(
  cluster: FleetCluster,
  sums: readonly OwnSums[],
  missing: readonly Float64Array[],
  head: number,
  candidates: Candidates,
  factor: number,
  churnPrice: number,
): Rounded | null {
  const headBytes = candidates.bytesAbove[head];
  const boxes: BoxCuts[] = [];
  let headViews = 0;
  let served = 0;
  let spare = 0;
  let filled = 0;
  for (let box = 0; box < sums.length; box++) {
    let headFill = 0;
    for (let bin = 0; bin < head; bin++) {
      headFill += missing[box][bin];
      headViews += sums[box].presentViews[bin] + sums[box].absentViews[bin];
    }
    const room = cluster.storageBytes - headBytes;
    const fillRoom = cluster.fillBytes - headFill;
    if (room < 0 || fillRoom < 0) return null;
    const cut = bestCut(sums[box], head, room, fillRoom, churnPrice / factor);
    boxes.push({
      fillBins: cut.fillBins,
      keepBins: cut.keepBins,
      bytes: headBytes + cut.bytes,
      filledBytes: headFill + cut.filledBytes,
    });
    const load = factor * cut.views;
    served += Math.min(cluster.servingBps, load);
    spare += Math.max(0, cluster.servingBps - load);
    filled += headFill + cut.filledBytes;
  }
  served += Math.min(factor * headViews, spare);
  return { head, boxes, served, value: served - churnPrice * filled };
}

export interface Cut {
  readonly fillBins: number;
  readonly keepBins: number;
  readonly bytes: number;
  readonly filledBytes: number;
  readonly views: number;
}

/**
 * The best pair of cuts of one box below the head: for each fill cut that its window allows, the lowest keep cut that the
 * disk allows; two pointers, since more filled means less kept.
 */
export function bestCut(
  own: OwnSums,
  head: number,
  room: number,
  fillRoom: number,
  churnPerByte: number, // in share x bytes
): Cut {
  const bins = own.presentBytes.length;
  let keepBins = bins;
  let keptBytes = 0;
  let keptViews = 0;
  for (let bin = head; bin < bins; bin++) {
    keptBytes += own.presentBytes[bin];
    keptViews += own.presentViews[bin];
  }
  let filledBytes = 0;
  let filledViews = 0;
  let best: Cut = { fillBins: head, keepBins: head, bytes: 0, filledBytes: 0, views: 0 };
  let bestValue = -1;
  for (let fillBins = head; ; fillBins++) {
    while (keepBins > fillBins && filledBytes + keptBytes > room) {
      keepBins--;
      keptBytes -= own.presentBytes[keepBins];
      keptViews -= own.presentViews[keepBins];
    }
    if (filledBytes > fillRoom || filledBytes + keptBytes > room) break;
    const value = keptViews + filledViews - churnPerByte * filledBytes;
    if (value > bestValue) {
      bestValue = value;
      best = {
        fillBins,
        keepBins,
        bytes: filledBytes + keptBytes,
        filledBytes,
        views: keptViews + filledViews,
      };
    }
    if (fillBins >= bins) break;
    filledBytes += own.absentBytes[fillBins];
    filledViews += own.absentViews[fillBins];
    if (keepBins < fillBins + 1) {
      // What is filled down to here is also kept down to here.
      keptBytes += own.presentBytes[keepBins];
      keptViews += own.presentViews[keepBins];
      keepBins++;
    }
  }
  return best;
}
