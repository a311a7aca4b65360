/**
 * The backtest on engagement reports: does the half-year before predict the next one, tail included?
 *
 * Ours regresses the log ratio of two half-years (least absolute deviations, rows weighted by hours) on age, part of the
 * half-year that a title was out, size, kind; trained on the pairs of reports before. A title that a report leaves out was watched
 * somewhere in [0, 100,000] hours: it costs the distance to that interval, in the fit and in the score.
 * Classes: new, decaying, catalogue by age; head (top 1 %), middle (to 10 %), tail by rank in the half-year before.
 *
 * Invariants: (1) a forecast of period p looks at reports of periods < p only
 */
import { ErrorSum, RegretSum, type ModelScore } from '../backtest/metrics.ts';
import { fitLevel, levelAt } from '../level.ts';
import { medianOf } from '../probability.ts';
import { dot, leastAbsolute, type RegressionData } from '../regression.ts';
import { keyOf, periodEndDay, type EngagementReport, type EngagementRow } from './engagement.ts';

const UNLISTED_HOURS_MAX = 100_000;
const PERIOD_DAYS = 182;
const AGE_BINS = [0.5, 1, 2, 4, 8]; // half-years since release at the end of the period, upper ends
const RIDGE = 3;
const STORAGE_SHARE = 0.1;
const EWMA_WEIGHT = 0.6;
const CLASSES = ['new', 'decaying', 'catalogue', 'head', 'middle', 'tail'] as const;
const MODELS = [
  'ours',
  'last period',
  '4-period mean',
  'seasonal naive',
  'EWMA',
  'Holt-Winters',
  'median decay by age',
  'top list',
  'oracle',
] as const;

/** One title over the reports, by period; null where a report does not list it. */
interface TitleSeries {
  readonly row: EngagementRow; // of the latest report before the forecast
  readonly hours: ReadonlyMap<number, number>;
}

interface Pair {
  readonly row: EngagementRow;
  readonly period: number; // the earlier of the two
  readonly next: number | null; // hours; null: not listed
}

export function backtestHalfYears(
  reports: readonly EngagementReport[],
  data: string,
): readonly ModelScore[] {
  const periods = [...new Set(reports.map(({ period }) => period))].sort((a, b) => a - b);
  const rows = new Map<number, Map<string, EngagementRow>>();
  for (const { period, rows: own } of reports) {
    const merged = rows.get(period) ?? new Map<string, EngagementRow>();
    for (const row of own) if (!merged.has(keyOf(row))) merged.set(keyOf(row), row);
    rows.set(period, merged);
  }
  const sums = new Map<string, ErrorSum>();
  const regrets = new Map(MODELS.map((model) => [model, new RegretSum()] as const));
  const sumOf = (key: string): ErrorSum => {
    let sum = sums.get(key);
    if (sum === undefined) sums.set(key, (sum = new ErrorSum()));
    return sum;
  };
  for (const target of periods) {
    if (!periods.includes(target - 1) || !periods.includes(target - 2)) continue;
    const training = periods
      .filter((period) => period + 1 < target && periods.includes(period + 1))
      .flatMap((period) => pairsOf(rows, period));
    const open = pairsOf(rows, target - 1);
    const forecasts = forecastsOf(rows, training, open, target);
    const ranks = ranksOf(open);
    for (const model of MODELS) {
      const values = forecasts[model];
      open.forEach((pair, i) => {
        const actual = pair.next ?? Math.min(values[i], UNLISTED_HOURS_MAX);
        for (const name of ['all', ageClass(pair), sizeClass(ranks[i] / open.length)]) {
          sumOf(`${model} ${name}`).add(values[i], actual);
        }
      });
      const wanted = open.map(({ next }) => next ?? 0);
      const sizes = sizesOf(open);
      const storage = STORAGE_SHARE * sizes.reduce((sum, size) => sum + size, 0);
      regrets.get(model)?.add(values, wanted, sizes, storage);
    }
  }
  if (sums.size === 0) return [];
  return MODELS.map((model) => ({
    data,
    model,
    step: 1,
    ...sumOf(`${model} all`).score(),
    classes: Object.fromEntries(
      CLASSES.map((name) => [name, sumOf(`${model} ${name}`).score()] as const),
    ),
    regret: regrets.get(model)?.share(),
  }));
}

function pairsOf(
  rows: ReadonlyMap<number, ReadonlyMap<string, EngagementRow>>,
  period: number,
): readonly Pair[] {
  const next = rows.get(period + 1);
  return [...(rows.get(period) ?? [])]
    .filter(([, row]) => row.hours > 0)
    .map(([key, row]) => ({ row, period, next: next?.get(key)?.hours ?? null }));
}

function forecastsOf(
  rows: ReadonlyMap<number, ReadonlyMap<string, EngagementRow>>,
  training: readonly Pair[],
  open: readonly Pair[],
  target: number,
): { readonly [model in (typeof MODELS)[number]]: readonly number[] } {
  const typical = medianOf(training.map(({ row }) => row.hours));
  const b = leastAbsolute(regressionOf(training, typical), RIDGE);
  const decay = decayOf(training);
  const histories = open.map((pair): TitleSeries => {
    const hours = new Map<number, number>();
    for (const [period, titles] of rows) {
      const row = period < target ? titles.get(keyOf(pair.row)) : undefined;
      if (row !== undefined) hours.set(period, row.hours);
    }
    return { row: pair.row, hours };
  });
  const byRank = open.map(({ row }) => row.hours).toSorted((a, c) => c - a);
  const ranks = ranksOf(open);
  const listed = Math.ceil(open.length / 10);
  return {
    ours: open.map((pair) => pair.row.hours * Math.exp(dot(featuresOf(pair, typical), 0, b))),
    'last period': open.map(({ row }) => row.hours),
    '4-period mean': histories.map(({ hours }) => {
      const past = [...hours].filter(([period]) => period >= target - 4).map(([, value]) => value);
      return past.reduce((sum, value) => sum + value, 0) / past.length;
    }),
    'seasonal naive': histories.map(({ hours, row }) => hours.get(target - 2) ?? row.hours),
    EWMA: histories.map(({ hours }) => {
      const past = inOrder(hours);
      return past.reduce(
        (level, value) => EWMA_WEIGHT * value + (1 - EWMA_WEIGHT) * level,
        past[0],
      );
    }),
    'Holt-Winters': histories.map(({ hours }) => levelAt(fitLevel(inOrder(hours), 1), 1)),
    'median decay by age': open.map(
      (pair) => pair.row.hours * (decay.get(ageBin(pair)) ?? decay.get(-1) ?? 1),
    ),
    'top list': open.map((_, i) => (ranks[i] < listed ? byRank[ranks[i]] : 0)),
    oracle: open.map(({ next }) => next ?? 0),
  };
}

function regressionOf(training: readonly Pair[], typical: number): RegressionData {
  const features = training.map((pair) => featuresOf(pair, typical));
  const columns = features.length > 0 ? features[0].length : 1;
  const x = new Float64Array(training.length * columns);
  features.forEach((row, i) => x.set(row, i * columns));
  return {
    columns,
    x,
    y: Float64Array.from(training, ({ row, next }) =>
      Math.log(Math.max(next ?? UNLISTED_HOURS_MAX, 1) / row.hours),
    ),
    weights: Float64Array.from(training, ({ row }) => row.hours / typical),
    censored: Uint8Array.from(training, ({ next }) => Number(next === null)),
  };
}

function featuresOf(pair: Pair, typical: number): readonly number[] {
  const { row } = pair;
  const bin = ageBin(pair);
  const size = Math.log(row.hours / typical);
  const features = [1, size, size * size, Number(row.isSeries), Number(row.isGlobal)];
  for (let i = 0; i < AGE_BINS.length; i++) {
    features.push(Number(bin === i), Number(bin === i && row.isSeries));
  }
  const age = ageOf(pair);
  // A title that came out late in the half-year had little time: the next one is its first whole one.
  const part = age === null || age >= 1 ? 1 : Math.max(0.02, age);
  features.push(Math.log(part), row.isSeries ? Math.log(part) : 0, Number(age === null));
  return features;
}

/** Half-years between the release and the end of the earlier period; null where the release is not known. */
function ageOf({ row, period }: Pair): number | null {
  if (row.releaseDay === null) return null;
  return Math.max(0, (periodEndDay(period) - row.releaseDay) / PERIOD_DAYS);
}

function ageBin(pair: Pair): number {
  const age = ageOf(pair);
  if (age === null) return AGE_BINS.length;
  const bin = AGE_BINS.findIndex((end) => age < end);
  return bin === -1 ? AGE_BINS.length + 1 : bin;
}

/** New: came out within the half-year; decaying: within the three before; without a date: catalogue. */
function ageClass(pair: Pair): (typeof CLASSES)[number] {
  const age = ageOf(pair);
  if (age === null || age >= 4) return 'catalogue';
  return age < 1 ? 'new' : 'decaying';
}

function sizeClass(rankShare: number): (typeof CLASSES)[number] {
  if (rankShare < 0.01) return 'head';
  return rankShare < 0.1 ? 'middle' : 'tail';
}

function ranksOf(open: readonly Pair[]): readonly number[] {
  const order = open
    .map((_, i) => i)
    .sort((a, b) => open[b].row.hours - open[a].row.hours || a - b);
  const ranks: number[] = [];
  order.forEach((i, rank) => (ranks[i] = rank));
  return ranks;
}

function decayOf(training: readonly Pair[]): ReadonlyMap<number, number> {
  const ratios = new Map<number, number[]>([[-1, []]]);
  for (const pair of training) {
    if (pair.next === null) continue;
    const bin = ageBin(pair);
    if (!ratios.has(bin)) ratios.set(bin, []);
    for (const key of [bin, -1]) ratios.get(key)?.push(pair.next / pair.row.hours);
  }
  return new Map(
    [...ratios].filter(([, own]) => own.length > 0).map(([k, own]) => [k, medianOf(own)]),
  );
}

function sizesOf(open: readonly Pair[]): readonly number[] {
  const known = open.map(({ row }) => row.runtimeHours).filter((hours) => hours > 0);
  const typical = known.length > 0 ? medianOf(known) : 1;
  return open.map(({ row }) => (row.runtimeHours > 0 ? row.runtimeHours : typical));
}

function inOrder(hours: ReadonlyMap<number, number>): readonly number[] {
  return [...hours].sort(([a], [b]) => a - b).map(([, value]) => value);
}
