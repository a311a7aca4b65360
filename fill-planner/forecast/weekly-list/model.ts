/**
 * Forecasts of a weekly list, rolling: at the end of each week, every listed title one or two weeks ahead.
 *
 * The logarithm of the ratio to this week's hours is regressed on the features (least absolute deviations: the score is
 * an absolute error, so medians are wanted; rows are weighted by hours, as the score is). Several such regressions and
 * the plain decay by weeks are mixed by online expert weights that have seen settled forecasts only. A second regression
 * takes the titles that left the list as "below its last place", for the titles that may leave; a third says how likely
 * a title is to stay. Bands are quantiles of settled errors.
 *
 * Shape:      rollForecasts(list, { from, to, step }) -> forecasts made at origins from..to-1
 * Invariants: (1) a forecast made at week o depends on entries of weeks <= o only
 *             (2) hyper-parameters are the constants below, chosen on the weeks before the last 52 of the shown data
 */
import { evenWeights, learn, mixOf } from '../experts.ts';
import { medianOf, quantileOf } from '../probability.ts';
import { dot, leastAbsolute, logistic, probabilityOf, type RegressionData } from '../regression.ts';
import { featuresOf, LONG_RUN_WEEKS, type ListRow } from './features.ts';
import type { WeeklyList } from './weekly-list.ts';

export interface ListForecast {
  readonly origin: number;
  readonly step: number;
  readonly row: ListRow;
  readonly ifListed: number; // median of the hours, given that the title is on the list then
  readonly hours: number; // median of the hours, listed or not
  readonly low: number; // 10 % and 90 % of the hours, given that it is listed
  readonly high: number;
  readonly stays: number; // probability of being on the list then
  readonly weights: readonly number[]; // of the experts, as they stood
}

interface Expert {
  readonly name: string;
  readonly ridge: number;
  readonly weightPower: number; // rows count by hours to this power
  readonly halfLifeWeeks: number;
}

const REGRESSIONS: readonly Expert[] = [
  { name: 'all weeks', ridge: 3, weightPower: 1, halfLifeWeeks: Number.POSITIVE_INFINITY },
  { name: 'two years', ridge: 3, weightPower: 0.85, halfLifeWeeks: 104 },
  { name: 'cautious', ridge: 10, weightPower: 0.5, halfLifeWeeks: 104 },
];
export const EXPERT_NAMES: readonly string[] = [
  ...REGRESSIONS.map(({ name }) => name),
  'decay by weeks',
  'no change',
];
const LEARNING = { rate: 2, share: 0.02 };
const ROWS_MIN = 60; // below this a regression is the decay by weeks
const RATIO_MAX = 3; // log units, of a forecast
const ERRORS_KEPT = 400;
const ERRORS_MIN = 20;
const BAND = [0.1, 0.9] as const;
const BAND_UNKNOWN = 0.9; // log units either side while no error is settled

interface RollState {
  weights: { [history in ListRow['history']]: readonly number[] };
  errors: { [history in ListRow['history']]: number[] }; // log(actual / forecast), newest last
  pending: { readonly row: ListRow; readonly experts: readonly number[]; readonly mixed: number }[];
}

export function rollForecasts(
  list: WeeklyList,
  options: { readonly from: number; readonly to: number; readonly step: number },
): readonly ListForecast[] {
  const rows = featuresOf(list);
  const state: RollState = {
    weights: {
      'one-week': evenWeights(EXPERT_NAMES.length),
      longer: evenWeights(EXPERT_NAMES.length),
    },
    errors: { 'one-week': [], longer: [] },
    pending: [],
  };
  const made: ListForecast[] = [];
  for (let origin = options.from; origin < options.to; origin++) {
    settle(list, state, origin, options.step);
    for (const history of ['one-week', 'longer'] as const) {
      const known = rows.filter(
        (row) => row.history === history && row.week + options.step <= origin,
      );
      const open = rows.filter((row) => row.history === history && row.week === origin);
      made.push(...forecastClass(list, state, known, open, origin, options.step));
    }
  }
  return made;
}

/** Compares what was forecast for `origin` with what came, once. */
function settle(list: WeeklyList, state: RollState, origin: number, step: number): void {
  const due = state.pending.filter(({ row }) => row.week + step === origin);
  state.pending = state.pending.filter(({ row }) => row.week + step > origin);
  for (const history of ['one-week', 'longer'] as const) {
    const misses = new Float64Array(EXPERT_NAMES.length);
    let total = 0;
    for (const { row, experts, mixed } of due) {
      const actual = list.series[row.series].byWeek.get(origin)?.hours ?? 0;
      if (row.history !== history || actual <= 0) continue;
      total += actual;
      experts.forEach((hours, i) => (misses[i] += Math.abs(hours - actual)));
      state.errors[history].push(Math.log(actual / mixed));
    }
    state.errors[history] = state.errors[history].slice(-ERRORS_KEPT);
    if (total === 0) continue;
    const losses = Array.from(misses, (miss) => miss / total);
    state.weights[history] = learn(state.weights[history], losses, LEARNING);
  }
}

function forecastClass(
  list: WeeklyList,
  state: RollState,
  known: readonly ListRow[],
  open: readonly ListRow[],
  origin: number,
  step: number,
): readonly ListForecast[] {
  if (open.length === 0) return [];
  const data = trainingOf(list, known, step);
  const decay = decayByWeeks(list, known, step);
  const fits = REGRESSIONS.map((expert) => fitRatio(data.listed, expert, origin, decay.all));
  const all = fitRatio(data.everyone, REGRESSIONS[1], origin, decay.all);
  const stay = data.everyone.rows.length >= ROWS_MIN ? fitStay(data.everyone) : null;
  const { history } = open[0];
  const weights = state.weights[history];
  const errors = state.errors[history];
  const hasErrors = errors.length >= ERRORS_MIN;
  const low = Math.exp(hasErrors ? quantileOf(errors, BAND[0]) : -BAND_UNKNOWN);
  const high = Math.exp(hasErrors ? quantileOf(errors, BAND[1]) : BAND_UNKNOWN);
  return open.map((row) => {
    const ratios = [...fits.map((fit) => fit(row)), decay.of(row), 0];
    const experts = ratios.map((ratio) => row.hours * Math.exp(ratio));
    const ifListed = row.hours * Math.exp(mixOf(weights, ratios));
    state.pending.push({ row, experts, mixed: ifListed });
    return {
      origin,
      step,
      row,
      ifListed,
      hours: Math.min(ifListed, row.hours * Math.exp(all(row))),
      low: ifListed * low,
      high: ifListed * high,
      stays: stay === null ? data.stayShare : stay(row),
      weights,
    };
  });
}

interface TrainingSet {
  readonly rows: readonly ListRow[];
  readonly y: readonly number[]; // log ratio; for a title that left, to the last place of its list
  readonly left: readonly boolean[];
}

function trainingOf(
  list: WeeklyList,
  known: readonly ListRow[],
  step: number,
): { listed: TrainingSet; everyone: TrainingSet; stayShare: number } {
  const least = lastPlaces(list);
  const everyone = { rows: [] as ListRow[], y: [] as number[], left: [] as boolean[] };
  const listed = { rows: [] as ListRow[], y: [] as number[], left: [] as boolean[] };
  for (const row of known) {
    const after = list.series[row.series].byWeek.get(row.week + step)?.hours ?? 0;
    const place = least.get(`${row.list} ${row.week + step}`);
    if (after <= 0 && place === undefined) continue; // the whole week is missing
    const y = Math.log((after > 0 ? after : (place ?? row.hours)) / row.hours);
    for (const set of after > 0 ? [everyone, listed] : [everyone]) {
      set.rows.push(row);
      set.y.push(y);
      set.left.push(after <= 0);
    }
  }
  const stayShare = everyone.rows.length === 0 ? 0.5 : listed.rows.length / everyone.rows.length;
  return { listed, everyone, stayShare };
}

/** Hours of the last place by list and week: what a title that left was watched at most. */
export function lastPlaces(list: WeeklyList): ReadonlyMap<string, number> {
  const least = new Map<string, number>();
  for (const series of list.series) {
    for (const { week, hours } of series.entries) {
      const key = `${series.list} ${week}`;
      if (hours > 0) least.set(key, Math.min(hours, least.get(key) ?? hours));
    }
  }
  return least;
}

function fitRatio(
  set: TrainingSet,
  expert: Expert,
  origin: number,
  fallback: number,
): (row: ListRow) => number {
  if (set.rows.length < ROWS_MIN) return () => fallback;
  const typical = medianOf(set.rows.map((row) => row.hours));
  const data = regressionOf(set, (row) => {
    const recency = 0.5 ** ((origin - row.week) / expert.halfLifeWeeks);
    return recency * (row.hours / typical) ** expert.weightPower;
  });
  const b = leastAbsolute(data, expert.ridge);
  return (row) => Math.max(-RATIO_MAX, Math.min(RATIO_MAX, dot(row.features, 0, b)));
}

function fitStay(set: TrainingSet): (row: ListRow) => number {
  const data = regressionOf(set, () => 1);
  const stayed = Float64Array.from(set.left, (left) => (left ? 0 : 1));
  const b = logistic({ ...data, y: stayed }, 1);
  return (row) => probabilityOf(dot(row.features, 0, b));
}

function regressionOf(set: TrainingSet, weightOf: (row: ListRow) => number): RegressionData {
  const columns = set.rows[0].features.length;
  const x = new Float64Array(set.rows.length * columns);
  set.rows.forEach((row, i) => x.set(row.features, i * columns));
  return {
    columns,
    x,
    y: Float64Array.from(set.y),
    weights: Float64Array.from(set.rows, weightOf),
    censored: Uint8Array.from(set.left, Number),
  };
}

/** The median log ratio by weeks since entry and list, among those that stayed. */
export function decayByWeeks(
  list: WeeklyList,
  known: readonly ListRow[],
  step: number,
): { readonly all: number; readonly of: (row: ListRow) => number } {
  const ratios = new Map<string, number[]>();
  const every: number[] = [];
  for (const row of known) {
    const after = list.series[row.series].byWeek.get(row.week + step)?.hours ?? 0;
    if (after <= 0) continue;
    const ratio = Math.log(after / row.hours);
    every.push(ratio);
    const key = decayKey(row);
    const same = ratios.get(key);
    if (same === undefined) ratios.set(key, [ratio]);
    else same.push(ratio);
  }
  const all = every.length === 0 ? 0 : medianOf(every);
  const medians = new Map([...ratios].map(([key, same]) => [key, medianOf(same)]));
  return { all, of: (row) => medians.get(decayKey(row)) ?? all };
}

function decayKey(row: ListRow): string {
  return `${row.list} ${Math.min(row.age, LONG_RUN_WEEKS)}`;
}
