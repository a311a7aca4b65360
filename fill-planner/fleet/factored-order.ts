/**
 * A region's popularity order as its factors: density(title, variant) = title density x variant share, rounded to float32.
 *
 * 61,200 numbers say what 72 million densities are; the order's version is the SHA-256 of exactly these numbers, so a plan
 * that names it means the same files everywhere.
 *
 * Units: share of the region's views; a cluster expects that share of its own views per day
 */
import { createHash } from 'node:crypto';
import type { OrderColumns } from '../contract.ts';

export interface FactoredOrder {
  readonly titles: Float32Array; // 0 where the title may not be shown
  readonly variants: Float32Array;
  /** Last night's factors, for what is kept; null before the first night. */
  readonly previousTitles: Float32Array | null;
  readonly previousVariants: Float32Array | null;
}

export function factoredOrderVersion(
  regionId: string,
  epoch: number,
  order: FactoredOrder,
): string {
  const hash = createHash('sha256').update(`${regionId}\n${epoch}\n`);
  for (const part of [order.titles, order.variants, order.previousTitles, order.previousVariants]) {
    hash.update(part === null ? '-' : `${part.length}\n`);
    if (part !== null) hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  }
  return hash.digest('base64url');
}

export function densityOf(titles: Float32Array, variants: Float32Array, row: number): number {
  const title = Math.floor(row / variants.length);
  return Math.fround(titles[title] * variants[row - title * variants.length]);
}

/**
 * The order's files of at least `leastDensity`, by falling density, ties by ordinal: what expandPlan reads. `wanted` leaves out files
 * that the reader knows it does not hold, before they are sorted.
 */
export function columnsOf(
  order: FactoredOrder,
  leastDensity: number,
  wanted: (row: number, density: number) => boolean = () => true,
): OrderColumns {
  const { titles, variants } = order;
  const byShare = Uint32Array.from(variants.keys()).sort((a, b) => variants[b] - variants[a]);
  // Inverted density bits above, row below, as little-endian halves: one sort of whole numbers orders by both.
  let halves = new Uint32Array(2 << 16);
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  let filled = 0;
  eachAbove(titles, variants, byShare, leastDensity, (row, density) => {
    if (!wanted(row, density)) return;
    if (filled === halves.length) {
      const longer = new Uint32Array(2 * halves.length);
      longer.set(halves);
      halves = longer;
    }
    float[0] = density;
    halves[filled++] = row;
    halves[filled++] = ~bits[0];
  });
  const count = filled / 2;
  new BigUint64Array(halves.buffer, 0, count).sort();
  const ordinals = new Uint32Array(count);
  const densities = new Float32Array(count);
  const previous = new Float32Array(count);
  for (let entry = 0; entry < count; entry++) {
    ordinals[entry] = halves[2 * entry];
    bits[0] = ~halves[2 * entry + 1];
    densities[entry] = float[0];
    if (order.previousTitles !== null && order.previousVariants !== null) {
      previous[entry] = densityOf(order.previousTitles, order.previousVariants, ordinals[entry]);
    }
  }
  return { ordinals, densities, previous };
}

/** Visits every row of at least that density, title by title. `byShare`: variants by falling share. */
export function eachAbove(
  titles: Float32Array,
  variants: Float32Array,
  byShare: Uint32Array,
  leastDensity: number,
  visit: (row: number, density: number) => void,
): void {
  for (let title = 0; title < titles.length; title++) {
    const popularity = titles[title];
    if (popularity === 0) continue;
    for (const variant of byShare) {
      const density = Math.fround(popularity * variants[variant]);
      if (density < leastDensity || density === 0) break;
      visit(title * variants.length + variant, density);
    }
  }
}
