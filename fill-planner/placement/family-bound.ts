/**
 * A proven upper bound on every plan of a family of clusters, where what one cannot serve goes to the tier above.
 *
 * As in `bound.ts` storage (mu), fill (nu) and throughput are dualised, the last apart for each peak (lambda), since a box that is full at
 * one peak sends its viewers up at that peak only. What is left is one small question per file: on which tiers of the
 * tree to open it. Each tier opened costs its bytes; every viewer is served by the best one open on the way up:
 *
 *   L = sum over types [ mu S + nu F + sum over peaks lambda T ] + sum over files best(top, nothing open)
 *   best(c, open) = max over sets O of types of c  - sum over O size (mu + (new ? churn + nu : 0))
 *                   + own demand of c x best gain in open + O  +  sum over children best(child, open + O)
 *
 * with gain = worth - lambda. Answered exactly per file by going down the tree. For ANY mu, nu, lambda >= 0, L is at least the value of every
 * plan; small ones are looked for by subgradient steps towards the value of a plan that is known.
 *
 * Units:      L in bit/s, weighted by worth; multipliers are kept times their limit, so that all are bit/s
 * Invariants: (1) the answer is L at some multipliers >= 0
 * Source:     Lagrangian relaxation; Polyak 1969 (step towards a known value)
 */
import { assert } from '#base/outcome.ts';
import type { Multipliers, PooledType } from './bound.ts';

export interface FamilyNode {
  readonly parent: number; // children stand before parents; -1 at the top
  readonly worth: number; // of a bit served here
  readonly types: readonly PooledType[];
  readonly slotFactors: readonly number[];
  readonly churnPrice: number; // weighted by worth
  readonly rows: Uint32Array; // by rank: files that may lie here
  readonly densities: Float64Array; // by rank: of the node's own viewers
  readonly sizes: Float64Array;
  readonly maskOf: (rank: number) => number; // bit t: a box of type t holds the file
}

export interface FamilyBoundProblem {
  readonly nodes: readonly FamilyNode[];
  readonly rows: number;
}

const STEPS_MAX = 300;
const STEPS_MIN = 30;
const WORK_MAX = 4e6; // rows x nodes x steps: some seconds
const PATIENCE = 6; // steps without a better bound before they are shortened
const SHORTER = 0.6;
const CLOSE_ENOUGH = 1e-5;

/** `starts`: multipliers per node, as placing each cluster alone found them. */
export function leastFamilyBound(
  problem: FamilyBoundProblem,
  starts: readonly (readonly Multipliers[])[],
  knownValue: number,
): number {
  const relaxed = new RelaxedFamily(problem);
  let best = Infinity;
  let point = relaxed.pointOf(starts[0]);
  for (const start of starts) {
    const at = relaxed.pointOf(start);
    const value = relaxed.evaluate(at, null);
    if (value < best) {
      best = value;
      point = at;
    }
  }
  const work = problem.rows * problem.nodes.length;
  const steps = Math.min(STEPS_MAX, Math.max(STEPS_MIN, Math.floor(WORK_MAX / Math.max(1, work))));
  const gradient = new Float64Array(point.length);
  let bestPoint = point.slice();
  let length = 1;
  let stale = 0;
  for (let step = 0; step < steps && best - knownValue > CLOSE_ENOUGH * best; step++) {
    const value = relaxed.evaluate(point, gradient);
    if (value < best * (1 - 1e-9)) {
      best = value;
      bestPoint = point.slice();
      stale = 0;
    } else if (++stale >= PATIENCE) {
      length *= SHORTER;
      stale = 0;
      point = bestPoint.slice();
      continue;
    }
    let square = 0;
    gradient.forEach((slope, at) => {
      if (!(point[at] === 0 && slope > 0)) square += slope * slope;
    });
    if (!(square > 0)) break;
    const stride = (length * (value - knownValue)) / square;
    for (let at = 0; at < point.length; at++) {
      point[at] = Math.max(0, point[at] - stride * gradient[at]);
    }
  }
  return best;
}

/** One type of one node: where a file may be opened. */
interface Facility {
  readonly node: number;
  readonly bit: number;
  readonly type: PooledType;
}

class RelaxedFamily {
  readonly #nodes: readonly FamilyNode[];
  readonly #rows: number;
  readonly #slots: number;
  readonly #facilities: readonly Facility[];
  readonly #ofNode: readonly (readonly number[])[]; // facilities
  readonly #children: readonly (readonly number[])[];
  readonly #top: number;
  readonly #sizes: Float64Array; // by row
  readonly #views: readonly Float64Array[]; // by node and row: view-bytes of its own viewers
  readonly #masks: readonly Int16Array[]; // by node and row; -1: may not lie there
  // Scratch, by facility (x slot): what opening costs a byte, and what a view-byte gains.
  readonly #keepCost: Float64Array;
  readonly #fillCost: Float64Array;
  readonly #gain: Float64Array;
  // Scratch, by depth of the tree.
  readonly #open: readonly Float64Array[]; // best gain per slot
  readonly #holder: readonly Int32Array[]; // the facility that has it, -1
  #row = 0;

  constructor({ nodes, rows }: FamilyBoundProblem) {
    this.#nodes = nodes;
    this.#rows = rows;
    this.#slots = nodes[0].slotFactors.length;
    this.#facilities = nodes.flatMap((node, at) =>
      node.types.map((type, bit) => ({ node: at, bit, type })),
    );
    this.#ofNode = nodes.map((_, node) =>
      this.#facilities.flatMap((facility, at) =>
        facility.node === node && facility.type.storageBytes > 0 ? [at] : [],
      ),
    );
    this.#children = nodes.map((_, node) =>
      nodes.flatMap(({ parent }, at) => (parent === node ? [at] : [])),
    );
    this.#top = nodes.findIndex(({ parent }) => parent === -1);
    assert(this.#top === nodes.length - 1, 'a family has one top, and it stands last');
    this.#sizes = new Float64Array(rows);
    this.#views = nodes.map(() => new Float64Array(rows));
    this.#masks = nodes.map(() => new Int16Array(rows).fill(-1));
    nodes.forEach((node, at) => {
      node.rows.forEach((row, rank) => {
        this.#sizes[row] = node.sizes[rank];
        this.#views[at][row] = node.densities[rank] * node.sizes[rank];
        this.#masks[at][row] = node.maskOf(rank);
      });
    });
    const count = this.#facilities.length;
    this.#keepCost = new Float64Array(count);
    this.#fillCost = new Float64Array(count);
    this.#gain = new Float64Array(count * this.#slots);
    const depth = nodes.length + 1;
    this.#open = Array.from({ length: depth }, () => new Float64Array(this.#slots));
    this.#holder = Array.from({ length: depth }, () => new Int32Array(this.#slots));
  }

  /** Multipliers times their limits: per facility mu S, nu F, then lambda T of each slot. */
  pointOf(multipliers: readonly Multipliers[]): Float64Array {
    const width = 2 + this.#slots;
    const point = new Float64Array(this.#facilities.length * width);
    this.#facilities.forEach(({ node, bit, type }, at) => {
      const { worth, slotFactors } = this.#nodes[node];
      const { mu, nu, alpha } = multipliers[node];
      const factor = slotFactors.reduce((sum, slot) => sum + slot, 0);
      point[at * width] = worth * mu[bit] * type.storageBytes;
      point[at * width + 1] =
        Number.isFinite(type.fillBytes) && nu[bit] > 0 ? worth * nu[bit] * type.fillBytes : 0;
      const lambda = factor > 0 ? worth * Math.max(0, 1 - alpha[bit] / factor) : 0;
      point.fill(lambda * type.servingBps, at * width + 2, (at + 1) * width);
    });
    return point;
  }

  /** L at a point; where `gradient` is given, a subgradient of it. */
  evaluate(point: Float64Array, gradient: Float64Array | null): number {
    let total = 0;
    for (const value of point) total += value;
    this.#take(point);
    if (gradient !== null) gradient.fill(1);
    for (let row = 0; row < this.#rows; row++) {
      this.#row = row;
      this.#open[0].fill(0);
      const best = this.#best(this.#top, 0);
      total += best;
      if (gradient !== null && best > 0) {
        this.#holder[0].fill(-1);
        this.#descend(this.#top, 0, gradient);
      }
    }
    return total;
  }

  #take(point: Float64Array): void {
    const width = 2 + this.#slots;
    this.#facilities.forEach(({ node, type }, at) => {
      const { worth, churnPrice, slotFactors } = this.#nodes[node];
      const mu = type.storageBytes > 0 ? point[at * width] / type.storageBytes : Infinity;
      // A window of nothing is a price without end; a window without end costs nothing.
      const nu =
        type.fillBytes > 0
          ? Number.isFinite(type.fillBytes)
            ? point[at * width + 1] / type.fillBytes
            : 0
          : Infinity;
      this.#keepCost[at] = mu;
      this.#fillCost[at] = mu + churnPrice + nu;
      for (let slot = 0; slot < this.#slots; slot++) {
        const lambda = type.servingBps > 0 ? point[at * width + 2 + slot] / type.servingBps : worth;
        this.#gain[at * this.#slots + slot] = Math.max(0, worth - lambda) * slotFactors[slot];
      }
    });
  }

  /** What the file at #row is worth from this node down, with the gains that are open at `depth`. */
  #best(node: number, depth: number): number {
    let best = this.#below(node, depth);
    const facilities = this.#masks[node][this.#row] < 0 ? [] : this.#ofNode[node];
    for (let set = 1; set < 1 << facilities.length; set++) {
      const cost = this.#openSet(facilities, set, depth);
      if (!(cost < Infinity)) continue;
      best = Math.max(best, this.#below(node, depth + 1) - cost);
    }
    return best;
  }

  #below(node: number, depth: number): number {
    const open = this.#open[depth];
    let gain = 0;
    for (let slot = 0; slot < open.length; slot++) gain += open[slot];
    let value = this.#views[node][this.#row] * gain;
    for (const child of this.#children[node]) value += this.#best(child, depth);
    return value;
  }

  /** Opens a set of a node's types on top of what is open at `depth`, into depth + 1; returns its cost. */
  #openSet(facilities: readonly number[], set: number, depth: number): number {
    const open = this.#open[depth + 1];
    const holder = this.#holder[depth + 1];
    open.set(this.#open[depth]);
    holder.set(this.#holder[depth]);
    let cost = 0;
    for (let k = 0; k < facilities.length; k++) {
      if (((set >>> k) & 1) === 0) continue;
      const at = facilities[k];
      cost += this.#isHeld(at) ? this.#keepCost[at] : this.#fillCost[at];
      for (let slot = 0; slot < open.length; slot++) {
        const gain = this.#gain[at * this.#slots + slot];
        if (gain <= open[slot]) continue;
        open[slot] = gain;
        holder[slot] = at;
      }
    }
    return cost * this.#sizes[this.#row];
  }

  #isHeld(facility: number): boolean {
    const { node, bit } = this.#facilities[facility];
    return ((this.#masks[node][this.#row] >>> bit) & 1) === 1;
  }

  /** Takes the best choice again on the way down, and books what it uses of each limit. */
  #descend(node: number, depth: number, gradient: Float64Array): void {
    const facilities = this.#masks[node][this.#row] < 0 ? [] : this.#ofNode[node];
    let best = this.#below(node, depth);
    let chosen = 0;
    for (let set = 1; set < 1 << facilities.length; set++) {
      const cost = this.#openSet(facilities, set, depth);
      if (!(cost < Infinity)) continue;
      const value = this.#below(node, depth + 1) - cost;
      if (value > best) {
        best = value;
        chosen = set;
      }
    }
    const width = 2 + this.#slots;
    let level = depth;
    if (chosen > 0) {
      this.#openSet(facilities, chosen, depth);
      level = depth + 1;
      for (let k = 0; k < facilities.length; k++) {
        if (((chosen >>> k) & 1) === 0) continue;
        const at = facilities[k];
        const { type } = this.#facilities[at];
        const size = this.#sizes[this.#row];
        gradient[at * width] -= size / type.storageBytes;
        if (!this.#isHeld(at) && Number.isFinite(type.fillBytes)) {
          gradient[at * width + 1] -= size / type.fillBytes;
        }
      }
    }
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = this.#holder[level][slot];
      if (at === -1 || this.#open[level][slot] <= 0) continue;
      const { type, node: owner } = this.#facilities[at];
      const load = this.#nodes[owner].slotFactors[slot] * this.#views[node][this.#row];
      gradient[at * width + 2 + slot] -= load / type.servingBps;
    }
    for (const child of this.#children[node]) this.#descend(child, level, gradient);
  }
}
