/**
 * What the analytic engine looks at: for each class of clusters one that stands for it, with its disk and the rates of its files.
 *
 * Shape:      network + generated viewing | view records | a trace -> cluster workloads
 * Units:      rates in views of the whole file a day; bytes
 * Invariants: (1) rate x size x count summed is the bytes that viewers of the cluster ask for a day
 */
import type { FluidInput } from '../fluid/country-run.ts';
import { binnedOrder } from '../fluid/bins.ts';
import type { Trace } from '../cache/trace.ts';
import type { Unit } from '../network/units.ts';
import type { BoxKind } from '../scenario.ts';
import { CountryViewing } from '../workload/popularity.ts';
import type { Popularity } from './che.ts';

const DAY_SECONDS = 86_400;
const BINS_MERGED = 4; // 9 % of density: rates within a bin are alike enough
const KINDS: readonly BoxKind[] = ['storage', 'small', 'flash'];

export interface ClusterWorkload {
  readonly title: string;
  readonly popularity: Popularity;
  readonly meanFileBytes: number; // of what is asked for
  readonly diskBytes: number; // of the cluster, as the scenario has it
  /** Bytes a day that it stands for: of all clusters of its class. */
  readonly dayBytes: number;
  /** Sizes of disk that its curve is drawn over. */
  readonly curveBytes: readonly number[];
}

export interface AnalyticWorkload {
  readonly clusters: readonly ClusterWorkload[];
  readonly files: number;
  readonly notes: readonly string[];
}

/** Sums of view records: one row per home and file. */
export interface ViewSums {
  readonly days: number;
  readonly hasSizes: boolean;
  readonly rows: number;
  readonly homes: readonly HomeSums[]; // most bytes first
}

export interface HomeSums {
  readonly home: string;
  readonly bytes: Float64Array; // delivered over all days, per file
  readonly sizes: Float64Array | null;
}

const CURVE_SHARES = [
  0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.25, 0.35, 0.5, 0.7, 0.85, 1, 1.25, 1.5, 1.75, 2,
];
/** Of a trace's own bytes: its objects seldom fill a disk. */
const TRACE_SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8];
const HOME_CURVES_MAX = 3;
const FILES_UNBINNED = 5000;
const RATE_BINS_PER_OCTAVE = 16;

const clusterDisk = (unit: Unit): number => unit.boxes * unit.storageBytes;
const scaled = (bytes: number, shares: readonly number[]): readonly number[] =>
  shares.map((share) => share * bytes);

/** Of the generated catalogue, on the scenario's middle day. */
export function generatedWorkload(input: FluidInput): AnalyticWorkload {
  const { network, scenario, cells } = input;
  const clusters = KINDS.flatMap((kind): readonly ClusterWorkload[] => {
    const units = network.units.filter((unit) => unit.kind === kind);
    const unit = middleOf(units);
    if (unit === null) return [];
    const own = dayBytesOf(unit, input.peakToMean) / unit.clusters;
    if (own === 0) return [];
    const { country, siteId } = network.sites[unit.site];
    const { popularity, meanFileBytes } = catalogueOf(input, country, own);
    return [
      {
        title: `${kind} cluster of ${unit.boxes} ${unit.boxes === 1 ? 'box' : 'boxes'}, as at ${siteId}, ${country}`,
        popularity,
        meanFileBytes,
        diskBytes: clusterDisk(unit),
        dayBytes: units.reduce((sum, each) => sum + dayBytesOf(each, input.peakToMean), 0),
        curveBytes: scaled(clusterDisk(unit), CURVE_SHARES),
      },
    ];
  });
  const titles = cells.reduce((sum, cell) => sum + cell.titles, 0);
  return {
    clusters,
    files: Math.round(titles) * scenario.catalogue.variants,
    notes: [
      'For each kind of box the cluster with the middle disk stands for all; its country’s viewing on the middle day for all days.',
    ],
  };
}

/** The cluster with the middle disk, each weighed by how many are like it. */
function middleOf(units: readonly Unit[]): Unit | null {
  const able = units
    .filter((unit) => clusterDisk(unit) > 0)
    .sort((a, b) => clusterDisk(a) - clusterDisk(b));
  const all = able.reduce((sum, { clusters }) => sum + clusters, 0);
  let below = 0;
  for (const unit of able) {
    below += unit.clusters;
    if (2 * below >= all) return unit;
  }
  return null;
}

function dayBytesOf(unit: Unit, peakToMean: number): number {
  return (unit.peakBps / peakToMean / 8) * DAY_SECONDS;
}

/** Density bins of a country's catalogue with the rates that a cluster of so many bytes a day sees. */
function catalogueOf(
  input: FluidInput,
  country: string,
  dayBytes: number,
): { readonly popularity: Popularity; readonly meanFileBytes: number } {
  const { cells, seed, moods, scenario, seconds, ladder } = input;
  const viewing = new CountryViewing(cells, seed, country, moods);
  const { titleViews } = viewing.on(Math.floor(scenario.days / 2));
  const order = binnedOrder(titleViews, seconds, ladder, Infinity);
  const rates: number[] = [];
  const bytes: number[] = [];
  for (let from = 0; from < order.bins; from += BINS_MERGED) {
    let [own, views] = [0, 0];
    for (let bin = from; bin < Math.min(order.bins, from + BINS_MERGED); bin++) {
      own += order.bytes[bin];
      views += order.bytes[bin] * order.densities[bin];
    }
    if (own === 0) continue;
    bytes.push(own);
    rates.push((views / own / order.viewBytes) * dayBytes);
  }
  // Bins and the ladder’s own sums differ by the rounding of densities.
  const asked = rates.reduce((sum, rate, at) => sum + rate * bytes[at], 0);
  const meanFileBytes = meanFileBytesOf(input);
  return {
    meanFileBytes,
    popularity: {
      ratesPerDay: rates.map((rate) => (rate * dayBytes) / asked),
      sizesBytes: bytes.map(() => meanFileBytes),
      counts: bytes.map((own) => own / meanFileBytes),
    },
  };
}

function meanFileBytesOf({ cells, seconds, ladder, scenario }: FluidInput): number {
  const all = seconds.reduce((sum, value) => sum + value, 0) * ladder.bytesTo[ladder.count];
  const titles = cells.reduce((sum, cell) => sum + cell.titles, 0);
  return all / (titles * scenario.catalogue.variants);
}

/** Each home with its own rates; its disk is that of the site of its name, else of the fleet's middle cluster. */
export function recordsWorkload(input: FluidInput, sums: ViewSums): AnalyticWorkload {
  const { network } = input;
  const meanBytes = meanFileBytesOf(input);
  const middle = middleOf(network.units);
  let unnamed = 0;
  const clusters = sums.homes.map(({ home, bytes, sizes }, at): ClusterWorkload => {
    const site = network.units.find((unit) => network.sites[unit.site].siteId === home);
    if (site === undefined) unnamed++;
    const unit = site ?? middle;
    const diskBytes = unit === null ? 0 : clusterDisk(unit);
    const sizesBytes = sizes ?? bytes.map(() => meanBytes);
    return {
      title: `home ${home}`,
      popularity: binnedByRate({
        ratesPerDay: bytes.map((asked, file) => asked / sizesBytes[file] / sums.days),
        sizesBytes,
      }),
      meanFileBytes: sizesBytes.reduce((sum, size) => sum + size, 0) / sizesBytes.length,
      diskBytes,
      dayBytes: bytes.reduce((sum, asked) => sum + asked, 0) / sums.days,
      curveBytes: at < HOME_CURVES_MAX ? scaled(diskBytes, CURVE_SHARES) : [],
    };
  });
  return {
    clusters,
    files: Math.max(...sums.homes.map(({ bytes }) => bytes.length)),
    notes: [
      `Rates are the means of ${sums.rows} sums of view records over ${sums.days} days.`,
      ...(sums.hasSizes
        ? []
        : [
            `The view records have no column size: every file is taken to have ${(meanBytes / 1e6).toFixed(0)} MB, the mean of the scenario’s catalogue.`,
          ]),
      ...(unnamed > 0
        ? [
            `${unnamed} of ${sums.homes.length} homes are no sites of the fleet: they have the disk of its middle cluster.`,
          ]
        : []),
    ],
  };
}

/** The whole trace as one cluster's demand. */
export function traceWorkload({ network }: FluidInput, trace: Trace): AnalyticWorkload {
  const { ids, sizes, objects, requests, seconds, bytesRequested, bytesDistinct } = trace;
  const counts = new Float64Array(objects);
  const sizesBytes = new Float64Array(objects);
  for (let at = 0; at < requests; at++) {
    counts[ids[at]]++;
    sizesBytes[ids[at]] = sizes[at];
  }
  const span = seconds === undefined ? requests : seconds[requests - 1] - seconds[0];
  const days = Math.max(1, span) / DAY_SECONDS;
  const middle = middleOf(network.units);
  const diskBytes = middle === null ? 0 : clusterDisk(middle);
  return {
    files: objects,
    clusters: [
      {
        title: `one cluster with the requests of the trace`,
        popularity: binnedByRate({ ratesPerDay: counts.map((count) => count / days), sizesBytes }),
        meanFileBytes: bytesDistinct / objects,
        diskBytes,
        dayBytes: bytesRequested / days,
        curveBytes: scaled(bytesDistinct, TRACE_SHARES).map(Math.ceil),
      },
    ],
    notes: [
      `${requests} requests for ${objects} objects; sizes of disk are shares of the trace’s own ${(bytesDistinct / 1e9).toPrecision(3)} GB.`,
      ...(diskBytes > bytesDistinct
        ? [
            'The middle cluster’s disk holds the whole trace: the totals say nothing but that; give boxes less storageTb.',
          ]
        : []),
    ],
  };
}

/** Many files by ranges of rate: bytes and what is asked for are kept, so byte hit ratios hardly change. Few stay as they are. */
export function binnedByRate(popularity: Popularity, filesMax = FILES_UNBINNED): Popularity {
  const { ratesPerDay, sizesBytes } = popularity;
  if (ratesPerDay.length <= filesMax) return popularity;
  const bins = new Map<number, { files: number; bytes: number; asked: number }>();
  for (let file = 0; file < ratesPerDay.length; file++) {
    if (ratesPerDay[file] === 0) continue;
    const key = Math.round(Math.log2(ratesPerDay[file]) * RATE_BINS_PER_OCTAVE);
    const bin = bins.get(key) ?? { files: 0, bytes: 0, asked: 0 };
    bin.files++;
    bin.bytes += sizesBytes[file];
    bin.asked += sizesBytes[file] * ratesPerDay[file];
    bins.set(key, bin);
  }
  const found = [...bins.values()];
  return {
    ratesPerDay: found.map(({ asked, bytes }) => asked / bytes),
    sizesBytes: found.map(({ bytes, files }) => bytes / files),
    counts: found.map(({ files }) => files),
  };
}
