/**
 * A popularity feed: the files that a cluster may hold, by falling density, in columns.
 *
 * Invariants: (1) densities fall strictly: ties are parted by one unit in the last place, lower ordinal first, so
 *                 that a threshold can cut between any two files
 *             (2) every density is finite and positive
 */
import type { Catalogue } from './catalogue.ts';
import { orderVersionOf, type Order } from './contract.ts';

export interface Feed {
  readonly orderId: string;
  readonly ranks: number;
  readonly rows: Uint32Array; // of the catalogue, by rank
  readonly ordinals: Uint32Array;
  readonly densities: Float64Array; // views per day
  readonly sizes: Float64Array; // bytes
  readonly buckets: Uint16Array;
}

export function feedOf(
  orderId: string,
  catalogue: Catalogue,
  densities: Float64Array,
  placeable: Uint8Array,
): Feed {
  const candidates: number[] = [];
  for (let row = 0; row < catalogue.rows; row++) {
    if (placeable[row] === 1 && densities[row] > 0 && Number.isFinite(densities[row])) {
      candidates.push(row);
    }
  }
  candidates.sort((a, b) => densities[b] - densities[a] || a - b);
  const rows = Uint32Array.from(candidates);
  const falling = new Float64Array(rows.length);
  for (let rank = 0; rank < rows.length; rank++) {
    const density = densities[rows[rank]];
    falling[rank] =
      rank > 0 && density >= falling[rank - 1] ? nextBelow(falling[rank - 1]) : density;
  }
  return {
    orderId,
    ranks: rows.length,
    rows,
    ordinals: Uint32Array.from(rows, (row) => catalogue.ordinals[row]),
    densities: falling,
    sizes: Float64Array.from(rows, (row) => catalogue.sizes[row]),
    buckets: Uint16Array.from(rows, (row) => catalogue.buckets[row]),
  };
}

export function orderOfFeed(feed: Feed, epoch: number): Order {
  const order = {
    orderId: feed.orderId,
    epoch,
    ordinals: [...feed.ordinals],
    densities: [...feed.densities],
  };
  return { ...order, orderVersion: orderVersionOf(order) };
}

const cell = new DataView(new ArrayBuffer(8));

/** The largest number below a positive one. */
export function nextBelow(value: number): number {
  cell.setFloat64(0, value);
  cell.setBigUint64(0, cell.getBigUint64(0) - 1n);
  return cell.getFloat64(0);
}
