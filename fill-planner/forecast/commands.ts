/**
 * `nightfill forecast backtest`: how good the forecaster is, on the data given and beside what anybody could do.
 */
import type { Command } from 'commander';

interface BacktestFlags {
  readonly data?: string;
  readonly generated?: boolean;
  readonly json?: boolean;
}

const PROBLEMS_SHOWN_MAX = 10;

export function addCommands(program: Command): void {
  const forecast = program.command('forecast').description('the demand forecaster');
  forecast
    .command('backtest')
    .description('score the forecaster and its baselines on past data, rolling origin')
    .option(
      '--data <path>',
      'a weekly list (.tsv), an engagement report (.csv), or a directory of them',
    )
    .option('--generated', 'the generated workload as well (without --data it is all there is)')
    .option('--json', 'one line of JSON on stdout instead of tables')
    .action(backtest);
}

async function backtest(flags: BacktestFlags): Promise<void> {
  const { NO_DATA, readBacktestData, roundedScores, runBacktests, scoreText } =
    await import('./forecast.ts');
  const data = flags.data === undefined ? NO_DATA : readBacktestData(flags.data);
  for (const problem of data.problems.slice(0, PROBLEMS_SHOWN_MAX)) console.error(problem);
  if (data.problems.length > PROBLEMS_SHOWN_MAX) {
    console.error(`${data.problems.length - PROBLEMS_SHOWN_MAX} more rows are left out`);
  }
  const isGenerated = flags.generated === true || flags.data === undefined;
  const scores = runBacktests(data, {
    generated: isGenerated ? 'full' : 'none',
    say: (what) => console.error(what),
  });
  if (scores.length === 0) throw new Error('nothing could be scored: the data are too short');
  console.log(
    flags.json === true ? JSON.stringify({ forecast: roundedScores(scores) }) : scoreText(scores),
  );
}
