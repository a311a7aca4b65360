/**
 * The files of a region that any of its boxes might hold, in columns, sorted by density bin: nobody touches 72 million files.
 *
 * A bin is a range of densities of one 256th of an octave: the upper bits of a float32. Its edges are exact numbers, so a
 * threshold on an edge means the same files for whoever compares densities with it.
 *
 * Invariants: (1) every file of at least `leastDensity` is here, or among the pinned ones
 *             (2) sorted by bin, then by row
 */
import type { FactoredOrder } from './factored-order.ts';
import { BLOCK_BYTES, type FleetCatalogue } from './fleet-files.ts';

const BIN_BITS = 15; // of the 23 bits of a float32's fraction; 8 are kept

export interface Candidates {
  readonly count: number;
  readonly bins: number;
  readonly firstOfBin: Uint32Array; // bins + 1
  readonly buckets: Uint16Array;
  readonly blocks: Uint32Array; // BLOCK_BYTES each
  readonly densities: Float32Array;
  readonly previousKeys: Uint16Array; // densityKey of last night's density, 0 where there is none
  /** Densities between bins: bin b lies in [edges[b + 1], edges[b]). */
  readonly edges: Float64Array;
  readonly bytesAbove: Float64Array; // bytes of the first b bins
  readonly viewsAbove: Float64Array; // share x bytes of the first b bins
  /** Files of pinned releases: not among the others, since every cluster of the region holds them. */
  readonly pinned: PinnedFiles;
  readonly viewBytes: number; // of the whole region, share x bytes
}

export interface PinnedFiles {
  readonly rows: Uint32Array; // by title, then by falling share
  readonly buckets: Uint16Array;
  readonly sizes: Float64Array;
  readonly densities: Float32Array;
  readonly bins: Uint32Array;
}

const bits = new Uint32Array(1);
const float = new Float32Array(bits.buffer);

/** Order-preserving: a density's bin, counted from zero density up. Positive float32 sort as their bits do. */
export function densityKey(density: number): number {
  float[0] = density;
  return bits[0] >>> BIN_BITS;
}

/** The lowest density of that key. */
export function keyFloor(key: number): number {
  bits[0] = key << BIN_BITS;
  return float[0];
}

export function candidatesOf(
  order: FactoredOrder,
  catalogue: FleetCatalogue,
  leastDensity: number,
  pins: Uint8Array | null,
): Candidates {
  const { titles, variants } = order;
  const byShare = Uint32Array.from(variants.keys()).sort((a, b) => variants[b] - variants[a]);
  const shares = Float32Array.from(byShare, (variant) => variants[variant]);
  let topTitle = 0;
  for (const title of titles) topTitle = Math.max(topTitle, title);
  const topKey = densityKey(Math.fround(topTitle * shares[0]));
  const bins = topKey - densityKey(leastDensity) + 1;
  const floor = keyFloor(densityKey(leastDensity)); // whole bins only
  const pinnedLengths = pinnedVariants(order, catalogue, byShare, pins);
  const found = rowsAbove(titles, byShare, shares, floor, pinnedLengths);
  const { count } = found;
  const firstOfBin = new Uint32Array(bins + 1);
  const keys = new Uint32Array(found.densities.buffer); // the same bits: no copy, no rounding
  for (let at = 0; at < count; at++) firstOfBin[topKey - (keys[at] >>> BIN_BITS) + 1]++;
  for (let bin = 0; bin < bins; bin++) firstOfBin[bin + 1] += firstOfBin[bin];
  const next = firstOfBin.slice();
  const buckets = new Uint16Array(count);
  const blocks = new Uint32Array(count);
  const densities = new Float32Array(count);
  const previousKeys = new Uint16Array(count);
  const bytes = new Float64Array(bins);
  const views = new Float64Array(bins);
  const { previousTitles, previousVariants } = order;
  for (let entry = 0; entry < count; entry++) {
    const row = found.rows[entry];
    const density = found.densities[entry];
    const bin = topKey - (keys[entry] >>> BIN_BITS);
    const at = next[bin]++;
    const size = catalogue.blocks[row] * BLOCK_BYTES;
    blocks[at] = catalogue.blocks[row];
    buckets[at] = catalogue.buckets[row];
    densities[at] = density;
    bytes[bin] += size;
    views[bin] += size * density;
    if (previousTitles !== null && previousVariants !== null) {
      const title = Math.floor(row / variants.length);
      const previous = previousTitles[title] * previousVariants[row - title * variants.length];
      previousKeys[at] = densityKey(previous);
    }
  }
  const bytesAbove = new Float64Array(bins + 1);
  const viewsAbove = new Float64Array(bins + 1);
  for (let bin = 0; bin < bins; bin++) {
    bytesAbove[bin + 1] = bytesAbove[bin] + bytes[bin];
    viewsAbove[bin + 1] = viewsAbove[bin] + views[bin];
  }
  return {
    count,
    bins,
    firstOfBin,
    buckets,
    blocks,
    densities,
    previousKeys,
    edges: Float64Array.from({ length: bins + 1 }, (_, bin) => keyFloor(topKey - bin + 1)),
    bytesAbove,
    viewsAbove,
    pinned: pinnedFiles(order, catalogue, byShare, pinnedLengths, topKey, bins),
    viewBytes: viewBytesOf(order, catalogue),
  };
}

const PINNED_DEMAND_SHARE = 0.95; // of a release only the files that carry this share of its demand are pinned

/** Per title: how many of its most watched variants are pinned; null where none is. */
function pinnedVariants(
  { titles, variants }: FactoredOrder,
  { blocks }: FleetCatalogue,
  byShare: Uint32Array,
  pins: Uint8Array | null,
): ReadonlyMap<number, number> {
  const lengths = new Map<number, number>();
  if (pins === null) return lengths;
  for (let title = 0; title < titles.length; title++) {
    if (pins[title] === 0 || titles[title] === 0) continue;
    const base = title * variants.length;
    let total = 0;
    for (const variant of byShare) total += variants[variant] * blocks[base + variant];
    let carried = 0;
    let length = 0;
    while (length < byShare.length && carried < PINNED_DEMAND_SHARE * total) {
      carried += variants[byShare[length]] * blocks[base + byShare[length]];
      length++;
    }
    lengths.set(title, length);
  }
  return lengths;
}

function pinnedFiles(
  { titles, variants }: FactoredOrder,
  catalogue: FleetCatalogue,
  byShare: Uint32Array,
  lengths: ReadonlyMap<number, number>,
  topKey: number,
  bins: number,
): PinnedFiles {
  const rows = Uint32Array.from(
    [...lengths].flatMap(([title, length]) =>
      Array.from(byShare.subarray(0, length), (variant) => title * variants.length + variant),
    ),
  );
  const densities = Float32Array.from(rows, (row) => {
    const title = Math.floor(row / variants.length);
    return titles[title] * variants[row - title * variants.length];
  });
  return {
    rows,
    densities,
    buckets: Uint16Array.from(rows, (row) => catalogue.buckets[row]),
    sizes: Float64Array.from(rows, (row) => catalogue.blocks[row] * BLOCK_BYTES),
    bins: Uint32Array.from(densities, (density) =>
      Math.min(bins - 1, topKey - densityKey(density)),
    ),
  };
}

/** Rows of at least that density with their densities, title by title: counted first, then written into columns of that length. */
function rowsAbove(
  titles: Float32Array,
  byShare: Uint32Array,
  shares: Float32Array,
  leastDensity: number,
  pinned: ReadonlyMap<number, number>,
): { readonly count: number; readonly rows: Uint32Array; readonly densities: Float32Array } {
  const lengths = new Uint32Array(titles.length);
  let count = 0;
  for (let title = 0; title < titles.length; title++) {
    const popularity = titles[title];
    if (popularity === 0) continue;
    // The exact rule is the rounded product; the quotient only says where to look.
    let length = sharesAbove(shares, leastDensity / popularity);
    while (length > 0 && Math.fround(popularity * shares[length - 1]) < leastDensity) length--;
    while (length < shares.length && Math.fround(popularity * shares[length]) >= leastDensity) {
      length++;
    }
    lengths[title] = length;
    count += Math.max(0, length - (pinned.get(title) ?? 0));
  }
  const rows = new Uint32Array(count);
  const densities = new Float32Array(count);
  let at = 0;
  for (let title = 0; title < titles.length; title++) {
    const base = title * shares.length;
    const popularity = titles[title];
    for (let k = pinned.get(title) ?? 0; k < lengths[title]; k++) {
      rows[at] = base + byShare[k];
      densities[at] = popularity * shares[k];
      at++;
    }
  }
  return { count, rows, densities };
}

/** Share x bytes over every file of the region: one multiplication each, no object, no branch. */
function viewBytesOf({ titles, variants }: FactoredOrder, { blocks }: FleetCatalogue): number {
  let total = 0;
  for (let title = 0; title < titles.length; title++) {
    const popularity = titles[title];
    if (popularity === 0) continue;
    const base = title * variants.length;
    let blocksSeen = 0;
    for (let variant = 0; variant < variants.length; variant++) {
      blocksSeen += variants[variant] * blocks[base + variant];
    }
    total += popularity * blocksSeen;
  }
  return total * BLOCK_BYTES;
}

/**
 * A density above which at most `bytes` lie, near enough: found by counting, not by sorting. Uses mean sizes per title, so that a
 * step costs titles x log variants; the caller asks for more than it needs.
 */
export function densityForBytes(
  order: FactoredOrder,
  catalogue: FleetCatalogue,
  bytes: number,
): number {
  const { titles, variants } = order;
  const byShare = Uint32Array.from(variants.keys()).sort((a, b) => variants[b] - variants[a]);
  const shares = Float32Array.from(byShare, (variant) => variants[variant]);
  // A typical title stands for all: bytes of its k most watched variants, from a sample of titles.
  const sample = Math.min(200, titles.length);
  const blocksOfFirst = new Float64Array(variants.length + 1);
  for (let at = 0; at < sample; at++) {
    const base = Math.floor((at * titles.length) / sample) * variants.length;
    byShare.forEach((variant, k) => (blocksOfFirst[k + 1] += catalogue.blocks[base + variant]));
  }
  for (let k = 0; k < variants.length; k++) blocksOfFirst[k + 1] += blocksOfFirst[k];
  const bytesAbove = (density: number): number => {
    let blocks = 0;
    for (const popularity of titles) {
      if (popularity > 0) blocks += blocksOfFirst[sharesAbove(shares, density / popularity)];
    }
    return (blocks / sample) * BLOCK_BYTES;
  };
  let low = 1e-30;
  let high = 1;
  for (let step = 0; step < 60 && high > low * 1.01; step++) {
    const middle = Math.sqrt(low * high);
    if (bytesAbove(middle) > bytes) low = middle;
    else high = middle;
  }
  return high;
}

function sharesAbove(shares: Float32Array, least: number): number {
  let low = 0;
  let high = shares.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (shares[middle] >= least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many leading bins hold at most that many bytes. */
export function binsHolding(
  { bytesAbove, bins }: Pick<Candidates, 'bytesAbove' | 'bins'>,
  bytes: number,
): number {
  let low = 0;
  let high = bins;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (bytesAbove[middle] <= bytes) low = middle;
    else high = middle - 1;
  }
  return low;
}
