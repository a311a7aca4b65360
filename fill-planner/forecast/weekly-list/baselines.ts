/**
 * What anybody would forecast for a weekly list without much thought: printed beside every result.
 *
 * Invariants: (1) a baseline at origin o looks at weeks <= o only; the oracle looks at the answer, and says so by its name
 */
import { fitLevel, levelAt } from '../level.ts';
import { medianOf } from '../probability.ts';
import type { ListRow } from './features.ts';
import { decayByWeeks } from './model.ts';
import type { WeeklyList } from './weekly-list.ts';

export type Baseline = (row: ListRow) => number;
export const BASELINE_NAMES = [
  'last period',
  '4-period mean',
  'seasonal naive',
  'EWMA',
  'Holt-Winters',
  'median decay by age',
  'top list',
  'oracle',
] as const;
export type BaselineName = (typeof BASELINE_NAMES)[number];

const YEAR_WEEKS = 52;
const EWMA_WEIGHT = 0.5;

/** The baselines as they stand at the end of week `origin`; `rows` are all rows of the list. */
export function baselinesAt(
  list: WeeklyList,
  rows: readonly ListRow[],
  origin: number,
  step: number,
): { readonly [name in BaselineName]: Baseline } {
  const hoursAt = (row: ListRow, week: number): number | undefined =>
    list.series[row.series].byWeek.get(week)?.hours;
  const known = rows.filter((row) => row.week + step <= origin);
  const decay = decayByWeeks(list, known, step);
  const typical = typicalByRank(list, origin);
  return {
    'last period': (row) => row.hours,
    '4-period mean': (row) => {
      const seen = [0, 1, 2, 3].map((back) => hoursAt(row, origin - back));
      const listed = seen.filter((hours) => hours !== undefined);
      return listed.reduce((sum, hours) => sum + hours, 0) / listed.length;
    },
    'seasonal naive': (row) => hoursAt(row, origin + step - YEAR_WEEKS) ?? row.hours,
    EWMA: (row) => {
      let level: number | null = null;
      for (const { week, hours } of list.series[row.series].entries) {
        if (week > origin) break;
        level = level === null ? hours : EWMA_WEIGHT * hours + (1 - EWMA_WEIGHT) * level;
      }
      return level ?? row.hours;
    },
    'Holt-Winters': (row) => {
      const run: number[] = [];
      for (let week = origin; hoursAt(row, week) !== undefined; week--) {
        run.unshift(hoursAt(row, week) ?? 0);
      }
      return levelAt(fitLevel(run, 1), step);
    },
    'median decay by age': (row) => row.hours * Math.exp(decay.of(row)),
    'top list': (row) => {
      const rank = list.series[row.series].byWeek.get(origin)?.rank ?? 0;
      return typical.get(`${row.list} ${rank}`) ?? row.hours;
    },
    oracle: (row) => hoursAt(row, origin + step) ?? 0,
  };
}

/** This week's list as it stands for next week: the hours that its rank usually has. */
function typicalByRank(list: WeeklyList, origin: number): ReadonlyMap<string, number> {
  const hours = new Map<string, number[]>();
  for (const series of list.series) {
    for (const entry of series.entries) {
      if (entry.week > origin || entry.week <= origin - YEAR_WEEKS) continue;
      const key = `${series.list} ${entry.rank}`;
      const same = hours.get(key);
      if (same === undefined) hours.set(key, [entry.hours]);
      else same.push(entry.hours);
    }
  }
  return new Map([...hours].map(([key, same]) => [key, medianOf(same)]));
}
