/**
 * Turns a placement into plan functions: thresholds, members, bands and exceptions that expand to exactly that placement.
 *
 * Invariants: (1) expandPlan(plan, order) = the placement's files of that box, in order of density
 *             (2) the thresholds are densities of files in the order, or above all of them: they cut between two files
 */
import type { Plan, PlanBand } from './contract.ts';
import type { Feed } from './feed.ts';
import type { Placement } from './placement/placement.ts';
import type { PlacementBox } from './placement/problem.ts';
import { ownersByBucket } from './placement/rounding.ts';

/** Above every density: nothing is held everywhere. Finite, because JSON knows no infinity. */
export const NOTHING_EVERYWHERE = Number.MAX_VALUE;

export interface PlanHeader {
  readonly clusterId: string;
  readonly planDate: string;
  readonly epoch: number;
  readonly orderVersion: string;
}

export function plansOf(
  header: PlanHeader,
  feed: Feed,
  boxes: readonly PlacementBox[],
  placement: Placement,
): readonly Plan[] {
  const indices = boxes.map((_, at) => at);
  const able = indices.filter((at) => boxes[at].storageBytes > 0);
  const memberIndices = able.length > 0 ? able : indices;
  const members = memberIndices.map((at) => ({
    applianceId: boxes[at].applianceId,
    weight: Math.max(1, boxes[at].storageBytes),
  }));
  const sharing = sharingOf(feed, members, memberIndices, placement);
  const everywhere = everywhereRank(placement.held);
  return boxes.map((box, at) => {
    const held = placement.held[at];
    const owns = sharing.owns(memberIndices.indexOf(at));
    const cut = shareCut(feed, held, owns, everywhere);
    const pins: number[] = [];
    const drops: number[] = [];
    for (let rank = 0; rank < feed.ranks; rank++) {
      const byRule = rank < everywhere || (rank < cut && owns(rank));
      if (byRule && held[rank] === 0) drops.push(feed.ordinals[rank]);
      if (!byRule && held[rank] === 1) pins.push(feed.ordinals[rank]);
    }
    return {
      applianceId: box.applianceId,
      ...header,
      everywhereDensity: densityAbove(feed, everywhere),
      shareDensity: densityAbove(feed, cut),
      fillDensity: Math.min(
        placement.thresholds[at]?.fillDensity ?? NOTHING_EVERYWHERE,
        NOTHING_EVERYWHERE,
      ),
      members,
      ...(sharing.bands === null ? {} : { bands: sharing.bands }),
      pins: pins.sort((a, b) => a - b),
      drops: drops.sort((a, b) => a - b),
    };
  });
}

interface Sharing {
  readonly bands: PlanBand[] | null; // null: one copy by the members' own weights
  owns(member: number): (rank: number) => boolean;
}

function sharingOf(
  feed: Feed,
  members: Plan['members'],
  memberIndices: readonly number[],
  placement: Placement,
): Sharing {
  const ids = members.map((member) => member.applianceId);
  const bands = placement.bands.map((band) => ({
    endRank: band.endRank,
    copies: band.copies,
    weights: memberIndices.map((at) => band.weights[at]),
  }));
  const own = members.map((member) => member.weight);
  const isPlain =
    bands.length === 1 &&
    bands[0].copies === 1 &&
    bands[0].weights.every((weight, at) => weight === own[at]);
  const bandOfRank = new Uint8Array(feed.ranks);
  let start = 0;
  bands.forEach((band, at) => {
    bandOfRank.fill(at, start, band.endRank);
    start = Math.max(start, band.endRank);
  });
  const owners = bands.map((band) =>
    ownersByBucket(ids, isPlain ? own : band.weights, band.copies),
  );
  return {
    bands: isPlain
      ? null
      : bands.map(({ endRank, copies, weights }) => ({
          fromDensity: densityAbove(feed, endRank),
          copies,
          weights,
        })),
    owns: (member) => (rank) => owners[bandOfRank[rank]].of(feed.buckets[rank]).includes(member),
  };
}

/** The threshold that the first `ranks` files reach. */
function densityAbove(feed: Feed, ranks: number): number {
  if (ranks === 0) return NOTHING_EVERYWHERE;
  return ranks >= feed.ranks ? 0 : feed.densities[ranks - 1];
}

/** How long a head of the order every box holds in full. */
function everywhereRank(held: readonly Uint8Array[]): number {
  if (held.length < 2) return 0;
  let rank = 0;
  while (rank < held[0].length && held.every((box) => box[rank] === 1)) rank++;
  return rank;
}

/** The cut with the fewest exceptions among this box's own files; the lowest of equals. */
function shareCut(
  feed: Feed,
  held: Uint8Array,
  owns: (rank: number) => boolean,
  everywhere: number,
): number {
  let best = everywhere;
  let bestScore = 0;
  let score = 0;
  for (let rank = everywhere; rank < feed.ranks; rank++) {
    if (owns(rank)) score += held[rank] === 1 ? 1 : -1;
    if (score >= bestScore) {
      bestScore = score;
      best = rank + 1;
    }
  }
  return best;
}
