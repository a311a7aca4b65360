/**
 * The few distributions that the forecaster needs: tails of counts, quantiles of bands.
 *
 * Errors: none; arguments outside their domain are bugs of the caller and assert
 * Source: Lanczos approximation (g = 7, n = 9); Numerical Recipes 6.4 (incomplete beta by continued fraction, Lentz);
 *         Acklam's rational approximation of the normal quantile; Wilson and Hilferty 1931
 */
import { assert } from '#base/outcome.ts';

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
  -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
  1.5056327351493116e-7,
];
const FRACTION_STEPS_MAX = 500;

/**
 * P(X >= count) for X | rate ~ Poisson(rate), rate ~ Gamma with mean `mean` and shape `shape`: a negative binomial.
 * It is the regularised incomplete beta function I_p(count, shape), p = mean / (mean + shape).
 */
export function negativeBinomialTail(count: number, mean: number, shape: number): number {
  assert(count >= 0 && mean >= 0 && shape > 0, 'a tail needs count, mean >= 0 and shape > 0');
  if (count === 0) return 1;
  if (mean === 0) return 0;
  return regularizedBeta(mean / (mean + shape), count, shape);
}

/** I_x(a, b). */
export function regularizedBeta(x: number, a: number, b: number): number {
  assert(x >= 0 && x <= 1 && a > 0 && b > 0, 'the incomplete beta function needs 0 <= x <= 1');
  if (x === 0 || x === 1) return x;
  const front = Math.exp(
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x),
  );
  // The fraction converges fast only on one side of the mean; the other side is the complement.
  if (x < (a + 1) / (a + b + 2)) return (front * betaFraction(x, a, b)) / a;
  return 1 - (front * betaFraction(1 - x, b, a)) / b;
}

export function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - logGamma(1 - x);
  const z = x - 1;
  let sum = LANCZOS[0];
  for (let i = 1; i < LANCZOS.length; i++) sum += LANCZOS[i] / (z + i);
  const t = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The value below which a standard normal variable lies with probability `p`. Relative error below 1.2e-9. */
export function normalQuantile(p: number): number {
  assert(p > 0 && p < 1, 'a quantile needs 0 < p < 1');
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return (
      (((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q -
        2.549732539343734) *
        q +
        4.374664141464968) *
        q +
        2.938163982698783) /
      ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q +
        3.754408661907416) *
        q +
        1)
    );
  }
  const q = p - 0.5;
  const r = q * q;
  return (
    ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r +
      138.357751867269) *
      r -
      30.66479806614716) *
      r +
      2.506628277459239) *
      q) /
    (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r +
      66.80131188771972) *
      r -
      13.28068155288572) *
      r +
      1)
  );
}

/** Quantile of a Gamma variable by its mean and variance (Wilson-Hilferty: cube roots are nearly normal). */
export function gammaQuantile(p: number, mean: number, variance: number): number {
  assert(mean >= 0 && variance >= 0, 'a Gamma variable has mean and variance >= 0');
  if (mean === 0 || variance === 0) return mean;
  const shape = (mean * mean) / variance;
  const root = 1 - 1 / (9 * shape) + normalQuantile(p) / (3 * Math.sqrt(shape));
  return mean * Math.max(0, root) ** 3;
}

/** Quantile of values by linear interpolation; NaN of none. Does not change its argument. */
export function quantileOf(values: readonly number[] | Float64Array, p: number): number {
  const sorted = Float64Array.from(values).sort();
  if (sorted.length === 0) return Number.NaN;
  const at = p * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(sorted.length - 1, below + 1);
  return sorted[below] + (at - below) * (sorted[above] - sorted[below]);
}

export function medianOf(values: readonly number[] | Float64Array): number {
  return quantileOf(values, 0.5);
}

function betaFraction(x: number, a: number, b: number): number {
  const tiny = 1e-300;
  let c = 1;
  let d = 1 / notZero(1 - ((a + b) * x) / (a + 1), tiny);
  let value = d;
  for (let m = 1; m <= FRACTION_STEPS_MAX; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / notZero(1 + even * d, tiny);
    c = notZero(1 + even / c, tiny);
    value *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / notZero(1 + odd * d, tiny);
    c = notZero(1 + odd / c, tiny);
    const change = d * c;
    value *= change;
    if (Math.abs(change - 1) < 1e-14) break;
  }
  return value;
}

function notZero(value: number, tiny: number): number {
  return Math.abs(value) < tiny ? tiny : value;
}
