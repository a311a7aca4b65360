/**
 * One pass over a region's candidates for one cluster: per box and density bin the bytes and view-bytes that are its own by
 * rendezvous, apart for what it holds already. Everything about the cluster is worked out on these sums.
 *
 * Boxes of one class share files among themselves. A mixed cluster has two groups, the one with more throughput per byte first: a
 * file has an owner in each, and the plan's bands say which of them a density goes to.
 *
 * Units: views are share x bytes: times a cluster's views a day they are view-bytes
 */
import { bucketOwners, ownerOfBuckets, SHARE_BUCKETS } from '../rendezvous.ts';
import { densityKey, type Candidates } from './candidates.ts';
import { BLOCK_BYTES, type FleetBox, type FleetCluster } from './fleet-files.ts';

/** Boxes that share files out among themselves, as indices. */
export interface BoxGroup {
  readonly boxes: readonly number[];
  readonly weights: readonly number[]; // per box of the cluster; 0 outside the group
  readonly ownerOfBucket: Uint8Array; // index of a box of the cluster
  readonly storageBytes: number; // sums
  readonly servingBps: number;
  readonly fillBytes: number;
}

/** One box's own files, per bin. */
export interface OwnSums {
  readonly presentBytes: Float64Array;
  readonly presentViews: Float64Array;
  readonly absentBytes: Float64Array;
  readonly absentViews: Float64Array;
}

export interface ClusterSums {
  readonly groups: readonly BoxGroup[];
  readonly depth: number; // bins
  readonly boxes: readonly OwnSums[];
  /** By set of groups that hold the files: bytes and views per bin. */
  readonly masses: readonly {
    readonly mask: number;
    readonly bytes: Float64Array;
    readonly views: Float64Array;
  }[];
}

export function groupsOf(boxes: readonly FleetBox[]): readonly BoxGroup[] {
  const byClass = new Map<string, number[]>();
  boxes.forEach(({ applianceClass }, at) => {
    byClass.set(applianceClass, [...(byClass.get(applianceClass) ?? []), at]);
  });
  const leanness = (group: BoxGroup): number => group.servingBps / Math.max(1, group.storageBytes);
  return [...byClass.values()]
    .map((own) => {
      const sum = (of: (box: FleetBox) => number): number =>
        own.reduce((total, at) => total + of(boxes[at]), 0);
      const weights = boxes.map((box, at) => (own.includes(at) ? box.storageBytes : 0));
      return {
        boxes: own,
        weights,
        ownerOfBucket: ownersOf(boxes, weights),
        storageBytes: sum((box) => box.storageBytes),
        servingBps: sum((box) => box.servingBps),
        fillBytes: sum((box) => box.fillBytes),
      };
    })
    .sort((a, b) => leanness(b) - leanness(a) || a.boxes[0] - b.boxes[0]);
}

function ownersOf(boxes: readonly FleetBox[], weights: readonly number[]): Uint8Array {
  const able = weights.findIndex((weight) => weight > 0);
  if (weights.filter((weight) => weight > 0).length <= 1) {
    return new Uint8Array(SHARE_BUCKETS).fill(Math.max(0, able));
  }
  return ownerOfBuckets(
    boxes.map(({ applianceId }) => applianceId),
    weights,
  );
}

/** The boxes that hold a pinned file: the owner in each group, then by storage until there are `copies`. */
export function pinHolders(
  boxes: readonly FleetBox[],
  groups: readonly BoxGroup[],
  bucket: number,
  copies: number,
): readonly number[] {
  const holders = groups.map(({ ownerOfBucket }) => ownerOfBucket[bucket]);
  if (holders.length >= copies) return holders.slice(0, Math.max(copies, groups.length));
  const ids = boxes.map(({ applianceId }) => applianceId);
  const weights = boxes.map(({ storageBytes }) => storageBytes);
  for (const box of bucketOwners(bucket, ids, weights, boxes.length)) {
    if (holders.length >= copies) break;
    if (!holders.includes(box)) holders.push(box);
  }
  return holders;
}

/** Per box: keys of last night's densities from which, and below which, it holds its own files. */
export function heldKeys(cluster: FleetCluster): { from: Uint32Array; below: Uint32Array } {
  const { previous, boxes } = cluster;
  const none = 0xffffffff;
  if (previous === null) {
    return {
      from: new Uint32Array(boxes.length).fill(none),
      below: new Uint32Array(boxes.length).fill(none),
    };
  }
  return {
    from: Uint32Array.from(previous.from, (density) =>
      Math.min(densityKey(density), densityKey(previous.everywhereDensity)),
    ),
    below: Uint32Array.from(previous.below, (density) =>
      Number.isFinite(Math.fround(density)) ? densityKey(density) : none,
    ),
  };
}

export function sumsOf(
  cluster: FleetCluster,
  groups: readonly BoxGroup[],
  candidates: Candidates,
  depth: number,
): ClusterSums {
  const boxes = cluster.boxes.map(() => ({
    presentBytes: new Float64Array(depth),
    presentViews: new Float64Array(depth),
    absentBytes: new Float64Array(depth),
    absentViews: new Float64Array(depth),
  }));
  const masses = Array.from({ length: 1 << groups.length }, (_, mask) => ({
    mask,
    bytes: new Float64Array(depth),
    views: new Float64Array(depth),
  }));
  const sums = { groups, depth, boxes, masses };
  if (groups.length === 1) passOverOne(cluster, groups[0], candidates, sums);
  else passOverTwo(cluster, groups, candidates, sums);
  return sums;
}

function passOverOne(
  cluster: FleetCluster,
  { ownerOfBucket }: BoxGroup,
  candidates: Candidates,
  sums: ClusterSums,
): void {
  const { depth, boxes, masses } = sums;
  const { from, below } = heldKeys(cluster);
  if (boxes.length === 1) passOverSingle(from[0], below[0], candidates, depth, boxes[0]);
  else {
    const { firstOfBin, blocks, densities, buckets, previousKeys } = candidates;
    // Of one bin, per box: absent blocks and views, present blocks and views. It stays in the nearest cache.
    const cells = new Float64Array(4 * boxes.length);
    for (let bin = 0; bin < depth; bin++) {
      cells.fill(0);
      const end = firstOfBin[bin + 1];
      for (let at = firstOfBin[bin]; at < end; at++) {
        const owner = ownerOfBucket[buckets[at]];
        const size = blocks[at];
        const key = previousKeys[at];
        const cell = (owner << 2) + (key >= from[owner] && key < below[owner] ? 2 : 0);
        cells[cell] += size;
        cells[cell + 1] += size * densities[at];
      }
      takeCells(boxes, cells, bin);
    }
  }
  for (const own of boxes) {
    for (let bin = 0; bin < depth; bin++) {
      masses[0].bytes[bin] += own.absentBytes[bin];
      masses[0].views[bin] += own.absentViews[bin];
      masses[1].bytes[bin] += own.presentBytes[bin];
      masses[1].views[bin] += own.presentViews[bin];
    }
  }
}

/** One box owns everything: half of a fleet's clusters, and sums in registers. */
function passOverSingle(
  from: number,
  below: number,
  { firstOfBin, blocks, densities, previousKeys }: Candidates,
  depth: number,
  own: OwnSums,
): void {
  for (let bin = 0; bin < depth; bin++) {
    const end = firstOfBin[bin + 1];
    let all = 0;
    let allViews = 0;
    let held = 0;
    let heldViews = 0;
    for (let at = firstOfBin[bin]; at < end; at++) {
      const size = blocks[at];
      const views = size * densities[at];
      all += size;
      allViews += views;
      const key = previousKeys[at];
      if (key < from || key >= below) continue;
      held += size;
      heldViews += views;
    }
    own.absentBytes[bin] = BLOCK_BYTES * (all - held);
    own.absentViews[bin] = BLOCK_BYTES * Math.max(0, allViews - heldViews);
    own.presentBytes[bin] = BLOCK_BYTES * held;
    own.presentViews[bin] = BLOCK_BYTES * heldViews;
  }
}

/** Each file counts for its owner in both groups; the masses say which of the two hold it. */
function passOverTwo(
  cluster: FleetCluster,
  groups: readonly BoxGroup[],
  candidates: Candidates,
  { depth, boxes, masses }: ClusterSums,
): void {
  const { from, below } = heldKeys(cluster);
  const [first, second] = groups.map(({ ownerOfBucket }) => ownerOfBucket);
  const { firstOfBin, blocks, densities, buckets, previousKeys } = candidates;
  const cells = new Float64Array(4 * boxes.length);
  const byMask = new Float64Array(8);
  for (let bin = 0; bin < depth; bin++) {
    cells.fill(0);
    byMask.fill(0);
    const end = firstOfBin[bin + 1];
    for (let at = firstOfBin[bin]; at < end; at++) {
      const size = blocks[at];
      const views = size * densities[at];
      const key = previousKeys[at];
      const a = first[buckets[at]];
      const b = second[buckets[at]];
      const isA = key >= from[a] && key < below[a] ? 1 : 0;
      const isB = key >= from[b] && key < below[b] ? 1 : 0;
      const cellA = (a << 2) + 2 * isA;
      const cellB = (b << 2) + 2 * isB;
      cells[cellA] += size;
      cells[cellA + 1] += views;
      cells[cellB] += size;
      cells[cellB + 1] += views;
      const mask = 2 * (isA | (isB << 1));
      byMask[mask] += size;
      byMask[mask + 1] += views;
    }
    takeCells(boxes, cells, bin);
    for (let mask = 0; mask < 4; mask++) {
      masses[mask].bytes[bin] = BLOCK_BYTES * byMask[2 * mask];
      masses[mask].views[bin] = BLOCK_BYTES * byMask[2 * mask + 1];
    }
  }
}

function takeCells(boxes: readonly OwnSums[], cells: Float64Array, bin: number): void {
  for (let box = 0; box < boxes.length; box++) {
    boxes[box].absentBytes[bin] = BLOCK_BYTES * cells[4 * box];
    boxes[box].absentViews[bin] = BLOCK_BYTES * cells[4 * box + 1];
    boxes[box].presentBytes[bin] = BLOCK_BYTES * cells[4 * box + 2];
    boxes[box].presentViews[bin] = BLOCK_BYTES * cells[4 * box + 3];
  }
}

/** Per box and bin of the longest head: bytes that the box lacks, its own files and the others'. */
export function headsMissing(
  cluster: FleetCluster,
  { ownerOfBucket }: BoxGroup,
  candidates: Candidates,
  bins: number,
): readonly Float64Array[] {
  const { from, below } = heldKeys(cluster);
  const everywhere =
    cluster.previous === null ? 0xffffffff : densityKey(cluster.previous.everywhereDensity);
  return cluster.boxes.map((_, box) => {
    const missing = new Float64Array(bins);
    for (let bin = 0; bin < bins; bin++) {
      for (let at = candidates.firstOfBin[bin]; at < candidates.firstOfBin[bin + 1]; at++) {
        const key = candidates.previousKeys[at];
        if (key >= everywhere) continue;
        const isOwn = ownerOfBucket[candidates.buckets[at]] === box;
        if (!(isOwn && key >= from[box] && key < below[box])) {
          missing[bin] += BLOCK_BYTES * candidates.blocks[at];
        }
      }
    }
    return missing;
  });
}

/**
 * View-bytes a day that tomorrow night believes gone and has no window to fill again: what is kept below the fill cut cannot
 * be told by tonight's order alone. A layout that moves a whole range of densities to other boxes would leave much there.
 */
export function lostViews(
  own: OwnSums,
  reach: Float64Array,
  { fillBins, keepBins }: { readonly fillBins: number; readonly keepBins: number },
  windowBytes: number,
): number {
  let bytes = 0;
  let views = 0;
  for (let bin = fillBins; bin < keepBins; bin++) {
    bytes += own.presentBytes[bin];
    views += own.presentViews[bin] * reach[bin];
  }
  return bytes > windowBytes ? views * (1 - windowBytes / bytes) : 0;
}
