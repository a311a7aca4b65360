/**
 * How much more, or less, a region likes a programme than its parent region does, down the tree to the cluster.
 *
 * For node r of parent q: expected = views of the programme in q x (views of r / views of q), summed day by day, so that a
 * title that rose and fell biases nothing. factor(t, r) = (b + count) / (b + expected), b by the method of moments over all
 * nodes of a level. share(t, cluster) = share(t, world) x the factors on the way down, made to sum to 1.
 *
 * Invariants: (1) a cluster without records has the shares of the nearest ancestor that has some
 *             (2) every share is positive where the world's is
 */
import type { DemandDay } from './demand-records.ts';
import type { ForecastCatalogue } from './programmes.ts';
import type { RegionTree } from './region-tree.ts';
import { RateStrength, shrunkFactor } from './shrinkage.ts';

export interface RegionShares {
  /** By slot and programme, row-major: the factor of a programme at a node against its parent. */
  readonly factors: Float64Array;
  /** Slot of each node; -1 where its factors are all 1: the world, and a child without siblings. */
  readonly slots: Int32Array;
  readonly strengths: readonly number[]; // b by level of the tree; that of the world is not used
}

export const REGION_HALF_LIFE_DAYS = 14;

export function learnRegionShares(
  catalogue: ForecastCatalogue,
  tree: RegionTree,
  days: readonly DemandDay[],
  atDay: number,
): RegionShares {
  const programmes = catalogue.programmes.length;
  const { sums, count } = sumSlots(tree);
  const counts = new Float64Array(count * programmes);
  const expected = new Float64Array(count * programmes);
  const today = new Float64Array(count * programmes);
  const totals = new Float64Array(count);
  let weightSum = 0;
  let squareSum = 0;
  for (const day of days) {
    if (day.day >= atDay) continue;
    const weight = 0.5 ** ((atDay - day.day) / REGION_HALF_LIFE_DAYS);
    const dayTotal = spread(catalogue, tree, sums, day, today, totals);
    weightSum += weight * dayTotal;
    squareSum += weight * weight * dayTotal;
    for (let node = 1; node < sums.length; node++) {
      const own = sums[node];
      const parent = sums[tree.parents[node]];
      if (own === parent) continue;
      const part = totals[parent] > 0 ? totals[own] / totals[parent] : 0;
      if (part === 0) continue;
      for (let t = 0; t < programmes; t++) {
        const above = today[parent * programmes + t];
        if (above === 0) continue;
        expected[own * programmes + t] += weight * above * part;
        counts[own * programmes + t] += weight * today[own * programmes + t];
      }
    }
  }
  // A discounted count varies less than a plain one of the same size: it is worth 1 / (sum w^2 / sum w) as many views.
  const worth = squareSum > 0 ? weightSum / squareSum : 1;
  for (let i = 0; i < counts.length; i++) {
    counts[i] *= worth;
    expected[i] *= worth;
  }
  return factorsOf(tree, sums, programmes, counts, expected);
}

/** Where the sums of each node are kept: a child without siblings has those of its parent, so the tree costs only where it forks. */
function sumSlots(tree: RegionTree): { readonly sums: Int32Array; readonly count: number } {
  const children = new Int32Array(tree.parents.length);
  for (const parent of tree.parents) if (parent >= 0) children[parent]++;
  const sums = new Int32Array(tree.parents.length);
  let count = 1;
  for (let node = 1; node < sums.length; node++) {
    const parent = tree.parents[node];
    sums[node] = children[parent] === 1 ? sums[parent] : count++;
  }
  return { sums, count };
}

/** Shares of every programme in one cluster, from the world's. */
export function sharesOfCluster(
  shares: RegionShares,
  tree: RegionTree,
  cluster: number,
  world: Float64Array,
  into: Float64Array,
): Float64Array {
  const programmes = world.length;
  into.set(world);
  for (const node of tree.paths[cluster].subarray(1)) {
    const slot = shares.slots[node];
    if (slot === -1) continue;
    for (let t = 0; t < programmes; t++) into[t] *= shares.factors[slot * programmes + t];
  }
  let total = 0;
  for (let t = 0; t < programmes; t++) total += into[t];
  if (total > 0) for (let t = 0; t < programmes; t++) into[t] /= total;
  return into;
}

/** Views by node and programme of one day; viewers without a home are left out. Returns the views of the world. */
function spread(
  catalogue: ForecastCatalogue,
  tree: RegionTree,
  sums: Int32Array,
  day: DemandDay,
  today: Float64Array,
  totals: Float64Array,
): number {
  const programmes = catalogue.programmes.length;
  today.fill(0);
  totals.fill(0);
  for (let i = 0; i < day.rows.length; i++) {
    if (day.clusters[i] < 0) continue;
    const t = catalogue.programmeOfTitle[catalogue.titleOfRow[day.rows[i]]];
    let last = -1;
    for (const node of tree.paths[day.clusters[i]]) {
      if (sums[node] === last) continue;
      last = sums[node];
      today[last * programmes + t] += day.views[i];
      totals[last] += day.views[i];
    }
  }
  return totals[0];
}

/** The factors take the place of the counts. */
function factorsOf(
  tree: RegionTree,
  sums: Int32Array,
  programmes: number,
  counts: Float64Array,
  expected: Float64Array,
): RegionShares {
  const byLevel = Array.from({ length: Math.max(...tree.levels) + 1 }, () => new RateStrength());
  const slots = Int32Array.from(sums, (own, node) =>
    node > 0 && own !== sums[tree.parents[node]] ? own : -1,
  );
  for (let node = 1; node < slots.length; node++) {
    if (slots[node] === -1) continue;
    const level = byLevel[tree.levels[node]];
    for (let t = 0; t < programmes; t++) {
      const at = slots[node] * programmes + t;
      if (counts[at] !== expected[at]) level.add(counts[at], expected[at]);
    }
  }
  const strengths = byLevel.map((level) => level.strength());
  for (let node = 1; node < slots.length; node++) {
    if (slots[node] === -1) continue;
    const b = strengths[tree.levels[node]];
    for (let t = 0; t < programmes; t++) {
      const at = slots[node] * programmes + t;
      counts[at] = shrunkFactor(counts[at], expected[at], b);
    }
  }
  return { factors: counts, slots, strengths };
}
