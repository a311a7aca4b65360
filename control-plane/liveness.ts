/**
 * Title liveness: whether enough clusters hold enough copies of a title, before its release or at any time.
 *
 * A cluster should have a title where the title may be shown and its plan names files of it. It is live there when each of
 * these files lies on as many of the cluster's boxes as it should: `copiesWanted`, or every box that is to hold it where the
 * plan gave it to fewer.
 *
 * Shape:      (title, clusters with what their boxes should and do hold) -> live clusters over wanted ones, with reasons
 * Invariants: (1) a cluster that plans nothing of a title that it should show is not live: it says so
 */
import type { TitleListing } from '#upstream/contract.ts';
import type { ApplianceId, ClusterId } from './contract.ts';

export interface LivenessBox {
  readonly applianceId: ApplianceId;
  readonly isServing: boolean;
  should(ordinal: number): boolean;
  does(ordinal: number): boolean;
  /** Why it may hold less than it should: "space", "window", or the words of its problem. */
  readonly answer: string | null;
}

export interface LivenessCluster {
  readonly clusterId: ClusterId;
  readonly country: string;
  readonly boxes: readonly LivenessBox[];
}

export interface ClusterLiveness {
  readonly clusterId: ClusterId;
  readonly isLive: boolean;
  readonly filesPlanned: number;
  readonly filesHeld: number; // in as many copies as they should be
  readonly why: string | null;
  readonly boxes: readonly { readonly applianceId: ApplianceId; readonly answer: string }[];
}

export interface TitleLiveness {
  readonly titleId: string;
  readonly releaseAt: string | null;
  readonly isLive: boolean;
  readonly clustersLive: number;
  readonly clustersWanted: number;
  readonly liveShare: number; // 1 where no cluster should have it
  readonly clusters: readonly ClusterLiveness[];
}

/** A title is live when this share of its clusters is. */
export const LIVE_SHARE_MIN = 0.95;

export function titleLiveness(
  listing: TitleListing,
  ordinals: readonly number[],
  clusters: readonly LivenessCluster[],
  copiesWanted: number,
): TitleLiveness {
  const wanted = clusters
    .filter(({ country }) => shouldShow(listing, country))
    .map((cluster) => clusterLiveness(cluster, ordinals, copiesWanted));
  const clustersLive = wanted.filter(({ isLive }) => isLive).length;
  const liveShare = wanted.length === 0 ? 1 : clustersLive / wanted.length;
  return {
    titleId: listing.titleId,
    releaseAt: listing.release?.at ?? null,
    isLive: liveShare >= LIVE_SHARE_MIN,
    clustersLive,
    clustersWanted: wanted.length,
    liveShare,
    clusters: wanted,
  };
}

function shouldShow({ availability, release }: TitleListing, country: string): boolean {
  const names = (countries: readonly string[]): boolean =>
    countries.includes('*') || countries.includes(country);
  return release === undefined
    ? availability.some(({ countries }) => names(countries))
    : names(release.countries);
}

function clusterLiveness(
  { clusterId, boxes }: LivenessCluster,
  ordinals: readonly number[],
  copiesWanted: number,
): ClusterLiveness {
  let filesPlanned = 0;
  let filesHeld = 0;
  const short = new Set<LivenessBox>();
  for (const ordinal of ordinals) {
    const owners = boxes.filter((box) => box.should(ordinal));
    if (owners.length === 0) continue;
    filesPlanned++;
    const copies = boxes.filter((box) => box.isServing && box.does(ordinal)).length;
    if (copies >= Math.min(copiesWanted, owners.length)) filesHeld++;
    else for (const box of owners) if (!box.does(ordinal)) short.add(box);
  }
  const isLive = filesPlanned > 0 && filesHeld === filesPlanned;
  return {
    clusterId,
    isLive,
    filesPlanned,
    filesHeld,
    why: isLive
      ? null
      : filesPlanned === 0
        ? 'no box of it is planned to hold a file of this title'
        : `${filesPlanned - filesHeld} of ${filesPlanned} files lie on too few of its boxes`,
    boxes: [...short].map(({ applianceId, answer }) => ({
      applianceId,
      answer: answer ?? 'filling',
    })),
  };
}
