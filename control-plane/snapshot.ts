/**
 * What steering is told: the whole fleet as one value, and the difference between two of them.
 *
 * Shape:      difference(base, next) -> delta | null where nothing changed
 * Invariants: (1) applyDelta(base, difference(base, next)) equals next, but for the order of its lists
 *             (2) entries that are the same object are not looked into: an unchanged box costs one comparison
 * Where the epochs differ there is no delta: the caller sends the full one.
 */
import type {
  ExternalCdn,
  FleetDelta,
  FleetSnapshot,
  PathQualityEntry,
  SnapshotAppliance,
  SnapshotCluster,
  SnapshotTitle,
  SteeringNode,
} from './contract.ts';

export type SnapshotHoldings = FleetSnapshot['holdings'][number];

/** The parts of a snapshot, before it has a version. Lists keep their objects while nothing in them changes. */
export interface FleetParts {
  readonly epoch: number;
  readonly prefixesVersion: number;
  readonly clusters: readonly SnapshotCluster[];
  readonly appliances: readonly SnapshotAppliance[];
  readonly holdings: readonly SnapshotHoldings[];
  readonly titles: readonly SnapshotTitle[];
  readonly originBaseUrl: string;
  /** The same object until it is folded anew; absent: nothing was measured. */
  readonly paths?: readonly PathQualityEntry[];
  /** The same object until one changes. */
  readonly externals?: readonly ExternalCdn[];
  /** The same object until one comes, goes or says something new; absent: not known yet. */
  readonly steeringNodes?: readonly SteeringNode[];
}

export function snapshotOf(parts: FleetParts, version: number, issuedAtMs: number): FleetSnapshot {
  return {
    kind: 'full',
    version,
    epoch: parts.epoch,
    issuedAtMs,
    prefixesVersion: parts.prefixesVersion,
    clusters: [...parts.clusters],
    appliances: [...parts.appliances],
    holdings: [...parts.holdings],
    titles: [...parts.titles],
    origin: { pathwayId: 'origin', baseUrl: parts.originBaseUrl },
    // Not copied: the difference of two snapshots is seen by the object.
    ...(parts.paths === undefined ? {} : { paths: parts.paths as PathQualityEntry[] }),
    ...(parts.externals === undefined ? {} : { externals: parts.externals as ExternalCdn[] }),
    ...(parts.steeringNodes === undefined
      ? {}
      : { steeringNodes: parts.steeringNodes as SteeringNode[] }),
  };
}

export function difference(base: FleetSnapshot, next: FleetSnapshot): FleetDelta | null {
  const appliances = changedBy(base.appliances, next.appliances, (entry) => entry.applianceId);
  const titles = changedBy(base.titles, next.titles, (entry) => entry.titleId);
  const holdings = holdingsChanges(base.holdings, next.holdings);
  const clustersChanged =
    base.prefixesVersion !== next.prefixesVersion || !same(base.clusters, next.clusters);
  const pathsChanged = next.paths !== undefined && base.paths !== next.paths;
  const externalsChanged = next.externals !== undefined && base.externals !== next.externals;
  const nodesChanged =
    next.steeringNodes !== undefined && base.steeringNodes !== next.steeringNodes;
  const nothing =
    !clustersChanged &&
    !pathsChanged &&
    !externalsChanged &&
    !nodesChanged &&
    appliances.changed.length + appliances.removed.length === 0 &&
    titles.changed.length + titles.removed.length === 0 &&
    holdings.length === 0;
  if (nothing) return null;
  return {
    kind: 'delta',
    version: next.version,
    baseVersion: base.version,
    epoch: next.epoch,
    issuedAtMs: next.issuedAtMs,
    prefixesVersion: next.prefixesVersion,
    ...(clustersChanged ? { clusters: next.clusters } : {}),
    appliances: appliances.changed,
    appliancesRemoved: appliances.removed,
    holdings,
    titles: titles.changed,
    titlesRemoved: titles.removed,
    ...(pathsChanged ? { paths: next.paths } : {}),
    ...(externalsChanged ? { externals: next.externals } : {}),
    ...(nodesChanged ? { steeringNodes: next.steeringNodes } : {}),
  };
}

function changedBy<T>(
  base: readonly T[],
  next: readonly T[],
  keyOf: (entry: T) => string,
): { changed: T[]; removed: string[] } {
  const before = new Map(base.map((entry) => [keyOf(entry), entry]));
  const changed: T[] = [];
  for (const entry of next) {
    const key = keyOf(entry);
    const old = before.get(key);
    before.delete(key);
    if (old === undefined || !same(old, entry)) changed.push(entry);
  }
  return { changed, removed: [...before.keys()] };
}

function holdingsChanges(
  base: readonly SnapshotHoldings[],
  next: readonly SnapshotHoldings[],
): FleetDelta['holdings'] {
  const before = new Map(base.map((entry) => [entry.applianceId, entry]));
  const changes: FleetDelta['holdings'] = [];
  for (const entry of next) {
    const old = before.get(entry.applianceId);
    if (old === entry) continue;
    const oldSet = new Set(old?.ordinals);
    const newSet = new Set(entry.ordinals);
    const added = entry.ordinals.filter((ordinal) => !oldSet.has(ordinal));
    const removed = [...oldSet].filter((ordinal) => !newSet.has(ordinal));
    const isNews =
      old === undefined || old.version !== entry.version || added.length + removed.length > 0;
    if (!isNews) continue;
    const { applianceId, version } = entry;
    changes.push({ applianceId, version, added, removed });
  }
  return changes;
}

/** Plain figures are compared first: each second every box has another load, and none needs to be written out to see it. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (isRecord(a) && isRecord(b)) {
    for (const key in b) {
      const value = b[key];
      if (typeof value !== 'object' && value !== a[key]) return false;
    }
  }
  return JSON.stringify(a) === JSON.stringify(b);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
