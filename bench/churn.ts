/**
 * `npm run bench -- churn --json`: 30 nights of planning on made-up sites: what the churn price saves in refilled bytes, and what it costs
 * in offload. A night plans from what was watched before it; offload is what is watched after it.
 *
 * Titles drift (log-normal, a day's step), follow the week, and new ones replace old ones each day; views are Poisson counts. The
 * forecast is discounted counts per title times variant shares: it knows nothing of how the views were made.
 */
import { seededRandom, type Random } from '#base/random.ts';
import { place, type ClusterProblem, type PlacementBox } from '#fill-planner/fill-planner.ts';

const PRICES = [0, 0.1, 0.25, 0.5, 1]; // of what the last byte on the disk is worth
const STANDARD_PRICE = 0.25;
const WARM_UP_NIGHTS = 5;
const SLOT_FACTOR = (2 * 8) / 86_400;
const HALF_LIFE_DAYS = 4;
const DRIFT = 0.08; // standard deviation of a title's log popularity per day
const RECALL = 0.97; // how much of it is left the next day

interface World {
  readonly titles: number;
  readonly variants: number;
  readonly nights: number;
  readonly newTitlesPerDay: number;
}

const FULL: World = { titles: 400, variants: 50, nights: 30, newTitlesPerDay: 1 };
const SMOKE: World = { titles: 60, variants: 10, nights: 8, newTitlesPerDay: 1 };

interface SiteShape {
  readonly name: string;
  readonly boxes: readonly Pick<PlacementBox, 'applianceClass' | 'storageBytes' | 'servingBps'>[];
  readonly viewsPerDay: number;
}

export async function run(options: { readonly smoke: boolean }): Promise<unknown> {
  const world = options.smoke ? SMOKE : FULL;
  const films = sizesOf(world, seededRandom(1));
  const catalogueBytes = films.reduce((sum, size) => sum + size, 0);
  const rows = PRICES.map((churnShare) => {
    let stored = 0;
    let refilled = 0;
    let served = 0;
    let demand = 0;
    sitesOf(catalogueBytes).forEach((site, at) => {
      const result = simulate(world, films, site, churnShare, 100 + at);
      stored += result.storedBytes;
      refilled += result.refilledBytes;
      served += result.servedViewBytes;
      demand += result.demandViewBytes;
    });
    const row = { churnShare, refilledShare: refilled / stored, offload: served / demand };
    process.stderr.write(
      `price ${churnShare}: ${(100 * row.refilledShare).toFixed(2)} % refilled a night, offload ${(100 * row.offload).toFixed(2)} %\n`,
    );
    return row;
  });
  const [without] = rows;
  const standard = rows[PRICES.indexOf(STANDARD_PRICE)];
  return {
    churn: rows,
    nights: world.nights,
    refilledShare: standard.refilledShare,
    refilledShareWithoutPrice: without.refilledShare,
    offloadPointsLost: 100 * (without.offload - standard.offload),
  };
}

function sitesOf(catalogueBytes: number): readonly SiteShape[] {
  const box = (
    share: number,
    servingBps: number,
    applianceClass: 'storage' | 'flash' = 'storage',
  ) => ({
    applianceClass,
    storageBytes: Math.floor(share * catalogueBytes),
    servingBps,
  });
  return [
    { name: 'one box', boxes: [box(0.08, 1e12)], viewsPerDay: 2e5 },
    { name: 'two boxes', boxes: [box(0.08, 1e12), box(0.08, 1e12)], viewsPerDay: 1e6 },
    {
      name: 'four boxes',
      boxes: [box(0.06, 1e12), box(0.06, 1e12), box(0.06, 1e12), box(0.06, 1e12)],
      viewsPerDay: 5e6,
    },
    {
      name: 'flash and storage',
      boxes: [box(0.02, 1e12, 'flash'), box(0.15, 2e9)],
      viewsPerDay: 1e6,
    },
  ];
}

interface SiteResult {
  readonly storedBytes: number;
  readonly refilledBytes: number;
  readonly servedViewBytes: number;
  readonly demandViewBytes: number;
}

function simulate(
  world: World,
  sizes: Float64Array,
  site: SiteShape,
  churnShare: number,
  seed: number,
): SiteResult {
  const random = seededRandom(seed); // the same days whatever the price
  const audience = new Audience(world, random);
  const counts = new Float64Array(world.titles * world.variants);
  let held = site.boxes.map(() => new Uint8Array(counts.length)); // by row
  const result = { storedBytes: 0, refilledBytes: 0, servedViewBytes: 0, demandViewBytes: 0 };
  for (let day = 0; day < world.nights + WARM_UP_NIGHTS; day++) {
    const forecast = forecastOf(world, counts);
    const { problem, rowOfRank } = problemOf(site, sizes, forecast, held, churnShare);
    const placement = place(problem);
    held = placement.held.map((ranks) => {
      const rows = new Uint8Array(counts.length);
      ranks.forEach((value, rank) => (rows[rowOfRank[rank]] = value));
      return rows;
    });
    const views = audience.watch(site.viewsPerDay, day);
    if (day >= WARM_UP_NIGHTS) {
      result.storedBytes += site.boxes.reduce((sum, box) => sum + box.storageBytes, 0);
      result.refilledBytes += placement.filledBytes.reduce((sum, bytes) => sum + bytes, 0);
      for (let row = 0; row < views.length; row++) {
        const bytes = views[row] * sizes[row];
        result.demandViewBytes += bytes;
        if (held.some((box) => box[row] === 1)) result.servedViewBytes += bytes;
      }
    }
    const forget = 2 ** (-1 / HALF_LIFE_DAYS);
    for (let row = 0; row < counts.length; row++) {
      counts[row] = (counts[row] + views[row]) * forget;
    }
    audience.nextDay((title) => {
      counts.fill(0, title * world.variants, (title + 1) * world.variants);
      for (const box of held) box.fill(0, title * world.variants, (title + 1) * world.variants);
    });
  }
  return result;
}

/** Who watches what: titles drift and are replaced, variants have fixed shares. */
class Audience {
  readonly #world: World;
  readonly #random: Random;
  readonly #base: Float64Array;
  readonly #drift: Float64Array;
  readonly #age: Int32Array;
  readonly #variants: Float64Array;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.#random = random;
    this.#base = Float64Array.from({ length: world.titles }, (_, at) => (at + 6) ** -0.9);
    this.#drift = new Float64Array(world.titles);
    this.#age = new Int32Array(world.titles).fill(1000);
    this.#variants = Float64Array.from({ length: world.variants }, () =>
      Math.exp(1.5 * normal(random)),
    );
  }

  watch(viewsPerDay: number, day: number): Float64Array {
    const { titles, variants } = this.#world;
    const popularity = Float64Array.from(
      { length: titles },
      (_, title) =>
        this.#base[title] *
        Math.exp(this.#drift[title]) *
        (1 + 10 * Math.exp(-this.#age[title] / 6)),
    );
    const week = day % 7 >= 5 ? 1.15 : 1;
    const total = sum(popularity) * sum(this.#variants);
    const views = new Float64Array(titles * variants);
    for (let title = 0; title < titles; title++) {
      for (let variant = 0; variant < variants; variant++) {
        const mean = (week * viewsPerDay * popularity[title] * this.#variants[variant]) / total;
        views[title * variants + variant] = poisson(this.#random, mean);
      }
    }
    return views;
  }

  nextDay(onReplaced: (title: number) => void): void {
    for (let title = 0; title < this.#drift.length; title++) {
      this.#drift[title] = RECALL * this.#drift[title] + DRIFT * normal(this.#random);
      this.#age[title]++;
    }
    for (let fresh = 0; fresh < this.#world.newTitlesPerDay; fresh++) {
      const title = this.#random.below(this.#drift.length);
      this.#age[title] = 0;
      this.#drift[title] = 0;
      onReplaced(title);
    }
  }
}

/** Views of a title times what its variants usually take; a title without any is expected to be a mean one. */
function forecastOf(world: World, counts: Float64Array): Float64Array {
  const titles = new Float64Array(world.titles);
  const variants = new Float64Array(world.variants);
  for (let row = 0; row < counts.length; row++) {
    titles[Math.floor(row / world.variants)] += counts[row];
    variants[row % world.variants] += counts[row];
  }
  const total = sum(titles);
  if (total === 0) return counts.map(() => 1);
  const mean = total / world.titles;
  const perDay = 1 - 2 ** (-1 / HALF_LIFE_DAYS);
  return counts.map((_, row) => {
    const title = titles[Math.floor(row / world.variants)] || mean;
    return perDay * title * Math.max(variants[row % world.variants] / total, 1e-9);
  });
}

function problemOf(
  site: SiteShape,
  sizes: Float64Array,
  forecast: Float64Array,
  held: readonly Uint8Array[],
  churnShare: number,
): { readonly problem: ClusterProblem; readonly rowOfRank: Uint32Array } {
  const rows = Uint32Array.from(forecast.keys()).sort((a, b) => forecast[b] - forecast[a] || a - b);
  const densities = Float64Array.from(rows, (row) => forecast[row]);
  for (let rank = 1; rank < rows.length; rank++) {
    if (densities[rank] >= densities[rank - 1]) densities[rank] = densities[rank - 1] * (1 - 2e-16);
  }
  const storage = site.boxes.reduce((total, box) => total + box.storageBytes, 0);
  let cut = 0;
  for (let bytes = 0; cut < rows.length - 1; cut++) {
    bytes += sizes[rows[cut]];
    if (bytes > storage) break;
  }
  return {
    rowOfRank: rows,
    problem: {
      feed: {
        orderId: site.name,
        ranks: rows.length,
        rows,
        ordinals: rows,
        densities,
        sizes: Float64Array.from(rows, (row) => sizes[row]),
        buckets: Uint16Array.from(rows, (row) => (Math.imul(row + 1, 0x9e3779b1) >>> 20) & 4095),
      },
      boxes: site.boxes.map((box, at) => ({
        ...box,
        applianceId: `box-${at}`,
        fillBytes: Infinity,
      })),
      present: held.map((box) => Uint8Array.from(rows, (row) => box[row])),
      slotFactors: [SLOT_FACTOR],
      churnPrice: churnShare * densities[cut] * SLOT_FACTOR,
      copiesMin: 1,
      pins: new Map(),
    },
  };
}

function sizesOf(world: World, random: Random): Float64Array {
  const rates = Float64Array.from({ length: world.variants }, () => 50e3 * 160 ** random.next());
  const sizes = new Float64Array(world.titles * world.variants);
  for (let title = 0; title < world.titles; title++) {
    const seconds = 60 * (20 + 60 * random.next());
    for (let variant = 0; variant < world.variants; variant++) {
      sizes[title * world.variants + variant] = Math.ceil((seconds * rates[variant]) / 8);
    }
  }
  return sizes;
}

function poisson(random: Random, mean: number): number {
  if (mean > 50) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let count = 0;
  for (let product = random.next(); product > limit; product *= random.next()) count++;
  return count;
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
