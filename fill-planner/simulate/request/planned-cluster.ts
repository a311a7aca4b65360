/**
 * One cluster at the request level: which keys its boxes hold, by the planner's own cuts over what they really hold, and when tonight's
 * files come in.
 *
 * The fleet planner describes what a box holds by last night's thresholds; here it is known key by key, as `nightfill plan` knows it from
 * the boxes' holdings.
 *
 * Invariants: (1) from empty boxes, `holder` is what expandPlan makes of the fleet planner's plans
 *             (2) bytes held <= storage, bytes filled <= allowance, for every box
 */
import { ownerOfBuckets } from '../../contract.ts';
import { densityKey, keyFloor } from '../../fleet/candidates.ts';
import { bestCut } from '../../fleet/cluster-cuts.ts';
import { densityOf, type FactoredOrder } from '../../fleet/factored-order.ts';
import type { FleetBox, FleetCluster } from '../../fleet/fleet-files.ts';
import type { OwnSums } from '../../fleet/own-sums.ts';
import { uniform } from '../workload/chance.ts';
import type { Keys } from './keys.ts';

const PURPOSE = 71;
const DEPTH = 1.2; // of the cluster's storage, as the fleet planner looks

/** A country's order over the sampled keys. */
export interface KeyOrder {
  readonly bins: Uint32Array; // per sampled row; 0 is the densest
  readonly views: Float64Array; // per sampled row: density x bytes
  readonly edges: Float64Array; // bins + 1, falling
  readonly bytesAbove: Float64Array; // bins + 1
}

export function keyOrderOf(order: FactoredOrder, { rows, sizes }: Keys): KeyOrder {
  const keys = new Uint32Array(rows.length);
  const views = new Float64Array(rows.length);
  let top = 0;
  let least = Infinity;
  for (let at = 0; at < rows.length; at++) {
    const density = densityOf(order.titles, order.variants, rows[at]);
    keys[at] = densityKey(density);
    views[at] = density * sizes[at];
    top = Math.max(top, keys[at]);
    least = Math.min(least, keys[at]);
  }
  const count = top - least + 1;
  const bytesAbove = new Float64Array(count + 1);
  for (let at = 0; at < rows.length; at++) bytesAbove[top - keys[at] + 1] += sizes[at];
  for (let bin = 0; bin < count; bin++) bytesAbove[bin + 1] += bytesAbove[bin];
  return {
    bins: keys.map((key) => top - key),
    views,
    edges: Float64Array.from({ length: count + 1 }, (_, bin) => keyFloor(top - bin + 1)),
    bytesAbove,
  };
}

export class PlannedCluster {
  readonly cluster: FleetCluster;
  /** Per sampled row: 1 where the box that owns it holds it. */
  readonly held: Uint8Array;
  /** Per sampled row: hours after the window opens when tonight's file is in; 0 where it was held before. */
  readonly arrivesAt: Float32Array;
  readonly #keys: Keys;
  readonly #owner: Uint8Array; // per sampled row

  constructor(cluster: FleetCluster, keys: Keys) {
    this.cluster = cluster;
    this.#keys = keys;
    this.held = new Uint8Array(keys.rows.length);
    this.arrivesAt = new Float32Array(keys.rows.length);
    const owners = ownerOfBuckets(
      cluster.boxes.map(({ applianceId }) => applianceId),
      cluster.boxes.map(({ storageBytes }) => Math.max(1, storageBytes)),
    );
    this.#owner = Uint8Array.from(keys.rows, (row) => owners[keys.catalogue.buckets[row]]);
  }

  /** Index of the box that a sampled row belongs to. */
  ownerOf(at: number): number {
    return this.#owner[at];
  }

  /** Plans and fills tonight. `fillShare`: of each box's allowance; Infinity before the first night. */
  night(
    order: KeyOrder,
    fillShare: number,
    churnShare: number,
    windowHours: number,
    seed: number,
  ): { readonly filled: number; readonly deleted: number } {
    const { boxes } = this.cluster;
    const storage = boxes.reduce((sum, box) => sum + box.storageBytes, 0);
    const depth = Math.max(1, binsHolding(order, DEPTH * storage));
    const sums = this.#sums(order, depth);
    const isTight = order.bytesAbove[depth] > storage;
    const price = isTight ? churnShare * order.edges[binsHolding(order, storage)] : 0;
    const reach = new Float64Array(depth).fill(1);
    const cuts = boxes.map((box: FleetBox, at) => {
      const fill = fillShare === Infinity ? Infinity : box.fillBytes * fillShare;
      return bestCut(sums[at], reach, 0, depth, box.storageBytes, fill, price);
    });
    let filled = 0;
    let deleted = 0;
    const { sizes, rows } = this.#keys;
    for (let at = 0; at < rows.length; at++) {
      const cut = cuts[this.#owner[at]];
      const bin = order.bins[at];
      const before = this.held[at];
      const now = bin < cut.fillBins || (before === 1 && bin < cut.keepBins) ? 1 : 0;
      this.arrivesAt[at] = 0;
      if (now > before) {
        filled += sizes[at];
        if (fillShare !== Infinity)
          this.arrivesAt[at] = windowHours * uniform(seed, rows[at], PURPOSE);
      } else if (now < before) deleted += sizes[at];
      this.held[at] = now;
    }
    return { filled, deleted };
  }

  /** What the fleet planner's pass sums: per box and bin its own bytes and views, apart for what it holds. */
  #sums(order: KeyOrder, depth: number): readonly OwnSums[] {
    const sums = this.cluster.boxes.map(() => ({
      presentBytes: new Float64Array(depth),
      presentViews: new Float64Array(depth),
      absentBytes: new Float64Array(depth),
      absentViews: new Float64Array(depth),
    }));
    const { sizes } = this.#keys;
    for (let at = 0; at < sizes.length; at++) {
      const bin = order.bins[at];
      if (bin >= depth) continue;
      const own = sums[this.#owner[at]];
      if (this.held[at] === 1) {
        own.presentBytes[bin] += sizes[at];
        own.presentViews[bin] += order.views[at];
      } else {
        own.absentBytes[bin] += sizes[at];
        own.absentViews[bin] += order.views[at];
      }
    }
    return sums;
  }
}

function binsHolding({ bytesAbove }: KeyOrder, bytes: number): number {
  let low = 0;
  let high = bytesAbove.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (bytesAbove[middle] <= bytes) low = middle;
    else high = middle - 1;
  }
  return low;
}
