/**
 * A made-up fleet on disk, sized like the real one, from a seed: catalogue, view-record rollups, sites.
 *
 * Assumed, since nobody publishes it: storage boxes of 240 TB, 36 Gbit/s and 6.5 TB of fill a night; small ones of 120 TB,
 * 18 Gbit/s and 2.1 TB in half of the sites of one box; flash boxes of 24 TB, 96 Gbit/s and 1.6 TB at exchanges, where a site is
 * parted into clusters of at most 8 equal boxes. Sites of ISPs have as many boxes as those of the public list of 2023 (1,606 of 3,087
 * have one, 708 two, ...). Peak demand is 50 to 110 % of what a cluster can serve.
 *
 * Popularity is Zipf-Mandelbrot with a cut tail, times log-normal noise per region and day; a few titles a day are new.
 * Nothing here is shared with the forecast.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { seededRandom, type Random } from '#base/random.ts';
import { writeArray, type FleetDescription, type FleetRegion } from '#fill-planner/fill-planner.ts';

export interface FleetShape {
  readonly seed: number;
  readonly titles: number;
  readonly variants: number;
  readonly regions: number;
  readonly sites: number;
  readonly appliances: number;
  /** Storage is multiplied by this: a small catalogue needs small disks. */
  readonly storageScale: number;
}

export const DAYS = 14;
export const SLOT_FACTOR = (2 * 8) / 86_400; // peak over mean, bytes a day to bit/s
const BLOCK_BYTES = 4096;
const CLUSTER_BOXES_MAX = 8;
const ISP_BOXES = [1606, 708, 300, 142, 81, 54, 39, 32, 15, 11, 12, 8, 10]; // sites with 1, 2, ... boxes
const EXCHANGE_SHARE = 0.025;
const NEW_TITLES_PER_DAY = 20; // per 60,000
const WORLD_VIEWS_PER_DAY = 2e9; // of files: some 200 million streams of several files

interface BoxKind {
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly fillBytes: number;
}

const STORAGE: BoxKind = { storageBytes: 240e12, servingBps: 36e9, fillBytes: 6.5e12 };
const SMALL: BoxKind = { storageBytes: 120e12, servingBps: 18e9, fillBytes: 2.1e12 };
const FLASH: BoxKind = { storageBytes: 24e12, servingBps: 96e9, fillBytes: 1.6e12 };

export class GeneratedFleet {
  readonly fleet: FleetDescription;
  readonly #shape: FleetShape;
  readonly #shares: Float32Array; // world, per title, mean over days
  readonly #bornOn: Int16Array; // day of each title, at most 0 for the old ones
  readonly #variants: Float32Array;
  readonly #regionShares: readonly number[];

  constructor(shape: FleetShape, directory: string) {
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
    this.#regionShares = Array.from({ length: shape.regions }, (_, at) => (at + 3) ** -1.1);
    const total = this.#regionShares.reduce((sum, share) => sum + share, 0);
    this.#regionShares = this.#regionShares.map((share) => share / total);
    this.fleet = {
      planDate: '2026-11-20',
      epoch: 1,
      titles: shape.titles,
      variants: shape.variants,
      days: DAYS,
      regions: fleetRegions(random, shape, this.#regionShares, meanViewed),
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
    const mean = WORLD_VIEWS_PER_DAY / titles;
    const priors = Float32Array.from({ length: titles }, (_, title) =>
      this.#bornOn[title] === night + DAYS - 1 ? 3 * mean : 0,
    );
    writeArray(directory, 'world.priors.f32', priors);
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

function fleetRegions(
  random: Random,
  shape: FleetShape,
  regionShares: readonly number[],
  meanViewedBytes: number,
): readonly FleetRegion[] {
  const exchanges = Math.max(1, Math.round(shape.sites * EXCHANGE_SHARE));
  const isp = Array.from({ length: shape.sites - exchanges }, () => ispBoxes(random));
  const left = Math.max(exchanges, shape.appliances - isp.reduce((sum, boxes) => sum + boxes, 0));
  const atExchange = Array.from({ length: exchanges }, (_, at) => (at + 2) ** -0.8);
  const weight = atExchange.reduce((sum, share) => sum + share, 0);
  const regions = regionShares.map((_, at) => ({
    regionId: `r${String(at).padStart(3, '0')}`,
    clusters: [] as FleetRegion['clusters'][number][],
  }));
  const add = (site: number, boxes: number, isExchange: boolean): void => {
    const region = regions[drawRegion(random, regionShares)].clusters;
    const siteId = `s${String(site).padStart(5, '0')}`;
    for (let part = 0, from = 0; from < boxes; part++) {
      const count = Math.min(CLUSTER_BOXES_MAX, boxes - from);
      const kind = isExchange
        ? part % 3 === 2
          ? FLASH
          : STORAGE
        : boxes === 1 && random.next() < 0.5
          ? SMALL
          : STORAGE;
      const load = 0.5 + 0.6 * random.next();
      region.push({
        clusterId: `${siteId}-${part}`,
        siteId,
        boxes: Array.from({ length: count }, (_, at) => `${siteId}-${part}-${at}`),
        storageBytes: Math.floor(kind.storageBytes * shape.storageScale),
        servingBps: kind.servingBps,
        fillBytes: Math.floor(kind.fillBytes * shape.storageScale),
        viewsPerDay: (load * count * kind.servingBps) / (SLOT_FACTOR * meanViewedBytes),
        previous: null,
      });
      from += count;
    }
  };
  isp.forEach((boxes, site) => add(site, boxes, false));
  atExchange.forEach((share, at) => {
    add(isp.length + at, Math.max(1, Math.round((left * share) / weight)), true);
  });
  return regions.filter((region) => region.clusters.length > 0);
}

function ispBoxes(random: Random): number {
  const total = ISP_BOXES.reduce((sum, count) => sum + count, 0);
  let draw = random.below(total);
  for (let at = 0; at < ISP_BOXES.length; at++) {
    draw -= ISP_BOXES[at];
    if (draw < 0) return at + 1;
  }
  return 1;
}

function drawRegion(random: Random, shares: readonly number[]): number {
  let draw = random.next();
  for (let at = 0; at < shares.length; at++) {
    draw -= shares[at];
    if (draw < 0) return at;
  }
  return 0;
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
