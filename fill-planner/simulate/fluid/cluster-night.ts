/**
 * One night of one cluster: the planner's own cuts over density bins, then what is held, filled and deleted per cell.
 *
 * The sums per bin are those that the fleet planner makes from files; `bestCut`, `boundProblemOf`, `leastBound` and `pricesOf` are its
 * own. Boxes of a cluster that share their history are one pooled box: their own files are alike by hash, so this is exact but for the
 * hash's unevenness.
 *
 * State:      per cell `cut`: bins of the ladder that are held, from the most watched file down
 * Invariants: (1) bytes held <= storage, bytes filled <= allowance, as far as bins are whole
 */
import { bestCut } from '../../fleet/cluster-cuts.ts';
import type { OwnSums } from '../../fleet/own-sums.ts';
import { leastBound, type BoundProblem } from '../../placement/bound.ts';
import { prefixSums } from '../../placement/mass.ts';
import { pricesOf, type Prices } from '../../placement/placement.ts';
import type { BinnedOrder, LadderBins } from './bins.ts';

const SEEN = 2.5; // of the storage
const DEPTH = 1.5; // of the storage: cuts never lie deeper, as in the fleet planner

export interface Pool {
  readonly boxes: number;
  readonly storageBytes: number; // per box, for the plan
  readonly servingBps: number;
  readonly fillBytes: number; // per box tonight
}

export interface NightCut {
  readonly fillBins: number;
  readonly keepBins: number;
  readonly plannedViews: number; // share of all view-bytes, by forecast
  /** Per bin: bytes that are not held after tonight; valid until the next call. */
  readonly beyond: Float64Array;
  readonly proof: { readonly gapShare: number; readonly prices: Prices } | null;
}

/** Work space, so that a cluster-night allocates next to nothing. */
export class NightPlanner {
  readonly #ladder: LadderBins;
  readonly #seconds: Float64Array;
  #present = new Float64Array(0);
  #views = new Float64Array(0);
  #absent = new Float64Array(0);
  #absentViews = new Float64Array(0);
  #beyond = new Float64Array(0);
  #all = new Float64Array(0); // every view reaches the cluster

  constructor(ladder: LadderBins, seconds: Float64Array) {
    this.#ladder = ladder;
    this.#seconds = seconds;
  }

  /** `hashShare`: the share of files that this pool owns; 1 unless boxes of a cluster differ in their history. */
  plan(
    order: BinnedOrder,
    cuts: Int16Array,
    pool: Pool,
    churnShare: number,
    hashShare: number,
    proveFactor: number | null,
  ): NightCut {
    const storage = pool.boxes * pool.storageBytes;
    const depth = Math.min(order.bins, binsHolding(order, (DEPTH * storage) / hashShare) + 1);
    // The reactive part sees somewhat more than the plan could hold; what lies deeper is asked for too rarely to matter.
    const bins = Math.min(order.bins, binsHolding(order, (SEEN * storage) / hashShare) + 1);
    this.#sum(order, cuts, hashShare, bins);
    const own: OwnSums = {
      presentBytes: this.#present.subarray(0, depth),
      presentViews: this.#views.subarray(0, depth),
      absentBytes: this.#absent.subarray(0, depth),
      absentViews: this.#absentViews.subarray(0, depth),
    };
    const atCut = order.edges[binsHolding(order, storage / hashShare)];
    const isTight = order.bytesAbove[depth] * hashShare > storage;
    const churnPerByte = isTight ? churnShare * atCut : 0;
    const fill = pool.boxes * pool.fillBytes;
    const cut = bestCut(own, this.#all, 0, depth, storage, fill, churnPerByte);
    const beyond = this.#beyond;
    for (let bin = 0; bin < bins; bin++) {
      beyond[bin] =
        bin < cut.fillBins ? 0 : this.#absent[bin] + (bin < cut.keepBins ? 0 : this.#present[bin]);
    }
    return {
      fillBins: cut.fillBins,
      keepBins: cut.keepBins,
      plannedViews: cut.views / (order.viewBytes * hashShare),
      beyond: beyond.subarray(0, bins),
      proof:
        proveFactor === null
          ? null
          : proofOf(
              order,
              own,
              pool,
              cut.views,
              proveFactor,
              churnPerByte,
              cut.filledBytes,
              hashShare,
            ),
    };
  }

  #sum(order: BinnedOrder, cuts: Int16Array, hashShare: number, bins: number): void {
    const { bytes, densities, firstBin } = order;
    if (this.#present.length < bins) {
      this.#present = new Float64Array(bins);
      this.#views = new Float64Array(bins);
      this.#absent = new Float64Array(bins);
      this.#absentViews = new Float64Array(bins);
      this.#beyond = new Float64Array(bins);
      this.#all = new Float64Array(bins).fill(1);
    }
    const present = this.#present;
    const base = Math.min(bins, usualCut(order, cuts));
    present.set(bytes.subarray(0, base));
    present.fill(0, base, bins);
    const ladderBytes = this.#ladder.bytes;
    const seconds = this.#seconds;
    // Most titles are held down to about the same density: only what differs from it is added or taken away.
    for (let at = 0; at < cuts.length; at++) {
      const first = firstBin[at];
      if (first === -1) continue;
      const weight = seconds[at];
      const end = first + cuts[at];
      if (end > base) {
        const stop = Math.min(bins, end);
        for (let bin = Math.max(base, first); bin < stop; bin++) {
          present[bin] += weight * ladderBytes[bin - first];
        }
      } else {
        const stop = Math.min(base, first + ladderBytes.length);
        for (let bin = Math.max(end, first); bin < stop; bin++) {
          present[bin] -= weight * ladderBytes[bin - first];
        }
      }
    }
    for (let bin = 0; bin < bins; bin++) {
      const held = Math.min(bytes[bin], Math.max(0, present[bin])) * hashShare;
      const missing = Math.max(0, bytes[bin] * hashShare - held);
      present[bin] = held;
      this.#views[bin] = held * densities[bin];
      this.#absent[bin] = missing;
      this.#absentViews[bin] = missing * densities[bin];
    }
  }
}

/** The bin down to which most of a sample of titles is held. */
function usualCut(order: BinnedOrder, cuts: Int16Array): number {
  const ends: number[] = [];
  const step = Math.max(1, cuts.length >> 5);
  for (let at = 0; at < cuts.length; at += step) {
    if (cuts[at] > 0 && order.firstBin[at] !== -1) ends.push(order.firstBin[at] + cuts[at]);
  }
  if (ends.length === 0) return 0;
  ends.sort((a, b) => a - b);
  return Math.min(order.bins, ends[ends.length >> 1]);
}

function proofOf(
  order: BinnedOrder,
  own: OwnSums,
  pool: Pool,
  views: number, // share of the view-bytes that the cut serves
  factor: number,
  churnPerByte: number,
  filledBytes: number,
  hashShare: number,
): { readonly gapShare: number; readonly prices: Prices } {
  const serving = pool.boxes * pool.servingBps;
  const problem = boundProblemOf(order, own, pool, factor, churnPerByte * factor, hashShare);
  const least = leastBound(problem);
  const value = Math.min(serving, factor * views) - churnPerByte * factor * filledBytes;
  return {
    gapShare: least.bound > 0 ? Math.max(0, 1 - value / least.bound) : 0,
    prices: pricesOf(problem, least),
  };
}

/** The planner's bound asks for bytes at points of density: those of a bin go to its two edges, bytes and view-bytes kept. */
function boundProblemOf(
  order: BinnedOrder,
  own: OwnSums,
  pool: Pool,
  factor: number,
  churnPrice: number,
  hashShare: number,
): BoundProblem {
  const depth = own.presentBytes.length;
  const grid = order.edges.subarray(0, depth + 1);
  const present = new Float64Array(depth + 1);
  const absent = new Float64Array(depth + 1);
  let seen = 0;
  for (let bin = 0; bin < depth; bin++) {
    spread(present, grid, bin, own.presentBytes[bin], own.presentViews[bin]);
    spread(absent, grid, bin, own.absentBytes[bin], own.absentViews[bin]);
    seen += own.presentViews[bin] + own.absentViews[bin];
  }
  // Everything deeper as bytes of the lowest density that is left: their worth is convex and 0 at 0, so this is no less.
  present[depth] += Math.max(0, order.viewBytes * hashShare - seen) / grid[depth];
  return {
    mass: { grid, memberships: [prefixSums(grid, 0, absent), prefixSums(grid, 1, present)] },
    types: [
      {
        storageBytes: pool.boxes * pool.storageBytes,
        servingBps: pool.boxes * pool.servingBps,
        fillBytes: pool.boxes * pool.fillBytes,
      },
    ],
    slotFactors: [factor],
    churnPrice,
  };
}

function spread(
  mass: Float64Array,
  grid: Float64Array,
  bin: number,
  bytes: number,
  views: number,
): void {
  if (bytes === 0) return;
  const upper = (views - grid[bin + 1] * bytes) / (grid[bin] - grid[bin + 1]);
  mass[bin] += upper;
  mass[bin + 1] += bytes - upper;
}

/** How many leading bins hold at most that many bytes. */
function binsHolding({ bytesAbove, bins }: BinnedOrder, bytes: number): number {
  let low = 0;
  let high = bins;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (bytesAbove[middle] <= bytes) low = middle;
    else high = middle - 1;
  }
  return low;
}
