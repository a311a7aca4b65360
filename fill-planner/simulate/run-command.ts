/**
 * `nightfill simulate run SCENARIO`: every variant of a scenario, over seeds, to results, a report and a summary on the terminal.
 *
 * Errors: a scenario that cannot be run is refused with all its problems and their places; nothing is written
 */
import { InvalidArgumentError, type Command } from 'commander';
import { formatDuration } from '#base/units.ts';
import { addCalibrateCommand } from './calibrate-command.ts';
import { ENGINES, totalsWithMeaning, type Engine, type SimulationResult } from './result.ts';
import { readScenarioFile, runVariants, writeResults } from './io/scenario-run.ts';
import { TerminalBar } from './io/terminal-bar.ts';
import { summaryOf } from './run-summary.ts';

interface RunFlags {
  readonly data?: string;
  readonly seed?: number;
  readonly seeds: number;
  readonly engine: Engine;
  readonly sample: number;
  readonly out?: string;
  readonly threads?: number;
  readonly report: boolean;
  readonly json?: true;
}

const INTERRUPTED = 130;
const SAMPLE_SHARE = 1 / 16; // of the keys: some hundred thousand

export function addRunCommands(simulate: Command): void {
  simulate
    .command('run <scenario>')
    .description('runs a scenario (YAML or JSON) with its variants; writes results and a report')
    .option('--data <dir>', 'where the shared tables are: openconnect/ holds the topology')
    .option('--seed <n>', 'first seed (default: the scenario’s)', wholeNumber)
    .option('--seeds <n>', 'so many seeds, for bands', positive, 1)
    .option('--engine <name>', `one of ${ENGINES.join(', ')}`, engineName, 'fluid')
    .option('--sample <share>', 'of the keys, at the request level', share, SAMPLE_SHARE)
    .option('--out <dir>', 'default: simulation-<scenario> beside where you are')
    .option('--threads <n>', 'default: as many as there are cores', positive)
    .option('--no-report', 'results only')
    .option('--json', 'totals of each variant as the last line')
    .action(async (file: string, flags: RunFlags) => simulateRun(file, flags));
  addCalibrateCommand(simulate);
}

async function simulateRun(file: string, flags: RunFlags): Promise<void> {
  const read = readScenarioFile(file, flags.data, flags.engine);
  if (!read.ok) return refuse(read.failure);
  const stop = new AbortController();
  const onSignal = (): void => {
    process.stderr.write('\nstopping: what was reached is reported, marked partial\n');
    stop.abort();
  };
  process.once('SIGINT', onSignal);
  const startedMs = performance.now();
  const bar = new TerminalBar(process.stderr);
  const run = await runVariants(read.value, {
    engine: flags.engine,
    sampleShare: flags.sample,
    firstSeed: flags.seed ?? read.value.scenario.seed,
    seeds: flags.seeds,
    threads: flags.threads,
    signal: stop.signal,
    onProgress: (share, what) => bar.show(share, what),
  });
  bar.end();
  process.off('SIGINT', onSignal);
  if (!run.ok) return refuse([run.failure]);
  const written = await writeResults(run.value, {
    directory: flags.out ?? `simulation-${slugOf(read.value.scenario.name)}`,
    withReport: flags.report,
  });
  process.stdout.write(summaryOf(run.value));
  process.stderr.write(`${formatDuration(performance.now() - startedMs)}\n`);
  for (const line of written) process.stderr.write(`${line}\n`);
  if (flags.json === true) process.stdout.write(`${JSON.stringify(jsonOf(run.value))}\n`);
  if (stop.signal.aborted) process.exitCode = INTERRUPTED;
}

function jsonOf(results: readonly SimulationResult[]): object {
  return {
    simulate: results.map(({ meta, totals }) => ({
      variant: meta.variant,
      engine: meta.engine,
      seeds: meta.seeds,
      isPartial: meta.isPartial,
      ...Object.fromEntries(totalsWithMeaning(meta.engine).map((name) => [name, totals[name]])),
    })),
  };
}

function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '');
}

function engineName(text: string): Engine {
  const found = ENGINES.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`one of ${ENGINES.join(', ')}.`);
  return found;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 31) {
    throw new InvalidArgumentError('a whole number from 0.');
  }
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError('above 0, at most 1.');
  return value;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000) {
    throw new InvalidArgumentError('a whole number from 1 to 1000.');
  }
  return value;
}

function refuse(problems: readonly string[]): void {
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
}
