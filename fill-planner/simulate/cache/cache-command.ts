/**
 * `nightfill simulate cache TRACE`: what a cache of some size, or several tiers of them, would have missed.
 *
 * Ctrl-C ends it at once with what it has: rows that are done, and the one under way marked partial; exit status 130.
 */
import { InvalidArgumentError, type Command } from 'commander';
import { formatBytes, parseBytes } from '#base/units.ts';
import { POLICIES } from './catalogue.ts';
import { curvePlot, missRatioCurve, type CurvePoint } from './curve.ts';
import { writeSvg } from './io/curve-file.ts';
import { readTraceFile, TRACE_FORMATS, type TraceFormat } from './io/trace-file.ts';
import { printRows, type Row } from './rows.ts';
import { CacheRun, pfooLower } from './run.ts';
import { sampledRatio } from './shards.ts';
import { TieredRun, type Tier } from './tiers.ts';
import type { Trace } from './trace.ts';

const CURVE_SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8];
const CURVE_POINTS = 24;
const CURVE_SMALLEST = 0.001; // of the footprint
/** A curve is simulated on about so many objects; smaller traces whole. */
const CURVE_OBJECTS = 16_384;
const REQUESTS_PER_TURN = 500_000; // some 50 to 500 ms: how soon Ctrl-C is heard

interface CacheOptions {
  readonly policy: readonly string[];
  readonly size?: readonly number[];
  readonly format?: TraceFormat;
  readonly sample?: number;
  readonly seeds: number;
  readonly bound?: true;
  readonly tiers?: readonly Tier[];
  readonly mrc?: true;
  readonly svg?: string;
  readonly json?: true;
}

export function addCacheCommand(simulate: Command): void {
  simulate
    .command('cache <trace>')
    .description(
      'object and byte misses of cache policies over a trace (oracleGeneral, .zst, CSV, Parquet, "time id size")',
    )
    .option(
      '--policy <names>',
      `comma-separated, of ${Object.keys(POLICIES).join(', ')}`,
      policies,
      ['lru'],
    )
    .option(
      '--size <sizes>',
      'comma-separated, e.g. 128MiB,1GiB (default: a curve over the footprint)',
      sizes,
    )
    .option(
      '--tiers <tiers>',
      'size:policy of each, first asked first: 1GiB:lru,10GiB:s3-fifo',
      tiers,
    )
    .option('--mrc', 'miss-ratio curves by SHARDS, with standard errors')
    .option('--svg <file>', 'with --mrc: draws the curves there')
    .option(
      '--format <format>',
      `one of ${TRACE_FORMATS.join(', ')} (default: by the file’s name)`,
      format,
    )
    .option(
      '--sample <share>',
      'SHARDS: simulate this share of the keys, with standard errors',
      share,
    )
    .option('--seeds <count>', 'samples to draw with --sample and --mrc', positive, 10)
    .option('--bound', 'also PFOO-L, which no policy can beat (byte and object bound)')
    .option('--json', 'one JSON object on the last line')
    .action((path: string, options: CacheOptions) => simulateCache(path, options));
}

/** Told by Ctrl-C; a second one ends the process as usual. */
class Interruption {
  isAsked = false;
  readonly #ask = (): void => {
    this.isAsked = true;
    process.off('SIGINT', this.#ask);
  };

  constructor() {
    process.on('SIGINT', this.#ask);
  }

  end(): void {
    process.off('SIGINT', this.#ask);
  }
}

async function simulateCache(path: string, options: CacheOptions): Promise<void> {
  if (options.svg !== undefined && options.mrc !== true) {
    throw new InvalidArgumentError('--svg draws the curves of --mrc: give both.');
  }
  const interruption = new Interruption();
  const trace = await readTraceFile(path, options.format);
  console.log(
    `${trace.name}: ${trace.requests} requests for ${trace.objects} objects, ` +
      `${formatBytes(trace.bytesRequested)} asked for, footprint ${formatBytes(trace.bytesDistinct)}`,
  );
  const rows =
    options.mrc === true
      ? await curveRows(trace, options, interruption)
      : await runRows(trace, options, interruption);
  interruption.end();
  printRows(rows);
  const isPartial = interruption.isAsked;
  if (isPartial) {
    console.log('PARTIAL: interrupted; what is above is all that was simulated');
    process.exitCode = 130;
  }
  if (options.json === true) {
    const { requests, objects, bytesRequested, bytesDistinct } = trace;
    const facts = { trace: path, requests, objects, bytesRequested, bytesDistinct };
    console.log(JSON.stringify({ ...facts, isPartial, rows }));
  }
}

async function runRows(
  trace: Trace,
  options: CacheOptions,
  interruption: Interruption,
): Promise<readonly Row[]> {
  if (options.tiers !== undefined) return tierRows(trace, options.tiers, interruption);
  const sizesBytes =
    options.size ?? CURVE_SHARES.map((part) => Math.max(1, Math.round(trace.bytesDistinct * part)));
  const rows: Row[] = [];
  for (const sizeBytes of sizesBytes) {
    for (const policy of options.policy) {
      if (interruption.isAsked) return rows;
      const create = POLICIES[policy];
      if (options.sample === undefined) {
        const run = new CacheRun(trace, create, sizeBytes);
        await untilDone(run, interruption);
        rows.push({ policy, sizeBytes, ...run.result(), isPartial: !run.isDone });
        continue;
      }
      const plan = { share: options.sample, seeds: options.seeds };
      rows.push({ policy, sizeBytes, ...sampledRatio(trace, create, sizeBytes, plan) });
      await turn();
    }
    if (options.bound === true && !interruption.isAsked) rows.push(boundRow(trace, sizeBytes));
  }
  return rows;
}

async function tierRows(
  trace: Trace,
  given: readonly Tier[],
  interruption: Interruption,
): Promise<readonly Row[]> {
  const run = new TieredRun(trace, given);
  await untilDone(run, interruption);
  return run.results().map((result, at) => ({
    policy: `${at + 1}: ${given[at].policy}`,
    sizeBytes: given[at].sizeBytes,
    ...result,
    isPartial: !run.isDone,
  }));
}

async function curveRows(
  trace: Trace,
  options: CacheOptions,
  interruption: Interruption,
): Promise<readonly Row[]> {
  const sizesBytes = options.size ?? curveSizes(trace);
  const chosen = options.sample ?? Math.min(1, CURVE_OBJECTS / trace.objects);
  const points: CurvePoint[] = [];
  for (const policy of options.policy) {
    const plan = { share: chosen, seeds: chosen === 1 ? 1 : options.seeds };
    for (const curve of missRatioCurve(trace, policy, sizesBytes, plan)) {
      points.push(...curve);
      await turn();
      if (interruption.isAsked) break;
    }
  }
  const seeds = chosen === 1 ? 'exact' : `${(chosen * 100).toPrecision(2)} % of the keys`;
  console.log(`miss-ratio curves, ${seeds}; ± is one standard error over the samples`);
  if (options.svg !== undefined && points.length > 0) {
    await writeSvg(options.svg, curvePlot(trace.name, points));
    console.log(`drawn: ${options.svg}`);
  }
  return points;
}

/** Evenly on a logarithmic axis, up to everything. */
function curveSizes(trace: Trace): readonly number[] {
  return Array.from({ length: CURVE_POINTS }, (_, at) =>
    Math.max(1, Math.round(trace.bytesDistinct * CURVE_SMALLEST ** (1 - at / (CURVE_POINTS - 1)))),
  );
}

async function untilDone(
  run: { readonly isDone: boolean; step(requests: number): void },
  interruption: Interruption,
): Promise<void> {
  while (!run.isDone && !interruption.isAsked) {
    run.step(REQUESTS_PER_TURN);
    await turn();
  }
}

function boundRow(trace: Trace, sizeBytes: number): Row {
  const { missObjects, missBytes } = pfooLower(trace, sizeBytes);
  return {
    policy: 'PFOO-L bound',
    sizeBytes,
    missObjects,
    missBytes,
    objectMissRatio: missObjects / trace.requests,
    byteMissRatio: missBytes / trace.bytesRequested,
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function policies(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim().toLowerCase());
  const unknown = names.filter((name) => POLICIES[name] === undefined);
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      `unknown: ${unknown.join(', ')}. Known: ${Object.keys(POLICIES).join(', ')}.`,
    );
  }
  return names;
}

function tiers(text: string): readonly Tier[] {
  return text.split(',').map((part, at) => {
    const [size, name, ...more] = part.split(':');
    if (name === undefined || more.length > 0) {
      throw new InvalidArgumentError(`"${part}" is no tier such as 10GiB:s3-fifo.`);
    }
    const [policy] = policies(name);
    if (policy === 'belady' && at > 0) {
      throw new InvalidArgumentError(
        'belady looks ahead in the trace; a lower tier sees misses only: first tier alone.',
      );
    }
    return { sizeBytes: sizes(size)[0], policy };
  });
}

function sizes(text: string): readonly number[] {
  return text.split(',').map((part) => {
    const bytes = parseBytes(part);
    if (bytes === null || bytes < 1)
      throw new InvalidArgumentError(`"${part}" is no size such as 128MiB.`);
    return bytes;
  });
}

function format(text: string): TraceFormat {
  const found = TRACE_FORMATS.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`one of ${TRACE_FORMATS.join(', ')}.`);
  return found;
}

function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 1))
    throw new InvalidArgumentError('a share of the keys above 0, at most 1.');
  return value;
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 1000) {
    throw new InvalidArgumentError('a whole number from 1 to 1000.');
  }
  return value;
}
