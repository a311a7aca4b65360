/**
 * Tonight's thresholds of one cluster from its sums by box and density bin, with what is needed to prove how good they are.
 *
 * All works on sums: each box's keep and fill cut, a head on every box where throughput is short, and, in a mixed cluster,
 * the bin where the first group's share of the densities ends. A tier above leaves begins below the densities that its
 * leaves serve themselves. Cuts lie between bins, so that the sums are exact and so is the check against disk and window.
 *
 * Units:      densities are shares of the region's views; `reach` makes them views a day, slotFactor bit/s at the peak
 * Invariants: (1) bytes <= storage and newly filled bytes <= fill allowance, for every box
 *             (2) what is served is a split that the boxes can make
 */
import { binsHolding, type Candidates } from './candidates.ts';
import type { Reach } from './cluster-mass.ts';
import type { FleetCluster } from './fleet-files.ts';
import {
  groupsOf,
  headsMissing,
  lostViews,
  pinHolders,
  sumsOf,
  type ClusterSums,
  type OwnSums,
} from './own-sums.ts';

const DEPTH = 1.2; // of the cluster's storage: what lies deeper is summed up as one point of the bound
const HEAD_SHARES = [0, 0.02, 0.05, 0.1, 0.2, 0.35]; // of the demand, on every box
const SPLITS = [1, 0.98, 0.94, 0.85, 0.7, 0.5, 0.25, 0]; // of the first group's storage that its densities fill
const SPLIT_STEPS = [0.1, 0.05, 0.025, 0.0125, 0.00625];
const START_SHARES = [1, 0.6, 0.3]; // a tier leaves out the head below this part of the density it could cut at
const RELEASE_COPIES = 2;
const CLOSE_ENOUGH = 1e-4;

export interface ClusterCuts {
  readonly startBin: number; // what is denser lies below this tier
  readonly splitBin: number; // down to here the first group holds, from here the second; = startBin with one group
  readonly everywhereBins: number;
  readonly boxes: readonly BoxCuts[];
  readonly pins: PinnedOnBoxes;
  readonly demandBps: number; // that reaches the cluster
  readonly servedBps: number;
  readonly valueBps: number;
  readonly churnPrice: number;
  /** Per bin, and for what is deeper or pinned: the part of the demand that is left to the tier above. */
  readonly left: {
    readonly perBin: Float64Array;
    readonly pinned: number;
  };
}

export interface BoxCuts {
  readonly fillBins: number; // own files of the first so many bins are held
  readonly keepBins: number; // and of so many, if they were held last night
  readonly bytes: number; // with pins
  readonly filledBytes: number;
}

export interface PinnedOnBoxes {
  readonly files: readonly (readonly number[])[]; // per box: indices into candidates.pinned
  readonly bytes: readonly number[];
  readonly lacking: number; // files for which there was no room
}

export interface ClusterAsk {
  readonly cluster: FleetCluster;
  readonly candidates: Candidates;
  readonly reach: Reach;
  readonly pinnedReach: number;
  readonly slotFactor: number;
  readonly churnShare: number;
}

/** How deep the sums of a cluster go: it may begin below the densities of its leaves. */
export function depthOf(candidates: Candidates, cluster: FleetCluster, leafBytes: number): number {
  const storage = cluster.boxes.reduce((sum, box) => sum + box.storageBytes, 0);
  return Math.max(1, binsHolding(candidates, leafBytes + DEPTH * storage));
}

export function sumCluster(
  cluster: FleetCluster,
  candidates: Candidates,
  depth: number,
): ClusterSums {
  return sumsOf(cluster, groupsOf(cluster.boxes), candidates, depth);
}

/** `bound`: where a layout comes close enough to it, no other is tried. */
export function cutsOf(
  ask: ClusterAsk,
  sums: ClusterSums,
  churnPrice: number,
  bound: number,
): ClusterCuts {
  const { cluster, candidates, reach } = ask;
  const pins = pinsOf(cluster, sums, candidates);
  let best: Rounded | null = null;
  let missing: readonly Float64Array[] | null = null;
  for (const layout of layoutsOf(ask, sums)) {
    if (layout.head > 0) {
      const heads = headBins(candidates, sums.depth);
      missing ??= headsMissing(cluster, sums.groups[0], candidates, heads[heads.length - 1]);
    }
    const rounded = roundTo(ask, sums, layout, missing, pins, churnPrice);
    if (rounded !== null && (best === null || rounded.worth > best.worth)) best = rounded;
    if (best !== null && bound - best.worth < CLOSE_ENOUGH * bound) break;
  }
  if (best === null) throw new Error(`cluster ${cluster.clusterId}: no head at all always fits`);
  best = refined(ask, sums, best, bound, (layout) =>
    roundTo(ask, sums, layout, missing, pins, churnPrice),
  );
  const { pinnedViews, deeperViews } = outsideSums(candidates, sums.depth);
  let reached = deeperViews * reach.deeper + pinnedViews * ask.pinnedReach;
  for (let bin = 0; bin < sums.depth; bin++) {
    reached += (candidates.viewsAbove[bin + 1] - candidates.viewsAbove[bin]) * reach.perBin[bin];
  }
  return {
    startBin: best.layout.start,
    splitBin: best.layout.split,
    everywhereBins: best.layout.head,
    boxes: best.boxes,
    pins,
    demandBps: ask.slotFactor * reached,
    servedBps: best.served,
    valueBps: best.value,
    churnPrice,
    left: leftOf(ask, sums, best),
  };
}

// ---------------------------------------------------------------- layouts

interface Layout {
  readonly start: number;
  readonly split: number;
  readonly head: number;
}

function* layoutsOf(ask: ClusterAsk, sums: ClusterSums): Generator<Layout> {
  const { candidates } = ask;
  const [first] = sums.groups;
  for (const start of startsOf(ask, sums)) {
    if (sums.groups.length === 1) yield { start, split: start, head: 0 };
    else {
      for (const share of SPLITS) {
        const bytes = candidates.bytesAbove[start] + share * first.storageBytes;
        const split = Math.min(sums.depth, Math.max(start, binsHolding(candidates, bytes)));
        yield { start, split, head: 0 };
      }
    }
  }
  if (sums.groups.length === 1 && first.boxes.length > 1 && ask.reach.isEven) {
    for (const head of headBins(candidates, sums.depth)) {
      if (head > 0) yield { start: 0, split: 0, head };
    }
  }
}

/** A mixed cluster's split is moved by ever smaller steps of the first group's storage while that is worth something. */
function refined(
  { candidates }: ClusterAsk,
  sums: ClusterSums,
  found: Rounded,
  bound: number,
  round: (layout: Layout) => Rounded | null,
): Rounded {
  if (sums.groups.length === 1) return found;
  let best = found;
  for (const step of SPLIT_STEPS) {
    const { layout } = best;
    for (const share of [-step, step]) {
      if (bound - best.worth < CLOSE_ENOUGH * bound) return best;
      const bytes = candidates.bytesAbove[layout.split] + share * sums.groups[0].storageBytes;
      const split = Math.max(layout.start, binsHolding(candidates, Math.max(0, bytes)));
      if (split > sums.depth || split === layout.split) continue;
      const moved = round({ ...layout, split });
      if (moved !== null && moved.worth > best.worth) best = moved;
    }
  }
  return best;
}

/** Where a tier may begin: at the top, or below the bins whose demand its leaves leave too little of. */
function startsOf({ candidates, reach }: ClusterAsk, sums: ClusterSums): readonly number[] {
  if (reach.isEven) return [0];
  const storage = sums.groups.reduce((total, group) => total + group.storageBytes, 0);
  const cut = Math.min(sums.depth, binsHolding(candidates, storage));
  const atCut = candidates.edges[cut] * reach.perBin[Math.min(cut, sums.depth - 1)];
  const starts = START_SHARES.map((share) => {
    let bin = 0;
    while (bin < sums.depth && candidates.edges[bin] * reach.perBin[bin] < share * atCut) bin++;
    return bin < sums.depth ? bin : 0;
  });
  return [...new Set([0, ...starts])];
}

/** Bins that carry each share of the demand, as far as they may matter. */
function headBins(candidates: Candidates, depth: number): readonly number[] {
  const bins = HEAD_SHARES.map((share) => {
    let low = 0;
    let high = depth;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (candidates.viewsAbove[middle] >= share * candidates.viewBytes) high = middle;
      else low = middle + 1;
    }
    return low;
  });
  return [...new Set(bins)];
}

/** bit/s that a newly filled byte must be worth. */
export function churnPriceOf(ask: ClusterAsk, sums: ClusterSums): number {
  const { candidates, reach, slotFactor, churnShare } = ask;
  const storage = sums.groups.reduce((total, group) => total + group.storageBytes, 0);
  if (candidates.bytesAbove[sums.depth] <= storage) return 0; // everything fits: nothing is displaced
  const bin = binsHolding(candidates, storage);
  return churnShare * slotFactor * candidates.edges[bin] * reach.perBin[bin];
}

// ---------------------------------------------------------------- pins

/** Pinned files come first, on their holders, while disk and window have room on each of them. */
function pinsOf(cluster: FleetCluster, sums: ClusterSums, candidates: Candidates): PinnedOnBoxes {
  const { boxes } = cluster;
  const { buckets, sizes } = candidates.pinned;
  const files = boxes.map((): number[] => []);
  const bytes = boxes.map(() => 0);
  let lacking = 0;
  const copies = Math.min(RELEASE_COPIES, boxes.length);
  for (let at = 0; at < buckets.length; at++) {
    const holders = pinHolders(boxes, sums.groups, buckets[at], copies).filter(
      (box) => bytes[box] + sizes[at] <= Math.min(boxes[box].storageBytes, boxes[box].fillBytes),
    );
    if (holders.length < copies) lacking++;
    for (const box of holders) {
      files[box].push(at);
      bytes[box] += sizes[at];
    }
  }
  return { files, bytes, lacking };
}

// ---------------------------------------------------------------- rounding

interface Rounded {
  readonly layout: Layout;
  readonly boxes: readonly BoxCuts[];
  readonly served: number;
  readonly value: number;
  readonly worth: number; // value, less what tomorrow night loses for not knowing what is kept
  readonly servedPart: readonly number[]; // per box: what it serves of what it is asked for
  readonly headPart: number; // the same for the head that all boxes hold
}

/** Each box's best cuts under a layout, and what they serve together. Null: the head does not fit. */
function roundTo(
  ask: ClusterAsk,
  sums: ClusterSums,
  layout: Layout,
  missing: readonly Float64Array[] | null,
  pins: PinnedOnBoxes,
  churnPrice: number,
): Rounded | null {
  const { cluster, candidates, reach, slotFactor } = ask;
  const { head } = layout;
  const headBytes = candidates.bytesAbove[head];
  const boxes: BoxCuts[] = [];
  const servedPart: number[] = [];
  const pinLoads = pinLoadsOf(ask, pins);
  let headViews = 0;
  let served = 0;
  let spare = 0;
  let filled = 0;
  let lost = 0;
  for (let bin = 0; bin < head; bin++) {
    headViews += (candidates.viewsAbove[bin + 1] - candidates.viewsAbove[bin]) * reach.perBin[bin];
  }
  for (let at = 0; at < cluster.boxes.length; at++) {
    const box = cluster.boxes[at];
    let headFill = 0;
    for (let bin = 0; bin < head; bin++) headFill += missing?.[at][bin] ?? 0;
    const room = box.storageBytes - headBytes - pins.bytes[at];
    const fillRoom = box.fillBytes - headFill - pins.bytes[at];
    if (room < 0 || fillRoom < 0) return null;
    const { from, to } = rangeOf(sums, layout, at);
    const price = slotFactor > 0 ? churnPrice / slotFactor : 0;
    const cut = bestCut(sums.boxes[at], reach.perBin, from, to, room, fillRoom, price);
    boxes.push({
      fillBins: cut.fillBins,
      keepBins: cut.keepBins,
      bytes: headBytes + pins.bytes[at] + cut.bytes,
      filledBytes: headFill + pins.bytes[at] + cut.filledBytes,
    });
    const load = slotFactor * (cut.views + pinLoads[at]);
    served += Math.min(box.servingBps, load);
    servedPart.push(load > box.servingBps ? box.servingBps / load : 1);
    lost +=
      servedPart[at] * slotFactor * lostViews(sums.boxes[at], reach.perBin, cut, box.fillBytes);
    spare += Math.max(0, box.servingBps - load);
    filled += headFill + pins.bytes[at] + cut.filledBytes;
  }
  const headServed = Math.min(slotFactor * headViews, spare);
  served += headServed;
  const headPart = headViews > 0 ? headServed / (slotFactor * headViews) : 1;
  const value = served - churnPrice * filled;
  return { layout, boxes, served, value, worth: value - lost, servedPart, headPart };
}

/** View-bytes a day of pinned files per box, split alike between their holders. */
function pinLoadsOf(
  { candidates, pinnedReach }: ClusterAsk,
  pins: PinnedOnBoxes,
): readonly number[] {
  const { densities, sizes } = candidates.pinned;
  const holders = new Uint8Array(densities.length);
  for (const files of pins.files) for (const at of files) holders[at]++;
  return pins.files.map((files) =>
    files.reduce((sum, at) => sum + (densities[at] * sizes[at] * pinnedReach) / holders[at], 0),
  );
}

/** What the tier above is left with, as a part of what reached this one, bin by bin. */
function leftOf(ask: ClusterAsk, sums: ClusterSums, best: Rounded): ClusterCuts['left'] {
  const perBin = new Float64Array(sums.depth).fill(1);
  const { candidates } = ask;
  const { layout } = best;
  const ranges = sums.boxes.map((_, at) => rangeOf(sums, layout, at));
  const from = ranges.map((range) => range.from);
  const to = ranges.map((range) => range.to);
  for (let bin = 0; bin < sums.depth; bin++) {
    const all = candidates.viewsAbove[bin + 1] - candidates.viewsAbove[bin];
    if (all <= 0) continue;
    if (bin < layout.head) {
      perBin[bin] = 1 - best.headPart;
      continue;
    }
    let served = 0;
    for (let at = 0; at < sums.boxes.length; at++) {
      if (bin < from[at] || bin >= to[at]) continue;
      const own = sums.boxes[at];
      const { fillBins, keepBins } = best.boxes[at];
      if (bin < fillBins) {
        served += best.servedPart[at] * (own.presentViews[bin] + own.absentViews[bin]);
      } else if (bin < keepBins) served += best.servedPart[at] * own.presentViews[bin];
    }
    perBin[bin] = Math.max(0, 1 - served / all);
  }
  const least = best.servedPart.reduce((low, part) => Math.min(low, part), 1);
  return { perBin, pinned: 1 - least };
}

/** The bins that a box may hold its own files of. */
function rangeOf(
  { groups, depth }: ClusterSums,
  { start, split, head }: Layout,
  box: number,
): { readonly from: number; readonly to: number } {
  const isFirst = groups.length > 1 && groups[0].boxes.includes(box);
  return { from: Math.max(head, isFirst ? start : split), to: isFirst ? split : depth };
}

interface Cut {
  readonly fillBins: number;
  readonly keepBins: number;
  readonly bytes: number;
  readonly filledBytes: number;
  readonly views: number;
}

/**
 * The best pair of cuts of one box between two bins: for each fill cut that its window allows, the lowest keep cut that the
 * disk allows; two pointers, since more filled means less kept.
 */
export function bestCut(
  own: OwnSums,
  reach: Float64Array,
  from: number,
  to: number,
  room: number,
  fillRoom: number,
  churnPerByte: number, // in view-bytes a day
): Cut {
  let keepBins = Math.max(from, to);
  let keptBytes = 0;
  let keptViews = 0;
  for (let bin = from; bin < to; bin++) {
    keptBytes += own.presentBytes[bin];
    keptViews += own.presentViews[bin] * reach[bin];
  }
  let filledBytes = 0;
  let filledViews = 0;
  let best: Cut = { fillBins: from, keepBins: from, bytes: 0, filledBytes: 0, views: 0 };
  let bestValue = -1;
  for (let fillBins = from; ; fillBins++) {
    while (keepBins > fillBins && filledBytes + keptBytes > room) {
      keepBins--;
      keptBytes -= own.presentBytes[keepBins];
      keptViews -= own.presentViews[keepBins] * reach[keepBins];
    }
    if (filledBytes > fillRoom || filledBytes + keptBytes > room) break;
    const value = keptViews + filledViews - churnPerByte * filledBytes;
    // Equal worth for equal fill is the same files: the deepest cut is the one that tomorrow night remembers all of them by.
    if (value > bestValue || (value === bestValue && filledBytes === best.filledBytes)) {
      bestValue = value;
      best = {
        fillBins,
        keepBins,
        bytes: filledBytes + keptBytes,
        filledBytes,
        views: keptViews + filledViews,
      };
    }
    if (fillBins >= to) break;
    filledBytes += own.absentBytes[fillBins];
    filledViews += own.absentViews[fillBins] * reach[fillBins];
    if (keepBins < fillBins + 1) {
      // What is filled down to here is also kept down to here.
      keptBytes += own.presentBytes[keepBins];
      keptViews += own.presentViews[keepBins] * reach[keepBins];
      keepBins++;
    }
  }
  return best;
}

function outsideSums(
  candidates: Candidates,
  depth: number,
): { readonly pinnedViews: number; readonly deeperViews: number } {
  const { densities, sizes } = candidates.pinned;
  let pinnedViews = 0;
  for (let at = 0; at < sizes.length; at++) pinnedViews += densities[at] * sizes[at];
  const seen = candidates.viewsAbove[depth] + pinnedViews;
  return { pinnedViews, deeperViews: Math.max(0, candidates.viewBytes - seen) };
}
