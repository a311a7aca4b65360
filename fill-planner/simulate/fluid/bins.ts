/**
 * Density bins of a country's catalogue: 72 million files as bytes per range of density, without visiting one of them.
 *
 * A file's density is its title's views x its share of them, so log densities add: the bytes per bin are the convolution of the titles'
 * histogram with the ladder's. A title that is held down to some share holds a leading part of the ladder, `cut` bins of it: that is
 * all the state that a cluster needs per cell.
 *
 * Units:      density: share of the country's title views; a bin is 1 / BINS_PER_OCTAVE of an octave
 * Invariants: (1) bytes x density over all bins, the deep ones too, is `viewBytes`
 *             (2) bytes of the bins = bytes of all files down to the last bin's density; what lies deeper is only in `viewBytes`
 */
import type { Ladder } from '../workload/ladder.ts';
import type { Cell } from '../workload/programmes.ts';

/** A bin is 2.2 % of density: some 0.7 % of what a cluster holds lies in the one at its cut. */
export const BINS_PER_OCTAVE = 32;
const FADED = 1e-15; // title views below that are as good as none

export interface LadderBins {
  readonly count: number;
  readonly bytes: Float64Array; // per second of programme, by bin from the most watched file down
  /** Sums over the first k bins, k = 0 .. count. */
  readonly bytesTo: Float64Array;
  readonly viewBytesTo: Float64Array; // share x bytes per second
  readonly topShare: number;
}

export function ladderBins(ladder: Pick<Ladder, 'shares' | 'bytesPerSecond'>): LadderBins {
  const { shares, bytesPerSecond } = ladder;
  const binOf = (share: number): number =>
    Math.round(-Math.log2(share / shares[0]) * BINS_PER_OCTAVE);
  const count = binOf(shares[shares.length - 1]) + 1;
  const bytes = new Float64Array(count);
  const viewBytes = new Float64Array(count);
  for (let at = 0; at < shares.length; at++) {
    bytes[binOf(shares[at])] += bytesPerSecond[at];
    viewBytes[binOf(shares[at])] += bytesPerSecond[at] * shares[at];
  }
  return {
    count,
    bytes,
    bytesTo: prefixSums(bytes),
    viewBytesTo: prefixSums(viewBytes),
    topShare: shares[0],
  };
}

function prefixSums(values: Float64Array): Float64Array {
  const sums = new Float64Array(values.length + 1);
  for (let at = 0; at < values.length; at++) sums[at + 1] = sums[at] + values[at];
  return sums;
}

/** What the planner's cuts read of a country's night. */
export interface BinnedOrder {
  /** Per cell: the bin of its most watched file; -1 where it is not shown. */
  readonly firstBin: Int32Array;
  readonly bins: number;
  readonly bytes: Float64Array; // titles x bytes
  readonly densities: Float64Array; // of the bin's middle
  readonly edges: Float64Array; // bins + 1, falling
  readonly bytesAbove: Float64Array; // bins + 1
  readonly viewBytes: number; // density x bytes of the whole catalogue
  readonly isWhole: boolean; // no file lies deeper than the bins
}

/** Seconds of programme of each cell: what one byte per second of its ladder weighs. */
export function cellSeconds(cells: readonly Cell[]): Float64Array {
  return Float64Array.from(cells, (cell) => cell.titles * cell.seconds);
}

/** Down to where `bytesWanted` lie: what is deeper no box of the country could hold. */
export function binnedOrder(
  titleViews: Float64Array | Float32Array,
  seconds: Float64Array,
  ladder: LadderBins,
  bytesWanted: number,
): BinnedOrder {
  const firstBin = new Int32Array(titleViews.length);
  let least = Infinity;
  let most = -Infinity;
  for (let at = 0; at < titleViews.length; at++) {
    const views = titleViews[at];
    if (views < FADED) {
      firstBin[at] = -1;
      continue;
    }
    const bin = Math.round(-Math.log2(views * ladder.topShare) * BINS_PER_OCTAVE);
    firstBin[at] = bin;
    least = Math.min(least, bin);
    most = Math.max(most, bin);
  }
  const histogram = new Float64Array(most - least + 1);
  for (let at = 0; at < firstBin.length; at++) {
    if (firstBin[at] === -1) continue;
    firstBin[at] -= least;
    histogram[firstBin[at]] += seconds[at];
  }
  const { bytes, bins } = convolution(histogram, ladder, bytesWanted);
  let viewBytes = 0;
  for (let at = 0; at < titleViews.length; at++) viewBytes += titleViews[at] * seconds[at];
  viewBytes *= ladder.viewBytesTo[ladder.count];
  // A bin's middle is not the mean of what lies in it: all bins together are made to weigh what the files do.
  const scale = viewBytes / (atMiddles(histogram) * atMiddles(ladder.bytes));
  const densities = new Float64Array(bins);
  const edges = new Float64Array(bins + 1);
  for (let bin = 0; bin < bins; bin++) {
    densities[bin] = scale * middleOf(bin);
    edges[bin] = scale * middleOf(bin - 0.5);
  }
  edges[bins] = scale * middleOf(bins - 0.5);
  return {
    firstBin,
    bins,
    bytes,
    densities,
    edges,
    bytesAbove: prefixSums(bytes),
    viewBytes,
    isWhole: bins === histogram.length + ladder.count - 1,
  };
}

function middleOf(bin: number): number {
  return 2 ** (-bin / BINS_PER_OCTAVE);
}

/** View-bytes of a histogram, were each entry in the middle of its bin. Of a convolution it is the product of both sides'. */
function atMiddles(weights: Float64Array): number {
  let sum = 0;
  for (let bin = 0; bin < weights.length; bin++) sum += weights[bin] * middleOf(bin);
  return sum;
}

/** Bin by bin from the top, until there are bytes enough. */
function convolution(
  histogram: Float64Array,
  ladder: LadderBins,
  bytesWanted: number,
): { readonly bytes: Float64Array; readonly bins: number } {
  const most = histogram.length + ladder.count - 1;
  const titles = Uint32Array.from(histogram.keys()).filter((at) => histogram[at] > 0);
  const weights = Float64Array.from(titles, (at) => histogram[at]);
  const bytes = new Float64Array(most);
  let total = 0;
  let bins = 0;
  let last = 0; // titles above the bin
  while (bins < most && total <= bytesWanted) {
    while (last < titles.length && titles[last] <= bins) last++;
    let sum = 0;
    for (let at = 0; at < last; at++) {
      const file = bins - titles[at];
      if (file < ladder.count) sum += weights[at] * ladder.bytes[file];
    }
    bytes[bins] = sum;
    total += sum;
    bins++;
  }
  return { bytes: bytes.subarray(0, bins), bins };
}
