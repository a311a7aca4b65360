/**
 * The files of one night in columns: one row per file, whatever number of titles it belongs to.
 *
 * Invariants: (1) rows are in order of ordinal, so that equal demand is broken alike everywhere
 *             (2) a file may be shown where any of its titles may be
 */
import type { TitleListing } from '#upstream/contract.ts';
import type { PlannerInput } from './contract.ts';
import { shareBucketOf } from './rendezvous.ts';

const DAY_MS = 86_400_000;
export const PLACED_AHEAD_MS = 2 * DAY_MS; // a release of tomorrow is filled tonight

export interface Catalogue {
  readonly rows: number;
  readonly ordinals: Uint32Array;
  readonly sizes: Float64Array; // bytes
  readonly buckets: Uint16Array;
  readonly fileIds: readonly string[];
  readonly rowOfOrdinal: ReadonlyMap<number, number>;
  readonly titles: readonly CatalogueTitle[];
}

export interface CatalogueTitle {
  readonly listing: TitleListing;
  readonly rows: readonly number[];
  readonly takenInAtMs: number;
}

export function catalogueOf(titles: PlannerInput['titles']): Catalogue {
  const files = new Map<number, { fileId: string; sizeBytes: number }>();
  for (const { listing, ordinals } of titles) {
    ordinals.forEach((ordinal, at) => files.set(ordinal, listing.files[at]));
  }
  const ordinals = Uint32Array.from(files.keys()).sort();
  const rowOfOrdinal = new Map<number, number>();
  ordinals.forEach((ordinal, row) => rowOfOrdinal.set(ordinal, row));
  const fileIds = Array.from(ordinals, (ordinal) => files.get(ordinal)?.fileId ?? '');
  return {
    rows: ordinals.length,
    ordinals,
    sizes: Float64Array.from(ordinals, (ordinal) => files.get(ordinal)?.sizeBytes ?? 0),
    buckets: Uint16Array.from(fileIds, shareBucketOf),
    fileIds,
    rowOfOrdinal,
    titles: titles.map(({ listing, ordinals: own, takenInAtMs }) => ({
      listing,
      rows: own.map((ordinal) => rowOfOrdinal.get(ordinal) ?? -1),
      takenInAtMs,
    })),
  };
}

/** Per row, 1 where the file may lie on a disk in `country` that night: from two days before it may be shown. */
export function placeableIn(
  catalogue: Catalogue,
  country: string,
  nightMs: number,
  untilGraceMs: number,
): Uint8Array {
  const placeable = new Uint8Array(catalogue.rows);
  for (const { listing, rows } of catalogue.titles) {
    const may = listing.availability.some(
      (rule) =>
        (rule.countries.includes('*') || rule.countries.includes(country)) &&
        (rule.from === undefined || Date.parse(rule.from) <= nightMs + PLACED_AHEAD_MS) &&
        (rule.until === undefined || nightMs < Date.parse(rule.until) + untilGraceMs),
    );
    if (may) for (const row of rows) placeable[row] = 1;
  }
  return placeable;
}
