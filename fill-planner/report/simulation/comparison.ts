/**
 * What differs between two simulations, and whether the seeds say that it is more than chance.
 *
 * Shape:      (result, result) -> a row per figure: both means, the difference, its 95 % interval, a verdict
 * Units:      those of the figure; the interval is of the difference `after - before`
 * Invariants: (1) runs with the same seeds are compared seed by seed (paired t): what chance they share cancels out
 *             (2) other runs by Welch's t; with fewer than two seeds on a side nothing is called significant
 *             (3) the same rows whatever the order of the seeds in a result
 * Source:     Welch (1947); common random numbers: Law and Kelton, Simulation Modeling and Analysis, 11.2
 */
import { totalsWithMeaning, type SimulationResult } from '../../simulate/result.ts';
import { bandOf, FIGURES, type Figure } from './figures.ts';
import { studentT975 } from './student-t.ts';

export type Verdict = 'better' | 'worse' | 'different' | 'no difference seen' | 'not judged';

export interface Difference {
  readonly figure: Figure;
  readonly before: number;
  readonly after: number;
  readonly difference: number;
  readonly interval: readonly [number, number] | null;
  readonly verdict: Verdict;
}

export interface Comparison {
  readonly how: 'paired by seed' | 'independent seeds' | 'one seed';
  readonly seeds: number; // the fewer of the two sides
  readonly rows: readonly Difference[];
  /** Scenario fields that differ: `path: before -> after`. */
  readonly changes: readonly string[];
}

export function comparisonOf(before: SimulationResult, after: SimulationResult): Comparison {
  const seeds = Math.min(before.meta.seeds.length, after.meta.seeds.length);
  const isPaired = seeds >= 2 && sameSeeds(before, after);
  const [known, asked] = [before, after].map(({ meta }) => totalsWithMeaning(meta.engine));
  const rows = FIGURES.filter(({ metric }) => known.includes(metric) && asked.includes(metric)).map(
    (figure) => differenceOf(figure, before, after, isPaired),
  );
  return {
    how: seeds < 2 ? 'one seed' : isPaired ? 'paired by seed' : 'independent seeds',
    seeds,
    rows,
    changes: changesBetween(before.scenario, after.scenario),
  };
}

function differenceOf(
  figure: Figure,
  before: SimulationResult,
  after: SimulationResult,
  isPaired: boolean,
): Difference {
  const [a, b] = [bandOf(before, figure.metric), bandOf(after, figure.metric)];
  const means = [
    a?.mean ?? before.totals[figure.metric],
    b?.mean ?? after.totals[figure.metric],
  ] as const;
  const difference = means[1] - means[0];
  const interval =
    a === null || b === null
      ? null
      : isPaired
        ? pairedInterval(bySeed(before, a.values), bySeed(after, b.values))
        : welchInterval(a.values, b.values);
  return {
    figure,
    before: means[0],
    after: means[1],
    difference,
    interval,
    verdict: verdictOf(figure, difference, interval),
  };
}

function verdictOf(
  { better }: Figure,
  difference: number,
  interval: readonly [number, number] | null,
): Verdict {
  if (interval === null) return 'not judged';
  if (interval[0] <= 0 && interval[1] >= 0) return 'no difference seen';
  if (better === 'neither') return 'different';
  return difference > 0 === (better === 'more') ? 'better' : 'worse';
}

function pairedInterval(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>) {
  const differences = [...a].map(([seed, value]) => (b.get(seed) ?? Number.NaN) - value);
  const { mean, variance } = momentsOf(differences);
  return around(mean, Math.sqrt(variance / differences.length), differences.length - 1);
}

function welchInterval(a: readonly number[], b: readonly number[]): readonly [number, number] {
  const [x, y] = [momentsOf(a), momentsOf(b)];
  const [u, v] = [x.variance / a.length, y.variance / b.length];
  const freedom =
    u + v === 0 ? 1 : (u + v) ** 2 / (u ** 2 / (a.length - 1) + v ** 2 / (b.length - 1));
  return around(y.mean - x.mean, Math.sqrt(u + v), freedom);
}

function around(centre: number, error: number, freedom: number): readonly [number, number] {
  const reach = error === 0 ? 0 : studentT975(freedom) * error;
  return [centre - reach, centre + reach];
}

function momentsOf(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, variance: squares / (values.length - 1) };
}

function bySeed(result: SimulationResult, values: readonly number[]): ReadonlyMap<number, number> {
  const order = result.meta.seeds.map((seed, at) => [seed, values[at]] as const);
  return new Map([...order].sort(([a], [b]) => a - b));
}

function sameSeeds(a: SimulationResult, b: SimulationResult): boolean {
  const sorted = (result: SimulationResult) => [...result.meta.seeds].sort((x, y) => x - y);
  const [x, y] = [sorted(a), sorted(b)];
  return x.length === y.length && x.every((seed, at) => seed === y[at]);
}

function changesBetween(before: unknown, after: unknown, path = ''): readonly string[] {
  if (Object.is(before, after)) return [];
  if (isObject(before) && isObject(after)) {
    const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return keys
      .filter((key) => path !== '' || !['compare', 'name', 'question', 'seed'].includes(key))
      .flatMap((key) => changesBetween(before[key], after[key], `${path}/${key}`));
  }
  const [x, y] = [JSON.stringify(before), JSON.stringify(after)];
  return x === y ? [] : [`${path}: ${short(x)} -> ${short(y)}`];
}

function short(json: string | undefined): string {
  if (json === undefined) return 'none';
  return json.length <= 80 ? json : `${json.slice(0, 77)}…`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
