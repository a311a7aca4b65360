/**
 * What the bound needs to know of one cluster of a fleet: bytes by density and by what is held already, at the demand that reaches it.
 *
 * A bin's files lie between its two edges; its bytes are laid on two grid points around it so that bytes and view-bytes stay what
 * they are. Worth is convex in density and 0 at 0, so that this, and taking what is deeper for bytes of the lowest density, can only raise the bound.
 *
 * Units:      `reach`: views a day that a share of the region's views stands for, per bin
 * Invariants: (1) the grid falls strictly
 */
import type { BoundProblem } from '../placement/bound.ts';
import { prefixSums, type Mass } from '../placement/mass.ts';
import type { Candidates } from './candidates.ts';
import type { ClusterSums } from './own-sums.ts';

const GRID_STEPS = 256; // points per octave

/** How many of the viewers ask here for a file: per bin, and for what lies deeper. */
export interface Reach {
  readonly perBin: Float64Array;
  readonly deeper: number;
  readonly isEven: boolean; // the same for every bin: the edges can be the grid
}

export function evenReach(viewsPerDay: number, bins: number): Reach {
  return {
    perBin: new Float64Array(bins).fill(viewsPerDay),
    deeper: viewsPerDay,
    isEven: true,
  };
}

export function boundProblemOf(
  sums: ClusterSums,
  candidates: Candidates,
  reach: Reach,
  slotFactor: number,
  churnPrice: number,
): BoundProblem {
  const grid = new DensityGrid(candidates, reach, sums.depth);
  const masses = sums.masses.map(() => new Float64Array(grid.points.length));
  sums.masses.forEach(({ bytes, views }, at) => {
    for (let bin = 0; bin < sums.depth; bin++) {
      grid.spread(masses[at], bin, bytes[bin], views[bin] * reach.perBin[bin]);
    }
  });
  const held = masses[masses.length - 1];
  const { pinned } = candidates;
  let seen = candidates.viewsAbove[sums.depth];
  for (let at = 0; at < pinned.rows.length; at++) {
    const views = pinned.densities[at] * pinned.sizes[at];
    const bin = Math.min(pinned.bins[at], sums.depth - 1);
    seen += views;
    grid.addAbove(held, pinned.densities[at] * reach.perBin[bin], views * reach.perBin[bin]);
  }
  const lowest = grid.points[grid.points.length - 1];
  const rest = Math.max(0, candidates.viewBytes - seen) * reach.deeper;
  if (lowest > 0) held[held.length - 1] += rest / lowest;
  const mass: Mass = {
    grid: grid.points,
    memberships: masses.map((own, mask) => prefixSums(grid.points, mask, own)),
  };
  const types = sums.groups.map(({ storageBytes, servingBps, fillBytes }) => ({
    storageBytes,
    servingBps,
    fillBytes,
  }));
  return { mass, types, slotFactors: [slotFactor], churnPrice };
}

/** The same cluster had it all the nights it wants. */
export function freeFill(problem: BoundProblem): BoundProblem {
  const { grid, memberships } = problem.mass;
  const bytes = new Float64Array(grid.length + 1);
  const viewBytes = new Float64Array(grid.length + 1);
  for (const membership of memberships) {
    for (let at = 0; at < bytes.length; at++) {
      bytes[at] += membership.bytes[at];
      viewBytes[at] += membership.viewBytes[at];
    }
  }
  return {
    mass: { grid, memberships: [{ mask: 0, bytes, viewBytes }] },
    types: problem.types.map((type) => ({ ...type, fillBytes: Infinity })),
    slotFactors: problem.slotFactors,
    churnPrice: 0,
  };
}

/** log2 of the ratio of a bin's edges, or a little more: ln(1 + x) <= x. */
function widthOf(ratio: number): number {
  return (ratio - 1) * Math.LOG2E;
}

/** Falling densities at which mass is kept: the bins' own edges, or, where reach differs by bin, powers of 2^(1/256). */
class DensityGrid {
  readonly points: Float64Array;
  readonly #upper: Uint32Array; // per bin: the point at or above its files
  readonly #lower: Uint32Array;

  constructor({ edges }: Candidates, { perBin, isEven }: Reach, depth: number) {
    this.#upper = new Uint32Array(depth);
    this.#lower = new Uint32Array(depth);
    if (isEven) {
      this.points = Float64Array.from(edges.subarray(0, depth + 1), (edge) => edge * perBin[0]);
      for (let bin = 0; bin < depth; bin++) {
        this.#upper[bin] = bin;
        this.#lower[bin] = bin + 1;
      }
      return;
    }
    let top = 0;
    let bottom = Infinity;
    for (let bin = 0; bin < depth; bin++) {
      top = Math.max(top, edges[bin] * perBin[bin]);
      bottom = Math.min(bottom, edges[bin + 1] * perBin[bin]);
    }
    const stepsBelow = (density: number): number => GRID_STEPS * Math.log2(top / density);
    const count = Math.ceil(stepsBelow(bottom) + 1e-6) + 1;
    this.points = Float64Array.from({ length: count }, (_, at) => top * 2 ** (-at / GRID_STEPS));
    for (let bin = 0; bin < depth; bin++) {
      const below = stepsBelow(edges[bin] * perBin[bin]);
      const upper = Math.floor(below - 1e-6);
      const lower = Math.ceil(below + GRID_STEPS * widthOf(edges[bin] / edges[bin + 1]) + 1e-6);
      this.#upper[bin] = Math.max(0, upper);
      this.#lower[bin] = Math.min(count - 1, Math.max(lower, this.#upper[bin] + 1));
    }
  }

  spread(mass: Float64Array, bin: number, bytes: number, viewBytes: number): void {
    if (bytes === 0) return;
    const high = this.points[this.#upper[bin]];
    const low = this.points[this.#lower[bin]];
    const share = Math.max(0, (viewBytes - low * bytes) / (high - low));
    mass[this.#upper[bin]] += share;
    mass[this.#lower[bin]] += Math.max(0, bytes - share);
  }

  /** View-bytes of a density that may lie below the grid: as fewer bytes of the next point above. */
  addAbove(mass: Float64Array, density: number, viewBytes: number): void {
    let low = 0;
    let high = this.points.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.points[middle] >= density) low = middle;
      else high = middle - 1;
    }
    mass[low] += viewBytes / this.points[low];
  }
}
