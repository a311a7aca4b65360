/**
 * The 97.5 % quantile of Student's t.
 *
 * Source: Abramowitz and Stegun 26.7.5 (Cornish-Fisher from the normal quantile); one and two degrees of freedom in closed form
 */
const Z = 1.959963984540054;

/** `freedom` may have a fraction (Welch); within 0.5 % of the exact value from 3 on. */
export function studentT975(freedom: number): number {
  if (freedom < 1) throw new RangeError(`${freedom} degrees of freedom: at least 1`);
  if (freedom < 2) {
    const [one, two] = [Math.tan(Math.PI * 0.475), 4.302652729696142];
    return one ** (2 - freedom) * two ** (freedom - 1); // exact at both ends
  }
  if (freedom < 3) return 4.302652729696142 ** (3 - freedom) * 3.182446305284263 ** (freedom - 2);
  const z2 = Z * Z;
  const terms = [
    Z,
    (Z * (z2 + 1)) / 4,
    (Z * ((5 * z2 + 16) * z2 + 3)) / 96,
    (Z * (((3 * z2 + 19) * z2 + 17) * z2 - 15)) / 384,
    (Z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945)) / 92_160,
  ];
  return terms.reduce((sum, term, power) => sum + term / freedom ** power, 0);
}
