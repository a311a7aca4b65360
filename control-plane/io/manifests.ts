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
import { contentKeyOf, encodeManifest, manifestContent, manifestEntries } from '../manifest.ts';
import type { PlanStore } from './plan-store.ts';

const CACHE_BYTES_MAX = 256 * MIB;

export interface CurrentManifest {
  readonly version: number;
  readonly entries: number;
  readonly bytes: Buffer;
}

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
    sizeCalculation: (entry) => entry.bytes.length + 1,
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

  forget(applianceId: string): void {
    this.#known.delete(applianceId);
    this.#cache.delete(applianceId);
  }

  async #expand(applianceId: string, basis: string): Promise<Expanded | null> {
    const stored = this.#plans.plan(applianceId);
    if (stored === null) return null;
    const order = this.#plans.order(stored.plan.orderVersion);
    if (order === null) return null; // the foreign key keeps it; a later plan set replaced both
    const denials = this.#denials();
    const entries = manifestEntries(stored.plan, order, {
      fileIdOf: (ordinal) => this.#catalogue.fileIdOf(ordinal),
      sizeOf: (fileId) => this.#catalogue.sizeOf(fileId),
      titlesOf: (fileId) => denials.titlesOf(fileId, this.#catalogue.titlesOf(fileId)),
    });
    const version = this.#plans.manifestVersion(applianceId, contentKeyOf(entries, stored.plan));
    const content = manifestContent(entries);
    const nowMs = this.#clock.wallMs();
    const bytes = await encodeManifest(this.#key, stored.plan, version, content, nowMs);
    const before = this.#known.get(applianceId)?.version;
    if (before !== version) {
      this.#log.info({ applianceId, version, entries: entries.length }, 'manifest is ready');
    }
    const ordinals = Uint32Array.from(
      entries,
      ({ fileId }) => this.#catalogue.ordinalOf(fileId) ?? 0,
    );
    this.#known.set(applianceId, { basis, version, ordinals: ordinals.sort() });
    const expanded = { basis, version, entries: entries.length, bytes };
    this.#cache.set(applianceId, expanded);
    return expanded;
  }

  #basisOf(applianceId: string): string | null {
    const run = this.#plans.runOf(applianceId);
    return run === null
      ? null
      : `${run} ${this.#catalogue.shared} ${this.#denials().contentVersion}`;
  }
}
