/**
 * A fleet snapshot made ready for decisions: everything by index, prefixes as a trie, holdings as sets. Immutable, swapped whole.
 *
 * Shape:      createFleet(snapshot, previous) -> fleet; checkSnapshot(snapshot) -> problems, none when it may be used
 * Invariants: (1) what did not change since `previous` is shared with it: a delta costs what changed, not the fleet
 *             (2) two fleets made of equal snapshots decide alike, whatever came before them
 */
import { parseAddress } from '#base/address.ts';
import type {
  ApplianceId,
  ClusterId,
  FleetSnapshot,
  SiteId,
  SnapshotAppliance,
  SnapshotCluster,
  SnapshotTitle,
} from '#control-plane/contract.ts';
import type { TitleId } from '#upstream/contract.ts';
import { NO_ORDINALS, ordinalSet, type OrdinalSet } from './holdings.ts';
import { buildPrefixTable, type PrefixEntry, type PrefixTable } from './place.ts';
import { prefixScratch, readPrefix } from './prefix-text.ts';

const PROBLEMS_MAX = 20;
const EARTH_RADIUS_KM = 6371;
const NEIGHBOUR_LISTS_MAX = 8192; // one per (home, country): 6,000 clusters with their own country
const NEIGHBOURS_KEPT = 128; // of each list; who needs more has the whole order made anew

export interface Epochs {
  readonly snapshot: number;
  readonly prefixes: number;
  readonly holdings: number;
}

export interface FleetAppliance {
  readonly index: number;
  readonly applianceId: ApplianceId;
  readonly cluster: number;
  readonly siteId: SiteId;
  readonly baseUrl: string;
  readonly entry: SnapshotAppliance;
  readonly holdings: OrdinalSet;
  readonly address: Uint8Array | null; // where baseUrl names an address; 4 or 16 bytes
  readonly hash: number; // of its id, 32 bits: what rendezvous mixes with the key
}

export interface FleetCluster {
  readonly index: number;
  readonly clusterId: ClusterId;
  readonly siteId: SiteId;
  readonly country: string;
  readonly point: Point | null;
  readonly members: readonly number[]; // appliance indexes
}

export interface FleetTitle {
  readonly title: SnapshotTitle;
  readonly ordinalOf: ReadonlyMap<string, number>; // by file id
  readonly expectedBps: number; // of one session
}

export interface Fleet {
  readonly snapshot: FleetSnapshot;
  readonly epochs: Epochs;
  readonly appliances: readonly FleetAppliance[];
  readonly indexOf: ReadonlyMap<ApplianceId, number>;
  readonly clusters: readonly FleetCluster[];
  readonly prefixes: PrefixTable;
  readonly titles: ReadonlyMap<TitleId, FleetTitle>;
  readonly neighbourhood: Neighbourhood;
}

/** Clusters by (site, country, distance) as seen from `home` (or from `country` where there is no home), nearest first. */
export interface Neighbourhood {
  nearest(home: number | null, country: string | null): Uint32Array;
  all(home: number | null, country: string | null): Uint32Array;
}

interface Point {
  readonly latitude: number;
  readonly longitude: number;
}

/** `prefixes`: the table of this very snapshot, where somebody has built it already. */
export function createFleet(
  snapshot: FleetSnapshot,
  previous: Fleet | null = null,
  prefixes: PrefixTable | null = null,
): Fleet {
  const sameClusters = previous !== null && previous.snapshot.clusters === snapshot.clusters;
  const clusterIndex = new Map(snapshot.clusters.map((entry, at) => [entry.clusterId, at]));
  const appliances = indexAppliances(snapshot, clusterIndex, previous);
  const clusters = indexClusters(snapshot.clusters, appliances);
  return {
    snapshot,
    epochs: {
      snapshot: snapshot.version,
      prefixes: snapshot.prefixesVersion,
      // Each box's version only grows, so their sum names one state of all of them.
      holdings: snapshot.holdings.reduce((sum, entry) => sum + entry.version, 0),
    },
    appliances,
    indexOf: new Map(appliances.map((appliance) => [appliance.applianceId, appliance.index])),
    clusters,
    prefixes:
      prefixes ??
      (sameClusters ? previous.prefixes : buildPrefixTable(prefixEntries(snapshot.clusters))),
    titles: indexTitles(snapshot, previous),
    neighbourhood: sameClusters ? previous.neighbourhood : neighbourhoodOf(clusters),
  };
}

/** What contradicts itself in a snapshot whose form is right: any of these refuses it whole. `held`: checked before. */
export function checkSnapshot(
  snapshot: FleetSnapshot,
  held: FleetSnapshot | null = null,
): readonly string[] {
  const problems: string[] = [];
  const scratch = prefixScratch();
  const clusterIds = new Set<ClusterId>();
  for (const cluster of snapshot.clusters) {
    if (clusterIds.has(cluster.clusterId))
      problems.push(`cluster ${cluster.clusterId} is there twice`);
    clusterIds.add(cluster.clusterId);
    if (held?.clusters === snapshot.clusters) continue; // looked at before
    const learned = (cluster.learned ?? []).map(([text]) => text);
    for (const text of [...cluster.prefixes, ...learned]) {
      if (problems.length >= PROBLEMS_MAX) return problems;
      if (!readPrefix(text, scratch)) {
        problems.push(`cluster ${cluster.clusterId}: "${text}" is no prefix`);
      }
    }
  }
  const applianceIds = new Set<ApplianceId>();
  for (const { applianceId, clusterId } of snapshot.appliances) {
    if (applianceIds.has(applianceId)) problems.push(`appliance ${applianceId} is there twice`);
    if (!clusterIds.has(clusterId)) {
      problems.push(`appliance ${applianceId}: cluster ${clusterId} does not exist`);
    }
    applianceIds.add(applianceId);
  }
  const heldBy = new Set<ApplianceId>();
  for (const { applianceId } of snapshot.holdings) {
    if (!applianceIds.has(applianceId))
      problems.push(`holdings of ${applianceId}: no such appliance`);
    if (heldBy.has(applianceId)) problems.push(`holdings of ${applianceId} are there twice`);
    heldBy.add(applianceId);
  }
  const titleIds = new Set<TitleId>();
  const fileOf = new Map<number, string>();
  for (const { titleId, files } of snapshot.titles) {
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
  return problems.slice(0, PROBLEMS_MAX);
}

/** FNV-1a, 32 bits, with a final mix: ids are short and alike. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return mix32(hash);
}

/** A bijection of 32 bits that spreads every input bit (murmur3's finaliser). */
export function mix32(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function indexAppliances(
  snapshot: FleetSnapshot,
  clusterIndex: ReadonlyMap<ClusterId, number>,
  previous: Fleet | null,
): readonly FleetAppliance[] {
  const holdingsOf = new Map(snapshot.holdings.map((entry) => [entry.applianceId, entry]));
  const before = new Map(previous?.snapshot.holdings.map((entry) => [entry.applianceId, entry]));
  return snapshot.appliances.map((entry, index) => {
    const { applianceId, siteId, baseUrl } = entry;
    const old = previous?.appliances[previous.indexOf.get(applianceId) ?? -1];
    const wanted = holdingsOf.get(applianceId);
    const isSame = old !== undefined && wanted === before.get(applianceId);
    return {
      index,
      applianceId,
      cluster: clusterIndex.get(entry.clusterId) ?? 0,
      siteId,
      baseUrl,
      entry,
      holdings: isSame
        ? old.holdings
        : wanted === undefined
          ? NO_ORDINALS
          : ordinalSet(wanted.ordinals),
      address: old?.baseUrl === baseUrl ? old.address : addressOf(baseUrl),
      hash: hashText(applianceId),
    };
  });
}

/** The address that a base URL names, null where it names a host. */
export function addressOf(baseUrl: string): Uint8Array | null {
  const host = URL.parse(baseUrl)?.hostname ?? '';
  return parseAddress(host.startsWith('[') ? host.slice(1, -1) : host);
}

function indexClusters(
  entries: readonly SnapshotCluster[],
  appliances: readonly FleetAppliance[],
): readonly FleetCluster[] {
  const members: number[][] = entries.map(() => []);
  for (const appliance of appliances) members[appliance.cluster].push(appliance.index);
  return entries.map(({ clusterId, siteId, country, latitude, longitude }, index) => ({
    index,
    clusterId,
    siteId,
    country,
    point: latitude === undefined || longitude === undefined ? null : { latitude, longitude },
    members: members[index],
  }));
}

/** One scratch entry for all: a table of a million prefixes is read without a million objects. */
function* prefixEntries(clusters: readonly SnapshotCluster[]): Iterable<PrefixEntry> {
  const prefix = prefixScratch();
  const entry = { prefix, cluster: 0, rank: 0 };
  for (let cluster = 0; cluster < clusters.length; cluster++) {
    entry.cluster = cluster;
    entry.rank = 0;
    for (const text of clusters[cluster].prefixes) if (readPrefix(text, prefix)) yield entry;
    for (const [text, rank] of clusters[cluster].learned ?? []) {
      entry.rank = rank;
      if (readPrefix(text, prefix)) yield entry;
    }
  }
}

function indexTitles(
  snapshot: FleetSnapshot,
  previous: Fleet | null,
): ReadonlyMap<TitleId, FleetTitle> {
  if (previous !== null && previous.snapshot.titles === snapshot.titles) return previous.titles;
  const titles = new Map<TitleId, FleetTitle>();
  for (const title of snapshot.titles) {
    const old = previous?.titles.get(title.titleId);
    titles.set(title.titleId, old?.title === title ? old : indexTitle(title));
  }
  return titles;
}

const SESSION_BPS_UNKNOWN = 5_000_000; // a title without a duration
const SESSION_BPS_MIN = 200_000;
const SESSION_BPS_MAX = 25_000_000;

function indexTitle(title: SnapshotTitle): FleetTitle {
  const largest = title.files.reduce((most, file) => Math.max(most, file.sizeBytes), 0);
  const bps =
    title.durationSeconds > 0 ? (largest * 8) / title.durationSeconds : SESSION_BPS_UNKNOWN;
  return {
    title,
    ordinalOf: new Map(title.files.map(({ fileId, ordinal }) => [fileId, ordinal])),
    expectedBps: Math.min(SESSION_BPS_MAX, Math.max(SESSION_BPS_MIN, bps)),
  };
}

/** Who the members of a cluster are plays no part, so that the lists outlive every delta that leaves the clusters alone. */
function neighbourhoodOf(clusters: readonly FleetCluster[]): Neighbourhood {
  const lists = new Map<string, Uint32Array>();
  return {
    nearest(home, country) {
      const key = `${home ?? ''}|${country ?? ''}`;
      const known = lists.get(key);
      if (known !== undefined) return known;
      const list = orderNeighbours(clusters, home, country).slice(0, NEIGHBOURS_KEPT);
      if (lists.size >= NEIGHBOUR_LISTS_MAX) lists.clear();
      lists.set(key, list);
      return list;
    },
    all: (home, country) => orderNeighbours(clusters, home, country),
  };
}

/** Same site, then same country, then the rest; inside each by distance, then by id so that the order is one. */
function orderNeighbours(
  clusters: readonly FleetCluster[],
  home: number | null,
  country: string | null,
): Uint32Array {
  const from = home === null ? null : clusters[home];
  const point = from?.point ?? centreOf(clusters, country);
  const ranked = clusters.map((cluster) => ({
    index: cluster.index,
    id: cluster.clusterId,
    group: from?.siteId === cluster.siteId ? 0 : cluster.country === country ? 1 : 2,
    km: point === null || cluster.point === null ? Infinity : distanceKm(point, cluster.point),
  }));
  ranked.sort((a, b) => a.group - b.group || compareNumbers(a.km, b.km) || (a.id < b.id ? -1 : 1));
  return Uint32Array.from(ranked, ({ index }) => index);
}

function compareNumbers(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1; // Infinity - Infinity is no order
}

function centreOf(clusters: readonly FleetCluster[], country: string | null): Point | null {
  const points = clusters.flatMap((cluster) =>
    cluster.country === country && cluster.point !== null ? [cluster.point] : [],
  );
  if (points.length === 0) return null;
  const sum = points.reduce((total, { latitude, longitude }) => ({
    latitude: total.latitude + latitude,
    longitude: total.longitude + longitude,
  }));
  return {
    latitude: sum.latitude / points.length,
    longitude: sum.longitude / points.length,
  };
}

/** Great-circle distance. */
export function distanceKm(a: Point, b: Point): number {
  const radians = Math.PI / 180;
  const dLatitude = (b.latitude - a.latitude) * radians;
  const dLongitude = (b.longitude - a.longitude) * radians;
  const chord =
    Math.sin(dLatitude / 2) ** 2 +
    Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * Math.sin(dLongitude / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}
