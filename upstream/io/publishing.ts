/**
 * Publishes titles: bytes into the origin first, then the catalogue is told, then the signed listing is kept beside the bytes.
 *
 *   files stored -> record written -> announced (POST /v1/titles) -> signed listing kept
 *
 * Invariants: (1) nothing is announced that the origin cannot serve: each step is on disk before the next
 *             (2) it may stop anywhere and be run again: every step does nothing where its result is there already
 *             (3) with the control plane gone nothing is encoded: it is asked before the work starts
 */
import { failed, messageOf, codeOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import type { FileEntry, TitleId, TitleListing } from '../contract.ts';
import {
  changeOf,
  recordOf,
  withoutTwins,
  type ListingContent,
  type TitleRecord,
} from '../listing.ts';
import { opaqueBytes, opaqueTitles, type OpaqueSpec, type OpaqueTitle } from '../opaque.ts';
import { CatalogueClient } from './catalogue-client.ts';
import { OriginStore, type PublishRun } from './origin-store.ts';

const CONFLICTS_MAX = 3;
/** Opaque titles whose bytes are made ahead of the one that is being announced. */
const TITLES_AHEAD_MAX = 4;

export interface PublishTarget {
  readonly controlPlaneUrl: string;
  readonly token: string; // role "publish"
  readonly originDir: string;
}

export interface PublishReport {
  readonly titleId: TitleId;
  readonly name: string;
  readonly version: number;
  readonly outcome: 'published' | 'updated' | 'unchanged';
  readonly files: readonly FileEntry[];
  readonly bytes: number;
  readonly bytesStored: number; // what the origin did not hold before
}

export type PublishProgress =
  | { readonly step: 'encoding'; readonly doneSeconds: number; readonly totalSeconds: number }
  | { readonly step: 'storing' | 'announcing'; readonly titleId: TitleId }
  | { readonly step: 'title'; readonly done: number; readonly total: number };

export interface OpaqueOptions {
  readonly titleId?: TitleId | undefined;
  readonly name?: string | undefined;
  readonly onProgress?: ((progress: PublishProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Publishes every title of a spec, in order. Stops at the first failure; what was announced stays announced. */
export async function publishOpaque(
  spec: OpaqueSpec,
  options: OpaqueOptions,
  target: PublishTarget,
): Promise<Outcome<readonly PublishReport[]>> {
  return publishing(target, async (press) => {
    const titles = opaqueTitles(spec, options);
    const reports: PublishReport[] = [];
    const making: Promise<Outcome<Stored>>[] = [];
    try {
      for (const [index, title] of titles.entries()) {
        while (making.length < Math.min(titles.length, index + TITLES_AHEAD_MAX)) {
          making.push(storeOpaque(press, titles[making.length], options.signal));
        }
        const stored = await making[index];
        if (!stored.ok) return stored;
        const report = await announce(
          press,
          contentOf(title, stored.value.files),
          null,
          stored.value,
        );
        if (!report.ok) return report;
        reports.push(report.value);
        options.onProgress?.({ step: 'title', done: index + 1, total: titles.length });
      }
      return success(reports);
    } finally {
      await Promise.allSettled(making); // before the run's directory goes
    }
  });
}

/** What a publish works with: the catalogue, the store, and its own corner of tmp/. */
export interface Press {
  readonly catalogue: CatalogueClient;
  readonly store: OriginStore;
  readonly run: PublishRun;
}

export interface Stored {
  readonly files: readonly FileEntry[];
  readonly bytesStored: number;
}

/** Opens the origin's directory, runs the work, cleans up, and turns what the disk threw into a Failure. */
export async function publishing<T>(
  target: PublishTarget,
  work: (press: Press) => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  try {
    const catalogue = new CatalogueClient(target.controlPlaneUrl, target.token);
    const store = new OriginStore(target.originDir);
    const run = await store.beginRun();
    try {
      return await work({ catalogue, store, run });
    } finally {
      await run.close();
    }
  } catch (thrown) {
    return failed(diskFailure(target.originDir, thrown));
  }
}

/** Steps two to four. `source` is remembered so that the same input is not encoded again. */
export async function announce(
  press: Press,
  wanted: ListingContent,
  source: TitleRecord['source'],
  stored: Stored,
): Promise<Outcome<PublishReport>> {
  const { catalogue, store, run } = press;
  for (let attempt = 0; attempt < CONFLICTS_MAX; attempt++) {
    const current = await catalogue.listing(wanted.titleId);
    if (!current.ok) return current;
    const { kind, listing } = changeOf(wanted, current.value);
    await store.writeRecord(run, recordOf(listing, source, await store.readRecord(wanted.titleId)));
    if (kind !== 'unchanged') {
      const registered = await catalogue.register(listing);
      if (!registered.ok) return failed(notAnnounced(listing, registered.failure));
      if (registered.value === 'conflict') continue;
    }
    const signed = await catalogue.signedListing(listing.titleId);
    if (!signed.ok) return failed(notAnnounced(listing, signed.failure));
    await store.writeListing(run, listing.titleId, signed.value.text);
    return success({
      titleId: listing.titleId,
      name: listing.name,
      version: listing.version,
      outcome: kind === 'unchanged' ? 'unchanged' : kind === 'new' ? 'published' : 'updated',
      files: listing.files,
      bytes: listing.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      bytesStored: stored.bytesStored,
    });
  }
  return failed({
    code: 'publish-conflict',
    source: 'upstream',
    retry: 'same-source',
    detail: `somebody else keeps publishing ${wanted.titleId}: nothing was announced; publish again when they are done`,
  });
}

async function storeOpaque(
  press: Press,
  title: OpaqueTitle,
  signal: AbortSignal | undefined,
): Promise<Outcome<Stored>> {
  // The control plane is asked first: with it gone there is nothing to make bytes for.
  const current = await press.catalogue.listing(title.titleId);
  if (!current.ok) return current;
  const files: FileEntry[] = [];
  let bytesStored = 0;
  for (const { seed, sizeBytes } of title.files) {
    if (signal?.aborted === true) return failed(interrupted(title.titleId));
    let stored;
    try {
      stored = await press.store.addBytes(press.run, opaqueBytes(seed, sizeBytes));
    } catch (thrown) {
      return failed(diskFailure(press.store.directory, thrown));
    }
    if (stored === null) return failed(emptyFile(title.titleId));
    if (stored.isNew) bytesStored += sizeBytes;
    files.push({ fileId: stored.fileId, sizeBytes, kind: 'opaque', protection: 'none' });
  }
  return success({ files: withoutTwins(files), bytesStored });
}

function contentOf(title: OpaqueTitle, files: readonly FileEntry[]): ListingContent {
  return {
    titleId: title.titleId,
    kind: 'opaque',
    name: title.name,
    durationSeconds: 0,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: [...files],
  };
}

export function interrupted(titleId: TitleId): Failure {
  return {
    code: 'interrupted',
    source: 'self',
    retry: 'same-source',
    detail: `${titleId} was not published: interrupted. Nothing was announced; publish again to go on`,
  };
}

export function emptyFile(titleId: TitleId): Failure {
  return {
    code: 'file-empty',
    source: 'self',
    retry: 'never',
    detail: `a file of ${titleId} has no bytes; an empty file has no id and is not published`,
  };
}

function notAnnounced(listing: TitleListing, failure: Failure): Failure {
  return {
    ...failure,
    detail:
      `${listing.titleId} is stored in the origin but not announced: ${failure.detail} ` +
      'Publish again when that is mended: nothing is encoded twice',
  };
}

export function diskFailure(directory: string, thrown: unknown): Failure {
  const code = codeOf(thrown);
  const todo =
    code === 'ENOSPC'
      ? '; free space there and publish again'
      : code === 'EACCES' || code === 'EROFS'
        ? '; it must be writable for this user'
        : '';
  return {
    code: code === 'ENOSPC' ? 'disk-full' : 'origin-directory',
    source: 'disk',
    retry: 'never',
    detail: `cannot store into the origin directory ${directory}: ${messageOf(thrown)}${todo}`,
    cause: thrown,
  };
}
