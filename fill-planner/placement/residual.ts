/**
 * What a cluster leaves to the tier above it: at one peak, per file, the demand that its boxes do not serve.
 *
 * The split between holders is that of `servedBy`; a box above its limit serves the same share of everything it has.
 *
 * Units:      bit/s at one peak
 * Invariants: (1) served + residual = demand, file by file
 *             (2) no box serves more than its limit
 */
import { assert } from '#base/outcome.ts';
import { pour } from './served.ts';

export interface HoldingBox {
  readonly servingBps: number;
}

/** `demandBps` by rank is turned into the residual in place; what is served is returned. */
export function serveInPlace(
  boxes: readonly HoldingBox[],
  held: readonly Uint8Array[],
  demandBps: Float64Array,
): number {
  const load = boxes.map(() => 0);
  const shared: number[] = [];
  const only = new Int16Array(demandBps.length).fill(-1);
  for (let rank = 0; rank < demandBps.length; rank++) {
    let copies = 0;
    for (let box = 0; box < boxes.length; box++) {
      if (held[box][rank] === 0) continue;
      copies++;
      only[rank] = box;
    }
    if (copies === 1) load[only[rank]] += demandBps[rank];
    else if (copies > 1) shared.push(rank);
  }
  const parts: { readonly rank: number; readonly box: number; readonly bps: number }[] = [];
  for (const rank of shared) {
    const holders: number[] = [];
    for (let box = 0; box < boxes.length; box++) if (held[box][rank] === 1) holders.push(box);
    const before = holders.map((box) => load[box]);
    pour(demandBps[rank], holders, load, boxes);
    holders.forEach((box, at) => {
      if (load[box] > before[at]) parts.push({ rank, box, bps: load[box] - before[at] });
    });
    only[rank] = -2; // by parts
  }
  const part = load.map((bps, box) => (bps > 0 ? Math.min(1, boxes[box].servingBps / bps) : 0));
  let served = 0;
  load.forEach((bps, box) => (served += Math.min(bps, boxes[box].servingBps)));
  for (let rank = 0; rank < demandBps.length; rank++) {
    if (only[rank] >= 0) demandBps[rank] *= 1 - part[only[rank]];
  }
  for (const { rank, box, bps } of parts) {
    demandBps[rank] = Math.max(0, demandBps[rank] - bps * part[box]);
  }
  assert(Number.isFinite(served), 'what is served is a number');
  return served;
}
