/**
 * The fleet in memory: sites, boxes, what was last heard from each. Only changes of standing and holdings reach the disk.
 *
 * One owner of this state; whoever asks gets values. Every method is synchronous and takes its time as an argument.
 *
 * Invariants: (1) a box's standing changes by `step` alone
 *             (2) entries of `parts()` keep their identity while nothing in them changed, so that a difference is cheap
 *             (3) load figures are copied into `parts()` by `freezeLoads` only: the snapshot moves once a second for them
 */
import type { Heartbeat } from '#appliance/contract.ts';
import type { JWK } from '#base/jws.ts';
import type { Catalogue, CatalogueTitle } from './catalogue.ts';
import type {
  ApplianceId,
  ApplianceStanding,
  ClusterId,
  FillSource,
  Site,
  SiteId,
  SnapshotAppliance,
  SnapshotCluster,
  SnapshotTitle,
} from './contract.ts';
import { enrolledHealth, restoredHealth, step, type HealthEvent } from './health-machine.ts';
import type { HealthState } from './health-machine.ts';
import { BoxHoldings } from './holdings.ts';
import type { Learned } from './routes/route-book.ts';
import type { FleetParts, SnapshotHoldings } from './snapshot.ts';
import { neighboursOf, type SourceBox, type SourceCandidate } from './sources.ts';
import { stepWeights, type WeightState } from './weight-loop.ts';

/** An appliance as it enrolled. */
export interface BoxRecord {
  readonly applianceId: ApplianceId;
  readonly siteId: SiteId;
  readonly clusterId: ClusterId;
  readonly publicJwk: JWK;
  readonly thumbprint: string;
  readonly baseUrl: string;
  readonly applianceClass: 'flash' | 'storage';
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly enrolledAtMs: number;
}

export interface Box {
  readonly record: BoxRecord;
  readonly health: HealthState;
  readonly heartbeat: Heartbeat | null;
  readonly heartbeatAtMs: number | null; // monotonic
  readonly heartbeatWallMs: number;
  readonly holdings: BoxHoldings;
}

export interface StandingChange {
  readonly applianceId: ApplianceId;
  readonly from: ApplianceStanding;
  readonly to: ApplianceStanding;
  readonly reasons: readonly string[];
  readonly sinceMs: number;
}

export interface SiteRecord {
  readonly site: Site;
  readonly configuration: number; // grows with each change of the site
}

interface MutableBox {
  record: BoxRecord;
  health: HealthState;
  heartbeat: Heartbeat | null;
  heartbeatAtMs: number | null;
  heartbeatWallMs: number;
  readonly holdings: BoxHoldings;
  fillMovedAtMs: number; // monotonic: when its fill last got on
  frozen: { servingBps: number; egressBps: number; heartbeatAtMs: number };
  published: SnapshotAppliance | null;
  publishedHoldings: { serial: number; entry: SnapshotHoldings } | null;
}

export class Fleet {
  readonly #catalogue: Catalogue;
  readonly #sites = new Map<SiteId, SiteRecord>();
  readonly #boxes = new Map<ApplianceId, MutableBox>();
  readonly #snapshotTitles = new WeakMap<CatalogueTitle, SnapshotTitle>();
  #clusters: FleetParts['clusters'] = [];
  #learned: Learned = new Map();
  #prefixesVersion = 0;
  #sourcesVersion = 1;
  #weightState: WeightState = new Map();
  readonly #neighbours = new Map<
    SiteId,
    { readonly version: number; readonly sources: readonly FillSource[] }
  >();

  constructor(catalogue: Catalogue) {
    this.#catalogue = catalogue;
  }

  // -------------------------------------------------------------- sites

  putSite(record: SiteRecord, prefixesVersion: number): void {
    this.#sites.set(record.site.siteId, record);
    this.#prefixesVersion = prefixesVersion;
    this.#makeClusters();
  }

  /** What routers announce, as far as the policy lets it steer. */
  putLearned(learned: Learned, prefixesVersion: number): void {
    this.#learned = learned;
    this.#prefixesVersion = prefixesVersion;
    this.#makeClusters();
  }

  #makeClusters(): void {
    this.#clusters = [...this.#sites.values()].flatMap(({ site }) =>
      snapshotClusters(site, this.#learned),
    );
  }

  site(siteId: SiteId): SiteRecord | undefined {
    return this.#sites.get(siteId);
  }

  sites(): readonly SiteRecord[] {
    return [...this.#sites.values()];
  }

  // -------------------------------------------------------------- boxes

  enrol(record: BoxRecord, nowMs: number, wallMs: number): void {
    const present = this.#boxes.get(record.applianceId);
    if (present !== undefined) {
      present.record = record;
      present.published = null;
      return;
    }
    this.#put(record, enrolledHealth(nowMs, wallMs));
  }

  restore(
    record: BoxRecord,
    kept: { standing: ApplianceStanding; reasons: readonly string[]; sinceMs: number },
    nowMs: number,
  ): Box {
    return this.#put(record, restoredHealth(kept, nowMs));
  }

  /** From here on boxes can connect: the grace of those that were restored starts now, however long the start took. */
  listening(nowMs: number): void {
    for (const box of this.#boxes.values()) {
      if (!box.health.connected) box.health = { ...box.health, heardAtMs: nowMs };
    }
  }

  remove(applianceId: ApplianceId): void {
    if (this.#boxes.delete(applianceId)) this.#sourcesVersion++;
  }

  box(applianceId: ApplianceId): Box | undefined {
    return this.#boxes.get(applianceId);
  }

  boxes(): readonly Box[] {
    return [...this.#boxes.values()];
  }

  /** What happened to a box's connection. The change of standing, if it changed. */
  hear(
    applianceId: ApplianceId,
    event: HealthEvent,
    nowMs: number,
    wallMs: number,
  ): StandingChange | null {
    const box = this.#boxes.get(applianceId);
    if (box === undefined) return null;
    const from = box.health;
    box.health = step(from, event, nowMs, wallMs);
    return this.#changeOf(applianceId, from, box.health);
  }

  heartbeat(
    applianceId: ApplianceId,
    heartbeat: Heartbeat,
    nowMs: number,
    wallMs: number,
  ): StandingChange | null {
    const box = this.#boxes.get(applianceId);
    if (box === undefined) return null;
    const isFirst = box.heartbeat === null;
    if (isFillMoving(box.heartbeat, heartbeat)) box.fillMovedAtMs = nowMs;
    box.heartbeat = heartbeat;
    box.heartbeatAtMs = nowMs;
    box.heartbeatWallMs = wallMs;
    if (isFirst) freeze(box); // a box that enters steering does so with its figures
    return this.hear(applianceId, { name: 'heartbeat', heartbeat }, nowMs, wallMs);
  }

  /** Silence is noticed here: call it several times a second. */
  tick(nowMs: number, wallMs: number): readonly StandingChange[] {
    const changes: StandingChange[] = [];
    for (const applianceId of this.#boxes.keys()) {
      const change = this.hear(applianceId, { name: 'tick' }, nowMs, wallMs);
      if (change !== null) changes.push(change);
    }
    return changes;
  }

  /** Files that were held before their title was known. */
  adopt(files: readonly string[]): void {
    for (const box of this.#boxes.values()) box.holdings.adopt(files);
  }

  get sourcesVersion(): number {
    return this.#sourcesVersion;
  }

  // -------------------------------------------------------------- what others are told

  /** Boxes that may give a file to others: serving, connected, and hold it whole. */
  *holdersOf(ordinal: number): Generator<SourceBox> {
    for (const { record, health, holdings } of this.#boxes.values()) {
      if (health.standing !== 'serving' || !health.connected || !holdings.ordinals.has(ordinal)) {
        continue;
      }
      yield this.sourceBox(record);
    }
  }

  /** Living boxes that hold a file, or are to: `isToFetch` says so of one that does not hold it. */
  *candidatesFor(
    ordinal: number,
    isToFetch: (record: BoxRecord) => boolean,
    nowMs: number,
  ): Generator<SourceCandidate> {
    for (const { record, health, heartbeat, holdings, fillMovedAtMs } of this.#boxes.values()) {
      if (health.standing !== 'serving' || !health.connected) continue;
      const { applianceId, siteId } = record;
      if (holdings.ordinals.has(ordinal)) yield { applianceId, siteId };
      else if (mayFill(heartbeat) && isToFetch(record)) {
        yield { applianceId, siteId, isMoving: nowMs - fillMovedAtMs < FILL_STILL_MS };
      }
    }
  }

  /** Made anew for a site when the standing of some box changed: it is asked for with every question about sources. */
  neighboursOf(siteId: SiteId): readonly FillSource[] {
    const known = this.#neighbours.get(siteId);
    if (known?.version === this.#sourcesVersion) return known.sources;
    const boxes = [...this.#boxes.values()].map(({ record }) => this.sourceBox(record));
    const sources = neighboursOf(siteId, boxes);
    this.#neighbours.set(siteId, { version: this.#sourcesVersion, sources });
    return sources;
  }

  sourceBox(record: BoxRecord): SourceBox {
    const { applianceId, siteId, clusterId, baseUrl } = record;
    const country = this.#sites.get(siteId)?.site.country ?? '';
    return { applianceId, siteId, clusterId, baseUrl, country };
  }

  freezeLoads(): void {
    for (const box of this.#boxes.values()) freeze(box);
  }

  /** Shares of sessions for the next `parts`; true where one changed. `periodMs`: since the last time. */
  stepWeights(periodMs: number): boolean {
    const boxes = [...this.#boxes.values()].map(({ record, health, frozen }) => ({
      applianceId: record.applianceId,
      region: this.#sites.get(record.siteId)?.site.country ?? '',
      servingBps: frozen.servingBps,
      egressBps: frozen.egressBps,
      isHeard: health.standing === 'serving' && health.connected,
    }));
    const before = this.#weightState;
    this.#weightState = stepWeights(before, boxes, periodMs);
    return boxes.some(
      ({ applianceId }) =>
        (before.get(applianceId)?.admit ?? 1) !== this.#weightState.get(applianceId)?.admit,
    );
  }

  parts(originBaseUrl: string): FleetParts {
    const weightOf = this.#weights();
    const appliances: SnapshotAppliance[] = [];
    const holdings: SnapshotHoldings[] = [];
    for (const box of this.#boxes.values()) {
      const admit = this.#weightState.get(box.record.applianceId)?.admit ?? 1;
      appliances.push(publishedEntry(box, weightOf(box), admit));
      holdings.push(publishedHoldings(box));
    }
    return {
      epoch: this.#catalogue.epoch,
      prefixesVersion: this.#prefixesVersion,
      clusters: this.#clusters,
      appliances,
      holdings,
      titles: [...this.#catalogue.titles()].map((title) => this.#snapshotTitle(title)),
      originBaseUrl,
    };
  }

  /** A box's share of its cluster's serving capacity. */
  #weights(): (box: MutableBox) => number {
    const total = new Map<ClusterId, number>();
    for (const { record, frozen } of this.#boxes.values()) {
      total.set(record.clusterId, (total.get(record.clusterId) ?? 0) + frozen.servingBps);
    }
    return ({ record, frozen }) => {
      const sum = total.get(record.clusterId) ?? 0;
      return sum === 0 ? 1 : frozen.servingBps / sum;
    };
  }

  #snapshotTitle(title: CatalogueTitle): SnapshotTitle {
    let entry = this.#snapshotTitles.get(title);
    if (entry === undefined) {
      const { titleId, availability, durationSeconds, files } = title.listing;
      entry = {
        titleId,
        availability,
        durationSeconds,
        files: files.map(({ fileId, sizeBytes }) => ({
          fileId,
          sizeBytes,
          ordinal: this.#catalogue.ordinalOf(fileId) ?? 0,
        })),
      };
      this.#snapshotTitles.set(title, entry);
    }
    return entry;
  }

  #put(record: BoxRecord, health: HealthState): MutableBox {
    const box: MutableBox = {
      record,
      health,
      heartbeat: null,
      heartbeatAtMs: null,
      heartbeatWallMs: 0,
      holdings: new BoxHoldings(this.#catalogue),
      fillMovedAtMs: -Infinity,
      frozen: { servingBps: record.servingBps, egressBps: 0, heartbeatAtMs: 0 },
      published: null,
      publishedHoldings: null,
    };
    this.#boxes.set(record.applianceId, box);
    return box;
  }

  #changeOf(applianceId: ApplianceId, from: HealthState, to: HealthState): StandingChange | null {
    if (from.standing === to.standing) return null;
    this.#sourcesVersion++;
    return {
      applianceId,
      from: from.standing,
      to: to.standing,
      reasons: to.reasons,
      sinceMs: to.sinceMs,
    };
  }
}

function snapshotClusters(site: Site, learned: Learned): FleetParts['clusters'] {
  const { siteId, country, latitude, longitude } = site;
  return site.clusters.map(({ clusterId, prefixes, linkClass, preference }) => ({
    clusterId,
    siteId,
    country,
    ...(linkClass === undefined ? {} : { linkClass }),
    ...(preference === undefined ? {} : { preference }),
    ...(latitude === undefined ? {} : { latitude }),
    ...(longitude === undefined ? {} : { longitude }),
    prefixes,
    ...learnedBy(learned, clusterId),
  }));
}

function learnedBy(learned: Learned, clusterId: ClusterId): Pick<SnapshotCluster, 'learned'> {
  const routes = learned.get(clusterId);
  return routes === undefined ? {} : { learned: routes.map(([prefix, rank]) => [prefix, rank]) };
}

/** A fill that has not got on for so long is not waited for with patience. */
export const FILL_STILL_MS = 15_000;

/** What a heartbeat says of the fill, as far as waiting for the box goes. */
export interface FillBeat {
  readonly bootId: string;
  readonly fill: Pick<Heartbeat['fill'], 'manifestVersion' | 'waitingFor'>;
  readonly counters: Pick<Heartbeat['counters'], 'fillBytes'>;
}

/** Whether a box's fill got on since the last heartbeat: bytes came, or a new manifest, or it rightly waits for others. */
export function isFillMoving(before: FillBeat | null, now: FillBeat): boolean {
  return (
    before === null ||
    before.bootId !== now.bootId ||
    before.fill.manifestVersion !== now.fill.manifestVersion ||
    now.fill.waitingFor === 'turn' ||
    fillBytesOf(now) > fillBytesOf(before)
  );
}

function fillBytesOf({ counters: { fillBytes } }: FillBeat): number {
  return fillBytes.peer + fillBytes.tier + fillBytes.origin;
}

/**
 * A box that its operator, its own load or its disk holds back fetches nothing for others to have. One that has not heard yet
 * that its window opened, or of its manifest, is about to: its last heartbeat is older than what is known here.
 */
export function mayFill(heartbeat: FillBeat | null): boolean {
  switch (heartbeat?.fill.waitingFor ?? null) {
    case 'pause':
    case 'budget':
    case 'load':
    case 'space':
      return false;
    default:
      return true;
  }
}

function freeze(box: MutableBox): void {
  const load = box.heartbeat?.load;
  box.frozen = {
    servingBps: load === undefined ? box.record.servingBps : load.servingBps,
    egressBps: load?.egressBps ?? 0,
    heartbeatAtMs: box.heartbeatWallMs,
  };
}

const NO_REASONS: string[] = []; // never written to: one for all healthy boxes
const REASONS_MAX = 16;
const REASON_LENGTH_MAX = 200;

function publishedEntry(box: MutableBox, weight: number, admit: number): SnapshotAppliance {
  const { record, health, frozen, published } = box;
  const reasons = publishedReasons(health.reasons);
  // Asked for all boxes several times a second, and hardly ever is one another than before.
  if (
    published !== null &&
    published.standing === health.standing &&
    published.since === health.sinceMs &&
    published.weight === weight &&
    (published.admit ?? 1) === admit &&
    published.heartbeatAtMs === frozen.heartbeatAtMs &&
    published.egressBps === frozen.egressBps &&
    published.servingBps === frozen.servingBps &&
    published.reasons.length === reasons.length &&
    published.reasons.every((why, at) => why === reasons[at])
  ) {
    return published; // the record is the same: a box that enrols anew has nothing published
  }
  box.published = {
    applianceId: record.applianceId,
    siteId: record.siteId,
    clusterId: record.clusterId,
    baseUrl: record.baseUrl,
    standing: health.standing,
    reasons,
    since: health.sinceMs,
    weight,
    ...(admit === 1 ? {} : { admit }),
    ...frozen,
  };
  return box.published;
}

function publishedReasons(reasons: readonly string[]): string[] {
  if (reasons.length === 0) return NO_REASONS;
  return reasons.slice(0, REASONS_MAX).map((why) => why.slice(0, REASON_LENGTH_MAX));
}

function publishedHoldings(box: MutableBox): SnapshotHoldings {
  const { holdings, record } = box;
  if (box.publishedHoldings?.serial !== holdings.serial) {
    const { applianceId } = record;
    box.publishedHoldings = {
      serial: holdings.serial,
      entry: { applianceId, version: holdings.version, ordinals: [...holdings.ordinals] },
    };
  }
  return box.publishedHoldings.entry;
}
