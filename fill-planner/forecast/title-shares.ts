/**
 * The share of each programme in all views of the world, day by day: three forecasts, mixed by how well each did.
 *
 *   fast:  counts discounted with a half-life of 2 days
 *   slow:  the same with 14 days
 *   decay: scale x h(age), the scale a Gamma posterior: the release prior, updated by the views since the release
 *
 * Each age class (new, decaying, catalogue) has expert weights of its own, learnt from the absolute error of each day.
 *
 * Shape:      learnTitleShares(catalogue, days, atDay, aheadDays) -> shares at `atDay`, with what bands and guard need; what comes
 *             out within `aheadDays` counts as out for a whole day
 * Units:      ages in days; shares sum to 1
 * Invariants: (1) only days before `atDay` are looked at; the kernels and the prior are fitted on the same days
 *             (2) a programme that nobody watched keeps a small share: nothing is said to be never watched
 */
import { nthSmallest } from '#base/selection.ts';
import type { AgeClass } from './backtest/metrics.ts';
import { decayAt, fitDecayKernel, type DecayKernel, type ReleaseHistory } from './decay-kernel.ts';
import type { DemandDay } from './demand-records.ts';
import { evenWeights, learn } from './experts.ts';
import type { ForecastCatalogue, Programme } from './programmes.ts';
import { medianOf, quantileOf } from './probability.ts';
import { fitReleasePrior, type GammaPrior, type ReleaseExample } from './release-prior.ts';

export const EXPERTS = ['fast', 'slow', 'decay'] as const;
export const NEW_DAYS = 7;
export const DECAY_DAYS = 60; // older programmes are catalogue: their decay is over

export interface TitleShares {
  readonly shares: Float64Array;
  readonly classes: readonly AgeClass[];
  readonly weights: { readonly [name in AgeClass]: readonly number[] };
  /** Relative variance beyond Poisson of one day's views of a programme, by class. */
  readonly spread: { readonly [name in AgeClass]: number };
  /** One-day-ahead error by day, for the guard: of the settled shares, and of the total. */
  readonly nights: readonly { readonly day: number; readonly wape: number }[];
  readonly kernels: ReadonlyMap<string, DecayKernel>;
}

const HALF_LIVES = [2, 14];
const SCALE_HALF_LIFE = 10; // a release's own drift off its curve
const LEARNING = { rate: 4, share: 0.02 };
const FLOOR_VIEWS = 0.5; // of a programme that nobody watched, in the slow count
const SPREAD_FALLBACK = { new: 1, decaying: 0.2, catalogue: 0.1 };
const SPREAD_DISCOUNT = 0.95;
const TALK_MIN = 3; // titles
const TALK_SHARE = 0.02;
const SPREAD_MASS_MIN = 30;
const SCALE_VIEWS_MIN = 5; // a release with fewer views teaches no curve

/** Views by programme of one day, wherever the viewers live. */
export interface DayViews {
  readonly day: number;
  readonly views: Float64Array; // by programme
  readonly total: number;
}

export function learnTitleShares(
  catalogue: ForecastCatalogue,
  days: readonly DemandDay[],
  atDay: number,
  aheadDays = 0,
): TitleShares {
  const daily = days.filter(({ day }) => day < atDay).map((day) => programmeViews(catalogue, day));
  return learnShares(catalogue.programmes, daily, atDay, aheadDays);
}

/** The same from sums by programme and day, all before `atDay`, oldest first: rollups of a whole fleet. */
export function learnShares(
  programmes: readonly Programme[],
  daily: readonly DayViews[],
  atDay: number,
  aheadDays = 0,
): TitleShares {
  const releases = learnReleases(programmes, daily);
  const state = freshState(programmes.length);
  const nights: { day: number; wape: number }[] = [];
  for (let at = 0; at < daily.length; at++) {
    if (at > 0 && daily[at].total > 0) {
      const wape = score(programmes, releases, state, daily, at);
      if (wape !== null) nights.push({ day: daily[at].day, wape });
    }
    observe(programmes, releases, state, daily[at]);
  }
  const classes = programmes.map((programme) => classAt(programme, atDay));
  return {
    shares: mixed(classes, state, expertShares(programmes, releases, state, atDay, aheadDays)),
    classes,
    weights: state.weights,
    spread: {
      new: spreadOf(state, 'new'),
      decaying: spreadOf(state, 'decaying'),
      catalogue: spreadOf(state, 'catalogue'),
    },
    nights,
    kernels: releases.kernels,
  };
}

export function ageClassOf(ageDays: number): AgeClass {
  if (ageDays < NEW_DAYS) return 'new';
  return ageDays < DECAY_DAYS ? 'decaying' : 'catalogue';
}

function classAt(programme: Programme, day: number): AgeClass {
  return ageClassOf(day - programme.releaseDay);
}

// ---------------------------------------------------------------- day by day

interface ShareState {
  readonly counts: readonly Float64Array[]; // by half-life
  readonly seen: Float64Array; // views since the release, discounted
  readonly exposed: Float64Array; // what scale 1 would have been watched meanwhile, discounted alike
  weights: { [name in AgeClass]: readonly number[] };
  readonly excess: { [name in AgeClass]: { squares: number; mass: number } };
  lastDay: number;
}

function freshState(programmes: number): ShareState {
  const even = evenWeights(EXPERTS.length);
  return {
    counts: HALF_LIVES.map(() => new Float64Array(programmes)),
    seen: new Float64Array(programmes),
    exposed: new Float64Array(programmes),
    weights: { new: even, decaying: even, catalogue: even },
    excess: {
      new: { squares: 0, mass: 0 },
      decaying: { squares: 0, mass: 0 },
      catalogue: { squares: 0, mass: 0 },
    },
    lastDay: Number.NaN,
  };
}

function programmeViews(catalogue: ForecastCatalogue, day: DemandDay): DayViews {
  const views = new Float64Array(catalogue.programmes.length);
  let total = 0;
  for (let i = 0; i < day.rows.length; i++) {
    views[catalogue.programmeOfTitle[catalogue.titleOfRow[day.rows[i]]]] += day.views[i];
    total += day.views[i];
  }
  return { day: day.day, views, total };
}

function observe(
  programmes: readonly Programme[],
  releases: Releases,
  state: ShareState,
  { day, views, total }: DayViews,
): void {
  const gap = Number.isNaN(state.lastDay) ? 0 : day - state.lastDay;
  state.lastDay = day;
  HALF_LIVES.forEach((halfLife, i) => {
    const keep = 0.5 ** (gap / halfLife);
    const counts = state.counts[i];
    for (let t = 0; t < counts.length; t++) counts[t] = keep * counts[t] + views[t];
  });
  const keep = 0.5 ** (gap / SCALE_HALF_LIFE);
  for (let t = 0; t < programmes.length; t++) {
    state.seen[t] *= keep;
    state.exposed[t] *= keep;
    const age = day - programmes[t].releaseDay;
    if (age < 0 || age >= DECAY_DAYS) continue;
    state.seen[t] += views[t];
    state.exposed[t] += total * shapeAt(programmes[t], releases, age);
  }
}

/** What each expert says of `day`, after all the days before it. */
function expertShares(
  programmes: readonly Programme[],
  releases: Releases,
  state: ShareState,
  day: number,
  aheadDays = 0,
): readonly Float64Array[] {
  const slowTotal = sumOf(state.counts[1]);
  const [fast, slow] = state.counts.map((counts, i) => {
    const floor = i === 1 ? FLOOR_VIEWS : (FLOOR_VIEWS * sumOf(counts)) / Math.max(1, slowTotal);
    const total = sumOf(counts) + floor * programmes.length;
    const even = 1 / programmes.length;
    return counts.map((count) => (total > 0 ? (count + floor) / total : even));
  });
  const decay = slow.slice();
  let rest = 0;
  let claimed = 0;
  for (let t = 0; t < programmes.length; t++) {
    const age = day - programmes[t].releaseDay;
    if (age >= DECAY_DAYS) {
      rest += slow[t];
      continue;
    }
    const { mean, shape } = releases.priors[t];
    const scale = (shape + state.seen[t]) / (shape / mean + state.exposed[t]);
    if (age < -aheadDays) decay[t] = 0;
    else if (age <= 0 && aheadDays > 0) decay[t] = scale;
    else decay[t] = scale * shapeAt(programmes[t], releases, age);
    claimed += decay[t];
  }
  // A big release takes from everything else; it takes at most nine tenths.
  const give = Math.min(claimed, 0.9);
  for (let t = 0; t < programmes.length; t++) {
    const isOld = day - programmes[t].releaseDay >= DECAY_DAYS;
    if (isOld) decay[t] *= rest > 0 ? (1 - give) / rest : 0;
    else if (claimed > 0) decay[t] *= rest > 0 ? give / claimed : 1 / claimed;
  }
  return [fast, slow, decay];
}

/** The mix, summing to 1. A programme younger than a day of evidence has only its prior: counts know nothing of it. */
function mixed(
  classes: readonly AgeClass[],
  state: ShareState,
  experts: readonly Float64Array[],
): Float64Array {
  const shares = new Float64Array(classes.length);
  let total = 0;
  for (let t = 0; t < shares.length; t++) {
    const weights = state.weights[classes[t]];
    const isUnseen = state.counts[1][t] === 0 && classes[t] !== 'catalogue';
    for (let i = 0; i < experts.length; i++) shares[t] += weights[i] * experts[i][t];
    if (isUnseen) shares[t] = experts[2][t];
    total += shares[t];
  }
  return total > 0 ? shares.map((share) => share / total) : shares;
}

/** Scores the forecasts of one day, learns from them; the night's error for the guard. */
function score(
  programmes: readonly Programme[],
  releases: Releases,
  state: ShareState,
  daily: readonly DayViews[],
  at: number,
): number | null {
  const { day, views, total } = daily[at];
  const classes = programmes.map((programme) => classAt(programme, day));
  const experts = expertShares(programmes, releases, state, day);
  const mix = mixed(classes, state, experts);
  const expectedTotal = (daily.findLast((past) => past.day === day - 7) ?? daily[at - 1]).total;
  const expected = new Float64Array(views.length);
  const actual = new Float64Array(views.length);
  let settled = 0;
  for (const name of ['new', 'decaying', 'catalogue'] as const) {
    const misses = new Float64Array(experts.length);
    const excess = state.excess[name];
    excess.squares *= SPREAD_DISCOUNT;
    excess.mass *= SPREAD_DISCOUNT;
    let classTotal = 0;
    for (let t = 0; t < views.length; t++) {
      if (classes[t] !== name || day < programmes[t].releaseDay) continue;
      classTotal += views[t];
      for (let i = 0; i < experts.length; i++) {
        misses[i] += Math.abs(experts[i][t] * total - views[t]);
      }
      const mean = mix[t] * total;
      excess.squares += (views[t] - mean) ** 2 - mean;
      excess.mass += mean * mean;
      if (name === 'new') continue;
      expected[settled] = mean;
      actual[settled] = views[t];
      settled++;
    }
    if (classTotal === 0) continue;
    const losses = Array.from(misses, (miss) => miss / classTotal);
    state.weights[name] = learn(state.weights[name], losses, LEARNING);
  }
  return settled > 0
    ? errorOf(expected.subarray(0, settled), actual.subarray(0, settled), expectedTotal / total)
    : null;
}

/**
 * WAPE of the shares that are settled, plus that of the total. A few titles that everybody suddenly talks about are
 * news, not spoilt records: they are left out, and whether they came on top of the others or took from them, the
 * total counts as met where either reading meets it.
 */
function errorOf(expected: Float64Array, actual: Float64Array, totalRatio: number): number {
  const talk = Math.floor(
    Math.min(expected.length / 4, Math.max(TALK_MIN, TALK_SHARE * expected.length)),
  );
  const misses = expected.map((mean, at) => Math.abs(mean - actual[at]));
  const kept = expected.length - talk;
  const limit = kept > 0 ? nthSmallest(misses, kept - 1) : -1;
  let atLimit = kept; // of those that miss by exactly the limit, only so many are kept
  for (const miss of misses) if (miss < limit) atLimit--;
  const isKept = Uint8Array.from(misses, (miss) =>
    miss < limit || (miss === limit && atLimit-- > 0) ? 1 : 0,
  );
  let expectedSum = 0;
  let actualSum = 0;
  for (let at = 0; at < expected.length; at++) {
    if (isKept[at] === 0) continue;
    expectedSum += expected[at];
    actualSum += actual[at];
  }
  if (expectedSum === 0 || actualSum === 0) return 0;
  const scale = actualSum / expectedSum;
  let missed = 0;
  for (let at = 0; at < expected.length; at++) {
    if (isKept[at] === 1) missed += Math.abs(scale * expected[at] - actual[at]);
  }
  const ofTotal = Math.min(Math.abs(1 - totalRatio), Math.abs(1 - totalRatio / scale));
  return missed / actualSum + ofTotal;
}

function spreadOf(state: ShareState, name: AgeClass): number {
  const { squares, mass } = state.excess[name];
  if (mass < SPREAD_MASS_MIN) return SPREAD_FALLBACK[name];
  return Math.min(4, Math.max(0.001, squares / mass));
}

// ---------------------------------------------------------------- releases

interface Releases {
  readonly kernels: ReadonlyMap<string, DecayKernel>; // by class
  readonly priors: readonly GammaPrior[]; // by programme
}

function shapeAt(programme: Programme, releases: Releases, ageDays: number): number {
  const kernel = releases.kernels.get(programme.class);
  const part = ageDays === 0 ? programme.firstDayShare : 1;
  return kernel === undefined ? part : part * decayAt(kernel, ageDays);
}

/** Kernels by class and the prior of each programme, from the releases that fell into the days given. */
function learnReleases(programmes: readonly Programme[], daily: readonly DayViews[]): Releases {
  const firstDay = daily.length > 0 ? daily[0].day : 0;
  const histories = new Map<number, ReleaseHistory>();
  programmes.forEach((programme, t) => {
    if (programme.releaseDay < firstDay) return; // its beginning was not seen
    const history = { ages: [] as number[], views: [] as number[], exposures: [] as number[] };
    for (const { day, views, total } of daily) {
      const age = day - programme.releaseDay;
      if (age < 0 || age >= DECAY_DAYS) continue;
      history.ages.push(age);
      history.views.push(views[t]);
      history.exposures.push(total * (age === 0 ? programme.firstDayShare : 1));
    }
    if (sumOf(history.views) >= SCALE_VIEWS_MIN) histories.set(t, history);
  });
  const kernels = new Map<string, DecayKernel>();
  for (const name of new Set(programmes.map((programme) => programme.class))) {
    const ofClass = [...histories].filter(([t]) => programmes[t].class === name);
    kernels.set(name, fitDecayKernel(ofClass.map(([, history]) => history)));
  }
  return { kernels, priors: priorsOf(programmes, daily, histories, kernels) };
}

function priorsOf(
  programmes: readonly Programme[],
  daily: readonly DayViews[],
  histories: ReadonlyMap<number, ReleaseHistory>,
  kernels: ReadonlyMap<string, DecayKernel>,
): readonly GammaPrior[] {
  const scales = new Map<number, number>();
  for (const [t, { ages, views, exposures }] of histories) {
    const kernel = kernels.get(programmes[t].class);
    if (kernel === undefined) continue;
    let expected = 0;
    ages.forEach((age, i) => (expected += exposures[i] * decayAt(kernel, age)));
    if (expected > 0) scales.set(t, sumOf(views) / expected);
  }
  const featuresOf = (programme: Programme): Omit<ReleaseExample, 'scale'> => ({
    class: programme.class,
    kind: programme.kind,
    language: programme.language,
    genre: programme.genre,
    priority: programme.priority,
    previousScale: scales.get(programme.previous) ?? null,
  });
  const examples = [...scales].map(([t, scale]) => ({ ...featuresOf(programmes[t]), scale }));
  const prior = fitReleasePrior(examples, fallbackScale(scales, daily));
  // What decayed before the first day is never asked for its prior.
  const firstDay = daily.length > 0 ? daily[0].day : -Infinity;
  const spent = prior(featuresOf(NO_PROGRAMME));
  return programmes.map((programme) =>
    programme.releaseDay + DECAY_DAYS <= firstDay ? spent : prior(featuresOf(programme)),
  );
}

const NO_PROGRAMME: Programme = {
  name: '',
  titles: [],
  class: 'catalogue',
  kind: 'opaque',
  language: '',
  genre: '',
  priority: 0,
  previous: -1,
  releaseDay: 0,
  firstDayShare: 1,
};

/** Without enough releases to learn from: their median, else as much as a title near the top of the list. */
function fallbackScale(scales: ReadonlyMap<number, number>, daily: readonly DayViews[]): number {
  if (scales.size > 0) return medianOf([...scales.values()]);
  const last = daily.at(-1);
  if (last === undefined || last.total === 0) return 0.01;
  return Math.max(1e-6, quantileOf(last.views, 0.95) / last.total);
}

function sumOf(values: Float64Array | readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
