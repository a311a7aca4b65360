/**
 * One cluster's viewers on one day at the request level: whole views of real keys, as Poisson counts at times drawn from the day curve.
 *
 * A view of a file that the plan put there is a hit from the hour the file came in; all others go, in order of time, through the
 * reactive part of the box that owns the file, which is the appliance's own code.
 */
import type { Random } from '#base/random.ts';
import type { CachePolicy } from '../cache/policy.ts';
import type { Keys } from './keys.ts';
import type { PlannedCluster } from './planned-cluster.ts';

const HOUR_SECONDS = 3600;
const POISSON_EXACT_MAX = 30;

export interface DayOfViews {
  readonly bytes: number;
  readonly plannedHitBytes: number;
  readonly reactiveHitBytes: number;
  /** Bytes not served at home that the first exchange holds, and the second where the first does not. */
  readonly tier1Bytes: number;
  readonly tier2Bytes: number;
}

export interface DayInput {
  readonly keys: Keys;
  readonly cluster: PlannedCluster;
  readonly reactive: readonly CachePolicy[]; // per box; empty where a disk has none
  readonly titleViews: ArrayLike<number>; // per title: share of the country's title views
  readonly fileViews: number; // a day, of the whole catalogue
  /** 24 factors, local hours, mean 1. */
  readonly dayCurve: Float64Array;
  readonly windowStartHour: number; // local
  readonly day: number;
  readonly tiers: readonly (PlannedCluster | null)[];
  readonly random: Random;
}

export function dayOfViews(input: DayInput): DayOfViews {
  const { keys, cluster, random, titleViews, fileViews } = input;
  const { rows, sizes, shares } = keys;
  const files = keys.catalogue.variants;
  const late: { row: number; seconds: number }[] = [];
  let bytes = 0;
  let plannedHitBytes = 0;
  for (let at = 0; at < rows.length; at++) {
    const title = Math.floor(rows[at] / files);
    const rate = titleViews[title] * shares[rows[at] - title * files] * fileViews;
    const count = poisson(rate, random);
    if (count === 0) continue;
    bytes += count * sizes[at];
    const isHeld = cluster.held[at] === 1;
    if (isHeld && cluster.arrivesAt[at] === 0) {
      plannedHitBytes += count * sizes[at];
      continue;
    }
    for (let view = 0; view < count; view++) {
      const hour = hourOf(input, random);
      const since = (((hour - input.windowStartHour) % 24) + 24) % 24;
      if (isHeld && since >= cluster.arrivesAt[at]) plannedHitBytes += sizes[at];
      else late.push({ row: at, seconds: (input.day * 24 + hour) * HOUR_SECONDS });
    }
  }
  late.sort((a, b) => a.seconds - b.seconds || a.row - b.row);
  return { bytes, plannedHitBytes, ...missed(input, late) };
}

function missed(
  { keys, cluster, reactive, tiers }: DayInput,
  views: readonly { readonly row: number; readonly seconds: number }[],
): Omit<DayOfViews, 'bytes' | 'plannedHitBytes'> {
  let reactiveHitBytes = 0;
  let tier1Bytes = 0;
  let tier2Bytes = 0;
  for (const { row, seconds } of views) {
    const size = keys.sizes[row];
    const cache = reactive[cluster.ownerOf(row)];
    if (cache?.request(row, size, Math.floor(seconds)) === true) reactiveHitBytes += size;
    else if (tiers[0]?.held[row] === 1) tier1Bytes += size;
    else if (tiers[1]?.held[row] === 1) tier2Bytes += size;
  }
  return { reactiveHitBytes, tier1Bytes, tier2Bytes };
}

/** A local hour with its fraction, by the day curve. */
function hourOf({ dayCurve }: DayInput, random: Random): number {
  let draw = random.next() * 24;
  for (let hour = 0; hour < 24; hour++) {
    if (draw < dayCurve[hour]) return hour + draw / dayCurve[hour];
    draw -= dayCurve[hour];
  }
  return 23.999;
}

function poisson(rate: number, random: Random): number {
  if (rate <= 0) return 0;
  if (rate > POISSON_EXACT_MAX) {
    const u = Math.max(1e-12, random.next());
    const z = Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * random.next());
    return Math.max(0, Math.round(rate + Math.sqrt(rate) * z));
  }
  const none = Math.exp(-rate);
  let product = random.next();
  let count = 0;
  while (product > none) {
    count++;
    product *= random.next();
  }
  return count;
}
