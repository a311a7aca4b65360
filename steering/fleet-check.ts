/**
 * What contradicts itself in a message whose form is right: any of these refuses it whole.
 *
 * Shape:      checkSnapshot(snapshot) -> problems; checkDelta(fleet, delta) -> problems; none when it may be used
 * Invariants: (1) a delta that passes, on a fleet that passed, makes a snapshot that would pass; it costs what the delta says
 */
import type {
  ApplianceId,
  ClusterId,
  FleetDelta,
  FleetSnapshot,
  SnapshotCluster,
  SnapshotTitle,
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
