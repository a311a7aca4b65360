/**
 * What a release will be watched before anybody has watched it: log-normal, learnt from past releases.
 *
 * log(scale) = ridge regression on class, kind, language, genre, promotion (the release's priority) and the scale of the season
 * before; the spread is that of the residuals. A scale is the share of all views that the programme has at age 0.
 *
 * Shape:      fitReleasePrior(examples) -> (features) -> { mean, shape }: a Gamma with the log-normal's first two moments
 * Invariants: (1) fewer than EXAMPLES_MIN past releases: the fallback scale with a wide spread
 */
import { dot, solveNormal } from './regression.ts';

export interface ReleaseFeatures {
  readonly class: string;
  readonly kind: string;
  readonly language: string;
  readonly genre: string;
  readonly priority: number;
  readonly previousScale: number | null; // share of all views at age 0
}

export interface ReleaseExample extends ReleaseFeatures {
  readonly scale: number;
}

export interface GammaPrior {
  readonly mean: number;
  readonly shape: number;
}

const EXAMPLES_MIN = 6;
const RIDGE = 2;
const SPREAD_MIN = 0.4; // log units: no history makes the next release surer than this
const SPREAD_MAX = 1.2; // above it the mean of a log-normal runs away from what is ever seen
const FALLBACK_SPREAD = 1.2;

export function fitReleasePrior(
  examples: readonly ReleaseExample[],
  fallbackScale: number,
): (features: ReleaseFeatures) => GammaPrior {
  const usable = examples.filter(({ scale }) => scale > 0);
  if (usable.length < EXAMPLES_MIN) return () => gammaOf(Math.log(fallbackScale), FALLBACK_SPREAD);
  const terms = termsOf(usable);
  const centre = usable.reduce((sum, { scale }) => sum + Math.log(scale), 0) / usable.length;
  const columns = terms.size + 1;
  const x = new Float64Array(usable.length * columns);
  const y = new Float64Array(usable.length);
  usable.forEach((example, i) => {
    x.set(rowOf(example, terms, columns, centre), i * columns);
    y[i] = Math.log(example.scale) - centre;
  });
  const b = solveNormal(x, y, new Float64Array(usable.length).fill(1), columns, RIDGE);
  let squares = 0;
  for (let i = 0; i < y.length; i++) squares += (y[i] - dot(x, i * columns, b)) ** 2;
  // About half of the drawn-in coefficients are spent on the data: the residuals look that much too small.
  const free = Math.max(1, usable.length - Math.min(usable.length / 2, columns / 2));
  const spread = Math.min(SPREAD_MAX, Math.max(SPREAD_MIN, Math.sqrt(squares / free)));
  return (features) => gammaOf(centre + dot(rowOf(features, terms, columns, centre), 0, b), spread);
}

/** Names of the 0/1 columns that past releases fill, then the two numbers. */
function termsOf(examples: readonly ReleaseFeatures[]): ReadonlyMap<string, number> {
  const terms = new Map<string, number>([
    ['priority', 1],
    ['has previous', 2],
    ['previous', 3],
  ]);
  for (const example of examples) {
    for (const name of namesOf(example)) if (!terms.has(name)) terms.set(name, terms.size + 1);
  }
  return terms;
}

function namesOf({ class: of, kind, language, genre }: ReleaseFeatures): readonly string[] {
  return [`class ${of}`, `kind ${kind}`, `language ${language}`, `genre ${genre}`];
}

function rowOf(
  features: ReleaseFeatures,
  terms: ReadonlyMap<string, number>,
  columns: number,
  centre: number,
): Float64Array {
  const row = new Float64Array(columns);
  row[0] = 1;
  row[1] = features.priority / 3;
  if (features.previousScale !== null && features.previousScale > 0) {
    row[2] = 1;
    row[3] = Math.log(features.previousScale) - centre;
  }
  for (const name of namesOf(features)) {
    const at = terms.get(name);
    if (at !== undefined) row[at] = 1;
  }
  return row;
}

/** Log-normal(median, spread) -> the Gamma of the same mean and relative variance. */
function gammaOf(logMedian: number, spread: number): GammaPrior {
  return {
    mean: Math.exp(logMedian + (spread * spread) / 2),
    shape: 1 / Math.expm1(spread * spread),
  };
}
