/**
 * Every backtest that there is data for, as one list of scores; and the generated workload, which needs none.
 *
 * Shape: runBacktests(data, { generated, say }) -> scores, in a fixed order
 */
import { backtestWorkload } from '../generated/backtest.ts';
import { generateWorkload, type WorkloadOptions } from '../generated/workload.ts';
import { backtestHalfYears } from '../half-years/backtest.ts';
import type { EngagementReport } from '../half-years/engagement.ts';
import { backtestList } from '../weekly-list/backtest.ts';
import type { WeeklyList } from '../weekly-list/weekly-list.ts';
import type { ModelScore } from './metrics.ts';

export interface BacktestData {
  readonly lists: readonly { readonly name: string; readonly list: WeeklyList }[];
  readonly reports: readonly EngagementReport[];
  readonly problems: readonly string[]; // of the files, each naming file and line
}

export const NO_DATA: BacktestData = { lists: [], reports: [], problems: [] };

interface GeneratedPlan extends WorkloadOptions {
  readonly firstScored: number;
}

/** `full` is what README.md quotes; `small` shows in a few seconds that everything runs. */
export const GENERATED_PLANS: { readonly [name in 'full' | 'small']: GeneratedPlan } = {
  full: {
    seed: 7,
    days: 77,
    films: 240,
    seasons: 40,
    releasesPerWeek: 3,
    viewsPerDay: 40_000,
    firstScored: 49,
    bigReleaseDay: 63,
  },
  small: {
    seed: 7,
    days: 44,
    films: 40,
    seasons: 8,
    releasesPerWeek: 2,
    viewsPerDay: 8_000,
    firstScored: 37,
    bigReleaseDay: 40,
  },
};

export function runBacktests(
  data: BacktestData,
  options: {
    readonly generated: 'full' | 'small' | 'none';
    readonly say?: (what: string) => void;
  },
): readonly ModelScore[] {
  const say = options.say ?? (() => undefined);
  const scores: ModelScore[] = [];
  for (const { name, list } of data.lists) {
    say(`${name}: ${list.series.length} titles over ${list.weeks} weeks`);
    const own = backtestList(list, name);
    if (own.length === 0) say(`${name}: ${list.weeks} weeks are too few to score`);
    scores.push(...own);
  }
  if (data.reports.length > 0) {
    say(`engagement: ${data.reports.length} reports`);
    const own = backtestHalfYears(data.reports, 'engagement');
    if (own.length === 0) say('engagement: three half-years in a row are needed to score one');
    scores.push(...own);
  }
  if (options.generated !== 'none') {
    const plan = GENERATED_PLANS[options.generated];
    say(`generated: ${plan.days} days, seed ${plan.seed}`);
    scores.push(...backtestWorkload(generateWorkload(plan), plan.firstScored, plan.bigReleaseDay));
  }
  return scores;
}
