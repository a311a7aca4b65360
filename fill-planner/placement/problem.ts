/**
 * One cluster's question: which box should hold which file of a feed, with what storage, serving and fill it has.
 *
 * Units: bytes; density in views per day; a view-byte = density x size; demand in bit/s = view-bytes x slot factor
 *
 * A slot is one peak of the day: the factor turns view-bytes per day into bit/s at that peak. A cluster that serves
 * several time zones has several; storage and fill are shared between them, throughput is not. What is
 * maximised is the bit/s served at the peaks, summed, less the price of what is newly filled.
 */
import type { Feed } from '../feed.ts';

export interface PlacementBox {
  readonly applianceId: string;
  readonly applianceClass: 'flash' | 'storage';
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly fillBytes: number; // tonight; Infinity where nothing limits it
}

export interface ClusterProblem {
  readonly feed: Feed;
  readonly boxes: readonly PlacementBox[];
  /** Per box: 1 at each rank that it holds now. */
  readonly present: readonly Uint8Array[];
  readonly slotFactors: readonly number[]; // bit/s per view-byte a day
  readonly churnPrice: number; // bit/s of peak demand that one newly filled byte must be worth
  /** Copies that every file gets before the next file gets any: 2 survive the loss of any one box. */
  readonly copiesMin: number;
  /** Ranks that must be held, with their number of copies: releases. */
  readonly pins: ReadonlyMap<number, number>;
}

/** Boxes of equal class and size, planned as one before files are split between them. */
export interface BoxType {
  readonly boxes: readonly number[]; // indices into the cluster's boxes
  readonly storageBytes: number; // sums
  readonly servingBps: number;
  readonly fillBytes: number;
}

export const BOX_TYPES_MAX = 3; // more are pooled by class: still a bound, only a looser one

export function boxTypesOf(boxes: readonly PlacementBox[]): readonly BoxType[] {
  const exact = grouped(boxes, (box) =>
    [box.applianceClass, box.storageBytes, box.servingBps].join(' '),
  );
  const groups =
    exact.length <= BOX_TYPES_MAX ? exact : grouped(boxes, (box) => box.applianceClass);
  return groups.map((group) => ({
    boxes: group,
    storageBytes: sum(group, (at) => boxes[at].storageBytes),
    servingBps: sum(group, (at) => boxes[at].servingBps),
    fillBytes: sum(group, (at) => boxes[at].fillBytes),
  }));
}

/** A share of what the last byte on the disks is worth: scale-free, so that small sites and large ones are damped alike. */
export function churnPriceOf(
  feed: Feed,
  boxes: readonly Pick<PlacementBox, 'storageBytes'>[],
  slotFactors: readonly number[],
  churnShare: number,
): number {
  let room = boxes.reduce((total, box) => total + box.storageBytes, 0);
  for (let rank = 0; rank < feed.ranks; rank++) {
    room -= feed.sizes[rank];
    if (room < 0) {
      const factor = slotFactors.reduce((total, slot) => total + slot, 0);
      return churnShare * feed.densities[rank] * factor;
    }
  }
  return 0; // everything fits: nothing is displaced
}

/** Types by falling throughput per byte of storage: the head belongs on the first. */
function grouped(
  boxes: readonly PlacementBox[],
  keyOf: (box: PlacementBox) => string,
): readonly (readonly number[])[] {
  const groups = new Map<string, number[]>();
  boxes.forEach((box, at) => {
    const key = keyOf(box);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [at]);
    else group.push(at);
  });
  const leanness = (group: readonly number[]): number =>
    boxes[group[0]].servingBps / Math.max(1, boxes[group[0]].storageBytes);
  return [...groups.values()].sort((a, b) => leanness(b) - leanness(a) || a[0] - b[0]);
}

function sum(group: readonly number[], of: (at: number) => number): number {
  let total = 0;
  for (const at of group) total += of(at);
  return total;
}
