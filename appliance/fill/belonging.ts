/**
 * Whether a file belongs to a title, by signed data alone: the manifest, or the title's listing as the control plane
 * signed it, from whichever source passes it on.
 *
 * Shape:      (titleId, fileId) -> belongs, with its size | not-of-title | unknown (no listing could be had)
 * Invariants: (1) 'belongs' only by a signature of a manifest key
 *             (2) one fetch of a listing at a time; a title that nobody has is not asked for again at once
 *             (3) a listing's version never goes back
 */
import { LRUCache } from 'lru-cache';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import { openListing, type KeyRing } from '#control-plane/contract.ts';
import type { FileId, TitleId, TitleListing } from '#upstream/contract.ts';
import type { Store } from '../store/store.ts';
import type { ManifestSet } from './manifest-set.ts';

const LISTINGS_KEPT_MAX = 200; // about 1,200 files each
const ABSENT_MS = 5000; // how long "nobody has this listing" or "not of this title" is believed
const ABSENT_MAX = 10_000;

export type Belonging =
  | {
      readonly verdict: 'belongs';
      readonly sizeBytes: number;
      readonly forecastPerDay: number;
      /** By the signed listing; absent where the manifest or the store vouches: those files are wanted here. */
      readonly titleClass?: TitleListing['class'];
    }
  | { readonly verdict: 'not-of-title' }
  | { readonly verdict: 'unknown'; readonly detail: string };

export interface BelongingDeps {
  readonly log: Logger;
  readonly store: Store;
  readonly manifest: () => ManifestSet;
  readonly keys: () => KeyRing | null;
  /** The listing's signed text from the control plane or any source, one at a time. */
  readonly listingTexts: (titleId: TitleId) => AsyncIterable<Outcome<string>>;
  /** The last good text of it on disk. */
  readonly kept: (titleId: TitleId) => string | null;
  readonly keep: (titleId: TitleId, text: string) => void;
}

interface KnownListing {
  readonly version: number;
  readonly titleClass: TitleListing['class'];
  readonly sizes: ReadonlyMap<FileId, number>;
}

export class BelongingRegister {
  readonly #deps: BelongingDeps;
  readonly #listings = new LRUCache<TitleId, KnownListing>({ max: LISTINGS_KEPT_MAX });
  readonly #absent = new LRUCache<TitleId, string>({ max: ABSENT_MAX, ttl: ABSENT_MS });
  readonly #fetching = new Map<TitleId, Promise<void>>();

  constructor(deps: BelongingDeps) {
    this.#deps = deps;
  }

  /** What is known without waiting; null where somebody must be asked. */
  peek(titleId: TitleId, fileId: FileId): Belonging | null {
    const wanted = this.#deps.manifest().files.get(fileId);
    if (wanted?.titles.includes(titleId) === true) {
      return { verdict: 'belongs', sizeBytes: wanted.sizeBytes, forecastPerDay: wanted.density };
    }
    const entry = this.#deps.store.find(fileId);
    if (entry?.titles.includes(titleId) === true) {
      return {
        verdict: 'belongs',
        sizeBytes: entry.sizeBytes,
        forecastPerDay: entry.forecastPerDay,
      };
    }
    const listing = this.#listings.get(titleId);
    const sizeBytes = listing?.sizes.get(fileId);
    if (listing !== undefined && sizeBytes !== undefined) {
      const { titleClass } = listing;
      return { verdict: 'belongs', sizeBytes, forecastPerDay: wanted?.density ?? 0, titleClass };
    }
    const absent = this.#absent.get(titleId);
    if (absent === undefined) return null;
    return this.#listings.has(titleId)
      ? { verdict: 'not-of-title' }
      : { verdict: 'unknown', detail: absent };
  }

  async decide(titleId: TitleId, fileId: FileId): Promise<Belonging> {
    const known = this.peek(titleId, fileId);
    if (known !== null) return known;
    let fetching = this.#fetching.get(titleId);
    if (fetching === undefined) {
      fetching = this.#fetch(titleId, fileId).finally(() => this.#fetching.delete(titleId));
      this.#fetching.set(titleId, fetching);
    }
    await fetching;
    return (
      this.peek(titleId, fileId) ??
      (this.#listings.has(titleId)
        ? { verdict: 'not-of-title' }
        : { verdict: 'unknown', detail: `no source has the signed listing of ${titleId}` })
    );
  }

  /** Looks for a listing that names the file; the newest that verifies is kept either way. */
  async #fetch(titleId: TitleId, fileId: FileId): Promise<void> {
    const kept = this.#deps.kept(titleId);
    if (kept !== null) await this.#offer(titleId, kept, false);
    if (this.#listings.get(titleId)?.sizes.has(fileId) === true) return;
    let detail = 'no source is known';
    for await (const text of this.#deps.listingTexts(titleId)) {
      if (!text.ok) {
        detail = text.failure.detail;
        continue;
      }
      const refusal = await this.#offer(titleId, text.value, true);
      if (refusal === null) break;
      detail = refusal;
    }
    // A file that is not in the newest listing is not looked for again at once, whoever asks.
    if (this.#listings.get(titleId)?.sizes.has(fileId) !== true) this.#absent.set(titleId, detail);
  }

  /** Null where it was taken. */
  async #offer(titleId: TitleId, text: string, isNew: boolean): Promise<string | null> {
    const keys = this.#deps.keys();
    if (keys === null) return 'no keys yet to check a listing with';
    const opened = await openListing(text, keys);
    if (!opened.ok) {
      this.#deps.log.warn(
        { event: 'listing-refused', titleId, why: opened.failure },
        'a listing was refused',
      );
      return opened.failure;
    }
    const listing: TitleListing = opened.value;
    if (listing.titleId !== titleId) return `it is the listing of ${listing.titleId}`;
    const known = this.#listings.get(titleId);
    if (known !== undefined && listing.version < known.version)
      return 'it is older than the one known';
    this.#listings.set(titleId, {
      version: listing.version,
      titleClass: listing.class,
      sizes: new Map(listing.files.map((file) => [file.fileId, file.sizeBytes])),
    });
    if (isNew) this.#deps.keep(titleId, text);
    return null;
  }
}
