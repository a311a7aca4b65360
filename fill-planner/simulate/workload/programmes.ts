/**
 * The catalogue as cells: a film or a season each where it is popular or new, bundles of like ones in the tail.
 *
 * Shape:      (programmes, horizon, seed, releases of the calendar) -> cells
 * Units:      `hoursShare` of a half-year's hours; days from the scenario's first day, which is 0
 * Invariants: (1) a programme's chances depend on its rank and the seed, not on how it is bundled
 *             (2) hours of all cells sum to about 1 over any half-year
 */
import { hashOf, normal, uniform } from './chance.ts';
import {
  DECAY_SPREAD,
  ENTRY_DAYS,
  EPISODE_MINUTES,
  FILM_MINUTES,
  HALF_YEAR_DAYS,
  HOURS_BY_RANK,
  RELEASES_BY_RANK,
  SEASON_EPISODES,
  SEASONS_BY_RANK,
  WEEK_RATIOS,
} from './parameters.ts';

export interface Cell {
  readonly key: number; // what its chances hang on
  readonly titles: number; // episodes x programmes of the bundle
  readonly seconds: number; // of one title
  readonly hoursShare: number; // of the whole cell: for a release, over its first half-year
  readonly isSeason: boolean;
  readonly releaseDay: number | null;
  readonly decay: number; // exponent on the usual decay
  /** An event of the scenario: its name, where it may be shown, and what the planner expects of it over what comes. */
  readonly event: {
    readonly name: string;
    readonly countries: readonly string[] | null;
    readonly forecastFactor: number;
  } | null;
}

export interface ReleaseEvent {
  readonly name: string;
  readonly day: number;
  readonly episodes: number;
  readonly firstWeekShare: number;
  readonly forecastFactor: number;
  readonly countries: readonly string[] | null;
}

export interface ProgrammeOptions {
  readonly seed: number;
  readonly programmes: number;
  readonly days: number; // of the scenario
  readonly releaseScale: number;
  readonly releases: readonly ReleaseEvent[];
  /** False: every programme is a cell of its own, as the request level wants it. */
  readonly isBundled: boolean;
}

const HISTORY_DAYS = HALF_YEAR_DAYS; // releases older than that are catalogue
const BUNDLES = [
  { untilRank: 300, size: 1 },
  { untilRank: 1500, size: 6 },
  { untilRank: 5000, size: 25 },
  { untilRank: Infinity, size: 100 },
] as const;
const RELEASE_KEYS = 1 << 24; // keys of releases lie above those of ranks
const EVENT_KEYS = 1 << 25;

export function programmesOf(options: ProgrammeOptions): readonly Cell[] {
  const hours = hoursByRank(options.programmes);
  const cells: Cell[] = [...catalogueCells(options, hours), ...releaseCells(options, hours)];
  const weekly = 7 / HALF_YEAR_DAYS;
  options.releases.forEach((event, at) => {
    const firstWeek = decayIntegral(true, 1, 7) / decayIntegral(true, 1, HALF_YEAR_DAYS);
    cells.push({
      key: EVENT_KEYS + at,
      titles: event.episodes,
      seconds: 60 * EPISODE_MINUTES.median,
      hoursShare: (event.firstWeekShare * weekly) / firstWeek / (1 - event.firstWeekShare),
      isSeason: true,
      releaseDay: event.day,
      decay: 1,
      event: {
        name: event.name,
        countries: event.countries,
        forecastFactor: event.forecastFactor,
      },
    });
  });
  return cells;
}

function* catalogueCells(options: ProgrammeOptions, hours: Float64Array): Generator<Cell> {
  const { seed } = options;
  for (let rank = 1; rank <= hours.length;) {
    const bundle = BUNDLES.find(({ untilRank }) => rank <= untilRank);
    const size = options.isBundled ? Math.min(bundle?.size ?? 1, hours.length - rank + 1) : 1;
    // The programmes of a bundle that are catalogue, weighed by how likely each is; the middle one stands for all.
    let share = 0;
    let count = 0;
    for (let at = rank; at < rank + size; at++) {
      const kept = 1 - shareAt(RELEASES_BY_RANK, scaledRank(at, hours.length));
      const isKept = size > 1 ? kept : Number(uniform(seed, at, 1) < kept);
      share += hours[at - 1] * isKept;
      count += isKept;
    }
    const key = rank + (size >>> 1);
    rank += size;
    if (count === 0) continue;
    if (size === 1) {
      yield cell(seed, key, hours.length, share, 1, null);
      continue;
    }
    // Films and seasons of a bundle are two cells, else the whole bundle would be one or the other.
    const seasons = shareAt(SEASONS_BY_RANK, scaledRank(key, hours.length));
    yield cell(seed, key, hours.length, share * seasons, count * seasons, null, true);
    yield cell(
      seed,
      key + RELEASE_KEYS / 2,
      hours.length,
      share * (1 - seasons),
      count * (1 - seasons),
      null,
      false,
    );
  }
}

/** Releases of half a year back to the end, at an even rate; ranks by how many of each range are releases. */
function* releaseCells(options: ProgrammeOptions, hours: Float64Array): Generator<Cell> {
  const { seed, days, releaseScale } = options;
  const expected = Float64Array.from(hours, (_, at) =>
    shareAt(RELEASES_BY_RANK, scaledRank(at + 1, hours.length)),
  );
  // A report sees a release from its day on only: its whole first half-year is more than that.
  const seen = meanSeenShare();
  for (let rank = 1; rank <= hours.length; rank++) {
    const mean = (expected[rank - 1] * (HISTORY_DAYS + days)) / HALF_YEAR_DAYS;
    const count = Math.floor(mean + uniform(seed, rank, 2));
    for (let copy = 0; copy < count; copy++) {
      const key = RELEASE_KEYS + rank * 64 + copy;
      const releaseDay = Math.floor(uniform(seed, key, 3) * (HISTORY_DAYS + days)) - HISTORY_DAYS;
      const share = (hours[rank - 1] * releaseScale) / seen;
      yield cell(seed, key, hours.length, share, 1, releaseDay, undefined, rank);
    }
  }
}

function cell(
  seed: number,
  key: number,
  ranks: number,
  hoursShare: number,
  programmes: number,
  releaseDay: number | null,
  asSeason?: boolean,
  rank = key,
): Cell {
  const seasons = shareAt(SEASONS_BY_RANK, scaledRank(rank, ranks));
  const isSeason = asSeason ?? uniform(seed, key, 4) < seasons;
  const { median, sigma } = isSeason ? EPISODE_MINUTES : FILM_MINUTES;
  const { least, most } = SEASON_EPISODES;
  const episodes = isSeason ? least + (hashOf(seed, key, 5) % (most - least + 1)) : 1;
  return {
    key,
    titles: programmes * episodes,
    seconds: 60 * median * Math.exp(sigma * normal(seed, key, 6)),
    hoursShare,
    isSeason,
    releaseDay,
    decay: Math.exp(DECAY_SPREAD * normal(seed, key, 7)),
    event: null,
  };
}

/** Shares of a half-year's hours by rank, 1 first; a catalogue of another size stretches the same law. */
export function hoursByRank(programmes: number): Float64Array {
  const { alpha, q, k0, b, ranks } = HOURS_BY_RANK;
  const hours = Float64Array.from({ length: programmes }, (_, at) => {
    const rank = ((at + 0.5) * ranks) / programmes + 0.5;
    return (rank + q) ** -alpha * Math.exp(-((rank / k0) ** b));
  });
  const total = hours.reduce((sum, value) => sum + value, 0);
  return hours.map((value) => value / total);
}

function scaledRank(rank: number, programmes: number): number {
  return (rank * HOURS_BY_RANK.ranks) / programmes;
}

function shareAt(
  table: readonly { readonly untilRank: number; readonly share: number }[],
  rank: number,
): number {
  return (table.find(({ untilRank }) => rank <= untilRank) ?? table[table.length - 1]).share;
}

// ---------------------------------------------------------------- decay

/** Hours a day by age, of a title whose entry week has 1: log-linear between the middles of weeks. */
const DECAY_POINTS = {
  season: decayPoints(WEEK_RATIOS.season),
  film: decayPoints(WEEK_RATIOS.film),
};

function decayPoints(ratios: readonly number[]): readonly (readonly [number, number])[] {
  const points: [number, number][] = [[ENTRY_DAYS / 2, Math.log(1 / ENTRY_DAYS)]];
  let week = 1;
  for (let at = 0; at <= HALF_YEAR_DAYS / 7 + 1; at++) {
    week *= ratios[Math.min(at, ratios.length - 1)];
    points.push([ENTRY_DAYS + 7 * at + 3.5, Math.log(week / 7)]);
  }
  return points;
}

/** Hours on the day of that age (0: the first), relative to the others; `power` stretches the fall. */
export function decayAt(isSeason: boolean, power: number, ageDays: number): number {
  if (ageDays < 0 || ageDays >= HALF_YEAR_DAYS) return 0;
  const points = isSeason ? DECAY_POINTS.season : DECAY_POINTS.film;
  const x = ageDays + 0.5;
  let at =
    x < points[1][0] ? 0 : Math.min(points.length - 2, 1 + Math.floor((x - points[1][0]) / 7));
  while (at > 0 && points[at][0] > x) at--;
  const [x0, y0] = points[at];
  const [x1, y1] = points[at + 1];
  const log = y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
  const top = points[0][1];
  return Math.exp(top + power * (Math.min(log, top) - top));
}

export function decayIntegral(isSeason: boolean, power: number, days: number): number {
  let sum = 0;
  for (let age = 0; age < days; age++) sum += decayAt(isSeason, power, age);
  return sum;
}

/** Mean share of a first half-year's hours that a report sees, over releases on any of its days. */
function meanSeenShare(): number {
  const whole = decayIntegral(true, 1, HALF_YEAR_DAYS);
  let sum = 0;
  for (let days = 1; days <= HALF_YEAR_DAYS; days++) sum += decayIntegral(true, 1, days) / whole;
  return sum / HALF_YEAR_DAYS;
}
