/**
 * What a placement serves at the peaks: a split of the demand between holders that steering can make.
 *
 * Files with one copy first, then those with more, by density: each is poured to the least loaded of its holders
 * until they are level. A box serves at most its limit in each slot.
 *
 * Units:      bit/s, summed over the slots
 * Invariants: (1) the answer is reached by an actual split: it is never above what the boxes can serve
 */
import type { ClusterProblem } from './problem.ts';

export interface Served {
  readonly servedBps: number;
  readonly demandBps: number;
  readonly viewBytes: readonly number[]; // per box
}

export function servedBy(problem: ClusterProblem, held: readonly Uint8Array[]): Served {
  const { feed, boxes, slotFactors } = problem;
  const load = boxes.map(() => 0);
  const shared: number[] = [];
  let demand = 0;
  for (let rank = 0; rank < feed.ranks; rank++) {
    const viewBytes = feed.densities[rank] * feed.sizes[rank];
    demand += viewBytes;
    let copies = 0;
    let only = -1;
    for (let box = 0; box < boxes.length; box++) {
      if (held[box][rank] === 0) continue;
      copies++;
      only = box;
    }
    if (copies === 1) load[only] += viewBytes;
    else if (copies > 1) shared.push(rank);
  }
  for (const rank of shared) {
    const holders: number[] = [];
    for (let box = 0; box < boxes.length; box++) if (held[box][rank] === 1) holders.push(box);
    pour(feed.densities[rank] * feed.sizes[rank], holders, load, boxes);
  }
  let servedBps = 0;
  let demandBps = 0;
  for (const factor of slotFactors) {
    demandBps += factor * demand;
    for (let box = 0; box < boxes.length; box++) {
      servedBps += Math.min(boxes[box].servingBps, factor * load[box]);
    }
  }
  return { servedBps, demandBps, viewBytes: load };
}

/** Raises the least loaded holders (relative to their limits) together until the amount is gone. */
export function pour(
  amount: number,
  holders: readonly number[],
  load: number[],
  boxes: readonly { readonly servingBps: number }[],
): void {
  const able = holders.filter((box) => boxes[box].servingBps > 0);
  if (able.length === 0) return;
  const level = (box: number): number => load[box] / boxes[box].servingBps;
  able.sort((a, b) => level(a) - level(b) || a - b);
  let capacity = 0;
  let poured = 0;
  let count = 0;
  let height = 0;
  while (count < able.length) {
    capacity += boxes[able[count]].servingBps;
    poured += load[able[count]];
    count++;
    height = (poured + amount) / capacity; // where the first `count` would end
    if (count === able.length || height <= level(able[count])) break;
  }
  for (let at = 0; at < count; at++) load[able[at]] = height * boxes[able[at]].servingBps;
}
