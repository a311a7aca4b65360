/**
 * Turns a placement into plan functions: thresholds, members and exceptions that expand to exactly that placement.
 *
 * Invariants: (1) expandPlan(plan, order) = the placement's files of that box, in order of density
 *             (2) the thresholds are densities of files in the order, or above all of them: they cut between two files
 */
import { bucketOwners, SHARE_BUCKETS, type Plan } from './contract.ts';
import type { Feed } from './feed.ts';
import type { Placement, PlacementBox } from './placement/placement.ts';

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
  const able = boxes.filter((box) => box.storageBytes > 0);
  const members = (able.length > 0 ? able : boxes).map((box) => ({
    applianceId: box.applianceId,
    weight: Math.max(1, box.storageBytes),
  }));
  const owners = ownersOf(members);
  const everywhere = everywhereRank(placement);
  return boxes.map((box, at) => {
    const held = placement.held[at];
    const owned = owners.map((owner) => owner === box.applianceId);
    const cut = shareCut(feed, held, owned, everywhere);
    const pins: number[] = [];
    const drops: number[] = [];
    for (let rank = 0; rank < feed.ranks; rank++) {
      const byRule = rank < everywhere || (rank < cut && owned[feed.buckets[rank]]);
      if (byRule && held[rank] === 0) drops.push(feed.ordinals[rank]);
      if (!byRule && held[rank] === 1) pins.push(feed.ordinals[rank]);
    }
    const shareDensity = densityAbove(feed, cut);
    return {
      applianceId: box.applianceId,
      ...header,
      everywhereDensity: densityAbove(feed, everywhere),
      shareDensity,
      fillDensity: shareDensity,
      members,
      pins: pins.sort((a, b) => a - b),
      drops: drops.sort((a, b) => a - b),
    };
  });
}

/** The threshold that the first `ranks` files reach. */
function densityAbove(feed: Feed, ranks: number): number {
  if (ranks === 0) return NOTHING_EVERYWHERE;
  return ranks >= feed.ranks ? 0 : feed.densities[ranks - 1];
}

/** How long a head of the order every box holds in full. */
function everywhereRank(placement: Placement): number {
  if (placement.held.length < 2) return 0;
  let rank = 0;
  while (rank < placement.held[0].length && placement.held.every((held) => held[rank] === 1)) {
    rank++;
  }
  return rank;
}

/** The cut with the fewest exceptions among this box's own buckets; the lowest of equals. */
function shareCut(
  feed: Feed,
  held: Uint8Array,
  owned: readonly boolean[],
  everywhere: number,
): number {
  let best = everywhere;
  let bestScore = 0;
  let score = 0;
  for (let rank = everywhere; rank < feed.ranks; rank++) {
    if (owned[feed.buckets[rank]]) score += held[rank] === 1 ? 1 : -1;
    if (score >= bestScore) {
      bestScore = score;
      best = rank + 1;
    }
  }
  return best;
}

function ownersOf(members: Plan['members']): readonly string[] {
  const ids = members.map((member) => member.applianceId);
  const weights = members.map((member) => member.weight);
  return Array.from(
    { length: SHARE_BUCKETS },
    (_, bucket) => ids[bucketOwners(bucket, ids, weights, 1)[0]],
  );
}
