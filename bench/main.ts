/**
 * `npm run bench -- <name> [--json] [--smoke] [args]`: finds bench/<name>.ts and runs it.
 *
 * Shape:  each bench exports run({json, smoke, args}) and returns what it measured. With --json that object is the
 *         last line of stdout, as one line; everything meant for a person goes to stderr through the bench itself.
 * Errors: an unknown name lists what exists and exits 2; a bench that throws exits 1 with its message.
 *         `--smoke` without a name runs every bench briefly, each in a process of its own, all within SMOKE_TOTAL_MS.
 */
import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { messageOf } from '#base/outcome.ts';

export interface BenchOptions {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly args: readonly string[];
}

export interface Bench {
  run(options: BenchOptions): Promise<unknown>;
}

export interface BenchCommand extends BenchOptions {
  readonly name: string | null;
}

const SMOKE_TOTAL_MS = 5 * 60_000;
const SMOKE_ONE_MS = 90_000;
const SMOKES_AT_ONCE = 2;

/** `serve --json --pairs 9` -> the bench, its switches, and everything else for the bench to read. */
export function parseCommand(argv: readonly string[]): BenchCommand {
  const name = argv.length > 0 && !argv[0].startsWith('-') ? argv[0] : null;
  const rest = name === null ? argv : argv.slice(1);
  return {
    name,
    json: rest.includes('--json'),
    smoke: rest.includes('--smoke'),
    args: rest.filter((word) => word !== '--json' && word !== '--smoke'),
  };
}

/** The benches of a directory: its own .ts files, without this one, tests and fuzzers. */
export function benchNames(directory: string): readonly string[] {
  return globSync('*.ts', { cwd: directory })
    .filter((file) => file !== 'main.ts' && !/\.(test|fuzz|bench)\.ts$/.test(file))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

function usage(names: readonly string[]): string {
  return [
    'npm run bench -- <name> [--json] [--smoke] [arguments of the bench]',
    `benches: ${names.join(', ') || 'none'}`,
    '--smoke without a name runs each of them briefly',
  ].join('\n');
}

async function runOne(command: BenchCommand & { readonly name: string }): Promise<void> {
  const loaded = (await import(`./${command.name}.ts`)) as Partial<Bench>;
  if (typeof loaded.run !== 'function')
    throw new Error(`bench/${command.name}.ts exports no run()`);
  const result = await loaded.run(command);
  if (command.json) process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** One bench in a process of its own, so that a hang or a crash is told apart and nothing is left open. */
function smokeOne(name: string, deadlineMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [...process.execArgv, import.meta.filename, name, '--smoke', '--json'],
      { stdio: ['ignore', 'inherit', 'inherit'] },
    );
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 3000).unref();
    }, deadlineMs);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (isLate) resolve(`did not end within ${Math.round(deadlineMs / 1000)} s`);
      else resolve(code === 0 ? null : `ended with ${signal ?? `status ${code}`}`);
    });
  });
}

async function smokeAll(names: readonly string[]): Promise<void> {
  const startMs = performance.now();
  const problems: string[] = [];
  const took: [name: string, seconds: number][] = [];
  const waiting = [...names];
  const worker = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const leftMs = SMOKE_TOTAL_MS - (performance.now() - startMs);
      const beganMs = performance.now();
      const problem =
        leftMs > 0
          ? await smokeOne(name, Math.min(SMOKE_ONE_MS, leftMs))
          : 'no time was left for it';
      took.push([name, (performance.now() - beganMs) / 1000]);
      if (problem !== null) problems.push(`${name}: ${problem}`);
    }
  };
  // Several at once: they mostly wait for what they start.
  await Promise.all(Array.from({ length: SMOKES_AT_ONCE }, worker));
  if (names.length === 0) problems.push('there is no bench to run');
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  took.sort(([, a], [, b]) => b - a);
  console.error(
    `longest: ${took.map(([name, taken]) => `${name} ${taken.toFixed(1)} s`).join(', ')}`,
  );
  console.error(`bench smoke: ${names.length} benches, ${problems.length} problems, ${seconds} s`);
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

async function main(argv: readonly string[]): Promise<void> {
  const command = parseCommand(argv);
  const names = benchNames(import.meta.dirname);
  if (command.name === null && command.smoke) {
    await smokeAll(names);
  } else if (command.name === null || !names.includes(command.name)) {
    if (command.name !== null) console.error(`bench: there is no bench "${command.name}"`);
    console.error(usage(names));
    process.exitCode = 2;
  } else {
    await runOne({ ...command, name: command.name });
  }
}

if (import.meta.main) {
  // What a bench started is ended by exit handlers, which a signal alone would not run.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130));
  }
  try {
    await main(process.argv.slice(2));
  } catch (thrown) {
    console.error(`bench: ${messageOf(thrown)}`);
    process.exitCode = 1;
  }
}
