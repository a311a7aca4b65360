/**
 * What the reactive part of a disk serves of the files that no plan put there: Che's approximation over density bins.
 *
 * A file asked for at rate r stays for a characteristic time T, alike for all, such that what is held fills the room. LRU: held with
 * probability 1 - exp(-r T). The appliance keeps a file at its second request and lets the least wanted go: two LRU in a row,
 * of the same T, are held with probability h1^2 / (1 - h1 (1 - h1)).
 *
 * Units:      rates in views of the whole file a day; bins are geometric, so T is a shift of one table
 * Source:     Che, Tung, Wang 2002; Martina, Garetto, Leonardi, "A unified approach to the performance analysis of caching systems", 2014
 */
import { BINS_PER_OCTAVE, type BinnedOrder } from './bins.ts';

const REACH = 12 * BINS_PER_OCTAVE; // shifts beyond 2^12 either way are 0 or 1

export type Admission = 'nightfill' | 'lru';

const TABLES: Readonly<Record<Admission, Float64Array>> = {
  lru: tableOf((x) => -Math.expm1(-x)),
  nightfill: tableOf((x) => {
    const once = -Math.expm1(-x);
    return (once * once) / (1 - once * (1 - once));
  }),
};

/** Held share by log2 of rate x T: entry i is at 2^((i - REACH) / BINS_PER_OCTAVE). */
function tableOf(held: (x: number) => number): Float64Array {
  return Float64Array.from({ length: 2 * REACH + 1 }, (_, at) =>
    held(2 ** ((at - REACH) / BINS_PER_OCTAVE)),
  );
}

/**
 * Share of the view-bytes of `beyond` that the reactive part serves. `beyond` is bytes per bin that no plan holds, `views` the
 * cluster's views a day.
 */
export function reactiveShare(
  order: BinnedOrder,
  beyond: Float64Array,
  views: number,
  roomBytes: number,
  admission: Admission,
  hashShare: number,
): number {
  const table = TABLES[admission];
  let all = 0;
  let planned = 0;
  const bins = beyond.length;
  for (let bin = 0; bin < bins; bin++) {
    all += beyond[bin];
    planned += (order.bytes[bin] * hashShare - beyond[bin]) * order.densities[bin];
  }
  const wanted = order.viewBytes * hashShare - planned; // with what lies deeper than the bins
  if (wanted <= 0 || roomBytes <= 0) return 0;
  if (all <= roomBytes && order.isWhole && bins === order.bins) return 1;
  // Bin of rate 1 a day; T = 2^(shift / BINS_PER_OCTAVE) days.
  const unit = Math.round(Math.log2(order.densities[0] * views) * BINS_PER_OCTAVE);
  let low = -2 * REACH;
  let high = 2 * REACH;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (heldBytes(beyond, table, unit + middle) <= roomBytes) low = middle;
    else high = middle - 1;
  }
  let served = 0;
  for (let bin = 0; bin < bins; bin++) {
    if (beyond[bin] > 0) {
      served += beyond[bin] * order.densities[bin] * heldAt(table, unit + low - bin);
    }
  }
  return served / wanted;
}

function heldBytes(beyond: Float64Array, table: Float64Array, shift: number): number {
  let held = 0;
  const end = Math.min(beyond.length, shift + REACH + 1); // below the table nothing is held
  for (let bin = 0; bin < end; bin++) held += beyond[bin] * heldAt(table, shift - bin);
  return held;
}

function heldAt(table: Float64Array, log: number): number {
  return log > REACH ? 1 : log < -REACH ? 0 : table[log + REACH];
}
