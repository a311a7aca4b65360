/**
 * What is watched in a country on a day: the truth that the planner only sees counts of.
 *
 * Units:      `titleViews`: share of the country's title views that ONE title of the cell gets; titles x it sum to 1 over cells
 * Invariants: (1) same seed, country and day, same numbers, whatever else was asked for
 */
import { nameKey, normal } from './chance.ts';
import {
  AREA_TASTE_SIGMA,
  COUNTRY_TASTE_SIGMA,
  DRIFT,
  HALF_YEAR_DAYS,
  LANGUAGE_AREAS,
  OTHER_AREAS,
} from './parameters.ts';
import { decayAt, decayIntegral, type Cell } from './programmes.ts';

const PURPOSE = { area: 11, country: 12, drift: 13, noise: 15 } as const;
const ANNOUNCED_DAYS = 2; // a release is planned for from two days before, as the nightly planner does
const PRIOR_DAYS = 3; // and until its own views speak

export interface CountryDay {
  readonly titleViews: Float64Array; // per cell
  readonly releaseShare: number; // of view-seconds: releases of the scenario's calendar
}

export function areaOf(country: string): string {
  for (const [area, countries] of Object.entries(LANGUAGE_AREAS)) {
    if (countries.includes(country)) return area;
  }
  return `other-${nameKey(country) % OTHER_AREAS}`;
}

/** What countries have in common: levels by age for the whole world, drifts by language area, day by day. */
export class Moods {
  readonly #cells: readonly Cell[];
  readonly #seed: number;
  readonly #firstDay: number;
  readonly #byArea = new Map<string, Float32Array[]>();
  readonly #levels = new Map<number, Float64Array>();
  readonly #decays: Float64Array; // integral of a release's decay

  constructor(cells: readonly Cell[], seed: number, firstDay: number) {
    this.#cells = cells;
    this.#seed = seed;
    this.#firstDay = firstDay;
    this.#decays = Float64Array.from(cells, (cell) =>
      cell.releaseDay === null ? 1 : decayIntegral(cell.isSeason, cell.decay, HALF_YEAR_DAYS),
    );
  }

  /** Hours a day over the mean of the half-year, by age: 1 for the catalogue, 0 for what is not out yet. */
  levels(day: number): Float64Array {
    let levels = this.#levels.get(day);
    if (levels === undefined) {
      levels = Float64Array.from(this.#cells, (_, at) => this.levelAt(at, day));
      this.#levels.set(day, levels);
    }
    return levels;
  }

  levelAt(at: number, day: number): number {
    const { releaseDay, isSeason, decay } = this.#cells[at];
    if (releaseDay === null) return 1;
    return (decayAt(isSeason, decay, day - releaseDay) / this.#decays[at]) * HALF_YEAR_DAYS;
  }

  on(area: string, day: number): Float32Array {
    let days = this.#byArea.get(area);
    if (days === undefined) this.#byArea.set(area, (days = [this.#drawn(area, this.#firstDay, 1)]));
    while (days.length <= day - this.#firstDay) {
      const before = days[days.length - 1];
      const fresh = this.#drawn(area, this.#firstDay + days.length, Math.sqrt(1 - DRIFT.keep ** 2));
      days.push(fresh.map((value, at) => value + DRIFT.keep * before[at]));
    }
    return days[day - this.#firstDay];
  }

  #drawn(area: string, day: number, share: number): Float32Array {
    const key = nameKey(area) ^ PURPOSE.drift;
    return Float32Array.from(
      this.#cells,
      (cell) => share * DRIFT.sigma * normal(this.#seed, cell.key, key, day + 1000),
    );
  }
}

export class CountryViewing {
  readonly #cells: readonly Cell[];
  readonly #seed: number;
  readonly #country: string;
  readonly #area: string;
  readonly #moods: Moods;
  readonly #base: Float64Array; // hours a day over titles and seconds: views of one title

  constructor(cells: readonly Cell[], seed: number, country: string, moods: Moods) {
    this.#cells = cells;
    this.#seed = seed;
    this.#country = country;
    this.#area = areaOf(country);
    this.#moods = moods;
    const areaKey = nameKey(this.#area);
    const countryKey = nameKey(country);
    this.#base = Float64Array.from(cells, (cell) => {
      const taste =
        AREA_TASTE_SIGMA * normal(seed, cell.key, areaKey, PURPOSE.area) +
        COUNTRY_TASTE_SIGMA * normal(seed, cell.key, countryKey, PURPOSE.country) -
        (AREA_TASTE_SIGMA ** 2 + COUNTRY_TASTE_SIGMA ** 2) / 2;
      // An event of the scenario says its own share: tastes leave it alone.
      const liked = cell.event === null ? Math.exp(taste) : 1;
      return (liked * cell.hoursShare) / (cell.titles * cell.seconds);
    });
  }

  on(day: number): CountryDay {
    const cells = this.#cells;
    const mood = this.#moods.on(this.#area, day);
    const levels = this.#moods.levels(day);
    const views = new Float64Array(cells.length);
    let total = 0;
    let seconds = 0;
    let ofEvents = 0;
    for (let at = 0; at < cells.length; at++) {
      const cell = cells[at];
      const level = levels[at];
      if (level === 0 || !this.#isShown(cell)) continue;
      const value = this.#base[at] * level * (cell.event === null ? Math.exp(mood[at]) : 1);
      views[at] = value;
      total += value * cell.titles;
      seconds += value * cell.titles * cell.seconds;
      if (cell.event !== null) ofEvents += value * cell.titles * cell.seconds;
    }
    for (let at = 0; at < views.length; at++) views[at] /= total;
    return { titleViews: views, releaseShare: ofEvents / seconds };
  }

  /** What is announced of the scenario's own releases, as views of one title; 0 for all others, of which the planner knows no more than counts say. */
  announced(day: number, truth: ArrayLike<number>): Float64Array {
    const expected = new Float64Array(this.#cells.length);
    this.#cells.forEach((cell, at) => {
      const { releaseDay, event } = cell;
      if (releaseDay === null || event === null || !this.#isShown(cell)) return;
      const age = day - releaseDay;
      if (age < -ANNOUNCED_DAYS || age >= PRIOR_DAYS) return;
      // Before it is out: as on its first day.
      const level =
        age < 0
          ? this.#moods.levelAt(at, releaseDay) * this.#base[at] * this.#norm(truth)
          : truth[at];
      expected[at] = level * event.forecastFactor;
    });
    return expected;
  }

  /** Views of whole cells, as counted: the truth and the noise of counting `views` title views. */
  counted(day: number, titleViews: ArrayLike<number>, views: number): Float64Array {
    const key = nameKey(this.#country) ^ PURPOSE.noise;
    return Float64Array.from(this.#cells, (cell, at) => {
      const mean = titleViews[at] * views;
      if (mean === 0) return 0;
      // The noise of one title stands for all of its cell: each is forecast from its own counts.
      const noise = Math.sqrt(mean) * normal(this.#seed, cell.key, key, day + 1000);
      return cell.titles * Math.max(0, mean + noise);
    });
  }

  /** From `base` to shares of a day: by any catalogue title, whose level is 1 and whose mood is near 0. */
  #norm(truth: ArrayLike<number>): number {
    let views = 0;
    let base = 0;
    for (let at = 0; at < truth.length; at++) {
      if (this.#cells[at].releaseDay !== null) continue;
      views += truth[at] * this.#cells[at].titles;
      base += this.#base[at] * this.#cells[at].titles;
    }
    return base > 0 ? views / base : 0;
  }

  #isShown(cell: Cell): boolean {
    const countries = cell.event?.countries ?? null;
    return countries === null || countries.includes(this.#country);
  }
}
