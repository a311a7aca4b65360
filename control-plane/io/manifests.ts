/**
 * The current manifest of each box: expanded when it is asked for, kept while nothing under it changed.
 *
 * Invariants: (1) one expansion per box at a time, and one in all: planning night does not stop heartbeats
 *             (2) a heartbeat is answered with the last known version at once; the expansion follows
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { SigningKey } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { MIB } from '#base/units.ts';
import type { Catalogue } from '../catalogue.ts';
import type { DenySet } from '../denials.ts';
import type { OrderColumns, Plan } from '#fill-planner/contract.ts';
import { MANIFEST_DELTAS_MAX } from '../contract.ts';
import {
  canNameDrops,
  compressLines,
  contentKeyOf,
  deltaLines,
  digestOfFiles,
  manifestParts,
  manifestLines,
  plannedFiles,
  setKeyOf,
  type ManifestCatalogue,
  type PlannedFiles,
} from '../manifest.ts';
import type { PlanStore } from './plan-store.ts';

const CACHE_BYTES_MAX = 256 * MIB;
const DELTAS_BYTES_MAX = 64 * MIB;
const ORDERS_BYTES_MAX = 128 * MIB;
const ORDER_ROW_BYTES = 20; // an ordinal and two densities
const DIFFERENCE_SHOWN_MAX = 200;

/** What two versions of a box's manifest have each for itself. */
export interface ManifestDifference {
  readonly from: number;
  readonly to: number;
  readonly added: DifferenceSide;
  readonly removed: DifferenceSide;
  readonly kept: number;
}

export interface DifferenceSide {
  readonly files: number;
  readonly bytes: number;
  readonly shown: readonly {
    readonly fileId: string;
    readonly sizeBytes: number;
    readonly titles: readonly string[];
  }[];
}

export interface CurrentManifest {
  readonly version: number;
  readonly entries: number;
  readonly parts: readonly Buffer[]; // as they travel, one after the other
  readonly sizeBytes: number;
}

type Made = Pick<CurrentManifest, 'parts' | 'sizeBytes'>;

interface Expanded extends CurrentManifest {
  readonly basis: string; // what it was expanded from
}

export class Manifests {
  readonly #plans: PlanStore;
  readonly #catalogue: Catalogue;
  readonly #denials: () => DenySet;
  readonly #key: SigningKey;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #known = new Map<string, { basis: string; version: number; ordinals: Uint32Array }>();
  readonly #cache = new LRUCache<string, Expanded>({
    maxSize: CACHE_BYTES_MAX,
    sizeCalculation: (entry) => entry.sizeBytes + 1,
  });
  readonly #deltas = new LRUCache<string, { readonly made: Made | null }>({
    maxSize: DELTAS_BYTES_MAX,
    sizeCalculation: ({ made }) => (made?.sizeBytes ?? 0) + 100,
  });
  /** One order serves every box of a region: read from its text once, not once a box. */
  readonly #orders = new LRUCache<string, OrderColumns>({
    maxSize: ORDERS_BYTES_MAX,
    sizeCalculation: ({ ordinals }) => ordinals.length * ORDER_ROW_BYTES + 1,
  });
  readonly #inFlight = new Map<string, Promise<Expanded | null>>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    plans: PlanStore,
    catalogue: Catalogue,
    denials: () => DenySet,
    key: SigningKey,
    clock: Clock,
    log: Logger,
  ) {
    this.#plans = plans;
    this.#catalogue = catalogue;
    this.#denials = denials;
    this.#key = key;
    this.#clock = clock;
    this.#log = log;
  }

  /** The version to tell a box; 0 while it has no plan. May lag by one heartbeat behind a new plan. */
  versionOf(applianceId: string): number {
    const basis = this.#basisOf(applianceId);
    if (basis === null) return 0;
    const known = this.#known.get(applianceId);
    if (known?.basis !== basis) {
      this.current(applianceId).catch((thrown: unknown) => {
        this.#log.error({ applianceId, why: messageOf(thrown) }, 'manifest could not be expanded');
      });
    }
    return known?.version ?? 0;
  }

  /** null while the box has no plan. */
  current(applianceId: string): Promise<CurrentManifest | null> {
    const basis = this.#basisOf(applianceId);
    if (basis === null) return Promise.resolve(null);
    const cached = this.#cache.get(applianceId);
    if (cached?.basis === basis) return Promise.resolve(cached);
    const key = `${applianceId} ${basis}`;
    let expansion = this.#inFlight.get(key);
    if (expansion === undefined) {
      expansion = this.#turn.then(() => this.#expand(applianceId, basis));
      this.#turn = expansion.catch(() => undefined);
      this.#inFlight.set(key, expansion);
      void this.#turn.then(() => this.#inFlight.delete(key));
    }
    return expansion;
  }

  /** The current manifest as a delta on the version that the box has; the full one where there is no way from there. */
  async currentFrom(applianceId: string, baseVersion: number): Promise<CurrentManifest | null> {
    const full = await this.current(applianceId);
    if (full === null) return null;
    const name = `${applianceId} ${baseVersion} ${full.version}`;
    let delta = this.#deltas.get(name);
    if (delta === undefined) {
      const making = this.#turn.then(() => this.#makeDelta(applianceId, baseVersion));
      this.#turn = making.catch(() => undefined);
      delta = { made: await making };
      this.#deltas.set(name, delta);
    }
    const { made } = delta;
    return made === null || made.sizeBytes >= full.sizeBytes ? full : { ...full, ...made };
  }

  /** Whether the box's manifest, as last expanded, has the file. A box that was never told of one: no. */
  has(applianceId: string, ordinal: number): boolean {
    const ordinals = this.#known.get(applianceId)?.ordinals;
    if (ordinals === undefined) return false;
    let low = 0;
    let high = ordinals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ordinals[middle] < ordinal) low = middle + 1;
      else high = middle;
    }
    return ordinals[low] === ordinal;
  }

  /** Ordinals of the manifest as last expanded, sorted. */
  wanted(applianceId: string): Uint32Array {
    return this.#known.get(applianceId)?.ordinals ?? new Uint32Array(0);
  }

  forget(applianceId: string): void {
    this.#plans.forget(applianceId);
    this.#known.delete(applianceId);
    this.#cache.delete(applianceId);
  }

  async #expand(applianceId: string, basis: string): Promise<Expanded | null> {
    const stored = this.#plans.plan(applianceId);
    if (stored === null) return null;
    const catalogue = this.#allowed();
    const files = this.#filesOf(stored.plan, catalogue);
    if (files === null) return null; // the foreign key keeps its order; a later plan set replaced both
    const nowMs = this.#clock.wallMs();
    const lines = await compressLines(manifestLines(files, catalogue));
    const setDigest = digestOfFiles(files, catalogue);
    const version = this.#plans.manifestVersion(
      contentKeyOf(lines.textSha256, stored.plan),
      stored,
      {
        setKey: setKeyOf(files, catalogue),
        setDigest,
        entries: lines.entries,
        bodyBytes: sizeOf(lines.body),
        madeAtMs: nowMs,
      },
    );
    const content = { ...lines, setDigest };
    const parts = await manifestParts(this.#key, stored.plan, version, content, nowMs);
    const before = this.#known.get(applianceId)?.version;
    if (before !== version) {
      this.#log.info({ applianceId, version, entries: lines.entries }, 'manifest is ready');
    }
    this.#known.set(applianceId, { basis, version, ordinals: files.ordinals.slice().sort() });
    const expanded = { basis, version, entries: lines.entries, ...madeOf(parts) };
    this.#cache.set(applianceId, expanded);
    return expanded;
  }

  /** What leads from `baseVersion` to the current manifest; null where only the full one does. */
  async #makeDelta(applianceId: string, baseVersion: number): Promise<Made | null> {
    const version = this.#known.get(applianceId)?.version ?? 0;
    if (baseVersion < 1 || baseVersion >= version) return null;
    // Counted by version, so that neither side has to remember how many deltas there were.
    if (
      Math.floor(version / MANIFEST_DELTAS_MAX) !== Math.floor(baseVersion / MANIFEST_DELTAS_MAX)
    ) {
      return null;
    }
    const base = this.#plans.manifestAt(applianceId, baseVersion);
    const next = this.#plans.manifestAt(applianceId, version);
    if (base === null || next === null) return null;
    if (base.plan.epoch !== next.plan.epoch) return null;
    const catalogue = this.#allowed();
    const baseFiles = this.#filesOf(base.plan, catalogue);
    const nextFiles = this.#filesOf(next.plan, catalogue);
    if (baseFiles === null || nextFiles === null) return null;
    // A file that gained or lost a title since: the base cannot be made again.
    if (setKeyOf(baseFiles, catalogue) !== base.setKey) return null;
    if (setKeyOf(nextFiles, catalogue) !== next.setKey) return null;
    if (!canNameDrops(baseFiles, catalogue)) return null;
    const lines = await compressLines(deltaLines(baseFiles, nextFiles, catalogue));
    const content = { ...lines, setDigest: next.setDigest };
    const from = { version: baseVersion, digest: base.setDigest };
    const nowMs = this.#clock.wallMs();
    return madeOf(await manifestParts(this.#key, next.plan, version, content, nowMs, from));
  }

  /** Files by id and by size that two remembered versions have and the other has not. */
  difference(applianceId: string, from: number, to: number): ManifestDifference | null {
    const catalogue = this.#allowed();
    const sets = [from, to].map((version) => {
      const known = this.#plans.manifestAt(applianceId, version);
      const files = known === null ? null : this.#filesOf(known.plan, catalogue);
      return files === null ? null : new Set(files.ordinals);
    });
    const [before, after] = sets;
    if (before === null || after === null) return null;
    return {
      from,
      to,
      added: this.#sideOf(after, before, catalogue),
      removed: this.#sideOf(before, after, catalogue),
      kept: [...after].filter((ordinal) => before.has(ordinal)).length,
    };
  }

  #sideOf(
    of: ReadonlySet<number>,
    without: ReadonlySet<number>,
    catalogue: ManifestCatalogue,
  ): DifferenceSide {
    const ids = [...of]
      .filter((ordinal) => !without.has(ordinal))
      .map((ordinal) => catalogue.fileIdOf(ordinal) ?? '');
    const bytes = ids.reduce((sum, fileId) => sum + catalogue.sizeOf(fileId), 0);
    const shown = ids.slice(0, DIFFERENCE_SHOWN_MAX).map((fileId) => ({
      fileId,
      sizeBytes: catalogue.sizeOf(fileId),
      titles: catalogue.titlesOf(fileId),
    }));
    return { files: ids.length, bytes, shown };
  }

  #filesOf(plan: Plan, catalogue: ManifestCatalogue): PlannedFiles | null {
    const order = this.#orderOf(plan.orderVersion);
    return order === null ? null : plannedFiles(plan, order, catalogue);
  }

  /** An order's version is its content: what was read once never changes. */
  #orderOf(orderVersion: string): OrderColumns | null {
    const known = this.#orders.get(orderVersion);
    if (known !== undefined) return known;
    const stored = this.#plans.order(orderVersion);
    if (stored === null) return null;
    const { ordinals, densities, previous } = stored;
    const order: OrderColumns = {
      ordinals: Uint32Array.from(ordinals),
      densities: Float64Array.from(densities),
      ...(previous === undefined ? {} : { previous: Float64Array.from(previous) }),
    };
    this.#orders.set(orderVersion, order);
    return order;
  }

  /** The catalogue as far as it may be served. */
  #allowed(): ManifestCatalogue {
    const denials = this.#denials();
    return {
      fileIdOf: (ordinal) => this.#catalogue.fileIdOf(ordinal),
      sizeOf: (fileId) => this.#catalogue.sizeOf(fileId),
      titlesOf: (fileId) => denials.titlesOf(fileId, this.#catalogue.titlesOf(fileId)),
    };
  }

  #basisOf(applianceId: string): string | null {
    const run = this.#plans.runOf(applianceId);
    return run === null
      ? null
      : `${run} ${this.#catalogue.shared} ${this.#denials().contentVersion}`;
  }
}

function madeOf(parts: readonly Buffer[]): Made {
  return { parts, sizeBytes: sizeOf(parts) };
}

function sizeOf(parts: readonly Buffer[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}
