/**
 * Clusters of several tiers on a region's candidates: leaves first, then the tier above for what they leave over, with one bound.
 *
 * What a leaf leaves is known per bin; the tier above is asked for it on top of its own viewers' demand. The bound adds up: a
 * leaf's own Lagrangian at its multipliers, and that of the tier above for what it could still gain, viewer by viewer, over the leaf
 * at these multipliers: max(a, b) = a + max(0, b - a). The leaves' multipliers are found with what the tier above holds counted less.
 *
 * Assumed: what a leaf leaves of a bin is spread evenly over the bin's files.
 * Invariants: (1) the sum of valueBps of a family is at most that of boundBps
 */
import { boundAt, leastBound, type BoundProblem, type Multipliers } from '../placement/bound.ts';
import { pricesOf, type Prices } from '../placement/placement.ts';
import type { Candidates } from './candidates.ts';
import {
  churnPriceOf,
  cutsOf,
  depthOf,
  sumCluster,
  type ClusterAsk,
  type ClusterCuts,
} from './cluster-cuts.ts';
import { boundProblemOf, evenReach, freeFill, type Reach } from './cluster-mass.ts';
import type { FleetCluster } from './fleet-files.ts';
import type { ClusterSums } from './own-sums.ts';

const ALPHA_ROUNDS = 4;
const BEYOND_ALONE = [0.25, 0.5, 1];
const ALPHA_STEP = 0.98; // a lower alpha is worth another round

export interface FamilyAsk {
  readonly candidates: Candidates;
  readonly slotFactor: number;
  readonly churnShare: number;
  readonly hopWorth: number;
}

export interface FleetFigures {
  readonly demandBps: number; // that reaches the cluster
  readonly ownDemandBps: number; // of its own viewers
  readonly servedBps: number;
  readonly valueBps: number; // weighted by the tier's worth; of a family, its share by what it serves
  readonly boundBps: number;
  readonly boundWithoutFillLimitBps: number; // on what is served
  readonly prices: Prices;
}

export interface CutCluster {
  readonly cluster: FleetCluster;
  readonly sums: ClusterSums;
  readonly cuts: ClusterCuts;
  readonly figures: FleetFigures;
}

interface Member {
  readonly ask: ClusterAsk;
  readonly sums: ClusterSums;
  readonly cuts: ClusterCuts;
  readonly problem: BoundProblem; // for the demand that reached it
  readonly multipliers: Multipliers;
  readonly boundBps: number;
  readonly worth: number;
  readonly children: readonly Member[];
}

/** `family`: children before parents; the top last. */
export function cutFamily(ask: FamilyAsk, family: readonly FleetCluster[]): readonly CutCluster[] {
  const members = new Map<string, Member>();
  for (const cluster of family) {
    const children = family.flatMap(({ clusterId, parentId }) => {
      const child = parentId === cluster.clusterId ? members.get(clusterId) : undefined;
      return child === undefined ? [] : [child];
    });
    members.set(cluster.clusterId, cutMember(ask, cluster, children));
  }
  const all = family.flatMap(({ clusterId }) => members.get(clusterId) ?? []);
  const value = all.reduce((sum, { worth, cuts }) => sum + worth * cuts.valueBps, 0);
  const served = all.reduce((sum, { worth, cuts }) => sum + worth * cuts.servedBps, 0);
  const isAlone = all.length === 1;
  const deep = isAlone ? [] : deepenedFamily(ask, all);
  const bound = isAlone ? all[0].boundBps : familyBound(ask, deep, null);
  const free = isAlone
    ? leastBound(freeFill(all[0].problem)).bound
    : familyBound(ask, deep, freeFill);
  return all.map(({ ask: { cluster }, sums, cuts, problem, multipliers, worth, boundBps }) => {
    const share = served > 0 ? (worth * cuts.servedBps) / served : 1 / all.length;
    return {
      cluster,
      sums,
      cuts,
      figures: {
        demandBps: cuts.demandBps,
        ownDemandBps: ask.slotFactor * cluster.viewsPerDay * ask.candidates.viewBytes,
        servedBps: cuts.servedBps,
        valueBps: share * value,
        boundBps: share * bound,
        boundWithoutFillLimitBps: served > 0 ? (cuts.servedBps * free) / served : free / all.length,
        prices: pricesOf(problem, { multipliers, bound: boundBps }),
      },
    };
  });
}

function cutMember(given: FamilyAsk, cluster: FleetCluster, children: readonly Member[]): Member {
  const { candidates, slotFactor, churnShare } = given;
  const leafBytes = children.reduce(
    (most, { sums }) =>
      Math.max(
        most,
        sums.groups.reduce((sum, g) => sum + g.storageBytes, 0),
      ),
    0,
  );
  const depth = depthOf(candidates, cluster, leafBytes);
  const sums = sumCluster(cluster, candidates, depth);
  const reach = reachOf(cluster.viewsPerDay, children, depth, ({ cuts }, bin) => leftAt(cuts, bin));
  const ask: ClusterAsk = {
    cluster,
    candidates,
    slotFactor,
    churnShare,
    reach,
    pinnedReach: children.reduce(
      (sum, child) => sum + child.ask.pinnedReach * child.cuts.left.pinned,
      cluster.viewsPerDay,
    ),
  };
  const churnPrice = churnPriceOf(ask, sums);
  const problem = boundProblemOf(sums, candidates, reach, slotFactor, churnPrice);
  const least = leastBound(problem);
  const cuts = cutsOf(ask, sums, churnPrice, least.bound);
  const below = children.reduce((low, child) => Math.min(low, child.worth), 1);
  return {
    ask,
    sums,
    cuts,
    problem,
    multipliers: least.multipliers,
    boundBps: least.bound,
    worth: children.length > 0 ? below * given.hopWorth : 1,
    children,
  };
}

/** Views a day that ask here, per bin: its own viewers, and a part of what reached each of the children. */
function reachOf(
  own: number,
  children: readonly Member[],
  bins: number,
  partOf: (child: Member, bin: number) => number,
): Reach {
  if (children.length === 0) return evenReach(own, bins);
  const perBin = new Float64Array(bins).fill(own);
  let deeper = own;
  for (const child of children) {
    const reached = child.ask.reach;
    for (let bin = 0; bin < bins; bin++) {
      const views = bin < reached.perBin.length ? reached.perBin[bin] : reached.deeper;
      perBin[bin] += views * partOf(child, bin);
    }
    deeper += reached.deeper;
  }
  return { perBin, deeper, isEven: false };
}

function leftAt({ left }: ClusterCuts, bin: number): number {
  return bin < left.perBin.length ? left.perBin[bin] : 1;
}

// ---------------------------------------------------------------- the bound of a family

/**
 * A leaf as deep as the tier above it looks: what lies below its own sums is taken for held, which can only raise the bound. Without
 * it a leaf whose copies are worth little beyond the tier above would be thought to gain by everything deeper.
 */
function deepened(
  { candidates, slotFactor }: FamilyAsk,
  all: readonly Member[],
  member: Member,
): Member {
  const parent = all.find(({ children }) => children.includes(member));
  if (parent === undefined) return member;
  const depth = Math.max(member.sums.depth, parent.sums.depth);
  const held = member.sums.masses.length - 1;
  const masses = member.sums.masses.map(({ mask, ...own }, at) => {
    const bytes = new Float64Array(depth);
    const views = new Float64Array(depth);
    bytes.set(own.bytes);
    views.set(own.views);
    for (let bin = at === held ? member.sums.depth : depth; bin < depth; bin++) {
      bytes[bin] = candidates.bytesAbove[bin + 1] - candidates.bytesAbove[bin];
      views[bin] = candidates.viewsAbove[bin + 1] - candidates.viewsAbove[bin];
    }
    return { mask, bytes, views };
  });
  const sums = { ...member.sums, depth, masses };
  const reach = evenReach(member.ask.cluster.viewsPerDay, depth);
  const { churnPrice } = member.cuts;
  const problem = boundProblemOf(sums, candidates, reach, slotFactor, churnPrice);
  return { ...member, ask: { ...member.ask, reach }, sums, problem };
}

function deepenedFamily(ask: FamilyAsk, all: readonly Member[]): readonly Member[] {
  const found = new Map<Member, Member>();
  for (const member of all) {
    const children = member.children.map((child) => found.get(child) ?? child);
    const isLeaf = children.length === 0;
    found.set(member, isLeaf ? deepened(ask, all, member) : { ...member, children });
  }
  return [...found.values()];
}

/** `limited`: null for tonight's fill limits, freeFill without them. */
function familyBound(
  ask: FamilyAsk,
  all: readonly Member[],
  limited: ((problem: BoundProblem) => BoundProblem) | null,
): number {
  const change = limited ?? ((problem: BoundProblem) => problem);
  const alone = all.map((member) =>
    limited === null ? member.multipliers : leastBound(change(member.problem)).multipliers,
  );
  const joint = all.map((member, at) => {
    const problem = creditedProblem(ask, all, member);
    return problem === null ? alone[at] : leastBound(change(problem)).multipliers;
  });
  const boundOf = (found: readonly Multipliers[]): number =>
    boundWith(ask, all, new Map(all.map((member, at) => [member, found[at]])), limited);
  let least = Math.min(boundOf(joint), boundOf(alone));
  // Where a tier above is at its limit, what it holds is worth less still than if each were alone: the bound falls beyond.
  for (const beyond of BEYOND_ALONE) {
    const bound = boundOf(alone.map((own, at) => extrapolated(joint[at], own, beyond)));
    if (bound >= least) break;
    least = bound;
  }
  return least;
}

function extrapolated(from: Multipliers, to: Multipliers, by: number): Multipliers {
  const along = (a: readonly number[], b: readonly number[]): number[] =>
    b.map((value, t) => Math.max(0, value + by * (value - a[t])));
  return {
    alpha: along(from.alpha, to.alpha),
    mu: along(from.mu, to.mu),
    nu: along(from.nu, to.nu),
  };
}

/** A leaf's own question with what the tier above holds counted less: where its best multipliers are looked for. */
function creditedProblem(
  ask: FamilyAsk,
  all: readonly Member[],
  member: Member,
): BoundProblem | null {
  const parent = all.find(({ children }) => children.includes(member));
  if (parent === undefined) return null;
  return boundProblemOf(
    member.sums,
    ask.candidates,
    creditedReach(member, parent),
    ask.slotFactor,
    member.cuts.churnPrice,
  );
}

/** What a leaf's copy is worth beyond the tier above: where that holds a file, only the hop is saved. */
function creditedReach({ ask, worth }: Member, parent: Member): Reach {
  const part = parent.worth / worth;
  const perBin = ask.reach.perBin.map(
    (views, bin) => views * Math.max(1e-6, 1 - part * (1 - leftAt(parent.cuts, bin))),
  );
  return { perBin, deeper: ask.reach.deeper, isEven: false };
}

function boundWith(
  ask: FamilyAsk,
  all: readonly Member[],
  multipliers: ReadonlyMap<Member, Multipliers>,
  limited: ((problem: BoundProblem) => BoundProblem) | null,
): number {
  const change = limited ?? ((problem: BoundProblem) => problem);
  let total = 0;
  for (const member of all) {
    const own = multipliers.get(member);
    if (own === undefined) continue;
    total +=
      member.children.length === 0
        ? member.worth * boundAt(change(member.problem), own)
        : gainAbove(ask, member, multipliers, limited === null, change);
  }
  return total;
}

/**
 * The most that a tier above could add to what its leaves have at their multipliers. Claims are worked out for a dearest alpha above: the
 * bound holds for any alpha up to it, and where throughput is short above, a lower one is tried.
 */
function gainAbove(
  ask: FamilyAsk,
  member: Member,
  multipliers: ReadonlyMap<Member, Multipliers>,
  isFillLimited: boolean,
  change: (problem: BoundProblem) => BoundProblem,
): number {
  let least = Infinity;
  let alphaMost = ask.slotFactor;
  for (let round = 0; round < ALPHA_ROUNDS; round++) {
    const worthMost = alphaMost * member.worth;
    let beside = 0;
    const reach = claimsOf(member, (leaf, bins) => {
      const prices = multipliers.get(leaf);
      if (prices === undefined) return null;
      const found = leafClaims(ask, leaf, prices, {
        worthMost,
        isFillLimited,
        bins,
        above: member,
      });
      beside += found.besideBps;
      return found.perBin;
    });
    const { churnPrice } = member.cuts;
    const problem = change(
      boundProblemOf(member.sums, ask.candidates, reach, ask.slotFactor, churnPrice),
    );
    const { alpha, mu, nu } = leastBound(problem).multipliers;
    const capped = alpha.map((value) => Math.min(value, alphaMost));
    least = Math.min(least, member.worth * boundAt(problem, { alpha: capped, mu, nu }) + beside);
    const next = Math.max(...capped);
    if (!(next > 0) || next > ALPHA_STEP * alphaMost) break;
    alphaMost = next;
  }
  return least;
}

/** Every leaf below, each bin of its own viewers by the part that it can claim; middle tiers' viewers claim all. */
function claimsOf(
  member: Member,
  partsOf: (leaf: Member, bins: number) => Float64Array | null,
): Reach {
  const bins = member.sums.depth;
  const perBin = new Float64Array(bins).fill(member.ask.cluster.viewsPerDay);
  let deeper = member.ask.cluster.viewsPerDay;
  const add = (child: Member): void => {
    const views = child.ask.cluster.viewsPerDay;
    const parts = child.children.length === 0 ? partsOf(child, bins) : null;
    for (let bin = 0; bin < bins; bin++) perBin[bin] += views * (parts?.[bin] ?? 1);
    deeper += views;
    child.children.forEach(add);
  };
  member.children.forEach(add);
  return { perBin, deeper, isEven: false };
}

/**
 * What part of a leaf's viewers can gain above: 1 - gain at the leaf / gain above, at the bin's lowest density, where no viewer claims more.
 *
 * What the leaf holds already gains more there by what filling costs, and claims less. One claim is made for the whole bin: that
 * of what is absent, or that of what is held, and then what is absent adds the rest beside (max(0, a + b) <= max(0, a) + b),
 * which costs nothing where the tier above takes the bin anyway.
 */
function leafClaims(
  { candidates }: FamilyAsk,
  leaf: Member,
  { alpha, mu, nu }: Multipliers,
  {
    worthMost,
    isFillLimited,
    bins,
    above,
  }: {
    readonly worthMost: number; // weighted, per view-byte
    readonly isFillLimited: boolean;
    readonly bins: number;
    readonly above: Member;
  },
): { readonly perBin: Float64Array; readonly besideBps: number } {
  const { masses, depth } = leaf.sums;
  const { viewsPerDay } = leaf.ask.cluster;
  const churnPrice = isFillLimited ? leaf.cuts.churnPrice : 0;
  const perBin = new Float64Array(bins).fill(1);
  const claims = masses.map(() => 0);
  let beside = 0;
  for (let bin = 0; bin < Math.min(bins, depth); bin++) {
    const density = candidates.edges[bin + 1] * viewsPerDay;
    if (!(worthMost * density > 0)) continue;
    masses.forEach(({ mask }, at) => {
      let gain = 0;
      for (let t = 0; t < alpha.length; t++) {
        const cost = mu[t] + ((mask >>> t) & 1 ? 0 : nu[t] + churnPrice);
        gain = Math.max(gain, alpha[t] * density - cost);
      }
      claims[at] = Math.min(1, Math.max(0, 1 - (leaf.worth * gain) / (worthMost * density)));
    });
    const held = masses.length - 1;
    const isTaken = leftAt(above.cuts, bin) < 0.5 || masses[held].views[bin] > masses[0].views[bin];
    perBin[bin] = claims[isTaken ? held : 0];
    masses.forEach(({ views }, at) => {
      beside += Math.max(0, claims[at] - perBin[bin]) * views[bin];
    });
  }
  return { perBin, besideBps: worthMost * viewsPerDay * beside };
}
