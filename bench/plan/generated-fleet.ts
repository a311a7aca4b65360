/**
 * A fleet's files on disk, made up from a seed: catalogue, view-record rollups, and the clusters of a topology (`topology.ts`).
 *
 * Popularity is Zipf-Mandelbrot with a cut tail, times log-normal noise per region and day; a few titles a day are new, and two of
 * those are pinned everywhere until their second day. Nothing here is shared with the forecast.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { seededRandom, type Random } from '#base/random.ts';
import {
  TITLE_CLASSES,
  writeArray,
  type FleetDescription,
  type FleetRegion,
} from '#fill-planner/fill-planner.ts';
import { clustersOf, type Topology } from './topology.ts';

export interface FleetShape {
  readonly seed: number;
  readonly titles: number;
  readonly variants: number;
  /** Storage is multiplied by this: a small catalogue needs small disks. */
  readonly storageScale: number;
}

export const DAYS = 14;
export const SLOT_FACTOR = (2 * 8) / 86_400; // peak over mean, bytes a day to bit/s
const BLOCK_BYTES = 4096;
const NEW_TITLES_PER_DAY = 20; // per 60,000
const WORLD_VIEWS_PER_DAY = 2e9; // of files: some 200 million streams of several files

const PINNED_PER_DAY = 2;
const DAY_MS = 86_400_000;
const PLAN_DATE = '2026-11-20';

export class GeneratedFleet {
  readonly fleet: FleetDescription;
  readonly #shape: FleetShape;
  readonly #shares: Float32Array; // world, per title, mean over days
  readonly #bornOn: Int16Array; // day of each title, at most 0 for the old ones
  readonly #variants: Float32Array;
  readonly #regionShares: readonly number[];

  constructor(shape: FleetShape, topology: Topology, directory: string) {
    this.#shape = shape;
    const random = seededRandom(shape.seed);
    this.#shares = titleShares(random, shape.titles);
    this.#bornOn = Int16Array.from({ length: shape.titles }, () => -1000);
    const fresh = Math.max(1, Math.round((NEW_TITLES_PER_DAY * shape.titles) / 60_000));
    for (let day = 0; day <= DAYS; day++) {
      for (let at = 0; at < fresh; at++) this.#bornOn[random.below(shape.titles)] = day;
    }
    this.#variants = variantShares(random, shape.variants);
    const meanViewed = writeCatalogue(directory, random, shape, this.#shares, this.#variants);
    const viewsPerBps = 1 / (SLOT_FACTOR * meanViewed);
    const regions = topology.regions.map((region) => ({
      regionId: region.regionId,
      clusters: clustersOf(random, region, shape.storageScale, viewsPerBps),
    }));
    const levels = regions.map(({ clusters }) =>
      clusters.reduce((sum, { viewsPerDay }) => sum + viewsPerDay, 0),
    );
    const total = levels.reduce((sum, level) => sum + level, 0);
    this.#regionShares = levels.map((level) => level / total);
    this.fleet = {
      planDate: PLAN_DATE,
      epoch: 1,
      titles: shape.titles,
      variants: shape.variants,
      days: DAYS,
      regions,
    };
  }

  /** The fourteen days up to (not with) `night`, 0 or 1, and the fleet as it stands that night. */
  writeNight(directory: string, night: 0 | 1, regions: readonly FleetRegion[]): void {
    const { titles, variants } = this.#shape;
    const world = new Float32Array(titles * DAYS);
    regions.forEach((region, index) => {
      const views = this.#regionViews(index, night);
      for (let at = 0; at < views.length; at++) world[at] += views[at];
      writeArray(directory, `${region.regionId}.views.f32`, views);
      const own = seededRandom(this.#shape.seed + 7919 * (index + 1));
      const level = this.#regionShares[index] * WORLD_VIEWS_PER_DAY;
      const taste = this.#variants.map((share) => share * Math.exp(0.5 * normal(own)) * level);
      writeArray(directory, `${region.regionId}.variants.f32`, taste);
      const placeable = Uint8Array.from({ length: titles }, () => (own.next() < 0.92 ? 1 : 0));
      writeArray(directory, `${region.regionId}.placeable.u8`, placeable);
    });
    writeArray(directory, 'world.views.f32', world);
    writeArray(directory, 'world.variants.f32', this.#variants);
    const firstDay = Date.parse(PLAN_DATE) / DAY_MS - DAYS; // day 0 of night 0
    const nightDay = Date.parse(PLAN_DATE) / DAY_MS; // both nights are called the same date: days move instead
    writeArray(
      directory,
      'released.i32',
      Int32Array.from(this.#bornOn, (day) => firstDay + day - night),
    );
    writeArray(
      directory,
      'classes.u8',
      Uint8Array.from(this.#bornOn, (day) =>
        TITLE_CLASSES.indexOf(day >= 0 ? 'release' : 'catalogue'),
      ),
    );
    let pinned = 0;
    const pins = Uint8Array.from(this.#bornOn, (day) => {
      const isNew = day >= 0 && firstDay + day - night >= nightDay - 1;
      return isNew && pinned++ < PINNED_PER_DAY ? 1 : 0;
    });
    for (const { regionId } of regions) writeArray(directory, `${regionId}.pins.u8`, pins);
    writeFileSync(
      path.join(directory, 'fleet.json'),
      JSON.stringify({ ...this.fleet, regions, variants }),
    );
  }

  #regionViews(index: number, night: number): Float32Array {
    const { titles, seed } = this.#shape;
    const taste = seededRandom(seed + 104_729 * (index + 1));
    const level = this.#regionShares[index] * WORLD_VIEWS_PER_DAY;
    const liking = Float32Array.from({ length: titles }, () => Math.exp(0.7 * normal(taste)));
    const views = new Float32Array(titles * DAYS);
    for (let day = 0; day < DAYS; day++) {
      // The same day is the same in both nights' windows.
      const chance = seededRandom(seed + 31 * (index + 1) + 1_000_003 * (day + night));
      for (let title = 0; title < titles; title++) {
        const age = day + night - this.#bornOn[title];
        if (age < 0) continue;
        const boost = age > 60 ? 1 : 1 + 12 * Math.exp(-age / 6);
        const mean = level * this.#shares[title] * liking[title] * boost;
        const noisy = mean * Math.exp(0.1 * normal(chance)) + Math.sqrt(mean) * normal(chance);
        views[title * DAYS + day] = Math.max(0, Math.round(noisy));
      }
    }
    return views;
  }
}

/** Zipf-Mandelbrot (alpha 0.8, q 5) with its far tail cut, dealt to titles at random. */
function titleShares(random: Random, titles: number): Float32Array {
  const shares = Float32Array.from({ length: titles }, (_, rank) => {
    const k = rank + 1;
    return (k + 5) ** -0.8 * Math.exp(-((k / (titles / 6)) ** 0.7));
  });
  shuffle(random, shares);
  let total = 0;
  for (const share of shares) total += share;
  return shares.map((share) => share / total);
}

function variantShares(random: Random, variants: number): Float32Array {
  const shares = Float32Array.from({ length: variants }, () => Math.exp(2 * normal(random)));
  let total = 0;
  for (const share of shares) total += share;
  return shares.map((share) => share / total);
}

/** Sizes = minutes x bitrate x how hard the picture is; 50 kbit/s to 8 Mbit/s. Returns the mean size by views. */
function writeCatalogue(
  directory: string,
  random: Random,
  shape: FleetShape,
  shares: Float32Array,
  variantsShares: Float32Array,
): number {
  const { titles, variants } = shape;
  const rates = Float64Array.from({ length: variants }, () => 50e3 * 160 ** random.next());
  const blocks = new Uint32Array(titles * variants);
  const buckets = new Uint16Array(titles * variants);
  let mean = 0;
  for (let title = 0; title < titles; title++) {
    const seconds = 60 * (20 + 60 * random.next()) * Math.exp(0.2 * normal(random));
    let blocksByViews = 0;
    for (let variant = 0; variant < variants; variant++) {
      const row = title * variants + variant;
      const hash = mix(row + shape.seed * 0x9e3779b1);
      const bytes = (seconds * rates[variant] * (0.9 + (0.2 * (hash & 0xffff)) / 0x10000)) / 8;
      blocks[row] = Math.max(1, Math.ceil(bytes / BLOCK_BYTES));
      buckets[row] = hash >>> 20;
      blocksByViews += variantsShares[variant] * blocks[row];
    }
    mean += shares[title] * blocksByViews * BLOCK_BYTES;
  }
  writeArray(directory, 'blocks.u32', blocks);
  writeArray(directory, 'buckets.u16', buckets);
  return mean;
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

function shuffle(random: Random, values: Float32Array): void {
  for (let at = values.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    const swap = values[at];
    values[at] = values[other];
    values[other] = swap;
  }
}

function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
