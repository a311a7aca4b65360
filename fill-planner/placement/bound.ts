/**
 * A proven upper bound on every plan of a cluster, and the prices that come with it.
 *
 * Storage, throughput and fill are dualised: mu and nu are what a byte of storage and of tonight's fill are worth,
 * alpha is what a view-byte served is worth (the slots' factors, less what throughput costs). For ANY mu, nu, alpha >= 0
 *
 *   L = sum over types [ mu S + nu F + max over D >= 0 of ( sum over slots min(T, c D) - alpha D ) ]
 *     + sum over files size x max(0, max over types [ density alpha - mu - (new ? churn + nu : 0) ])
 *
 * is at least the value of every plan: a type's boxes are pooled, files may be cut, a file new to a box may be old to
 * its type, each of which only raises L. The least L is looked for with the ellipsoid method; whatever it finds is a bound.
 *
 * Each evaluation costs a few binary searches: along the density the best choice changes only where the upper
 * envelope of one line per type has a corner, and between corners prefix sums are enough.
 *
 * Units:      L in bit/s; mu, nu in bit/s per byte; alpha in bit/s per (view-byte a day)
 * Invariants: (1) every value returned as `bound` is L at the multipliers returned with it
 * Source:     Lagrangian relaxation; Yudin & Nemirovski 1976, Shor 1977 (ellipsoid method)
 */
import { cutoffDensity, pointsAbove, type Mass } from './mass.ts';

export interface PooledType {
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly fillBytes: number; // Infinity: no limit
}

export interface BoundProblem {
  readonly mass: Mass;
  readonly types: readonly PooledType[];
  readonly slotFactors: readonly number[];
  readonly churnPrice: number;
}

export interface Multipliers {
  readonly alpha: readonly number[]; // per type
  readonly mu: readonly number[];
  readonly nu: readonly number[];
}

export interface Bound {
  readonly bound: number; // bit/s
  readonly multipliers: Multipliers;
}

const STEPS_PER_SQUARE = 60; // the ellipsoid shrinks by e each 2 n (n + 1) steps
const PRECISE_ENOUGH = 1e-6; // of the bound

export function leastBound(problem: BoundProblem): Bound {
  const space = searchSpace(problem);
  const n = space.upper.length;
  let best = Infinity;
  let bestPoint = new Float64Array(n);
  const centre = Float64Array.from({ length: n }, () => 0.5);
  const shape = new Float64Array(n * n); // of the ellipsoid around the unit box
  for (let i = 0; i < n; i++) shape[i * n + i] = n / 4;
  const gradient = new Float64Array(n);
  for (let step = 0; step < STEPS_PER_SQUARE * n * n; step++) {
    const outside = centre.findIndex((value) => value < 0);
    if (outside >= 0) gradient.fill(0).fill(-1, outside, outside + 1);
    else {
      const value = evaluate(problem, space, centre, gradient);
      if (value < best) {
        best = value;
        bestPoint = centre.slice();
      }
    }
    const width = shrink(centre, shape, gradient);
    // The least L is at most `width` below the value here: closer than that is not worth the steps.
    if (width === 0 || (outside < 0 && width < PRECISE_ENOUGH * best)) break;
  }
  return { bound: best, multipliers: multipliersAt(problem, space, bestPoint) };
}

/** L at given multipliers: the bound that anybody may check. */
export function boundAt(problem: BoundProblem, multipliers: Multipliers): number {
  let total = 0;
  problem.types.forEach((type, t) => {
    total += multipliers.mu[t] * type.storageBytes;
    if (multipliers.nu[t] > 0) total += multipliers.nu[t] * type.fillBytes;
    total += throughputTerm(type, problem.slotFactors, multipliers.alpha[t]).value;
  });
  for (const membership of problem.mass.memberships) {
    const lines = linesOf(problem, multipliers, membership.mask);
    for (const piece of envelope(lines, problem.mass.grid)) {
      const bytes = membership.bytes[piece.end] - membership.bytes[piece.start];
      const viewBytes = membership.viewBytes[piece.end] - membership.viewBytes[piece.start];
      total += lines[piece.type].slope * viewBytes - lines[piece.type].cost * bytes;
    }
  }
  return total;
}

// ---------------------------------------------------------------- the parts of L

/** max over D >= 0 of sum over slots min(T, c D) - alpha D, and where it is reached. */
export function throughputTerm(
  type: Pick<PooledType, 'servingBps'>,
  slotFactors: readonly number[],
  alpha: number,
): { readonly value: number; readonly viewBytes: number } {
  let value = 0;
  let viewBytes = 0;
  for (const corner of slotFactors) {
    if (corner <= 0) continue;
    const at = type.servingBps / corner;
    let here = -alpha * at;
    for (const factor of slotFactors) here += Math.min(type.servingBps, factor * at);
    if (here > value) {
      value = here;
      viewBytes = at;
    }
  }
  return { value, viewBytes };
}

interface Line {
  readonly slope: number; // alpha
  readonly cost: number; // what a byte costs there
}

/** What a byte of density rho is worth at each type: slope x rho - cost. */
function linesOf(problem: BoundProblem, multipliers: Multipliers, mask: number): readonly Line[] {
  return problem.types.map((_, t) => ({
    slope: multipliers.alpha[t],
    cost: multipliers.mu[t] + ((mask >>> t) & 1 ? 0 : problem.churnPrice + multipliers.nu[t]),
  }));
}

interface Piece {
  readonly type: number;
  readonly start: number; // grid points start .. end - 1
  readonly end: number;
}

/** Where along the grid each line is the highest and above zero, from the highest density down. */
function envelope(lines: readonly Line[], grid: Float64Array): readonly Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  while (start < grid.length) {
    const density = grid[start];
    let best = -1;
    let bestValue = 0;
    for (let t = 0; t < lines.length; t++) {
      const value = lines[t].slope * density - lines[t].cost;
      if (value > bestValue) {
        best = t;
        bestValue = value;
      }
    }
    if (best === -1) break; // slopes are not negative: lower densities are worth nothing either
    const { slope, cost } = lines[best];
    let until = slope > 0 ? cost / slope : 0; // this line reaches zero here
    for (const other of lines) {
      // Going down, a flatter line takes over where the two cross.
      if (other.slope < slope) until = Math.max(until, (cost - other.cost) / (slope - other.slope));
    }
    const end = Math.max(start + 1, pointsAbove(grid, until));
    pieces.push({ type: best, start, end });
    start = end;
  }
  return pieces;
}

// ---------------------------------------------------------------- the search

interface SearchSpace {
  readonly upper: Float64Array; // the unit box is scaled by these
  readonly fillDimension: readonly number[]; // per type, -1 where fill is not limited
}

/** Dimensions: alpha per type, mu per type, nu per type with a limit; each at most what the best file could pay. */
function searchSpace(problem: BoundProblem): SearchSpace {
  const factor = problem.slotFactors.reduce((sum, slot) => sum + slot, 0);
  const top = problem.mass.grid.length > 0 ? problem.mass.grid[0] : 1;
  const price = (bytes: number): number =>
    factor * (bytes > 0 ? cutoffDensity(problem.mass, bytes) : top) || factor * top * 1e-9;
  const upper: number[] = problem.types.map(() => factor);
  for (const type of problem.types) upper.push(price(type.storageBytes));
  const fillDimension = problem.types.map((type) => {
    if (!Number.isFinite(type.fillBytes)) return -1;
    upper.push(price(type.fillBytes));
    return upper.length - 1;
  });
  return { upper: Float64Array.from(upper), fillDimension };
}

function multipliersAt(
  problem: BoundProblem,
  space: SearchSpace,
  point: Float64Array,
): Multipliers {
  const types = problem.types.length;
  const at = (dimension: number): number => point[dimension] * space.upper[dimension];
  return {
    alpha: problem.types.map((_, t) => at(t)),
    mu: problem.types.map((_, t) => at(types + t)),
    nu: space.fillDimension.map((dimension) => (dimension === -1 ? 0 : at(dimension))),
  };
}

/** L at a point of the unit box; its subgradient, scaled alike, goes into `gradient`. */
function evaluate(
  problem: BoundProblem,
  space: SearchSpace,
  point: Float64Array,
  gradient: Float64Array,
): number {
  const { types, mass } = problem;
  const multipliers = multipliersAt(problem, space, point);
  let total = 0;
  gradient.fill(0);
  for (let t = 0; t < types.length; t++) {
    const throughput = throughputTerm(types[t], problem.slotFactors, multipliers.alpha[t]);
    total += throughput.value + multipliers.mu[t] * types[t].storageBytes;
    gradient[t] -= throughput.viewBytes;
    gradient[types.length + t] += types[t].storageBytes;
    const fill = space.fillDimension[t];
    if (fill !== -1) {
      total += multipliers.nu[t] * types[t].fillBytes;
      gradient[fill] += types[t].fillBytes;
    }
  }
  for (const membership of mass.memberships) {
    const lines = linesOf(problem, multipliers, membership.mask);
    for (const { type: t, start, end } of envelope(lines, mass.grid)) {
      const bytes = membership.bytes[end] - membership.bytes[start];
      const viewBytes = membership.viewBytes[end] - membership.viewBytes[start];
      total += lines[t].slope * viewBytes - lines[t].cost * bytes;
      gradient[t] += viewBytes;
      gradient[types.length + t] -= bytes;
      const fill = space.fillDimension[t];
      if (fill !== -1 && ((membership.mask >>> t) & 1) === 0) gradient[fill] -= bytes;
    }
  }
  for (let i = 0; i < gradient.length; i++) gradient[i] *= space.upper[i];
  return total;
}

/** One step: keeps the half of the ellipsoid that the cut leaves. Returns how far a value may still fall in it. */
function shrink(centre: Float64Array, shape: Float64Array, gradient: Float64Array): number {
  const n = centre.length;
  const direction = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) direction[i] += shape[i * n + j] * gradient[j];
  }
  let square = 0;
  for (let i = 0; i < n; i++) square += gradient[i] * direction[i];
  if (!(square > 0)) return 0;
  const width = Math.sqrt(square);
  for (let i = 0; i < n; i++) direction[i] /= width;
  const grow = (n * n) / (n * n - 1);
  for (let i = 0; i < n; i++) {
    centre[i] -= direction[i] / (n + 1);
    for (let j = 0; j < n; j++) {
      shape[i * n + j] = grow * (shape[i * n + j] - (2 / (n + 1)) * direction[i] * direction[j]);
    }
  }
  return width;
}
