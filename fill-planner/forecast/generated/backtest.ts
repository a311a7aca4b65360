/**
 * The backtest on a generated workload: every day forecast from the days before it, judged against truth and its Poisson floor.
 *
 * WAPE is at title x cluster x day. `floorRatio` is WAPE over that of the true means. Regret is in points of demanded bytes per
 * cluster and day: what a plan by the true means serves and the plan by this forecast does not, both filling by density a
 * store of STORAGE_SHARE of the catalogue. Steady days and the week of the big release are scored apart.
 */
import {
  ErrorSum,
  RegretSum,
  poissonFloor,
  type AgeClass,
  type ModelScore,
} from '../backtest/metrics.ts';
import { forecastDemand, type DemandForecast } from '../demand-forecast.ts';
import { DAY_MS, isoDayOf } from '../demand-records.ts';
import { ageClassOf } from '../title-shares.ts';
import { workloadBaselines, WORKLOAD_BASELINES } from './baselines.ts';
import { workloadRecords, type Workload } from './workload.ts';

const STORAGE_SHARE = 0.1; // a box holds about a tenth of the catalogue
const RELEASE_WEEK_DAYS = 7;

class Tally {
  readonly all = new ErrorSum();
  readonly classes: { [name in AgeClass]: ErrorSum } = {
    new: new ErrorSum(),
    decaying: new ErrorSum(),
    catalogue: new ErrorSum(),
  };
  readonly regret = new RegretSum();
  within = 0;
  banded = 0;

  score(data: string, model: string, floor: number): ModelScore {
    const own = this.all.score();
    return {
      data,
      model,
      step: 1,
      ...own,
      classes: Object.fromEntries(
        Object.entries(this.classes).map(([name, sum]) => [name, sum.score()]),
      ),
      ...(this.banded > 0 ? { coverage: this.within / this.banded } : {}),
      regret: this.regret.share(),
      ...(own.wape !== null && floor > 0 ? { floorRatio: own.wape / floor } : {}),
    };
  }
}

/** Days that are scored together. */
class Period {
  readonly #data: string;
  readonly #tallies = new Map<string, Tally>();
  #floor = 0;
  #views = 0;

  constructor(data: string) {
    this.#data = data;
  }

  tallyOf(model: string): Tally {
    let tally = this.#tallies.get(model);
    if (tally === undefined) this.#tallies.set(model, (tally = new Tally()));
    return tally;
  }

  addFloor({ floor, views }: { readonly floor: number; readonly views: number }): void {
    this.#floor += floor;
    this.#views += views;
  }

  scores(): readonly ModelScore[] {
    const floor = this.#views > 0 ? this.#floor / this.#views : 0;
    return [...this.#tallies].map(([model, tally]) => tally.score(this.#data, model, floor));
  }
}

/** `firstScored` and `bigReleaseDay` count from the first day of the workload. */
export function backtestWorkload(
  workload: Workload,
  firstScored: number,
  bigReleaseDay: number | null,
): readonly ModelScore[] {
  const steady = new Period('generated');
  const release = new Period('generated release week');
  for (let at = firstScored; at < workload.days.length; at++) {
    const sinceBig = bigReleaseDay === null ? -1 : at - bigReleaseDay;
    const period = sinceBig >= 0 && sinceBig < RELEASE_WEEK_DAYS ? release : steady;
    const forecasts = forecastsOf(workload, at);
    for (const [model, forecast] of forecasts.byModel) {
      const bands = model === 'ours' ? forecasts.ours : null;
      scoreDay(workload, at, forecast, period.tallyOf(model), bands);
    }
    period.addFloor(floorOf(workload, at));
  }
  return [...steady.scores(), ...release.scores()];
}

/** Expected views of every (cluster, file) on day `at` by every model. */
function forecastsOf(
  workload: Workload,
  at: number,
): { readonly byModel: ReadonlyMap<string, Float64Array>; readonly ours: DemandForecast } {
  const { day, means } = workload.days[at];
  const ours = forecastDemand(
    workloadRecords(workload, day),
    workload.titles,
    workload.clusters,
    isoDayOf(day),
  );
  const files = workload.sizes.length;
  const densities = new Float64Array(workload.clusters.length * files);
  for (let cluster = 0; cluster < workload.clusters.length; cluster++) {
    ours.densitiesOf(cluster, densities.subarray(cluster * files, (cluster + 1) * files));
  }
  const byModel = new Map<string, Float64Array>([['ours', densities]]);
  const baselines = workloadBaselines(workload, at);
  for (const name of WORKLOAD_BASELINES) byModel.set(name, baselines[name]);
  byModel.set('oracle', means);
  return { byModel, ours };
}

function scoreDay(
  workload: Workload,
  at: number,
  forecast: Float64Array,
  tally: Tally,
  bands: DemandForecast | null,
): void {
  const { day, counts, means } = workload.days[at];
  const files = workload.sizes.length;
  const titleForecast = new Float64Array(workload.titles.length);
  const titleActual = new Float64Array(workload.titles.length);
  for (let cluster = 0; cluster < workload.clusters.length; cluster++) {
    titleForecast.fill(0);
    titleActual.fill(0);
    const wanted = new Float64Array(files);
    const offered = new Float64Array(files);
    for (let file = 0; file < files; file++) {
      const from = cluster * files + file;
      titleForecast[workload.titleOfFile[file]] += forecast[from];
      titleActual[workload.titleOfFile[file]] += counts[from];
      wanted[file] = means[from] * workload.sizes[file];
      offered[file] = forecast[from] * workload.sizes[file];
    }
    const storage = STORAGE_SHARE * workload.sizes.reduce((sum, size) => sum + size, 0);
    tally.regret.add(offered, wanted, workload.sizes, storage);
    workload.titles.forEach((title, t) => {
      const age = day - Math.floor(releasedAt(title) / DAY_MS);
      if (age < 0) return; // not out yet: nobody can watch it
      tally.all.add(titleForecast[t], titleActual[t]);
      tally.classes[ageClassOf(age)].add(titleForecast[t], titleActual[t]);
      if (bands === null) return;
      const row = title.ordinals[0];
      tally.banded++;
      const low = bands.quantileOf(row, titleForecast[t], 0.1);
      const high = bands.quantileOf(row, titleForecast[t], 0.9);
      if (titleActual[t] >= Math.floor(low) && titleActual[t] <= Math.ceil(high)) tally.within++;
    });
  }
}

function releasedAt({ listing, takenInAtMs }: Workload['titles'][number]): number {
  return listing.release === undefined ? takenInAtMs : Date.parse(listing.release.at);
}

function floorOf(workload: Workload, at: number): { floor: number; views: number } {
  const { counts, means } = workload.days[at];
  const files = workload.sizes.length;
  let floor = 0;
  let views = 0;
  for (let cluster = 0; cluster < workload.clusters.length; cluster++) {
    const byTitle = new Float64Array(workload.titles.length);
    for (let file = 0; file < files; file++) {
      byTitle[workload.titleOfFile[file]] += means[cluster * files + file];
      views += counts[cluster * files + file];
    }
    for (const mean of byTitle) floor += poissonFloor(mean);
  }
  return { floor, views };
}
