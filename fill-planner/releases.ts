/**
 * Which files of tonight's releases are pinned in a cluster, and in how many copies.
 *
 * A release of high priority is on the boxes before its first viewer comes, whatever the forecast says; of its files only those
 * that carry most of its demand, since a season in every encode is several terabytes.
 */
import { PLACED_AHEAD_MS, type CatalogueTitle } from './catalogue.ts';
import type { Feed } from './feed.ts';
import type { NightCluster, PreparedNight } from './night.ts';

const DAY_MS = 86_400_000;

/** rank -> copies */
export function pinnedRanks(
  night: PreparedNight,
  cluster: NightCluster,
  feed: Feed,
): ReadonlyMap<number, number> {
  const pins = new Map<number, number>();
  const able = cluster.boxes.filter((box) => box.storageBytes > 0).length;
  const copies = Math.min(night.options.releaseCopies, able);
  if (copies === 0) return pins;
  const rankOfRow = new Map<number, number>();
  feed.rows.forEach((row, rank) => rankOfRow.set(row, rank));
  for (const title of night.catalogue.titles) {
    if (!isPinned(title, night, cluster.country)) continue;
    const ranks = title.rows
      .map((row) => rankOfRow.get(row) ?? -1)
      .filter((rank) => rank >= 0)
      .sort((a, b) => a - b);
    const weight = (rank: number): number => feed.densities[rank] * feed.sizes[rank];
    const total = ranks.reduce((sum, rank) => sum + weight(rank), 0);
    let carried = 0;
    for (const rank of ranks) {
      if (carried >= night.options.releaseDemandShare * total) break;
      pins.set(rank, copies);
      carried += weight(rank);
    }
  }
  return pins;
}

function isPinned({ listing }: CatalogueTitle, night: PreparedNight, country: string): boolean {
  const { release } = listing;
  if (release === undefined || release.priority < night.options.releasePriority) return false;
  if (!release.countries.includes('*') && !release.countries.includes(country)) return false;
  const atMs = Date.parse(release.at);
  return (
    atMs <= night.nightMs + PLACED_AHEAD_MS &&
    night.nightMs < atMs + night.options.releaseDays * DAY_MS
  );
}
