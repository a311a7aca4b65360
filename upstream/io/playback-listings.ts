/**
 * Listings for the playback service: from the catalogue, a few seconds old at most; the last one seen where it does not answer.
 *
 * Errors:     `unknown-title` where the catalogue says so, `catalogue-gone` where it does not answer and nothing was ever seen
 * Invariants: (1) what the catalogue says wins over what is kept, also when it says that a title is gone
 *             (2) one question per title at a time; memory is bounded, and a disk that refuses costs only the memory of a restart
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { LRUCache } from 'lru-cache';
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import { checkTitleListing, type TitleId, type TitleListing } from '../contract.ts';
import { CatalogueClient } from './catalogue-client.ts';

const LISTINGS_MAX = 2000;
const PREFETCH_MS = 30_000;

export interface PlaybackListingsDeps {
  readonly controlPlaneUrl: string;
  readonly stateDir: string;
  readonly maxAgeMs: Milliseconds;
  readonly clock: Clock;
  readonly log: Logger;
}

export class PlaybackListings {
  readonly #deps: PlaybackListingsDeps;
  readonly #catalogue: CatalogueClient;
  readonly #known = new LRUCache<TitleId, { listing: TitleListing; atMs: number }>({
    max: LISTINGS_MAX,
  });
  #timer: Timer | null = null;
  #isPrefetching = false;
  #isStopped = false;
  readonly #asking = new Map<TitleId, Promise<Outcome<TitleListing>>>();

  constructor(deps: PlaybackListingsDeps) {
    this.#deps = deps;
    this.#catalogue = new CatalogueClient(deps.controlPlaneUrl, null);
    mkdirSync(path.join(deps.stateDir, 'listings'), { recursive: true, mode: 0o700 });
  }

  /**
   * Fetches what the catalogue has and this disk has not: a title that nobody played yet must play too when the control
   * plane is gone.
   */
  start(): void {
    void this.#prefetch();
    this.#timer = this.#deps.clock.every(PREFETCH_MS, () => void this.#prefetch());
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  async #prefetch(): Promise<void> {
    if (this.#isPrefetching) return;
    this.#isPrefetching = true;
    const titles = await this.#catalogue.titles();
    for (const { titleId, version } of titles.ok ? titles.value.slice(0, LISTINGS_MAX) : []) {
      if (this.#isStopped) break;
      const known = this.#known.get(titleId)?.listing ?? this.#lastSeen(titleId);
      if (known?.version === version) continue;
      const answer = await this.#catalogue.listing(titleId);
      if (answer.ok && answer.value !== null) await this.#keep(answer.value);
    }
    this.#isPrefetching = false;
  }

  listing(titleId: TitleId): Promise<Outcome<TitleListing>> {
    const known = this.#known.get(titleId);
    const nowMs = this.#deps.clock.monotonicMs();
    if (known !== undefined && nowMs - known.atMs < this.#deps.maxAgeMs) {
      return Promise.resolve(success(known.listing));
    }
    const underWay = this.#asking.get(titleId);
    if (underWay !== undefined) return underWay;
    const asking = this.#ask(titleId).finally(() => this.#asking.delete(titleId));
    this.#asking.set(titleId, asking);
    return asking;
  }

  async #ask(titleId: TitleId): Promise<Outcome<TitleListing>> {
    const answer = await this.#catalogue.listing(titleId);
    if (answer.ok && answer.value !== null) {
      await this.#keep(answer.value);
      return success(answer.value);
    }
    if (answer.ok) {
      this.#known.delete(titleId);
      await rm(this.#fileOf(titleId), { force: true });
      return failed({
        code: 'unknown-title',
        source: 'downstream',
        retry: 'never',
        detail: `there is no title ${titleId} in the catalogue; "nightfill publish" adds one`,
      });
    }
    const kept = this.#known.get(titleId)?.listing ?? this.#lastSeen(titleId);
    if (kept !== null) return success(kept);
    const detail = `title ${titleId} is not known here and cannot be looked up: ${answer.failure.detail}`;
    return failed({ ...answer.failure, code: 'catalogue-gone', detail });
  }

  async #keep(listing: TitleListing): Promise<void> {
    const { titleId } = listing;
    const isNews = this.#known.get(titleId)?.listing.version !== listing.version;
    this.#known.set(titleId, { listing, atMs: this.#deps.clock.monotonicMs() });
    if (!isNews) return;
    const file = this.#fileOf(titleId);
    try {
      await writeFile(`${file}.tmp`, JSON.stringify(listing));
      await rename(`${file}.tmp`, file);
    } catch (thrown) {
      this.#deps.log.warn({ event: 'listing-not-kept', file, why: messageOf(thrown) }, 'not kept');
    }
  }

  #lastSeen(titleId: TitleId): TitleListing | null {
    try {
      const checked = checkTitleListing(JSON.parse(readFileSync(this.#fileOf(titleId), 'utf8')));
      return checked.ok ? checked.value : null;
    } catch {
      return null; // never seen, or not readable: the same to the caller
    }
  }

  #fileOf(titleId: TitleId): string {
    return path.join(this.#deps.stateDir, 'listings', `${titleId}.json`);
  }
}
