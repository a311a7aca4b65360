/**
 * Clusters of several tiers planned together: what a leaf cannot serve is asked of the metro above it, then of the exchange.
 *
 * A bit served one tier higher is worth `hopWorth` of one served below. In rounds: each cluster is placed for the demand
 * that reaches it (its own viewers', and what those below leave over), each file's demand lowered by what a tier
 * above would serve of it anyway; the round whose exact value is best is kept, and set against one bound for the family.
 *
 * Shape:      placeFamily(clusters, hopWorth) -> a placement per cluster, on the feed of the demand that reaches it
 * Units:      demand that reaches a cluster is in views a day like any feed's, the mean over the peaks by their factors
 * Invariants: (1) value = what the boxes of all tiers serve peak by peak, each bit once, less the price of filling
 *             (2) value <= bound of the family
 *             (3) same clusters, same placements
 */
import { assert } from '#base/outcome.ts';
import { nextBelow, type Feed } from '../feed.ts';
import { leastFamilyBound, type FamilyNode } from './family-bound.ts';
import {
  NO_LOSS,
  placeCore,
  placementOf,
  type Placement,
  type PlacementCore,
} from './placement.ts';
import { boxTypesOf, churnPriceOf, type ClusterProblem } from './problem.ts';
import { serveInPlace } from './residual.ts';
import { settledByDay, takeSpareCopies } from './rounding.ts';

const ROUNDS = 5;
const CLOSE_ENOUGH = 1e-4; // of the bound: no further round
const DENSITY_LEAST = 1e-300; // a file that others serve whole is still in the feed, last

/** Children stand before their parents; ranks of all feeds name rows of one catalogue. */
export interface FamilyCluster {
  readonly problem: ClusterProblem; // its feed: the demand of its own viewers
  readonly parent: number; // -1 at the top
  readonly churnShare: number;
}

export interface PlacedCluster {
  /** The demand that reached it; its feed is what the plan's order is made of. */
  readonly problem: ClusterProblem;
  readonly placement: Placement;
  readonly ownDemandBps: number; // of its own viewers, at the peaks
  readonly height: number; // 0: leaf
}

export function placeFamily(
  clusters: readonly FamilyCluster[],
  hopWorth: number,
): readonly PlacedCluster[] {
  const family = new Family(clusters, hopWorth);
  let best: Round | null = null;
  let last: Round | null = null;
  let bound = Infinity;
  const starts: Round[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    last = family.placeRound(last);
    if (best === null || last.value > best.value) best = last;
    starts.push(last);
    if (round % 2 === 1) {
      bound = Math.min(bound, family.boundOf(starts, best.value, true));
      if (bound - best.value <= CLOSE_ENOUGH * bound) break;
    }
  }
  assert(best !== null, 'a family is placed at least once');
  const free = family.boundOf(starts, best.value, false);
  return family.finished(best, bound, free);
}

interface Round {
  readonly problems: readonly ClusterProblem[];
  readonly cores: readonly PlacementCore[];
  /** Per cluster and row: how much of a demand that came here would be served here or above, in worth. */
  readonly answered: readonly Float64Array[];
  readonly value: number;
}

class Family {
  readonly #clusters: readonly FamilyCluster[];
  readonly #heights: readonly number[];
  readonly #worths: readonly number[];
  readonly #rows: number;
  #churnPrices: readonly number[] | null = null; // fixed after the first look at what reaches each tier

  constructor(clusters: readonly FamilyCluster[], hopWorth: number) {
    this.#clusters = clusters;
    const heights = clusters.map(() => 0);
    clusters.forEach(({ parent }, at) => {
      assert(parent === -1 || parent > at, 'children stand before their parents');
      assert(
        clusters[at].problem.slotFactors.length === clusters[0].problem.slotFactors.length,
        'a family has one set of peaks',
      );
      if (parent !== -1) heights[parent] = Math.max(heights[parent], heights[at] + 1);
    });
    this.#heights = heights;
    this.#worths = heights.map((height) => hopWorth ** height);
    let rows = 0;
    for (const { problem } of clusters) {
      for (const row of problem.feed.rows) rows = Math.max(rows, row + 1);
    }
    this.#rows = rows;
  }

  placeRound(before: Round | null): Round {
    const credits = before === null ? null : this.#credits(before);
    const problems: ClusterProblem[] = [];
    const cores: PlacementCore[] = [];
    const prices: number[] = [];
    const reach = this.#walk((at, demand) => {
      const { problem, churnShare } = this.#clusters[at];
      const densities = meanDensities(problem, demand, credits?.[at] ?? null);
      const feed = reordered(problem.feed, densities);
      const price =
        this.#churnPrices?.[at] ??
        churnPriceOf(feed, problem.boxes, problem.slotFactors, churnShare);
      prices.push(price);
      problems.push(refed({ ...problem, churnPrice: price }, feed));
      cores.push(placeCore(problems[at]));
      return { problem: problems[at], held: cores[at].ledger.held };
    });
    this.#churnPrices ??= prices;
    let value = 0;
    cores.forEach(({ ledger }, at) => {
      const filled = ledger.filledBytes().reduce((sum, bytes) => sum + bytes, 0);
      value += this.#worths[at] * (reach.served[at] - prices[at] * filled);
    });
    return { problems, cores, answered: reach.answered, value };
  }

  /**
   * From the leaves up, peak by peak: what reaches a cluster, what it serves, what it leaves over. `place` says what a cluster holds
   * once it is known what reaches it, per slot and row.
   */
  #walk(place: (at: number, demand: readonly Float64Array[]) => Held): {
    served: readonly number[];
    demand: readonly number[];
    answered: readonly Float64Array[];
  } {
    const inbox = new Map<number, Float64Array[]>();
    const answered: Float64Array[] = [];
    const demandOf: number[] = [];
    const served = this.#clusters.map(({ problem: own, parent }, at) => {
      const demand = inbox.get(at) ?? own.slotFactors.map(() => new Float64Array(this.#rows));
      inbox.delete(at);
      addOwn(own, demand);
      const { problem, held } = place(at, demand);
      const { rows } = problem.feed;
      const part = new Float64Array(this.#rows);
      let servedBps = 0;
      let demandBps = 0;
      const above = parent === -1 ? null : this.#inboxOf(inbox, parent, own.slotFactors.length);
      const whole = new Float64Array(this.#rows);
      demand.forEach((bySlot, slot) => {
        const left = Float64Array.from(rows, (row) => bySlot[row]);
        for (let row = 0; row < bySlot.length; row++) {
          demandBps += bySlot[row];
          whole[row] += bySlot[row];
        }
        servedBps += serveInPlace(problem.boxes, held, left);
        rows.forEach((row, rank) => {
          part[row] += bySlot[row] - left[rank];
          bySlot[row] = left[rank]; // what no feed here has goes up whole
        });
        if (above !== null)
          for (let row = 0; row < bySlot.length; row++) above[slot][row] += bySlot[row];
      });
      for (let row = 0; row < part.length; row++) {
        part[row] = whole[row] > 0 ? this.#worths[at] * (part[row] / whole[row]) : 0;
      }
      answered.push(part);
      demandOf.push(demandBps);
      return servedBps;
    });
    return { served, demand: demandOf, answered };
  }

  #inboxOf(inbox: Map<number, Float64Array[]>, parent: number, slots: number): Float64Array[] {
    let demand = inbox.get(parent);
    if (demand === undefined) {
      demand = Array.from({ length: slots }, () => new Float64Array(this.#rows));
      inbox.set(parent, demand);
    }
    return demand;
  }

  /** Per cluster and row: what part of a bit's worth here a tier above would give anyway; null at the top. */
  #credits({ answered }: Round): readonly (Float64Array | null)[] {
    const above: (Float64Array | null)[] = this.#clusters.map(() => null);
    for (let at = this.#clusters.length - 1; at >= 0; at--) {
      const { parent } = this.#clusters[at];
      if (parent === -1) continue;
      const higher = above[parent];
      above[at] = answered[parent].map((worth, row) => {
        const missed = 1 - worth / this.#worths[parent];
        return worth + missed * (higher?.[row] ?? 0);
      });
    }
    return above.map((credit, at) => credit?.map((worth) => worth / this.#worths[at]) ?? null);
  }

  /** What boxes at their limit hold by the day, where that does not take from the tiers above what they are planned for. */
  #settled(planned: Round): Round {
    const cores = planned.cores.map((core, at) => ({
      ...core,
      ledger: settledByDay(planned.problems[at], core.ledger, core.bands),
    }));
    if (cores.every(({ ledger }, at) => ledger === planned.cores[at].ledger)) return planned;
    const settled = { ...planned, cores };
    const [before, after] = [planned, settled].map((round) =>
      weightedSum(this.#worths, this.#walkOf(round).served),
    );
    return after >= NO_LOSS * before ? settled : planned;
  }

  #walkOf({ problems, cores }: Pick<Round, 'problems' | 'cores'>) {
    return this.#walk((at) => ({ problem: problems[at], held: cores[at].ledger.held }));
  }

  boundOf(starts: readonly Round[], value: number, isFillLimited: boolean): number {
    const nodes = this.#clusters.map(({ problem, parent }, at): FamilyNode => {
      const types = boxTypesOf(problem.boxes);
      return {
        parent,
        worth: this.#worths[at],
        types: isFillLimited ? types : types.map((type) => ({ ...type, fillBytes: Infinity })),
        slotFactors: problem.slotFactors,
        churnPrice: isFillLimited ? this.#worths[at] * (this.#churnPrices?.[at] ?? 0) : 0,
        rows: problem.feed.rows,
        densities: problem.feed.densities,
        sizes: problem.feed.sizes,
        maskOf: isFillLimited ? maskOf(problem, types) : () => 0,
      };
    });
    const points = starts.map(({ cores }) => cores.map(({ least }) => least.multipliers));
    return leastFamilyBound({ nodes, rows: this.#rows }, points, value);
  }

  /** The day and spare copies come last; the figures of each cluster are taken with them, the value without. */
  finished(planned: Round, bound: number, freeBound: number): readonly PlacedCluster[] {
    const best = this.#settled(planned);
    best.cores.forEach(({ ledger, bands }, at) => {
      takeSpareCopies(best.problems[at], ledger, bands);
    });
    const reach = this.#walkOf(best);
    const weighted = weightedSum(this.#worths, reach.served);
    const shareOf = (at: number): number =>
      weighted > 0 ? (this.#worths[at] * reach.served[at]) / weighted : 1 / best.cores.length;
    return this.#clusters.map(({ problem: own }, at) => ({
      problem: best.problems[at],
      height: this.#heights[at],
      ownDemandBps: ownDemandOf(own),
      placement: placementOf(best.problems[at], best.cores[at], {
        demandBps: reach.demand[at],
        servedBps: reach.served[at],
        // One bound for the family: each cluster shows its share by what it serves, so that all show the family's gap.
        valueBps: shareOf(at) * best.value,
        boundBps: shareOf(at) * bound,
        boundWithoutFillLimitBps:
          weighted > 0 ? (reach.served[at] * freeBound) / weighted : freeBound / best.cores.length,
      }),
    }));
  }
}

/** Bit/s served in all tiers, each by its worth. */
function weightedSum(worths: readonly number[], served: readonly number[]): number {
  return served.reduce((sum, bps, at) => sum + worths[at] * bps, 0);
}

interface Held {
  readonly problem: ClusterProblem;
  readonly held: readonly Uint8Array[];
}

function addOwn({ feed, slotFactors }: ClusterProblem, demand: readonly Float64Array[]): void {
  slotFactors.forEach((factor, slot) => {
    for (let rank = 0; rank < feed.ranks; rank++) {
      demand[slot][feed.rows[rank]] += factor * feed.densities[rank] * feed.sizes[rank];
    }
  });
}

function ownDemandOf({ feed, slotFactors }: ClusterProblem): number {
  let viewBytes = 0;
  for (let rank = 0; rank < feed.ranks; rank++)
    viewBytes += feed.densities[rank] * feed.sizes[rank];
  return slotFactors.reduce((sum, factor) => sum + factor * viewBytes, 0);
}

/** Views a day by rank of the cluster's own feed: what reaches it, less what a tier above would serve anyway. */
function meanDensities(
  { feed, slotFactors }: ClusterProblem,
  demand: readonly Float64Array[],
  credit: Float64Array | null,
): Float64Array {
  const factor = slotFactors.reduce((sum, slot) => sum + slot, 0);
  return feed.densities.map((own, rank) => {
    const row = feed.rows[rank];
    let bps = 0;
    for (const bySlot of demand) bps += bySlot[row];
    const density = factor > 0 ? bps / factor / feed.sizes[rank] : own;
    const left = credit === null ? 1 : Math.max(0, 1 - credit[row]);
    return Math.max(DENSITY_LEAST, density * left);
  });
}

/** The same files by falling `densities` (by rank of the feed given), strictly. */
export function reordered(feed: Feed, densities: Float64Array): Feed {
  const ranks = Uint32Array.from(densities.keys()).sort(
    (a, b) => densities[b] - densities[a] || feed.rows[a] - feed.rows[b],
  );
  const falling = Float64Array.from(ranks, (rank) => densities[rank]);
  for (let rank = 1; rank < falling.length; rank++) {
    if (falling[rank] >= falling[rank - 1]) falling[rank] = nextBelow(falling[rank - 1]);
  }
  return {
    ...feed,
    rows: ranks.map((rank) => feed.rows[rank]),
    ordinals: ranks.map((rank) => feed.ordinals[rank]),
    densities: falling,
    sizes: Float64Array.from(ranks, (rank) => feed.sizes[rank]),
    buckets: Uint16Array.from(ranks, (rank) => feed.buckets[rank]),
  };
}

function refed(problem: ClusterProblem, feed: Feed): ClusterProblem {
  const oldRankOf = new Map<number, number>();
  problem.feed.rows.forEach((row, rank) => oldRankOf.set(row, rank));
  const old = Uint32Array.from(feed.rows, (row) => oldRankOf.get(row) ?? 0);
  const newRankOf = new Map<number, number>();
  old.forEach((rank, at) => newRankOf.set(rank, at));
  return {
    ...problem,
    feed,
    present: problem.present.map((held) => Uint8Array.from(old, (rank) => held[rank])),
    pins: new Map([...problem.pins].map(([rank, copies]) => [newRankOf.get(rank) ?? 0, copies])),
  };
}

function maskOf(
  problem: ClusterProblem,
  types: readonly { readonly boxes: readonly number[] }[],
): (rank: number) => number {
  return (rank) => {
    let mask = 0;
    types.forEach(({ boxes }, t) => {
      if (boxes.some((box) => problem.present[box][rank] === 1)) mask |= 1 << t;
    });
    return mask;
  };
}
