/**
 * Which files each box of a cluster holds, and how far that is from the best that any plan could do.
 *
 * The bound's multipliers part the densities; a portfolio of layouts is rounded to whole files by falling density; the one
 * that is worth most is kept. What a box at its limit holds is then settled by the day, where that costs the peaks nothing. What
 * room is left takes spare copies, one of everything before a second of anything.
 *
 * Invariants: (1) no box holds more bytes than its storage, or fills more than its allowance
 *             (2) value <= bound
 *             (3) a spare copy is made only when every file of the feed has a copy or fits nowhere
 *             (4) same problem, same placement
 */
import { assert } from '#base/outcome.ts';
import {
  leastBound,
  throughputTerm,
  type Bound,
  type BoundProblem,
  type Multipliers,
} from './bound.ts';
import { layoutsOf } from './layouts.ts';
import { massOf } from './mass.ts';
import { boxTypesOf, type BoxType, type ClusterProblem } from './problem.ts';
import { roundBy, settledByDay, takeSpareCopies, type Band, type Ledger } from './rounding.ts';
import { servedBy } from './served.ts';

const CLOSE_ENOUGH = 1e-5; // of the bound: no other layout is tried
export const NO_LOSS = 1 - 1e-4; // what the peaks may lose to the rest of the day

export interface Placement {
  /** Per box, in the order given: 1 at each rank that it holds. */
  readonly held: readonly Uint8Array[];
  readonly usedBytes: readonly number[];
  readonly filledBytes: readonly number[];
  readonly bands: readonly Band[];
  /** Per box: below which density a file is not worth keeping, and not worth filling; null where serving is worth nothing. */
  readonly thresholds: readonly (Thresholds | null)[];
  readonly proof: Proof;
}

export interface Thresholds {
  readonly keepDensity: number;
  readonly fillDensity: number;
}

export interface Proof {
  readonly demandBps: number; // at the peaks
  readonly servedBps: number;
  /** Served less the price of what is newly filled for the peaks: without spare copies and what only the rest of the day asks for. */
  readonly valueBps: number;
  readonly boundBps: number;
  readonly boundWithoutFillLimitBps: number; // on served, with free and unlimited fill
  readonly prices: Prices;
}

/** What one more unit at this cluster would serve, in bit/s. */
export interface Prices {
  readonly perStorageByte: number;
  readonly perServingBps: number;
  readonly perFillByte: number;
}

export function place(problem: ClusterProblem): Placement {
  const planned = placeCore(problem);
  const settled = settledByDay(problem, planned.ledger, planned.bands);
  const atPeaks = servedBy(problem, planned.ledger.held).servedBps;
  const isNoLoss = servedBy(problem, settled.held).servedBps >= NO_LOSS * atPeaks;
  const core = { ...planned, ledger: isNoLoss ? settled : planned.ledger };
  takeSpareCopies(problem, core.ledger, core.bands);
  const boundWithoutFillLimitBps = leastBound(freeFill(core.boundProblem, problem)).bound;
  const served = servedBy(problem, core.ledger.held);
  return placementOf(problem, core, {
    demandBps: served.demandBps,
    servedBps: served.servedBps,
    valueBps: core.value,
    boundBps: core.least.bound,
    boundWithoutFillLimitBps,
  });
}

/** The best of the portfolio before spare room makes spare copies: what the bound speaks of. */
export interface PlacementCore {
  readonly ledger: Ledger;
  readonly bands: readonly Band[];
  readonly value: number; // bit/s
  readonly types: readonly BoxType[];
  readonly boundProblem: BoundProblem;
  readonly least: Bound;
}

export function placeCore(problem: ClusterProblem): PlacementCore {
  const types = boxTypesOf(problem.boxes);
  const boundProblem = boundProblemOf(problem, types);
  const least = leastBound(boundProblem);
  let best: Pick<PlacementCore, 'ledger' | 'bands' | 'value'> | null = null;
  for (const bands of layoutsOf(problem, types, least.multipliers)) {
    const ledger = roundBy(problem, types, least.multipliers, bands);
    const { servedBps } = servedBy(problem, ledger.held);
    const filled = ledger.filledBytes().reduce((sum, bytes) => sum + bytes, 0);
    const value = servedBps - problem.churnPrice * filled;
    if (best === null || value > best.value) best = { ledger, bands, value };
    if (least.bound - best.value <= CLOSE_ENOUGH * least.bound) break;
  }
  assert(best !== null, 'a cluster has at least one layout');
  return { ...best, types, boundProblem, least };
}

export function placementOf(
  problem: ClusterProblem,
  { ledger, bands, types, boundProblem, least }: PlacementCore,
  proof: Omit<Proof, 'prices'>,
): Placement {
  return {
    held: ledger.held,
    usedBytes: ledger.usedBytes(),
    filledBytes: ledger.filledBytes(),
    bands,
    thresholds: thresholdsOf(problem, types, least.multipliers),
    proof: { ...proof, prices: pricesOf(boundProblem, least) },
  };
}

export function boundProblemOf(problem: ClusterProblem, types: readonly BoxType[]): BoundProblem {
  const { feed, present } = problem;
  const holdsAnything = present.some((held) => held.includes(1));
  const maskOf = (rank: number): number => {
    let mask = 0;
    types.forEach((type, t) => {
      if (type.boxes.some((box) => present[box][rank] === 1)) mask |= 1 << t;
    });
    return mask;
  };
  return {
    mass: massOf(feed.densities, feed.sizes, holdsAnything ? maskOf : null),
    types,
    slotFactors: problem.slotFactors,
    churnPrice: problem.churnPrice,
  };
}

/** The same cluster had it all the nights it wants: the one-night bound hides a bad starting state. */
function freeFill(bound: BoundProblem, problem: ClusterProblem): BoundProblem {
  return {
    mass: massOf(problem.feed.densities, problem.feed.sizes, null),
    types: bound.types.map((type) => ({ ...type, fillBytes: Infinity })),
    slotFactors: bound.slotFactors,
    churnPrice: 0,
  };
}

/** The dearest type's price: where one more unit helps most. */
export function pricesOf(problem: BoundProblem, { multipliers }: Bound): Prices {
  const perBps = (alpha: number): number =>
    throughputTerm({ servingBps: 1 }, problem.slotFactors, alpha).value;
  return {
    perStorageByte: Math.max(0, ...multipliers.mu),
    perServingBps: Math.max(0, ...multipliers.alpha.map(perBps)),
    perFillByte: Math.max(0, ...multipliers.nu),
  };
}

/** Keep above mu / alpha, fill above (mu + churn + nu) / alpha: their distance damps churn. */
function thresholdsOf(
  problem: ClusterProblem,
  types: readonly BoxType[],
  multipliers: Multipliers,
): readonly (Thresholds | null)[] {
  return problem.boxes.map((_, box) => {
    const t = types.findIndex((type) => type.boxes.includes(box));
    if (!(multipliers.alpha[t] > 0)) return null;
    const keep = multipliers.mu[t];
    const fill = keep + problem.churnPrice + multipliers.nu[t];
    return {
      keepDensity: keep / multipliers.alpha[t],
      fillDensity: fill / multipliers.alpha[t],
    };
  });
}
