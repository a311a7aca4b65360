/**
 * Least value of a function of a few numbers, without derivatives. Deterministic.
 *
 * Source: Nelder and Mead 1965, the textbook coefficients (1, 2, 1/2, 1/2)
 */
interface Corner {
  readonly at: readonly number[];
  readonly value: number;
}

export function simplexSearch(
  f: (at: readonly number[]) => number,
  start: readonly number[],
  step: number,
  evaluationsMax: number,
): readonly number[] {
  let evaluations = 0;
  const corner = (at: readonly number[]): Corner => {
    evaluations++;
    const value = f(at);
    return { at, value: Number.isFinite(value) ? value : Number.MAX_VALUE };
  };
  let corners = [
    corner(start),
    ...start.map((_, i) => corner(start.map((x, j) => (i === j ? x + step : x)))),
  ];
  while (evaluations < evaluationsMax) {
    corners = corners.toSorted((a, b) => a.value - b.value);
    const best = corners[0];
    const worst = corners[corners.length - 1];
    if (worst.value - best.value <= 1e-12 * (Math.abs(best.value) + 1e-12)) break;
    const rest = corners.slice(0, -1);
    const centre = start.map((_, j) => rest.reduce((sum, c) => sum + c.at[j], 0) / rest.length);
    const along = (by: number): Corner => corner(centre.map((x, j) => x + by * (worst.at[j] - x)));
    const reflected = along(-1);
    if (reflected.value < best.value) {
      const expanded = along(-2);
      corners = [...rest, expanded.value < reflected.value ? expanded : reflected];
    } else if (reflected.value < rest[rest.length - 1].value) {
      corners = [...rest, reflected];
    } else {
      const contracted = along(reflected.value < worst.value ? -0.5 : 0.5);
      corners =
        contracted.value < Math.min(worst.value, reflected.value)
          ? [...rest, contracted]
          : [
              best,
              ...corners.slice(1).map((c) => corner(c.at.map((x, j) => (x + best.at[j]) / 2))),
            ];
    }
  }
  return corners.toSorted((a, b) => a.value - b.value)[0].at;
}
