/**
 * A fleet snapshot made ready for decisions: everything by index, prefixes as a trie, holdings as sets. Immutable, swapped whole.
 *
 * Shape:      createFleet(snapshot, previous) -> fleet; advanceFleet(fleet, delta) -> fleet; snapshotOf(fleet) -> snapshot
 * Invariants: (1) what did not change is shared with the fleet before: a delta costs what changed, not the fleet
 *             (2) two fleets made of equal snapshots decide alike, whatever came before them
 *             (3) advanceFleet(fleet, delta) decides as createFleet(applyDelta(snapshotOf(fleet), delta)) would
 */
import { parseAddress } from '#base/address.ts';
import type {
  ApplianceId,
  ClusterId,
  FleetDelta,
  FleetSnapshot,
  LinkClass,
  SiteId,
  SnapshotAppliance,
  SnapshotCluster,
  SnapshotTitle,
} from '#control-plane/contract.ts';
import type { TitleId } from '#upstream/contract.ts';
import { hashText } from './hashing.ts';
import {
  countOf,
  holdingsOf,
  membersOf,
  NO_HOLDINGS,
  ordinalSet,
  rebased,
  withChanges,
  type Holdings,
  type OrdinalSet,
} from './holdings.ts';
import { neighbourhoodOf, type FleetCluster, type Neighbourhood } from './neighbourhood.ts';
import { buildPrefixTable, type PrefixEntry, type PrefixTable } from './place.ts';
import { prefixScratch, readPrefix } from './prefix-text.ts';

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
  readonly holdings: Holdings;
  readonly address: Uint8Array | null; // where baseUrl names an address; 4 or 16 bytes
  readonly hash: number; // of its id, 32 bits: what rendezvous mixes with the key
}

export interface FleetTitle {
  readonly title: SnapshotTitle;
  readonly files: readonly FleetFile[];
  readonly fileOf: ReadonlyMap<string, FleetFile>; // by file id
  readonly rules: readonly AvailabilityRule[];
  readonly expectedBps: number; // of one session
}

export interface FleetFile {
  readonly fileId: string;
  readonly ordinal: number;
  readonly hash: number; // of its id
}

/** One rule of a title's availability, read once. */
export interface AvailabilityRule {
  readonly isAnywhere: boolean;
  readonly countries: ReadonlySet<string>;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** What a snapshot says, without the lists that a fleet keeps in a better form. */
export type FleetBody = Omit<FleetSnapshot, 'kind' | 'appliances' | 'holdings' | 'titles'>;

export interface Fleet {
  readonly snapshot: FleetBody;
  readonly epochs: Epochs;
  readonly appliances: readonly FleetAppliance[];
  readonly indexOf: ReadonlyMap<ApplianceId, number>;
  readonly reportedBps: Float64Array; // by appliance index, as the boxes told
  readonly heardAtMs: Float64Array; // when they told it
  readonly clusters: readonly FleetCluster[];
  readonly clusterIndex: ReadonlyMap<ClusterId, number>;
  readonly prefixes: PrefixTable;
  readonly titles: ReadonlyMap<TitleId, FleetTitle>;
  readonly neighbourhood: Neighbourhood;
}

/** Ranks of routers are below this. */
const RANKS_PER_PREFERENCE = 2 ** 46;
const PREFERENCE: Readonly<Record<LinkClass, number>> = {
  embedded: 10,
  'private-peering': 20,
  'public-peering': 30,
};

/** `prefixes`: the table of this very snapshot, where somebody has built it already. */
export function createFleet(
  snapshot: FleetSnapshot,
  previous: Fleet | null = null,
  prefixes: PrefixTable | null = null,
): Fleet {
  const { kind: _, appliances: entries, holdings, titles, ...body } = snapshot;
  const heldBy = new Map(holdings.map((entry) => [entry.applianceId, entry]));
  return assemble(
    body,
    entries.map((entry) => {
      const held = heldBy.get(entry.applianceId);
      return {
        entry,
        holdings:
          held === undefined ? NO_HOLDINGS : holdingsOf(held.version, ordinalSet(held.ordinals)),
      };
    }),
    indexTitles(titles, previous),
    previous,
    prefixes,
  );
}

/** The delta must follow, and must have been checked. Costs what it says, and one copy of the list of boxes. */
export function advanceFleet(fleet: Fleet, delta: FleetDelta): Fleet {
  const body: FleetBody = {
    ...fleet.snapshot,
    version: delta.version,
    issuedAtMs: delta.issuedAtMs,
    prefixesVersion: delta.prefixesVersion,
    ...(delta.clusters === undefined ? {} : { clusters: delta.clusters }),
    ...(delta.externals === undefined ? {} : { externals: delta.externals }),
    ...(delta.paths === undefined ? {} : { paths: delta.paths }),
    ...(delta.steeringNodes === undefined ? {} : { steeringNodes: delta.steeringNodes }),
  };
  const titles = advanceTitles(fleet.titles, delta);
  const isSameShape =
    delta.clusters === undefined &&
    delta.appliancesRemoved.length === 0 &&
    delta.appliances.every(({ applianceId, clusterId }) => {
      const old = fleet.appliances[fleet.indexOf.get(applianceId) ?? -1];
      return old?.entry.clusterId === clusterId;
    });
  return isSameShape
    ? advanceInPlace(fleet, delta, body, titles)
    : reassemble(fleet, delta, body, titles);
}

/** The same fleet with one box's set packed anew: nothing that it decides changes. */
export function withPackedSet(
  fleet: Fleet,
  applianceId: ApplianceId,
  before: Holdings,
  base: OrdinalSet,
): Fleet {
  const index = fleet.indexOf.get(applianceId);
  if (index === undefined) return fleet;
  const old = fleet.appliances[index];
  if (old.holdings.base !== before.base) return fleet; // another box by that name, or packed meanwhile
  const appliances = fleet.appliances.slice();
  appliances[index] = { ...old, holdings: rebased(before, base, old.holdings) };
  return { ...fleet, appliances };
}

/** Files held by all boxes together that fit into one text: about 150 MB. Packed, 30 times as many are no burden. */
const HELD_IN_TEXT_MAX = 16_000_000;

/** Whether what the boxes hold is too much to be written out as text. */
export function holdsTooMuchForText({ appliances }: Fleet, most = HELD_IN_TEXT_MAX): boolean {
  let held = 0;
  for (const { holdings } of appliances) held += countOf(holdings);
  return held > most;
}

/** The whole fleet as a snapshot again, for the disk and the decision log; `bare`: without what the boxes hold. */
export function snapshotOf(fleet: Fleet, bare = false): FleetSnapshot {
  return {
    kind: 'full',
    ...fleet.snapshot,
    appliances: fleet.appliances.map(({ entry }) => entry),
    holdings: bare
      ? []
      : fleet.appliances.map(({ applianceId, holdings }) => ({
          applianceId,
          version: holdings.version,
          ordinals: [...membersOf(holdings)],
        })),
    titles: [...fleet.titles.values()].map(({ title }) => title),
  };
}

interface BoxParts {
  readonly entry: SnapshotAppliance;
  readonly holdings: Holdings;
}

function assemble(
  body: FleetBody,
  boxes: readonly BoxParts[],
  titles: ReadonlyMap<TitleId, FleetTitle>,
  previous: Fleet | null,
  prefixes: PrefixTable | null,
): Fleet {
  const isSame = previous !== null && sameClusters(previous.snapshot, body);
  const clusterIndex = isSame
    ? previous.clusterIndex
    : new Map(body.clusters.map((entry, at) => [entry.clusterId, at]));
  const appliances = boxes.map(({ entry, holdings }, index) =>
    applianceOf(entry, index, holdings, clusterIndex, previous),
  );
  const clusters = indexClusters(body.clusters, appliances);
  return {
    snapshot: body,
    epochs: {
      snapshot: body.version,
      prefixes: body.prefixesVersion,
      // Each box's version only grows, so their sum names one state of all of them.
      holdings: boxes.reduce((sum, { holdings }) => sum + holdings.version, 0),
    },
    appliances,
    indexOf: new Map(appliances.map((appliance) => [appliance.applianceId, appliance.index])),
    reportedBps: Float64Array.from(appliances, ({ entry }) => entry.egressBps),
    heardAtMs: Float64Array.from(appliances, ({ entry }) => entry.heartbeatAtMs),
    clusters,
    clusterIndex,
    prefixes:
      prefixes ?? (isSame ? previous.prefixes : buildPrefixTable(prefixEntries(body.clusters))),
    titles,
    neighbourhood: isSame ? previous.neighbourhood : neighbourhoodOf(clusters),
  };
}

/** Every connection begins with a full snapshot: a table of a million prefixes is not built anew for that. */
function sameClusters(a: FleetBody, b: FleetBody): boolean {
  if (a.clusters === b.clusters) return true;
  if (a.prefixesVersion !== b.prefixesVersion || a.clusters.length !== b.clusters.length) {
    return false;
  }
  return a.clusters.every((one, at) => {
    const other = b.clusters[at];
    return (
      one.clusterId === other.clusterId &&
      one.prefixes.length === other.prefixes.length &&
      JSON.stringify(one) === JSON.stringify(other)
    );
  });
}

/** No box came, left or moved: lists keep their order, and everything but the changed boxes is shared. */
function advanceInPlace(
  fleet: Fleet,
  delta: FleetDelta,
  body: FleetBody,
  titles: Fleet['titles'],
): Fleet {
  const appliances = fleet.appliances.slice();
  const reportedBps = fleet.reportedBps.slice();
  const heardAtMs = fleet.heardAtMs.slice();
  let holdingsEpoch = fleet.epochs.holdings;
  for (const entry of delta.appliances) {
    const index = fleet.indexOf.get(entry.applianceId) ?? -1;
    const { holdings } = fleet.appliances[index];
    appliances[index] = applianceOf(entry, index, holdings, fleet.clusterIndex, fleet);
    reportedBps[index] = entry.egressBps;
    heardAtMs[index] = entry.heartbeatAtMs;
  }
  for (const { applianceId, version, added, removed } of delta.holdings) {
    const index = fleet.indexOf.get(applianceId) ?? -1;
    const old = appliances[index];
    appliances[index] = { ...old, holdings: withChanges(old.holdings, version, added, removed) };
    holdingsEpoch += version - old.holdings.version;
  }
  return {
    ...fleet,
    snapshot: body,
    epochs: {
      snapshot: body.version,
      prefixes: body.prefixesVersion,
      holdings: holdingsEpoch,
    },
    appliances,
    reportedBps,
    heardAtMs,
    titles,
  };
}

function reassemble(
  fleet: Fleet,
  delta: FleetDelta,
  body: FleetBody,
  titles: Fleet['titles'],
): Fleet {
  const boxes = new Map<ApplianceId, BoxParts>();
  for (const { applianceId, entry, holdings } of fleet.appliances) {
    boxes.set(applianceId, { entry, holdings });
  }
  for (const entry of delta.appliances) {
    const holdings = boxes.get(entry.applianceId)?.holdings ?? NO_HOLDINGS;
    boxes.set(entry.applianceId, { entry, holdings });
  }
  for (const { applianceId, version, added, removed } of delta.holdings) {
    const old = boxes.get(applianceId);
    if (old === undefined) continue;
    const holdings = withChanges(old.holdings, version, added, removed);
    boxes.set(applianceId, { entry: old.entry, holdings });
  }
  for (const id of delta.appliancesRemoved) boxes.delete(id);
  return assemble(body, [...boxes.values()], titles, fleet, null);
}

function applianceOf(
  entry: SnapshotAppliance,
  index: number,
  holdings: Holdings,
  clusterIndex: ReadonlyMap<ClusterId, number>,
  previous: Fleet | null,
): FleetAppliance {
  const { applianceId, siteId, baseUrl } = entry;
  const old = previous?.appliances[previous.indexOf.get(applianceId) ?? -1];
  return {
    index,
    applianceId,
    cluster: clusterIndex.get(entry.clusterId) ?? 0,
    siteId,
    baseUrl,
    entry,
    holdings,
    address: old?.baseUrl === baseUrl ? old.address : addressOf(baseUrl),
    hash: old?.hash ?? hashText(applianceId),
  };
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
  return entries.map((entry, index) => {
    const { clusterId, siteId, country, latitude, longitude } = entry;
    const linkClass = entry.linkClass ?? 'embedded';
    return {
      index,
      clusterId,
      siteId,
      country,
      point: latitude === undefined || longitude === undefined ? null : { latitude, longitude },
      linkClass,
      preference: preferenceOf(entry),
      members: members[index],
    };
  });
}

function preferenceOf({ preference, linkClass }: SnapshotCluster): number {
  return preference ?? PREFERENCE[linkClass ?? 'embedded'];
}

/** One scratch entry for all: a table of a million prefixes is read without a million objects. */
function* prefixEntries(clusters: readonly SnapshotCluster[]): Iterable<PrefixEntry> {
  const prefix = prefixScratch();
  const entry = { prefix, cluster: 0, rank: 0 };
  for (let cluster = 0; cluster < clusters.length; cluster++) {
    // How a cluster is reached comes before what its routers say: a longer path inside a network beats a short one outside.
    const least = preferenceOf(clusters[cluster]) * RANKS_PER_PREFERENCE;
    entry.cluster = cluster;
    entry.rank = least;
    for (const text of clusters[cluster].prefixes) if (readPrefix(text, prefix)) yield entry;
    for (const [text, rank] of clusters[cluster].learned ?? []) {
      entry.rank = least + Math.min(rank, RANKS_PER_PREFERENCE - 1);
      if (readPrefix(text, prefix)) yield entry;
    }
  }
}

function indexTitles(
  titles: readonly SnapshotTitle[],
  previous: Fleet | null,
): ReadonlyMap<TitleId, FleetTitle> {
  return new Map(
    titles.map((title) => {
      const old = previous?.titles.get(title.titleId);
      return [title.titleId, old?.title === title ? old : indexTitle(title)];
    }),
  );
}

function advanceTitles(titles: Fleet['titles'], delta: FleetDelta): Fleet['titles'] {
  if (delta.titles.length + delta.titlesRemoved.length === 0) return titles;
  const next = new Map(titles);
  for (const title of delta.titles) next.set(title.titleId, indexTitle(title));
  for (const titleId of delta.titlesRemoved) next.delete(titleId);
  return next;
}

const SESSION_BPS_UNKNOWN = 5_000_000; // a title without a duration
const SESSION_BPS_MIN = 200_000;
const SESSION_BPS_MAX = 25_000_000;

function indexTitle(title: SnapshotTitle): FleetTitle {
  const largest = title.files.reduce((most, file) => Math.max(most, file.sizeBytes), 0);
  const bps =
    title.durationSeconds > 0 ? (largest * 8) / title.durationSeconds : SESSION_BPS_UNKNOWN;
  const files = title.files.map(({ fileId, ordinal }) => {
    return { fileId, ordinal, hash: hashText(fileId) };
  });
  return {
    title,
    files,
    fileOf: new Map(files.map((file) => [file.fileId, file])),
    rules: title.availability.map(({ countries, from, until }) => ({
      isAnywhere: countries.includes('*'),
      countries: new Set(countries),
      fromMs: from === undefined ? -Infinity : Date.parse(from),
      untilMs: until === undefined ? Infinity : Date.parse(until),
    })),
    expectedBps: Math.min(SESSION_BPS_MAX, Math.max(SESSION_BPS_MIN, bps)),
  };
}
