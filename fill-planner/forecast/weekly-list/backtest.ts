/**
 * The backtest on a weekly top list: rolling origin over the last weeks, one and two steps ahead, ours beside the baselines.
 *
 * The headline `wape` is over titles listed the week before, this week and then (at least two weeks of history, staying).
 * Its classes: decaying and catalogue are the same titles by weeks since they were first listed; new is a title in its first week
 * (one week of history), which the headline leaves out. A leaver was watched somewhere in [0, last place]: it costs the distance to
 * that interval. Membership is scored by Brier; a title that enters anew is in no forecast of a list of ten, and not scored.
 */
import {
  ErrorSum,
  RegretSum,
  type AgeClass,
  type ModelScore,
  type Score,
} from '../backtest/metrics.ts';
import { medianOf } from '../probability.ts';
import { BASELINE_NAMES, baselinesAt } from './baselines.ts';
import { featuresOf, LONG_RUN_WEEKS, type ListRow } from './features.ts';
import { lastPlaces, rollForecasts, type ListForecast } from './model.ts';
import type { WeeklyList } from './weekly-list.ts';

export const SCORED_WEEKS = 52;
const WARM_UP_WEEKS = 52; // the experts and the bands learn on settled forecasts of these
const WEEKS_MIN = 12;
const STORAGE_SHARE = 0.25; // placement: a quarter of what the listed titles need

/** One title at one origin, by every model. */
interface Case {
  readonly row: ListRow;
  readonly actual: number | null; // null: it left
  readonly lastPlace: number; // of its list then
  readonly weight: number; // size: hours of its runtime
  readonly forecasts: ReadonlyMap<string, Forecast>;
}

interface Forecast {
  readonly ifListed: number;
  readonly hours: number;
  readonly stays?: number;
  readonly low?: number;
  readonly high?: number;
}

export function backtestList(list: WeeklyList, name: string): readonly ModelScore[] {
  if (list.weeks < WEEKS_MIN) return [];
  const scored = Math.min(SCORED_WEEKS, Math.floor(list.weeks / 2));
  const scores: ModelScore[] = [];
  for (const step of [1, 2]) {
    const to = list.weeks - step; // the last origin whose answer is known, exclusive
    const from = Math.max(1, list.weeks - 1 - scored);
    const made = rollForecasts(list, { from: Math.max(1, from - WARM_UP_WEEKS), to, step });
    const cases = casesOf(list, made, from, step);
    for (const model of ['ours', ...BASELINE_NAMES]) scores.push(scoreOf(name, model, step, cases));
    scores.push(baseRateScore(name, step, list, cases));
  }
  return scores;
}

function casesOf(
  list: WeeklyList,
  made: readonly ListForecast[],
  from: number,
  step: number,
): readonly Case[] {
  const rows = featuresOf(list);
  const least = lastPlaces(list);
  const runtimes = typicalRuntimes(list, from);
  const cases: Case[] = [];
  let origin = -1;
  let baselines = baselinesAt(list, rows, 0, step);
  for (const forecast of made) {
    if (forecast.origin < from) continue;
    if (forecast.origin !== origin) {
      origin = forecast.origin;
      baselines = baselinesAt(list, rows, origin, step);
    }
    const { row } = forecast;
    const lastPlace = least.get(`${row.list} ${origin + step}`);
    if (lastPlace === undefined) continue; // the whole week is missing
    const series = list.series[row.series];
    const runtime = series.byWeek.get(origin)?.runtimeHours ?? 0;
    const { ifListed, hours, stays, low, high } = forecast;
    const forecasts = new Map<string, Forecast>([['ours', { ifListed, hours, stays, low, high }]]);
    for (const name of BASELINE_NAMES) {
      const value = baselines[name](row);
      forecasts.set(name, { ifListed: value, hours: value });
    }
    cases.push({
      row,
      actual: series.byWeek.get(origin + step)?.hours ?? null,
      lastPlace,
      weight: runtime > 0 ? runtime : runtimes[row.list],
      forecasts,
    });
  }
  return cases;
}

function scoreOf(data: string, model: string, step: number, cases: readonly Case[]): ModelScore {
  const headline = new ErrorSum();
  const classes: { [name in AgeClass]: ErrorSum } = {
    new: new ErrorSum(),
    decaying: new ErrorSum(),
    catalogue: new ErrorSum(),
  };
  let within = 0;
  let banded = 0;
  let brier = 0;
  let leaverError = 0;
  let leaverScale = 0;
  for (const { row, actual, lastPlace, forecasts } of cases) {
    const forecast = forecasts.get(model);
    if (forecast === undefined) continue;
    brier += (stayOf(model, forecast, actual) - (actual === null ? 0 : 1)) ** 2;
    if (actual === null) {
      leaverError += model === 'oracle' ? 0 : Math.max(0, forecast.hours - lastPlace);
      leaverScale += lastPlace;
      continue;
    }
    if (row.history === 'longer') headline.add(forecast.ifListed, actual);
    const age = row.age > LONG_RUN_WEEKS ? 'catalogue' : 'decaying';
    if (row.history === 'longer') classes[age].add(forecast.ifListed, actual);
    else if (row.age === 0) classes.new.add(forecast.ifListed, actual);
    if (row.history === 'longer' && forecast.low !== undefined && forecast.high !== undefined) {
      banded++;
      if (actual >= forecast.low && actual <= forecast.high) within++;
    }
  }
  return {
    data,
    model,
    step,
    ...headline.score(),
    classes: scoresOf(classes),
    ...(banded > 0 ? { coverage: within / banded } : {}),
    ...(leaverScale > 0 ? { leaverError: leaverError / leaverScale } : {}),
    ...(cases.length > 0 ? { brier: brier / cases.length } : {}),
    regret: regretOf(model, cases),
  };
}

/** A baseline without a word on membership says of each listed title that it stays. */
function stayOf(model: string, forecast: Forecast, actual: number | null): number {
  if (model === 'oracle') return actual === null ? 0 : 1;
  return forecast.stays ?? 1;
}

/** Membership by the rank's own record in the weeks before: the baseline to beat by Brier score. */
function baseRateScore(
  data: string,
  step: number,
  list: WeeklyList,
  cases: readonly Case[],
): ModelScore {
  let brier = 0;
  const first = Math.min(...cases.map(({ row }) => row.week));
  const stayed = new Map<string, { stayed: number; seen: number }>();
  for (const series of list.series) {
    for (const { week, rank } of series.entries) {
      if (week + step > first) continue;
      const key = `${series.list} ${rank}`;
      const record = stayed.get(key) ?? { stayed: 0, seen: 0 };
      record.seen++;
      record.stayed += Number(series.byWeek.has(week + step));
      stayed.set(key, record);
    }
  }
  for (const { row, actual } of cases) {
    const rank = list.series[row.series].byWeek.get(row.week)?.rank ?? 0;
    const record = stayed.get(`${row.list} ${rank}`) ?? { stayed: 0, seen: 0 };
    const chance = (record.stayed + 1) / (record.seen + 2);
    brier += (chance - (actual === null ? 0 : 1)) ** 2;
  }
  const none = { cases: cases.length, wape: null, bias: null, classes: {} };
  return { data, model: 'base rate by rank', step, ...none, brier: brier / cases.length };
}

/** Each origin is one box that holds a quarter of what is listed; titles that left count as unwatched. */
function regretOf(model: string, cases: readonly Case[]): number | undefined {
  const byOrigin = new Map<number, Case[]>();
  for (const one of cases) {
    const same = byOrigin.get(one.row.week);
    if (same === undefined) byOrigin.set(one.row.week, [one]);
    else same.push(one);
  }
  const regret = new RegretSum();
  for (const same of byOrigin.values()) {
    const sizes = same.map(({ weight }) => weight);
    const storage = STORAGE_SHARE * sizes.reduce((sum, size) => sum + size, 0);
    regret.add(
      same.map(({ forecasts }) => forecasts.get(model)?.hours ?? 0),
      same.map(({ actual }) => actual ?? 0),
      sizes,
      storage,
    );
  }
  return regret.share();
}

function typicalRuntimes(list: WeeklyList, before: number): readonly number[] {
  return list.lists.map((_, at) => {
    const known = list.series
      .filter((series) => series.list === at)
      .flatMap(({ entries }) => entries.filter(({ week }) => week < before))
      .map(({ runtimeHours }) => runtimeHours)
      .filter((hours) => hours > 0);
    return known.length > 0 ? medianOf(known) : 1;
  });
}

function scoresOf(sums: { readonly [name in AgeClass]: ErrorSum }): {
  readonly [name: string]: Score;
} {
  return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum.score()]));
}
