/**
 * Files collapsed to density x membership: how many bytes lie at each density, apart for each set of types that
 * hold them already. All that the bound needs to know of a catalogue.
 *
 * Where there are more files than grid points, the bytes of a file are spread over the two neighbouring points so that
 * bytes and view-bytes stay what they are. The bound's file term is convex in the density, so that this can only raise it.
 *
 * Invariants: (1) the grid falls strictly
 *             (2) per membership, bytes and view-bytes sum to those of the files
 */
export const GRID_POINTS_MAX = 4096;

export interface Mass {
  readonly grid: Float64Array; // densities, falling
  readonly memberships: readonly MembershipMass[];
}

export interface MembershipMass {
  readonly mask: number; // bit t: a box of type t holds the files
  /** Sums over the first k grid points, k = 0 .. grid.length. */
  readonly bytes: Float64Array;
  readonly viewBytes: Float64Array;
}

/** `maskOf` is left out where nobody holds anything. */
export function massOf(
  densities: Float64Array,
  sizes: Float64Array,
  maskOf: ((rank: number) => number) | null,
  pointsMax = GRID_POINTS_MAX,
): Mass {
  const grid = gridOf(densities, pointsMax);
  const points = new Map<number, Float64Array>();
  let upper = 0; // grid[upper] >= density, as near as can be
  for (let rank = 0; rank < densities.length; rank++) {
    const density = densities[rank];
    while (upper + 1 < grid.length && grid[upper + 1] >= density) upper++;
    const mask = maskOf === null ? 0 : maskOf(rank);
    let mass = points.get(mask);
    if (mass === undefined) points.set(mask, (mass = new Float64Array(grid.length)));
    if (grid[upper] === density || upper + 1 === grid.length) mass[upper] += sizes[rank];
    else {
      const share = (density - grid[upper + 1]) / (grid[upper] - grid[upper + 1]);
      mass[upper] += share * sizes[rank];
      mass[upper + 1] += (1 - share) * sizes[rank];
    }
  }
  if (points.size === 0) points.set(0, new Float64Array(grid.length));
  const memberships = [...points]
    .sort(([a], [b]) => a - b)
    .map(([mask, mass]) => prefixSums(grid, mask, mass));
  return { grid, memberships };
}

export function prefixSums(grid: Float64Array, mask: number, mass: Float64Array): MembershipMass {
  const bytes = new Float64Array(grid.length + 1);
  const viewBytes = new Float64Array(grid.length + 1);
  for (let at = 0; at < grid.length; at++) {
    bytes[at + 1] = bytes[at] + mass[at];
    viewBytes[at + 1] = viewBytes[at] + grid[at] * mass[at];
  }
  return { mask, bytes, viewBytes };
}

/** Every density where they are few; else some of them, evenly by rank, the first and the last among them. */
function gridOf(densities: Float64Array, pointsMax: number): Float64Array {
  if (densities.length <= pointsMax) return densities;
  const last = densities.length - 1;
  return Float64Array.from(
    { length: pointsMax },
    (_, at) => densities[Math.round((at * last) / (pointsMax - 1))],
  );
}

/** How many leading grid points have at least this density. */
export function pointsAbove(grid: Float64Array, density: number): number {
  let low = 0;
  let high = grid.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (grid[middle] >= density) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The density at which the bytes from the top, over all memberships, first exceed `bytes`; 0 where they never do. */
export function cutoffDensity(mass: Mass, bytes: number): number {
  let low = 0;
  let high = mass.grid.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    let above = 0;
    for (const membership of mass.memberships) above += membership.bytes[middle + 1];
    if (above > bytes) high = middle;
    else low = middle + 1;
  }
  return low < mass.grid.length ? mass.grid[low] : 0;
}
