/**
 * `npm run bench -- forecast [--data DIR] [--json] [--smoke]`: the forecaster's backtests, every baseline beside it.
 *
 * Without --data it looks for `../shared/data` beside the repository and runs on the generated workload alone where there
 * is none. --smoke runs a small generated workload only.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import {
  NO_DATA,
  readBacktestData,
  roundedScores,
  runBacktests,
  scoreText,
} from '#fill-planner/fill-planner.ts';
import type { BenchOptions } from './main.ts';

const DEFAULT_DATA = path.join(import.meta.dirname, '..', '..', 'shared', 'data');

export function run({ smoke, args }: BenchOptions): Promise<unknown> {
  const data = smoke ? NO_DATA : dataOf(args);
  for (const problem of data.problems.slice(0, 3)) console.error(problem);
  if (data.problems.length > 3) console.error(`${data.problems.length - 3} more rows are left out`);
  const scores = runBacktests(data, {
    generated: smoke ? 'small' : 'full',
    say: (what) => console.error(what),
  });
  console.error(scoreText(scores));
  return Promise.resolve({ forecast: roundedScores(scores) });
}

function dataOf(args: readonly string[]): ReturnType<typeof readBacktestData> {
  const at = args.indexOf('--data');
  if (at !== -1) {
    if (args[at + 1] === undefined) throw new Error('--data needs a directory or a file');
    return readBacktestData(args[at + 1]);
  }
  if (existsSync(DEFAULT_DATA)) return readBacktestData(DEFAULT_DATA);
  console.error('no --data and no ../shared/data: the generated workload only');
  return NO_DATA;
}
