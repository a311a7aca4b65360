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
  const credited = isAlone ? [] : all.map((member) => creditedProblem(ask, all, member));
  const bound = isAlone ? all[0].boundBps : familyBound(ask, all, credited, null);
  const free = isAlone
    ? leastBound(freeFill(all[0].problem)).bound
    : familyBound(ask, all, credited, freeFill);
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

/** `limited`: null for tonight's fill limits, freeFill without them. */
function familyBound(
  ask: FamilyAsk,
  all: readonly Member[],
  credited: readonly BoundProblem[],
  limited: ((problem: BoundProblem) => BoundProblem) | null,
): number {
  const change = limited ?? ((problem: BoundProblem) => problem);
  const alone = all.map((member) =>
    limited === null ? member.multipliers : leastBound(change(member.problem)).multipliers,
  );
  const joint = credited.map((problem, at) =>
    problem === all[at].problem ? alone[at] : leastBound(change(problem)).multipliers,
  );
  return Math.min(
    ...[joint, alone].map((found) =>
      boundWith(ask, all, new Map(all.map((member, at) => [member, found[at]])), change),
    ),
  );
}

/** A leaf's own question with what the tier above holds counted less: where its best multipliers are looked for. */
function creditedProblem(ask: FamilyAsk, all: readonly Member[], member: Member): BoundProblem {
  const parent = all.find(({ children }) => children.includes(member));
  if (parent === undefined) return member.problem;
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
  limited: (problem: BoundProblem) => BoundProblem,
): number {
  let total = 0;
  for (const member of all) {
    const own = multipliers.get(member);
    if (own === undefined) continue;
    if (member.children.length === 0) {
      total += member.worth * boundAt(limited(member.problem), own);
      continue;
    }
    // The most that any viewer below could gain here over what it has there at these multipliers.
    const alphaMost = ask.slotFactor;
    const reach = claimsOf(member, (leaf, bin) => {
      const prices = multipliers.get(leaf);
      return prices === undefined ? 1 : claimOf(leaf, prices, bin, alphaMost * member.worth, ask);
    });
    const { churnPrice } = member.cuts;
    const problem = boundProblemOf(member.sums, ask.candidates, reach, ask.slotFactor, churnPrice);
    total += member.worth * leastBound(limited(problem)).bound;
  }
  return total;
}

/** Every leaf below, each bin of its own viewers by the part that it can claim; middle tiers' viewers claim all. */
function claimsOf(member: Member, partOf: (leaf: Member, bin: number) => number): Reach {
  const bins = member.sums.depth;
  const perBin = new Float64Array(bins).fill(member.ask.cluster.viewsPerDay);
  let deeper = member.ask.cluster.viewsPerDay;
  const add = (child: Member): void => {
    const views = child.ask.cluster.viewsPerDay;
    const isLeaf = child.children.length === 0;
    for (let bin = 0; bin < bins; bin++) perBin[bin] += views * (isLeaf ? partOf(child, bin) : 1);
    deeper += views;
    child.children.forEach(add);
  };
  member.children.forEach(add);
  return { perBin, deeper, isEven: false };
}

/** 1 - gain at the leaf / gain above, at the bin's lowest density and for a file that the leaf does not hold: no viewer claims more. */
function claimOf(
  leaf: Member,
  { alpha, mu, nu }: Multipliers,
  bin: number,
  gainAbove: number, // weighted, per view-byte
  { candidates }: FamilyAsk,
): number {
  if (bin >= leaf.sums.depth) return 1;
  const density = candidates.edges[bin + 1] * leaf.ask.cluster.viewsPerDay;
  let gain = 0;
  for (let t = 0; t < alpha.length; t++) {
    gain = Math.max(gain, alpha[t] * density - mu[t] - nu[t] - leaf.cuts.churnPrice);
  }
  const above = gainAbove * density;
  return above > 0 ? Math.min(1, Math.max(0, 1 - (leaf.worth * gain) / above)) : 1;
}
