/**
 * Empirical Bayes: how far a rate or a share that was counted on little data is drawn towards that of its parent.
 *
 * Rates:  count ~ Poisson(expected x rho), rho ~ Gamma(mean 1, shape b), so that
 *         rho-hat = (b + count) / (b + expected). `expected` is what the parent's rate gives for this child.
 *         Var(count) = expected + expected^2 / b, hence b by the method of moments over all children of a level.
 * Shares: counts ~ Multinomial(p), p ~ Dirichlet(concentration x prior), so that
 *         share = (concentration x prior + count) / (concentration + total).
 * Invariants: (1) no data gives the parent; endless data gives the data
 *             (2) both strengths lie within bounds, whatever the data: too few or equal children give the upper one
 * Source: Gelman et al., Bayesian Data Analysis 2.6, 5; Mosimann 1962 (Dirichlet-multinomial moments)
 */
export const STRENGTH_MIN = 0.05; // below this a prior says nothing
export const STRENGTH_MAX = 1e5; // above this a child says nothing

/** rho-hat: the factor by which a child's rate differs from what its parent says. */
export function shrunkFactor(count: number, expected: number, strength: number): number {
  return (strength + count) / (strength + expected);
}

/** b of one level, summed child by child: sum(expected^2) / sum((count - expected)^2 - expected). */
export class RateStrength {
  #square = 0;
  #excess = 0;

  add(count: number, expected: number): void {
    if (!(expected > 0)) return;
    this.#square += expected * expected;
    this.#excess += (count - expected) ** 2 - expected;
  }

  strength(): number {
    return bounded(this.#excess > 0 ? this.#square / this.#excess : Number.POSITIVE_INFINITY);
  }
}

export interface ShareGroup {
  readonly counts: readonly number[];
  readonly prior: readonly number[]; // same length, sums to 1
}

/**
 * The Dirichlet concentration over groups of shares (variants of titles, episodes of seasons).
 * E sum(n - N p)^2 = N sum p(1 - p) (1 + (N - 1) r) with r = 1 / (1 + concentration), summed over groups.
 */
export function shareConcentration(groups: readonly ShareGroup[]): number {
  let excess = 0;
  let scale = 0;
  for (const { counts, prior } of groups) {
    let total = 0;
    for (const count of counts) total += count;
    if (total <= 1) continue;
    let spread = 0;
    let squares = 0;
    for (let k = 0; k < counts.length; k++) {
      spread += prior[k] * (1 - prior[k]);
      squares += (counts[k] - total * prior[k]) ** 2;
    }
    excess += squares - total * spread;
    scale += total * (total - 1) * spread;
  }
  if (!(excess > 0)) return STRENGTH_MAX;
  return bounded(scale / excess - 1);
}

/** Posterior mean shares; they sum to 1. */
export function shrunkShares(
  counts: readonly number[],
  prior: readonly number[],
  concentration: number,
): readonly number[] {
  let total = 0;
  for (const count of counts) total += count;
  return counts.map((count, k) => (concentration * prior[k] + count) / (concentration + total));
}

function bounded(strength: number): number {
  return Math.min(STRENGTH_MAX, Math.max(STRENGTH_MIN, strength));
}
