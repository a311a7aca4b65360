/**
 * What anybody would forecast for a file in a cluster tomorrow, from its own series: printed beside ours.
 *
 * Invariants: (1) the baselines of day `at` look at the days before it only
 */
import { DAY_MS } from '../demand-records.ts';
import { fitLevel, levelAt } from '../level.ts';
import { medianOf } from '../probability.ts';
import type { Workload } from './workload.ts';

export const WORKLOAD_BASELINES = [
  'last period',
  '4-period mean',
  'seasonal naive',
  'EWMA',
  'Holt-Winters',
  'median decay by age',
  'top list',
] as const;
export type WorkloadBaseline = (typeof WORKLOAD_BASELINES)[number];

const WEEK_DAYS = 7;
const EWMA_WEIGHT = 0.3;
const TOP_SHARE = 0.1; // of the files: a list names only so many
const DECAY_AGES_MAX = 60;

export function workloadBaselines(
  workload: Workload,
  at: number,
): { readonly [name in WorkloadBaseline]: Float64Array } {
  const past = workload.days.slice(0, at).map(({ counts }) => counts);
  const last = past[at - 1];
  const size = last.length;
  const mean = new Float64Array(size);
  const ewma = new Float64Array(size);
  const holtWinters = new Float64Array(size);
  const series = new Float64Array(at);
  for (let i = 0; i < size; i++) {
    for (let back = 1; back <= 4; back++) mean[i] += past[at - back][i] / 4;
    let level = 0;
    for (let day = 0; day < at; day++) {
      series[day] = past[day][i];
      level = EWMA_WEIGHT * series[day] + (1 - EWMA_WEIGHT) * level;
    }
    ewma[i] = level;
    const begins = series.findIndex((views) => views > 0); // before its release it had no season
    holtWinters[i] = begins === -1 ? 0 : levelAt(fitLevel(series.subarray(begins), WEEK_DAYS), 1);
  }
  return {
    'last period': last,
    '4-period mean': mean,
    'seasonal naive': past[at - WEEK_DAYS],
    EWMA: ewma,
    'Holt-Winters': holtWinters,
    'median decay by age': decayByAge(workload, at, last),
    'top list': topList(workload, last),
  };
}

/** Yesterday's value x the median ratio of a day to the day before among titles of that age, over the world. */
function decayByAge(workload: Workload, at: number, last: Float64Array): Float64Array {
  const files = workload.sizes.length;
  const clusters = workload.clusters.length;
  const byTitle = workload.days.slice(0, at).map(({ counts }) => {
    const views = new Float64Array(workload.titles.length);
    for (let cluster = 0; cluster < clusters; cluster++) {
      for (let file = 0; file < files; file++) {
        views[workload.titleOfFile[file]] += counts[cluster * files + file];
      }
    }
    return views;
  });
  const released = workload.titles.map(({ listing, takenInAtMs }) =>
    Math.floor((Date.parse(listing.release?.at ?? '') || takenInAtMs) / DAY_MS),
  );
  const ageOn = (title: number, day: number): number =>
    Math.min(DECAY_AGES_MAX, workload.firstDay + day - released[title]);
  const ratios: number[][] = Array.from({ length: DECAY_AGES_MAX + 1 }, () => []);
  for (let day = 1; day < at; day++) {
    byTitle[day].forEach((views, title) => {
      const age = ageOn(title, day);
      if (age >= 1 && byTitle[day - 1][title] > 0)
        ratios[age].push(views / byTitle[day - 1][title]);
    });
  }
  const medians = ratios.map((same) => (same.length > 0 ? medianOf(same) : 1));
  return last.map((views, i) => {
    const age = ageOn(workload.titleOfFile[i % files], at);
    return age >= 1 ? views * medians[age] : 0;
  });
}

/** Yesterday's list of each cluster: its most watched files as they were, nothing of the rest. */
function topList(workload: Workload, last: Float64Array): Float64Array {
  const files = workload.sizes.length;
  const listed = new Float64Array(last.length);
  for (let cluster = 0; cluster < workload.clusters.length; cluster++) {
    const own = last.subarray(cluster * files, (cluster + 1) * files);
    const order = Array.from(own.keys()).sort((a, b) => own[b] - own[a] || a - b);
    for (const file of order.slice(0, Math.ceil(TOP_SHARE * files))) {
      listed[cluster * files + file] = own[file];
    }
  }
  return listed;
}
