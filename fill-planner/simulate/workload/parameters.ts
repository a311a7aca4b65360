/**
 * Every number of the workload generator, with its source. Nothing here is read by the forecaster, and nothing of the forecaster
 * is read here. `nightfill simulate calibrate` prints how far the generator is from the tables named below.
 *
 * Tables: (E) "What We Watched", four half-years 2023-2024, hours per title; (T) Netflix Top 10, weekly hours 2021-2025;
 *         (D) requests of one day of a large video service in a US and an EU metro; (O) Open Connect's public list of August 2023.
 * Fitted: by random search on log error, then written here. Assumed: nobody publishes it; the reason is beside it.
 */

/** (E) Share of a half-year's hours by rank: (k + q)^-alpha exp(-(k / k0)^b); within 14 % of the tables from rank 1 to 15,000. */
export const HOURS_BY_RANK = { alpha: 0.5415, q: 1.994, k0: 3402, b: 0.9605, ranks: 17_000 };

/** (E) How many of each range of ranks came out in the half-year that the report covers. */
export const RELEASES_BY_RANK = [
  { untilRank: 20, share: 0.74 },
  { untilRank: 100, share: 0.4 },
  { untilRank: 300, share: 0.24 },
  { untilRank: 1000, share: 0.115 },
  { untilRank: 3000, share: 0.052 },
  { untilRank: 17_000, share: 0.006 },
] as const;
export const HALF_YEAR_DAYS = 182;

/** (E) runtimes: a season above 200 minutes; share of seasons by range of ranks, episodes and minutes. */
export const SEASONS_BY_RANK = [
  { untilRank: 300, share: 0.75 },
  { untilRank: 3000, share: 0.5 },
  { untilRank: 17_000, share: 0.28 },
] as const;
export const FILM_MINUTES = { median: 103, sigma: 0.2 };
export const EPISODE_MINUTES = { median: 42, sigma: 0.3 };
export const SEASON_EPISODES = { least: 6, most: 12 };

/**
 * (T) Hours of a week over the week before, by weeks since entry, medians of entries then ranked 1 to 4 (leavers counted as the
 * lowest): the entry week holds about four days. After the last one the ratio stays.
 */
export const WEEK_RATIOS = {
  season: [1.003, 0.487, 0.596, 0.676, 0.723, 0.761, 0.759, 0.8],
  film: [0.826, 0.314, 0.475, 0.598, 0.646, 0.736, 0.8, 0.8],
} as const;
export const ENTRY_DAYS = 4;
/** (T) Spread of the logarithm of the second week's ratio: some titles hold, some fall. */
export const DECAY_SPREAD = 0.3;

/** (D) log of (requests over the day's mean) by local hour: constant, then cosine and sine of 1, 2, 3, 4 cycles a day. */
export const DAY_CURVES = {
  eu: [-0.151, -0.079, -0.637, 0.277, -0.306, 0.008, -0.016, -0.003, -0.015],
  us: [-0.042, 0.192, -0.32, 0.197, -0.115, 0.042, -0.002, -0.022, -0.063],
} as const;
/** (D) one day only; planning practice says weekends are 10 to 20 % higher. Monday first. */
export const WEEKDAY_FACTORS = [0.95, 0.94, 0.94, 0.95, 1.02, 1.12, 1.12] as const;
/** Assumed: a day's level is not known to better than this the day before (weather, football). */
export const DAY_LEVEL_SIGMA = 0.03;

/**
 * Tastes: log-normal factors per programme and language area, and per country. With a spread of 0.9 of log hours over the first
 * thousand ranks (E) they give a correlation of 0.9 between countries of one language and 0.5 across, as planning.md has it.
 */
export const AREA_TASTE_SIGMA = 0.8;
export const COUNTRY_TASTE_SIGMA = 0.4;
/** Assumed: log popularity wanders day by day; stationary spread 0.2, half of it forgotten in a week. */
export const DRIFT = { keep: 0.9, sigma: 0.2 };
/** Assumed: half of what a premiere is watched comes on top of the usual viewing. */
export const RELEASE_LIFT = 0.5;

/**
 * Assumed, as nobody publishes a ladder's shares: of the files of a title so many are video, audio, text; the views fall to them by
 * these shares, within a kind log-normally; bitrates log-uniform between the bounds, the more watched the higher. Every view takes
 * one file of each kind. The spread is fitted so that planned fill of the public list's sites reaches the published 90 to 95 %.
 */
export const LADDER = [
  { kind: 'video', files: 0.82, views: 0.42, sigma: 5, bpsMin: 100e3, bpsMax: 16e6 },
  { kind: 'audio', files: 0.13, views: 0.4, sigma: 5, bpsMin: 64e3, bpsMax: 768e3 },
  { kind: 'text', files: 0.05, views: 0.18, sigma: 5, bpsMin: 100, bpsMax: 1000 },
] as const;

/** Assumed: clients that a network change, a VPN or their own choice sends past their home. */
export const OTHER_SHARE = 0.004;
/** Planning.md: 56 % of sessions stop before half of the title, 20 % complete: the mean view is about this much of it. */
export const MEAN_VIEW_SHARE = 0.45;
/** Assumed: views of titles of a country a day per Gbit/s of its peak; only the noise of counts depends on it. */
export const NOISE_VIEWS_PER_GBPS = 6000;

/** Language areas by country as the public list names them; every other country is in one of OTHER_AREAS, by its name. */
export const LANGUAGE_AREAS: Readonly<Record<string, readonly string[]>> = {
  english: [
    'United States',
    'United Kingdom',
    'Canada',
    'Australia',
    'New Zealand',
    'Ireland',
    'South Africa',
    'Nigeria',
    'Kenya',
    'Jamaica',
    'Trinidad and Tobago',
    'Singapore',
    'Philippines',
  ],
  spanish: [
    'Spain',
    'Mexico',
    'Argentina',
    'Colombia',
    'Chile',
    'Peru',
    'Ecuador',
    'Bolivia',
    'Paraguay',
    'Uruguay',
    'Venezuela',
    'Costa Rica',
    'Panama',
    'Guatemala',
    'Honduras',
    'El Salvador',
    'Nicaragua',
    'Dominican Republic',
  ],
  portuguese: ['Brazil', 'Portugal', 'Angola', 'Mozambique'],
  french: ['France', 'Belgium', 'Luxembourg', 'Senegal', "Cote d'Ivoire", 'Cameroon', 'Reunion'],
  german: ['Germany', 'Austria', 'Switzerland'],
  eastAsian: [
    'Japan',
    'South Korea',
    'Taiwan',
    'Hong Kong',
    'Thailand',
    'Vietnam',
    'Malaysia',
    'Indonesia',
  ],
  southAsian: ['India', 'Pakistan', 'Bangladesh', 'Nepal', 'Sri Lanka'],
  arabic: [
    'Saudi Arabia',
    'Egypt',
    'United Arab Emirates',
    'Jordan',
    'Kuwait',
    'Qatar',
    'Morocco',
    'Oman',
    'Bahrain',
  ],
};
export const OTHER_AREAS = 4;
