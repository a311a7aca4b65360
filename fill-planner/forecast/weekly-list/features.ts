/**
 * What is known about a listed title at the end of a week, as a row of numbers for the regressions.
 *
 * Nothing here is tuned to a title or a date. What the features stand for: how long it is listed without a gap (`run`); the last
 * ratio, which tells a title that started at mid-week (its first week is short) from one that lost half; the ratio
 * before; the growth of its runtime, which tells that episodes still come out; its place against its list; a new season
 * of the same show.
 *
 * Shape:      featuresOf(list) -> one row per (series, week listed)
 * Units:      logarithms of hours
 * Invariants: (1) row (series, week) depends on entries of weeks <= week only
 */
import { medianOf } from '../probability.ts';
import type { WeeklyEntry, WeeklyList, WeeklySeries } from './weekly-list.ts';

export interface ListRow {
  readonly series: number;
  readonly week: number;
  readonly list: number;
  readonly hours: number;
  readonly age: number; // weeks since the series was first seen on its list
  readonly history: 'one-week' | 'longer'; // listed the week before, too?
  readonly features: Float64Array; // the constant first; of FEATURES_OF_HISTORY
}

export const LONG_RUN_WEEKS = 12; // a title first listed longer ago than this belongs to the catalogue

const RATIO_MAX = 2; // log units: an outlier beyond a factor of 7 is no more telling
const GROWTH_MIN = 0.04; // runtimes are rounded: less growth than 4 % is no new episode
const RUN_BINS = [1, 2, 3, 5]; // weeks without a gap before this one, upper ends; the last bin is open

interface Market {
  readonly median: number; // log hours
  readonly least: number;
}

export function featuresOf(list: WeeklyList): readonly ListRow[] {
  const markets = marketsOf(list);
  const firstWeeks = firstWeeksByShow(list);
  const rows: ListRow[] = [];
  list.series.forEach((series, at) => {
    for (const entry of series.entries) {
      if (entry.hours <= 0) continue;
      const market = markets.get(`${series.list} ${entry.week}`);
      if (market === undefined) continue;
      const previous = series.byWeek.get(entry.week - 1);
      const age = entry.week - series.entries[0].week;
      const hasHistory = previous !== undefined && previous.hours > 0;
      const newSeason = isNewSeason(firstWeeks, series, entry.week);
      rows.push({
        series: at,
        week: entry.week,
        list: series.list,
        hours: entry.hours,
        age,
        history: hasHistory ? 'longer' : 'one-week',
        features: Float64Array.from(
          hasHistory
            ? longerRow(series, entry, previous, market, age, newSeason, list.lists.length)
            : oneWeekRow(series, entry, market, age, newSeason, list.lists.length),
        ),
      });
    }
  });
  return rows;
}

function longerRow(
  series: WeeklySeries,
  entry: WeeklyEntry,
  previous: WeeklyEntry,
  market: Market,
  age: number,
  newSeason: number,
  lists: number,
): number[] {
  const x = Math.log(entry.hours);
  const ratio = clamped(x - Math.log(previous.hours), RATIO_MAX);
  const before = series.byWeek.get(entry.week - 2);
  const ratioBefore =
    before === undefined || before.hours <= 0
      ? 0
      : clamped(Math.log(previous.hours / before.hours), RATIO_MAX);
  const run = runOf(series, entry.week);
  const bin = RUN_BINS.findIndex((end) => run <= end);
  const runBin = bin === -1 ? RUN_BINS.length : bin;
  const isSecond = runBin === 0 ? 1 : 0;
  const grows = growthOf(previous, entry);
  const aboveLeast = x - market.least;
  const row = [1];
  for (let i = 0; i <= RUN_BINS.length; i++) {
    if (i > 0) row.push(Number(runBin === i));
    row.push(runBin === i ? ratio : 0);
  }
  row.push(isSecond * Math.max(0, ratio), (1 - isSecond) * Math.max(0, ratio));
  row.push(isSecond * Math.max(0, ratio + 0.5), isSecond * Math.max(0, ratio - 0.25));
  row.push(Math.max(0, ratio - 0.5), isSecond * ratio * ratio);
  row.push(runBin === 1 ? ratioBefore : 0, runBin > 1 ? ratioBefore : 0);
  for (let i = 1; i < lists; i++) {
    const isList = Number(series.list === i);
    row.push(isList, isList * isSecond, isList * isSecond * ratio);
  }
  row.push(Number(grows > 0), grows, grows > 0 ? ratio : 0);
  row.push(x - market.median, isSecond * aboveLeast, aboveLeast, aboveLeast * aboveLeast);
  row.push(Math.log(entry.rank), isSecond * Math.log(entry.rank));
  row.push(Number(age > LONG_RUN_WEEKS), age > LONG_RUN_WEEKS ? ratio : 0);
  row.push(Number(newSeason > 0), Number(newSeason === 2));
  return row;
}

function oneWeekRow(
  series: WeeklySeries,
  entry: WeeklyEntry,
  market: Market,
  age: number,
  newSeason: number,
  lists: number,
): number[] {
  const x = Math.log(entry.hours);
  const aboveLeast = x - market.least;
  const isBack = Number(age > 0);
  const row = [1, isBack, Number(age > LONG_RUN_WEEKS), x - market.median, aboveLeast];
  row.push(aboveLeast * aboveLeast, isBack * aboveLeast, Math.log(entry.rank));
  for (let i = 1; i < lists; i++) {
    const isList = Number(series.list === i);
    row.push(isList, isList * aboveLeast, isList * isBack);
  }
  row.push(Number(newSeason > 0), Number(newSeason === 2), Number(entry.runtimeHours > 0));
  row.push(entry.runtimeHours > 0 ? Math.log(entry.runtimeHours) : 0);
  return row;
}

/** Weeks listed without a gap before `week`. */
function runOf(series: WeeklySeries, week: number): number {
  let run = 0;
  while (series.byWeek.has(week - run - 1)) run++;
  return run;
}

function growthOf(previous: WeeklyEntry, entry: WeeklyEntry): number {
  if (previous.runtimeHours <= 0 || entry.runtimeHours <= 0) return 0;
  const growth = Math.log(entry.runtimeHours / previous.runtimeHours);
  return growth < GROWTH_MIN ? 0 : Math.min(1, growth);
}

/** 1: another season of the show was first listed this week; 2: the week before; 0: neither. */
function isNewSeason(
  firstWeeks: ReadonlyMap<string, readonly { key: string; week: number }[]>,
  series: WeeklySeries,
  week: number,
): number {
  const own = series.entries[0].week;
  for (const other of firstWeeks.get(`${series.list}\t${series.show}`) ?? []) {
    if (other.key === series.key || other.week <= own) continue;
    if (other.week === week) return 1;
    if (other.week === week - 1) return 2;
  }
  return 0;
}

function firstWeeksByShow(
  list: WeeklyList,
): ReadonlyMap<string, readonly { key: string; week: number }[]> {
  const found = new Map<string, { key: string; week: number }[]>();
  for (const series of list.series) {
    const key = `${series.list}\t${series.show}`;
    const entry = { key: series.key, week: series.entries[0].week };
    found.set(key, [...(found.get(key) ?? []), entry]);
  }
  return found;
}

function marketsOf(list: WeeklyList): ReadonlyMap<string, Market> {
  const hours = new Map<string, number[]>();
  for (const series of list.series) {
    for (const entry of series.entries) {
      if (entry.hours <= 0) continue;
      const key = `${series.list} ${entry.week}`;
      const listed = hours.get(key);
      if (listed === undefined) hours.set(key, [entry.hours]);
      else listed.push(entry.hours);
    }
  }
  return new Map(
    [...hours].map(([key, listed]) => [
      key,
      { median: Math.log(medianOf(listed)), least: Math.log(Math.min(...listed)) },
    ]),
  );
}

function clamped(value: number, most: number): number {
  return Math.max(-most, Math.min(most, value));
}
