/**
 * A made-up CDN whose true demand is known: what the forecaster is measured on where no public data reach.
 *
 * It shares no module and no parameter with the forecaster: titles decay as a stretched exponential (not the fitted kernel),
 * popularity is a Zipf-Mandelbrot law with a cut tail that drifts from day to day, now and then a title is talked about and
 * doubles overnight, tastes are correlated log-normal factors, counts are Poisson.
 *
 * Units:      days since 1970 UTC; means and counts are views of a file in a cluster on a day
 * Invariants: (1) the same seed gives the same workload
 *             (2) counts are Poisson around `means`: no forecaster does better than E|X - mean|
 */
import { seededRandom, type Random } from '#base/random.ts';

export interface WorkloadOptions {
  readonly seed: number;
  readonly days: number;
  readonly films: number;
  readonly seasons: number; // of the catalogue, EPISODES titles each
  readonly releasesPerWeek: number;
  readonly viewsPerDay: number; // of the largest cluster
  readonly bigReleaseDay: number | null; // from the first day: a new season that everybody waits for
}

export interface WorkloadTitle {
  readonly listing: {
    readonly titleId: string;
    readonly kind: 'film' | 'episode';
    readonly series?: string;
    readonly season?: number;
    readonly episode?: number;
    readonly language: string;
    readonly genre: string;
    readonly class: 'release' | 'catalogue';
    readonly release?: {
      readonly at: string;
      readonly countries: string[];
      readonly priority: number;
    };
    readonly files: readonly {
      readonly sizeBytes: number;
      readonly kind: 'video' | 'audio';
      readonly height?: number;
      readonly language?: string;
    }[];
  };
  readonly ordinals: readonly number[];
  readonly takenInAtMs: number;
}

export interface WorkloadDay {
  readonly day: number;
  readonly means: Float64Array; // clusters x files, row-major; a file's ordinal is its column
  readonly counts: Float64Array;
}

export interface Workload {
  readonly titles: readonly WorkloadTitle[];
  readonly clusters: readonly {
    readonly clusterId: string;
    readonly country: string;
    readonly capacity: number;
  }[];
  readonly sizes: Float64Array;
  readonly titleOfFile: Int32Array;
  readonly firstDay: number;
  readonly days: readonly WorkloadDay[];
}

const DAY_MS = 86_400_000;
const FIRST_DAY = 20_454; // 2026-01-01, a Thursday
const EPISODES = 4;
const COUNTRIES = ['US', 'GB', 'DE', 'AT', 'BR', 'PT', 'JP', 'MX'];
const AREA_OF: { readonly [country: string]: string } = {
  US: 'anglo',
  GB: 'anglo',
  DE: 'german',
  AT: 'german',
  BR: 'lusophone',
  PT: 'lusophone',
  JP: 'japanese',
  MX: 'hispanic',
};
const LANGUAGES = ['en', 'de', 'pt', 'ja', 'es', 'ko'];
const GENRES = ['drama', 'comedy', 'crime', 'family', 'reality'];
const WEEK = [0.94, 0.9, 0.92, 0.95, 1.05, 1.16, 1.12]; // Monday first
// Kind, height, share of the views, bit/s in millions: what one encode of the ladder weighs.
const LADDER = [
  { kind: 'video', height: 1080, share: 0.3, megabits: 4.2 },
  { kind: 'video', height: 540, share: 0.15, megabits: 1.4 },
  { kind: 'audio', share: 0.55, megabits: 0.13 },
] as const;

const DRIFT = { keep: 0.93, spread: 0.05 }; // of log popularity: an AR(1) with a standard deviation of about 0.14
const TALK = { chance: 0.0015, factor: 2.5, keep: 0.7 }; // per programme and day; it fades by 30 % a day

interface Programme {
  readonly titles: readonly number[];
  readonly episodeShares: readonly number[];
  readonly weight: number; // at age 0, or for ever where it is catalogue
  readonly releaseDay: number | null; // from the first day
  readonly stretch: readonly [days: number, power: number, floor: number];
  readonly tastes: Float64Array; // by cluster
}

export function generateWorkload(options: WorkloadOptions): Workload {
  const random = seededRandom(options.seed);
  const clusters = COUNTRIES.map((country, at) => ({
    clusterId: `${country.toLowerCase()}-1`,
    country,
    capacity: 1e9 * Math.exp(-0.35 * at),
  }));
  const builder = new CatalogueBuilder(random, clusters.length, options);
  builder.addCatalogue();
  builder.addReleases();
  const { titles, sizes, titleOfFile } = builder;
  const levels = clusters.map((_, at) => options.viewsPerDay * Math.exp(-0.35 * at));
  const moods = new Moods(random, builder.programmes.length, clusters.length);
  const days: WorkloadDay[] = [];
  for (let at = 0; at < options.days; at++) {
    const means = meansOf(builder, clusters.length, levels, at, moods.step());
    days.push({ day: FIRST_DAY + at, means, counts: means.map((mean) => poisson(random, mean)) });
  }
  return {
    titles,
    clusters,
    sizes: Float64Array.from(sizes),
    titleOfFile: Int32Array.from(titleOfFile),
    firstDay: FIRST_DAY,
    days,
  };
}

/** View records of the days before `beforeDay`, as a control plane would hand them over. */
export function* workloadRecords(
  workload: Workload,
  beforeDay: number,
): Generator<{ ordinal: number; home: string; day: string; bytes: number }> {
  const files = workload.sizes.length;
  for (const { day, counts } of workload.days) {
    if (day >= beforeDay) break;
    const date = new Date(day * DAY_MS).toISOString().slice(0, 10);
    for (let cluster = 0; cluster < workload.clusters.length; cluster++) {
      const home = workload.clusters[cluster].clusterId;
      for (let file = 0; file < files; file++) {
        const count = counts[cluster * files + file];
        if (count === 0) continue;
        yield { ordinal: file, home, day: date, bytes: count * workload.sizes[file] };
      }
    }
  }
}

class CatalogueBuilder {
  readonly titles: WorkloadTitle[] = [];
  readonly programmes: Programme[] = [];
  readonly sizes: number[] = [];
  readonly titleOfFile: number[] = [];
  readonly ladders: number[] = []; // share of the file in its title
  readonly #random: Random;
  readonly #clusters: number;
  readonly #options: WorkloadOptions;
  #catalogueWeight = 0;

  constructor(random: Random, clusters: number, options: WorkloadOptions) {
    this.#random = random;
    this.#clusters = clusters;
    this.#options = options;
  }

  /** Old titles: Zipf-Mandelbrot by a random rank, the far tail cut. */
  addCatalogue(): void {
    const { films, seasons } = this.#options;
    const total = films + seasons;
    for (let rank = 1; rank <= total; rank++) {
      const weight = (rank + 5) ** -0.85 * Math.exp(-((rank / (0.6 * total)) ** 0.9));
      this.#catalogueWeight += weight;
      const isSeason = this.#random.below(total) < seasons;
      this.#add({
        weight,
        releaseDay: null,
        isSeason,
        series: `old-${rank}`,
        season: 1,
        priority: 0,
      });
    }
  }

  /** New titles on Wednesdays to Fridays, at midnight or at eight; their weight by genre, language, promotion and luck. */
  addReleases(): void {
    const { days, releasesPerWeek, bigReleaseDay } = this.#options;
    for (let week = 0; week < Math.ceil(days / 7); week++) {
      for (let i = 0; i < releasesPerWeek; i++) {
        const day = 7 * week + this.#random.below(3);
        const priority = this.#random.below(8);
        const isSeason = this.#random.next() < 0.5;
        const part = 0.006 * Math.exp(0.25 * priority + 0.5 * this.#normal());
        const series = `show-${week}-${i}`;
        const weight = part * this.#catalogueWeight;
        this.#add({ weight, releaseDay: day, isSeason, series, season: 1, priority });
      }
    }
    if (bigReleaseDay === null) return;
    const weight = 0.18 * this.#catalogueWeight;
    const before = {
      weight,
      releaseDay: 2,
      isSeason: true,
      series: 'the-big-one',
      season: 1,
      priority: 9,
    };
    this.#add(before);
    this.#add({ ...before, weight: 1.35 * weight, releaseDay: bigReleaseDay, season: 2 });
  }

  #add(of: {
    weight: number;
    releaseDay: number | null;
    isSeason: boolean;
    series: string;
    season: number;
    priority: number;
  }): void {
    const language = LANGUAGES[Math.min(this.#random.below(9), LANGUAGES.length - 1)];
    const genre = GENRES[this.#random.below(GENRES.length)];
    const genreFactor = of.releaseDay === null ? 1 : 0.7 + 0.15 * GENRES.indexOf(genre);
    const count = of.isSeason ? EPISODES : 1;
    const members: number[] = [];
    for (let episode = 1; episode <= count; episode++) {
      members.push(this.titles.length);
      this.#addTitle(of, language, genre, episode);
    }
    const raw = members.map((_, at) => Math.exp(-0.22 * at + 0.06 * this.#normal()));
    const sum = raw.reduce((total, share) => total + share, 0);
    this.programmes.push({
      titles: members,
      episodeShares: raw.map((share) => share / sum),
      weight: of.weight * (of.series === 'the-big-one' ? 1 : genreFactor),
      releaseDay: of.releaseDay,
      stretch: [4 + 4 * this.#random.next(), 0.6 + 0.15 * this.#random.next(), 0.02],
      tastes: this.#tastes(),
    });
  }

  #addTitle(
    of: {
      releaseDay: number | null;
      isSeason: boolean;
      series: string;
      season: number;
      priority: number;
    },
    language: string,
    genre: string,
    episode: number,
  ): void {
    const hours = of.isSeason ? 0.7 + 0.4 * this.#random.next() : 1.3 + 1.2 * this.#random.next();
    const ordinals = LADDER.map((rung) => {
      const ordinal = this.sizes.length;
      this.sizes.push(Math.round((rung.megabits * 1e6 * hours * 3600) / 8));
      this.titleOfFile.push(this.titles.length);
      this.ladders.push(rung.share * Math.exp(0.1 * this.#normal()));
      return ordinal;
    });
    const hour = of.series === 'the-big-one' ? 8 : 8 * this.#random.below(2);
    const at = ((of.releaseDay ?? 0) + FIRST_DAY) * DAY_MS + hour * 3_600_000;
    this.titles.push({
      listing: {
        titleId: `${of.series}-s${of.season}-e${episode}`,
        kind: of.isSeason ? 'episode' : 'film',
        ...(of.isSeason ? { series: of.series, season: of.season, episode } : {}),
        language,
        genre,
        class: of.releaseDay === null ? 'catalogue' : 'release',
        ...(of.releaseDay === null
          ? {}
          : {
              release: { at: new Date(at).toISOString(), countries: ['*'], priority: of.priority },
            }),
        files: LADDER.map((rung, i) => ({
          sizeBytes: this.sizes[ordinals[i]],
          kind: rung.kind,
          ...(rung.kind === 'video' ? { height: rung.height } : { language }),
        })),
      },
      ordinals,
      takenInAtMs: of.releaseDay === null ? (FIRST_DAY - 400) * DAY_MS : at - 7 * DAY_MS,
    });
  }

  /** Log-normal, alike (0.9) within a language area and half alike across. */
  #tastes(): Float64Array {
    const byArea = new Map<string, number>();
    const world = this.#normal();
    const tastes = new Float64Array(this.#clusters);
    for (let cluster = 0; cluster < this.#clusters; cluster++) {
      const area = AREA_OF[COUNTRIES[cluster]];
      if (!byArea.has(area)) byArea.set(area, this.#normal());
      const mixed =
        Math.sqrt(0.5) * world +
        Math.sqrt(0.4) * (byArea.get(area) ?? 0) +
        Math.sqrt(0.1) * this.#normal();
      tastes[cluster] = Math.exp(0.55 * mixed);
    }
    return tastes;
  }

  #normal(): number {
    return normal(this.#random);
  }
}

interface Mood {
  readonly programmes: Float64Array; // factors of one day
  readonly clusters: Float64Array;
}

/** What nobody can foresee: programmes drift, some are talked about, clusters have better and worse days. */
class Moods {
  readonly #random: Random;
  readonly #drift: Float64Array;
  readonly #talk: Float64Array;
  readonly #clusters: number;

  constructor(random: Random, programmes: number, clusters: number) {
    this.#random = random;
    this.#drift = new Float64Array(programmes);
    this.#talk = new Float64Array(programmes);
    this.#clusters = clusters;
  }

  step(): Mood {
    const programmes = this.#drift.map((drift, p) => {
      this.#drift[p] = DRIFT.keep * drift + DRIFT.spread * normal(this.#random);
      this.#talk[p] *= TALK.keep;
      if (this.#random.next() < TALK.chance) this.#talk[p] = Math.log(TALK.factor);
      return Math.exp(this.#drift[p] + this.#talk[p]);
    });
    const clusters = new Float64Array(this.#clusters);
    return { programmes, clusters: clusters.map(() => Math.exp(0.02 * normal(this.#random))) };
  }
}

function meansOf(
  { programmes, titles, sizes, ladders }: CatalogueBuilder,
  clusters: number,
  levels: readonly number[],
  at: number,
  mood: Mood,
): Float64Array {
  const means = new Float64Array(clusters * sizes.length);
  const weights = programmes.map(
    (programme, p) => mood.programmes[p] * weightAt(programme, titles, at),
  );
  for (let cluster = 0; cluster < clusters; cluster++) {
    const level = levels[cluster] * WEEK[(at + 3) % 7] * mood.clusters[cluster];
    let total = 0;
    programmes.forEach((programme, p) => (total += weights[p] * programme.tastes[cluster]));
    programmes.forEach((programme, p) => {
      const views = (level * weights[p] * programme.tastes[cluster]) / total;
      programme.titles.forEach((title, i) => {
        const own = titles[title].ordinals;
        const ladder = own.reduce((sum, file) => sum + ladders[file], 0);
        for (const file of own) {
          means[cluster * sizes.length + file] =
            (views * programme.episodeShares[i] * ladders[file]) / ladder;
        }
      });
    });
  }
  return means;
}

/** Stretched exponential after the release; the release day is short by its hour. */
function weightAt(programme: Programme, titles: readonly WorkloadTitle[], at: number): number {
  if (programme.releaseDay === null) return programme.weight;
  const age = at - programme.releaseDay;
  if (age < 0) return 0;
  const [scale, power, floor] = programme.stretch;
  const release = titles[programme.titles[0]].listing.release?.at ?? '';
  const part = age === 0 ? 1 - (Date.parse(release) % DAY_MS) / DAY_MS : 1;
  return part * programme.weight * (floor + (1 - floor) * Math.exp(-((age / scale) ** power)));
}

function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}

/** Exact below 30; above, a rounded normal, whose error is far below its spread. */
function poisson(random: Random, mean: number): number {
  if (mean > 30) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal(random)));
  const limit = Math.exp(-mean);
  let count = 0;
  let product = random.next();
  while (product > limit) {
    count++;
    product *= random.next();
  }
  return count;
}
