/**
 * What the origin knows of titles: records and signed listings, as they are on disk now.
 *
 * A publish is seen without a restart. A publish that ended between announcing and keeping the signed listing is
 * mended here: the listing is fetched from the control plane and kept.
 */
import { stat } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { codeOf, failed, type Outcome } from '#base/outcome.ts';
import { openListing, type KeyRing } from '#control-plane/contract.ts';
import type { TitleId } from '../contract.ts';
import type { TitleRecord } from '../listing.ts';
import { claimedVersion, type CatalogueClient } from './catalogue-client.ts';
import type { OriginStore } from './origin-store.ts';

const RECORDS_MAX = 4096;
/** A listing that the control plane does not have is not asked for again within this time. */
const LISTING_RETRY_MS = 2000;

export interface TitleShelfDeps {
  readonly store: OriginStore;
  readonly catalogue: CatalogueClient;
  readonly keys: { current(): KeyRing | null };
  readonly clock: Clock;
  readonly log: Logger;
}

interface KnownRecord {
  readonly stamp: string; // changes when the file is replaced
  readonly record: TitleRecord;
}

export class TitleShelf {
  readonly #deps: TitleShelfDeps;
  readonly #records = new LRUCache<TitleId, KnownRecord>({ max: RECORDS_MAX });
  readonly #fetches = new Map<TitleId, Promise<void>>();
  readonly #askedAtMs = new LRUCache<TitleId, number>({ max: RECORDS_MAX });

  constructor(deps: TitleShelfDeps) {
    this.#deps = deps;
  }

  /** Null where the title was never published here. */
  async record(titleId: TitleId): Promise<TitleRecord | null> {
    const { store } = this.#deps;
    let stamp;
    try {
      const { mtimeMs, ino, size } = await stat(store.recordPath(titleId));
      stamp = `${ino} ${mtimeMs} ${size}`;
    } catch (thrown) {
      if (codeOf(thrown) === 'ENOENT') return null;
      throw thrown;
    }
    const known = this.#records.get(titleId);
    if (known?.stamp === stamp) return known.record;
    const record = await store.readRecord(titleId);
    if (record !== null) this.#records.set(titleId, { stamp, record });
    return record;
  }

  /** The signed listing, of the record's version where the control plane has one. */
  async signedListing(record: TitleRecord): Promise<string | null> {
    const { titleId, version } = record.listing;
    const kept = await this.#deps.store.readListing(titleId);
    if (kept !== null && (claimedVersion(kept, titleId) ?? 0) >= version) return kept;
    await this.#fetch(titleId);
    return this.#deps.store.readListing(titleId);
  }

  /** One question per title at a time. */
  #fetch(titleId: TitleId): Promise<void> {
    const underWay = this.#fetches.get(titleId);
    if (underWay !== undefined) return underWay;
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - (this.#askedAtMs.get(titleId) ?? -Infinity) < LISTING_RETRY_MS) {
      return Promise.resolve();
    }
    this.#askedAtMs.set(titleId, nowMs);
    const fetching = this.#fetchNow(titleId).finally(() => this.#fetches.delete(titleId));
    this.#fetches.set(titleId, fetching);
    return fetching;
  }

  async #fetchNow(titleId: TitleId): Promise<void> {
    const { catalogue, log, store } = this.#deps;
    const signed = await this.#verified(await catalogue.signedListing(titleId));
    if (!signed.ok) {
      log.warn({ event: 'listing-missing', titleId, why: signed.failure.detail }, 'no listing');
      return;
    }
    const run = await store.beginRun();
    try {
      await store.writeListing(run, titleId, signed.value.text);
    } finally {
      await run.close();
    }
  }

  async #verified(signed: Outcome<{ text: string }>): Promise<Outcome<{ text: string }>> {
    const keys = this.#deps.keys.current();
    if (!signed.ok || keys === null) return signed;
    const opened = await openListing(signed.value.text, keys);
    if (opened.ok) return signed;
    return failed({
      code: 'listing-untrusted',
      source: 'upstream',
      retry: 'never',
      detail: `the control plane's listing does not verify: ${opened.failure}`,
    });
  }
}
