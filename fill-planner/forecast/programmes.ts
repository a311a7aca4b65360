/**
 * The catalogue as the forecaster sees it: programmes (a film, or one season), their titles (episodes), their files.
 *
 * Invariants: (1) rows are files by ordinal; a file of several titles counts for the first of them
 *             (2) every title belongs to one programme: one season of one series, or itself
 */
import type { TitleListing } from '#upstream/contract.ts';
import { DAY_MS } from './demand-records.ts';

export interface ForecastTitle {
  readonly listing: Pick<
    TitleListing,
    | 'titleId'
    | 'kind'
    | 'series'
    | 'season'
    | 'episode'
    | 'language'
    | 'genre'
    | 'class'
    | 'release'
  > & {
    readonly files: readonly Pick<
      TitleListing['files'][number],
      'sizeBytes' | 'kind' | 'codec' | 'height' | 'bitrateBps' | 'language'
    >[];
  };
  readonly ordinals: readonly number[]; // of listing.files, in their order
  readonly takenInAtMs: number;
}

export interface Programme {
  readonly name: string;
  readonly titles: readonly number[]; // by episode
  readonly class: TitleListing['class'];
  readonly kind: TitleListing['kind'];
  readonly language: string;
  readonly genre: string;
  readonly priority: number; // of the release, 0 to 9; 0 without one
  readonly previous: number; // programme of the season before, -1 where there is none
  readonly releaseDay: number; // days since 1970
  readonly firstDayShare: number; // part of the release day that was left at its hour
}

export interface ForecastCatalogue {
  readonly rows: number;
  readonly ordinals: Uint32Array;
  readonly sizes: Float64Array;
  readonly rowOfOrdinal: ReadonlyMap<number, number>;
  readonly titleOfRow: Int32Array;
  readonly variantOfRow: Int32Array; // index into `variants`
  readonly variants: readonly string[];
  readonly programmeOfTitle: Int32Array;
  readonly programmes: readonly Programme[];
}

export function forecastCatalogueOf(titles: readonly ForecastTitle[]): ForecastCatalogue {
  const owner = new Map<number, { title: number; file: number }>();
  titles.forEach(({ ordinals }, title) => {
    ordinals.forEach((ordinal, file) => {
      if (!owner.has(ordinal)) owner.set(ordinal, { title, file });
    });
  });
  const ordinals = Uint32Array.from(owner.keys()).sort();
  const sizes = new Float64Array(ordinals.length);
  const titleOfRow = new Int32Array(ordinals.length);
  const variantOfRow = new Int32Array(ordinals.length);
  const variants = new Map<string, number>();
  const rowOfOrdinal = new Map<number, number>();
  ordinals.forEach((ordinal, row) => {
    const { title, file } = owner.get(ordinal) ?? { title: 0, file: 0 };
    const entry = titles[title].listing.files[file];
    const key = [
      entry.kind,
      entry.codec ?? '',
      entry.height ?? '',
      entry.bitrateBps === undefined ? '' : Math.round(Math.log2(entry.bitrateBps) * 2),
      entry.language ?? '',
    ].join(' ');
    if (!variants.has(key)) variants.set(key, variants.size);
    rowOfOrdinal.set(ordinal, row);
    sizes[row] = entry.sizeBytes;
    titleOfRow[row] = title;
    variantOfRow[row] = variants.get(key) ?? 0;
  });
  return {
    rows: ordinals.length,
    ordinals,
    sizes,
    rowOfOrdinal,
    titleOfRow,
    variantOfRow,
    variants: [...variants.keys()],
    ...programmesOf(titles),
  };
}

function programmesOf(
  titles: readonly ForecastTitle[],
): Pick<ForecastCatalogue, 'programmes' | 'programmeOfTitle'> {
  const groups = new Map<string, number[]>();
  titles.forEach(({ listing }, at) => {
    const key =
      listing.series !== undefined && listing.season !== undefined
        ? seasonKey(listing.series, listing.season)
        : `title ${listing.titleId}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [at]);
    else group.push(at);
  });
  const keys = [...groups.keys()];
  const placeOf = new Map(keys.map((key, at) => [key, at]));
  const programmeOfTitle = new Int32Array(titles.length);
  const programmes = keys.map((name, at): Programme => {
    const members = (groups.get(name) ?? []).toSorted(
      (a, b) => (titles[a].listing.episode ?? 0) - (titles[b].listing.episode ?? 0) || a - b,
    );
    for (const title of members) programmeOfTitle[title] = at;
    const { listing } = titles[members[0]];
    const releaseMs = Math.min(...members.map((title) => releaseMsOf(titles[title])));
    const releaseDay = Math.floor(releaseMs / DAY_MS);
    return {
      name,
      titles: members,
      class: listing.class,
      kind: listing.kind,
      language: listing.language ?? '',
      genre: listing.genre ?? '',
      priority: listing.release?.priority ?? 0,
      previous:
        listing.series !== undefined && listing.season !== undefined
          ? (placeOf.get(seasonKey(listing.series, listing.season - 1)) ?? -1)
          : -1,
      releaseDay,
      firstDayShare: Math.max(0.02, 1 - (releaseMs / DAY_MS - releaseDay)),
    };
  });
  return { programmes, programmeOfTitle };
}

function seasonKey(series: string, season: number): string {
  return `season ${season} of ${series}`;
}

/** When it could first be watched: the release where one is named, else the day it was taken in. */
function releaseMsOf({ listing, takenInAtMs }: ForecastTitle): number {
  const at = Date.parse(listing.release?.at ?? '');
  return Number.isNaN(at) ? takenInAtMs : at;
}
