/**
 * What contradicts itself in a message whose form is right: any of these refuses it whole.
 *
 * Shape:      checkSnapshot(snapshot) -> problems; checkDelta(fleet, delta) -> problems; none when it may be used
 * Invariants: (1) a delta that passes, on a fleet that passed, makes a snapshot that would pass; it costs what the delta says
 */
import {
  ORIGIN_PATHWAY_ID,
  type ApplianceId,
  type ClusterId,
  type ExternalCdn,
  type FleetDelta,
  type FleetSnapshot,
  type SnapshotCluster,
  type SnapshotTitle,
} from '#control-plane/contract.ts';
import type { TitleId } from '#upstream/contract.ts';
import type { Fleet } from './fleet.ts';
import { prefixScratch, readPrefix } from './prefix-text.ts';

const PROBLEMS_MAX = 20;

export function checkSnapshot(snapshot: FleetSnapshot): readonly string[] {
  const problems: string[] = [];
  const clusterIds = checkClusters(snapshot.clusters, problems);
  const applianceIds = new Set<ApplianceId>();
  for (const { applianceId, clusterId } of snapshot.appliances) {
    if (applianceIds.has(applianceId)) problems.push(`appliance ${applianceId} is there twice`);
    if (!clusterIds.has(clusterId)) problems.push(homeless(applianceId, clusterId));
    applianceIds.add(applianceId);
  }
  const heldBy = new Set<ApplianceId>();
  for (const { applianceId } of snapshot.holdings) {
    if (!applianceIds.has(applianceId)) problems.push(ownerless(applianceId));
    if (heldBy.has(applianceId)) problems.push(`holdings of ${applianceId} are there twice`);
    heldBy.add(applianceId);
  }
  checkExternals(snapshot.externals ?? [], (id) => applianceIds.has(id), problems);
  checkTitles(snapshot.titles, new Map(), problems);
  return problems.slice(0, PROBLEMS_MAX);
}

export function checkDelta(fleet: Fleet, delta: FleetDelta): readonly string[] {
  const problems: string[] = [];
  const { clusterIndex, indexOf } = fleet;
  const clusterIds =
    delta.clusters === undefined ? clusterIndex : checkClusters(delta.clusters, problems);
  const removed = new Set(delta.appliancesRemoved);
  const changed = new Set<ApplianceId>();
  for (const { applianceId, clusterId } of delta.appliances) {
    changed.add(applianceId);
    if (!clusterIds.has(clusterId) && !removed.has(applianceId)) {
      problems.push(homeless(applianceId, clusterId));
    }
  }
  if (delta.clusters !== undefined) {
    for (const { applianceId, entry } of fleet.appliances) {
      if (changed.has(applianceId) || removed.has(applianceId)) continue;
      if (!clusterIds.has(entry.clusterId)) problems.push(homeless(applianceId, entry.clusterId));
    }
  }
  for (const { applianceId } of delta.holdings) {
    if (!indexOf.has(applianceId) && !changed.has(applianceId)) {
      problems.push(ownerless(applianceId));
    }
  }
  const externals = delta.externals ?? fleet.snapshot.externals ?? [];
  const isAppliance = (id: string): boolean =>
    changed.has(id) || (indexOf.has(id) && !removed.has(id));
  checkExternals(externals, isAppliance, problems);
  if (delta.titles.length > 0) {
    const fileOf = new Map<number, string>();
    const gone = new Set([...delta.titlesRemoved, ...delta.titles.map(({ titleId }) => titleId)]);
    for (const [titleId, { files }] of fleet.titles) {
      if (gone.has(titleId)) continue;
      for (const { fileId, ordinal } of files) fileOf.set(ordinal, fileId);
    }
    checkTitles(delta.titles, fileOf, problems);
  }
  return problems.slice(0, PROBLEMS_MAX);
}

function checkClusters(
  clusters: readonly SnapshotCluster[],
  problems: string[],
): ReadonlySet<ClusterId> {
  const scratch = prefixScratch();
  const ids = new Set<ClusterId>();
  for (const { clusterId, prefixes, learned = [] } of clusters) {
    if (ids.has(clusterId)) problems.push(`cluster ${clusterId} is there twice`);
    ids.add(clusterId);
    for (const text of prefixes) {
      if (problems.length >= PROBLEMS_MAX) return ids;
      if (!readPrefix(text, scratch)) {
        problems.push(`cluster ${clusterId}: "${text}" is no prefix`);
      }
    }
    for (const [text] of learned) {
      if (problems.length >= PROBLEMS_MAX) return ids;
      if (!readPrefix(text, scratch)) {
        problems.push(`cluster ${clusterId}: "${text}", as its routers announce it, is no prefix`);
      }
    }
  }
  return ids;
}

/** Players tell pathways apart by name. */
function checkExternals(
  externals: readonly ExternalCdn[],
  isAppliance: (id: string) => boolean,
  problems: string[],
): void {
  const ids = new Set<string>();
  for (const { externalId } of externals) {
    if (ids.has(externalId)) problems.push(`external CDN ${externalId} is there twice`);
    if (externalId === ORIGIN_PATHWAY_ID || isAppliance(externalId)) {
      problems.push(`external CDN ${externalId} has the name of an appliance or of the origin`);
    }
    ids.add(externalId);
  }
}

function checkTitles(
  titles: readonly SnapshotTitle[],
  fileOf: Map<number, string>,
  problems: string[],
): void {
  const titleIds = new Set<TitleId>();
  for (const { titleId, files } of titles) {
    if (titleIds.has(titleId)) problems.push(`title ${titleId} is there twice`);
    titleIds.add(titleId);
    for (const { fileId, ordinal } of files) {
      const other = fileOf.get(ordinal);
      if (other !== undefined && other !== fileId) {
        problems.push(`ordinal ${ordinal} names two files, ${other} and ${fileId}`);
      }
      fileOf.set(ordinal, fileId);
    }
  }
}

function homeless(applianceId: ApplianceId, clusterId: ClusterId): string {
  return `appliance ${applianceId}: cluster ${clusterId} does not exist`;
}

function ownerless(applianceId: ApplianceId): string {
  return `holdings of ${applianceId}: no such appliance`;
}
