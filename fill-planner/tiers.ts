/**
 * Which cluster takes what another cannot serve: leaf -> metro -> exchange, as steering sends viewers on.
 *
 * A site may name the parent of a cluster. Where it does not, the parent is the cluster whose shorter prefixes cover
 * most of this one's: that is where steering goes next.
 *
 * Shape:      parentsOf(sites, planned clusters) -> parent by cluster
 * Errors:     a parent that is not planned, a circle, a chain of more than TIERS: named, and the cluster stands alone
 * Invariants: (1) no circles; a path from a leaf to its top has at most TIERS clusters
 */
import { maskBytes, parsePrefix, type Prefix } from '#base/address.ts';
import type { PlannerInput } from './contract.ts';

export const TIER_NAMES = ['leaf', 'metro', 'exchange'] as const;
export type TierName = (typeof TIER_NAMES)[number];
const TIERS = TIER_NAMES.length;
const PREFIXES_LOOKED_AT_MAX = 256; // of a cluster: they are announced by one network

export interface Parents {
  readonly of: ReadonlyMap<string, string>;
  readonly problems: readonly string[];
}

export function parentsOf(sites: PlannerInput['sites'], planned: ReadonlySet<string>): Parents {
  const problems: string[] = [];
  const wanted = new Map<string, string>();
  const clusters = sites.flatMap((site) => site.clusters).filter((c) => planned.has(c.clusterId));
  const byPrefix = ownersOfPrefixes(clusters);
  for (const { clusterId, parent, prefixes } of clusters) {
    if (parent !== undefined && (!planned.has(parent) || parent === clusterId)) {
      problems.push(
        `cluster ${clusterId}: its parent ${parent} is no other cluster with appliances: it is planned without one`,
      );
      continue;
    }
    const found = parent ?? coveringCluster(clusterId, prefixes, byPrefix);
    if (found !== null) wanted.set(clusterId, found);
  }
  const parents = new Map<string, string>();
  for (const clusterId of [...wanted.keys()].sort()) {
    const parent = wanted.get(clusterId) ?? '';
    if (isWithinTiers(clusterId, wanted)) parents.set(clusterId, parent);
    else {
      wanted.delete(clusterId);
      problems.push(
        `cluster ${clusterId}: the chain over its parent ${parent} is a circle or longer than ${TIERS} tiers: it is planned without one`,
      );
    }
  }
  return { of: parents, problems };
}

function isWithinTiers(clusterId: string, parents: ReadonlyMap<string, string>): boolean {
  let at: string | undefined = clusterId;
  for (let tier = 0; tier < TIERS && at !== undefined; tier++) at = parents.get(at);
  return at === undefined;
}

function ownersOfPrefixes(
  clusters: readonly { readonly clusterId: string; readonly prefixes: readonly string[] }[],
): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const { clusterId, prefixes } of clusters) {
    for (const text of prefixes) {
      const prefix = parsePrefix(text);
      if (prefix === null) continue;
      const key = keyOf(prefix, prefix.length);
      const known = owners.get(key);
      if (known === undefined || clusterId < known) owners.set(key, clusterId);
    }
  }
  return owners;
}

/** The cluster that covers most of the prefixes by the next shorter ones; null where none covers any. */
function coveringCluster(
  clusterId: string,
  prefixes: readonly string[],
  owners: ReadonlyMap<string, string>,
): string | null {
  const votes = new Map<string, number>();
  for (const text of prefixes.slice(0, PREFIXES_LOOKED_AT_MAX)) {
    const prefix = parsePrefix(text);
    if (prefix === null) continue;
    for (let length = prefix.length - 1; length >= 0; length--) {
      const owner = owners.get(keyOf(prefix, length));
      if (owner === undefined || owner === clusterId) continue;
      votes.set(owner, (votes.get(owner) ?? 0) + 1);
      break;
    }
  }
  let best: string | null = null;
  for (const [owner, count] of [...votes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (best === null || count > (votes.get(best) ?? 0)) best = owner;
  }
  return best;
}

function keyOf({ family, bytes }: Prefix, length: number): string {
  return `${family} ${length} ${Buffer.from(maskBytes(bytes, length)).toString('hex')}`;
}
