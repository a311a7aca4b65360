/**
 * What part of a programme's views goes to each of its titles (episodes), and of a title's to each of its files (variants).
 *
 * Both are Dirichlet-multinomial. Prior of an episode: how views fall with the position in a season, over all seasons.
 * Prior of a file: how the devices of its country share views among variants (kind, codec, height, bitrate, language), over all
 * titles, shrunk to the world's mix. A file with enough data of its own overrules both: that is the correction.
 *
 * Invariants: (1) shares of the titles of a programme sum to 1, so do those of the files of a title
 *             (2) every share is positive
 */
import type { DemandDay } from './demand-records.ts';
import type { ForecastCatalogue } from './programmes.ts';
import type { RegionTree } from './region-tree.ts';
import { shareConcentration, shrunkShares, STRENGTH_MAX, type ShareGroup } from './shrinkage.ts';

export interface FileShares {
  readonly titleShares: Float64Array; // of its programme
  /** Share of each file in its title, as watched in the country of a cluster. */
  readonly ofCountry: (country: number) => Float64Array;
}

const EPISODE_HALF_LIFE = 4; // days: a season is watched from front to back
const VARIANT_HALF_LIFE = 14;
const COUNTRY_STRENGTH = 500; // views before the devices of a country are its own
const VARIANT_FLOOR = 0.5; // views: a variant that nobody has watched yet
const POSITIONS_MAX = 64;
const COUNTRY_LEVEL = 2;

export function learnFileShares(
  catalogue: ForecastCatalogue,
  tree: RegionTree,
  days: readonly DemandDay[],
  atDay: number,
): FileShares {
  const titles = new Float64Array(catalogue.programmeOfTitle.length);
  const files = new Float64Array(catalogue.rows);
  const variants = catalogue.variants.length;
  const byCountry = new Map<number, Float64Array>();
  const world = new Float64Array(variants).fill(VARIANT_FLOOR);
  for (const day of days) {
    if (day.day >= atDay) continue;
    const episodeWeight = 0.5 ** ((atDay - day.day) / EPISODE_HALF_LIFE);
    const variantWeight = 0.5 ** ((atDay - day.day) / VARIANT_HALF_LIFE);
    for (let i = 0; i < day.rows.length; i++) {
      const row = day.rows[i];
      const views = variantWeight * day.views[i];
      titles[catalogue.titleOfRow[row]] += episodeWeight * day.views[i];
      files[row] += views;
      world[catalogue.variantOfRow[row]] += views;
      if (day.clusters[i] < 0) continue;
      const country = tree.paths[day.clusters[i]][COUNTRY_LEVEL];
      let own = byCountry.get(country);
      if (own === undefined) byCountry.set(country, (own = new Float64Array(variants)));
      own[catalogue.variantOfRow[row]] += views;
    }
  }
  const rowsOfTitle = rowsByTitle(catalogue);
  const worldMix = normalised(world);
  const concentration = shareConcentration(
    rowsOfTitle.map((rows) => variantGroup(catalogue, rows, files, worldMix)),
  );
  const cache = new Map<number, Float64Array>();
  return {
    titleShares: episodeShares(catalogue, titles),
    ofCountry: (country) => {
      let shares = cache.get(country);
      if (shares === undefined) {
        const mix = mixOfCountry(byCountry.get(country), worldMix);
        shares = new Float64Array(catalogue.rows);
        for (const rows of rowsOfTitle) {
          const { counts, prior } = variantGroup(catalogue, rows, files, mix);
          const posterior = shrunkShares(counts, prior, concentration);
          for (let k = 0; k < rows.length; k++) shares[rows[k]] = posterior[k];
        }
        cache.set(country, shares);
      }
      return shares;
    },
  };
}

function rowsByTitle(catalogue: ForecastCatalogue): readonly (readonly number[])[] {
  const rows: number[][] = Array.from({ length: catalogue.programmeOfTitle.length }, () => []);
  for (let row = 0; row < catalogue.rows; row++) rows[catalogue.titleOfRow[row]].push(row);
  return rows;
}

function variantGroup(
  catalogue: ForecastCatalogue,
  rows: readonly number[],
  files: Float64Array,
  mix: Float64Array,
): ShareGroup {
  const prior = rows.map((row) => mix[catalogue.variantOfRow[row]]);
  const total = prior.reduce((sum, share) => sum + share, 0);
  return {
    counts: rows.map((row) => files[row]),
    prior: prior.map((share) => share / total),
  };
}

function mixOfCountry(own: Float64Array | undefined, world: Float64Array): Float64Array {
  if (own === undefined) return world;
  let total = 0;
  for (const views of own) total += views;
  return own.map((views, k) => (COUNTRY_STRENGTH * world[k] + views) / (COUNTRY_STRENGTH + total));
}

/** Posterior share of each title in its programme; 1 where it is the only one. */
function episodeShares(catalogue: ForecastCatalogue, titles: Float64Array): Float64Array {
  const seasons = catalogue.programmes.filter((programme) => programme.titles.length > 1);
  const byPosition = new Float64Array(POSITIONS_MAX);
  const seenAt = new Float64Array(POSITIONS_MAX);
  for (const { titles: members } of seasons) {
    let total = 0;
    for (const title of members) total += titles[title];
    if (total === 0) continue;
    members.slice(0, POSITIONS_MAX).forEach((title, at) => {
      byPosition[at] += (titles[title] / total) * members.length;
      seenAt[at]++;
    });
  }
  const curve = byPosition.map((sum, at) =>
    seenAt[at] > 0 ? Math.max(0.05, sum / seenAt[at]) : 1,
  );
  const groups = seasons.map(({ titles: members }): ShareGroup => {
    const prior = members.map((_, at) => curve[Math.min(at, POSITIONS_MAX - 1)]);
    const total = prior.reduce((sum, share) => sum + share, 0);
    return {
      counts: members.map((title) => titles[title]),
      prior: prior.map((share) => share / total),
    };
  });
  const concentration = groups.length > 0 ? shareConcentration(groups) : STRENGTH_MAX;
  const shares = new Float64Array(titles.length).fill(1);
  seasons.forEach(({ titles: members }, at) => {
    const { counts, prior } = groups[at];
    shrunkShares(counts, prior, concentration).forEach((share, k) => (shares[members[k]] = share));
  });
  return shares;
}

function normalised(values: Float64Array): Float64Array {
  const total = values.reduce((sum, value) => sum + value, 0);
  return values.map((value) => value / total);
}
