/**
 * Decides what publishing a title changes: its id, its next version, and what the origin keeps beside its listing.
 *
 * Invariants: (1) the same content never gets a new version; other content never keeps its version
 *             (2) a file that was ever published under a title stays served under it: running viewers hold URLs of it
 */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import {
  FILE_ID_PATTERN,
  FILES_PER_TITLE_MAX,
  TITLE_ID,
  TitleListingSchema,
  type FileEntry,
  type FileId,
  type TitleId,
  type TitleListing,
} from './contract.ts';

/** Files of earlier versions that stay served; the oldest are forgotten first. */
const FORMER_FILES_MAX = FILES_PER_TITLE_MAX;
const TITLE_ID_CHARACTERS_MAX = 64;

/** `titles/<titleId>.json` in the origin: written before a title is announced. */
export const TitleRecordSchema = Type.Object({
  listing: TitleListingSchema,
  formerFileIds: Type.Array(Type.String({ pattern: FILE_ID_PATTERN }), {
    maxItems: FORMER_FILES_MAX,
  }),
  source: Type.Union([
    Type.Null(),
    Type.Object({
      sha256: Type.String({ description: 'of the file that was encoded' }),
      recipe: Type.String({ description: 'what was done with it: another recipe encodes again' }),
    }),
  ]),
});
export type TitleRecord = Static<typeof TitleRecordSchema>;
export const checkTitleRecord = checker(TitleRecordSchema);

export type ListingContent = Omit<TitleListing, 'version'>;

export type ListingChange =
  | { readonly kind: 'unchanged'; readonly listing: TitleListing }
  | { readonly kind: 'new' | 'changed'; readonly listing: TitleListing };

/** What the catalogue must be told so that it says `wanted`; `current` is what it says now. */
export function changeOf(wanted: ListingContent, current: TitleListing | null): ListingChange {
  if (current === null) return { kind: 'new', listing: { ...wanted, version: 1 } };
  const listing: TitleListing = { ...wanted, version: current.version };
  if (isDeepStrictEqual(plain(listing), plain(current))) return { kind: 'unchanged', listing };
  return { kind: 'changed', listing: { ...wanted, version: current.version + 1 } };
}

export function recordOf(
  listing: TitleListing,
  source: TitleRecord['source'],
  previous: TitleRecord | null,
): TitleRecord {
  const now = new Set(listing.files.map(({ fileId }) => fileId));
  const former = [
    ...(previous?.formerFileIds ?? []),
    ...(previous?.listing.files ?? []).map(({ fileId }) => fileId),
  ].filter((fileId) => !now.has(fileId));
  const formerFileIds = [...new Set(former)].slice(-FORMER_FILES_MAX);
  return { listing, formerFileIds, source };
}

/** True where `fileId` may be asked for under this title: it is, or was, one of its files. */
export function belongsTo(record: TitleRecord, fileId: FileId): boolean {
  return (
    record.listing.files.some((file) => file.fileId === fileId) ||
    record.formerFileIds.includes(fileId)
  );
}

/** The same bytes may stand in a title once only: a second entry would be the same file under the same id. */
export function withoutTwins(files: readonly FileEntry[]): readonly FileEntry[] {
  return [...new Map(files.map((file) => [file.fileId, file])).values()];
}

/** "Big Buck Bunny (480p)" -> "big-buck-bunny-480p"; a name without a usable letter gets a hash. */
export function titleIdOf(name: string): TitleId {
  const slug = name
    .normalize('NFKD')
    .replaceAll(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replaceAll(/[^a-z0-9_]+/g, '-')
    .replaceAll(/^[-_]+|-+$/g, '')
    .slice(0, TITLE_ID_CHARACTERS_MAX);
  if (TITLE_ID.test(slug)) return slug;
  return `title-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}

/** Without the keys whose value is undefined, as JSON carries it. */
function plain(listing: TitleListing): unknown {
  return JSON.parse(JSON.stringify(listing)) as unknown;
}
