/**
 * `nightfill simulate cache TRACE`: what a cache of some size would have missed.
 */
import { InvalidArgumentError, type Command } from 'commander';
import { formatBytes, parseBytes } from '#base/units.ts';
import { addReportCommands } from '../report/simulation/commands.ts';
import { POLICIES } from './cache/catalogue.ts';
import { readTrace, type TraceFormat } from './cache/io/trace-file.ts';
import { pfooLower, runPolicy } from './cache/run.ts';
import { sampledRatio } from './cache/shards.ts';
import { addRunCommands } from './run-command.ts';
import type { Trace } from './cache/trace.ts';

const CURVE_SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8];
const FORMATS: readonly TraceFormat[] = ['oracle-general', 'csv', 'text'];

interface CacheOptions {
  readonly policy: readonly string[];
  readonly size?: readonly number[];
  readonly format?: TraceFormat;
  readonly sample?: number;
  readonly seeds: number;
  readonly bound?: true;
  readonly json?: true;
}

interface Row {
  readonly policy: string;
  readonly sizeBytes: number;
  readonly objectMissRatio: number;
  readonly byteMissRatio: number;
  readonly objectMissRatioError?: number;
  readonly byteMissRatioError?: number;
  readonly missObjects?: number;
  readonly missBytes?: number;
  readonly oversizeRequests?: number;
}

export function addCommands(program: Command): void {
  const simulate = program.command('simulate').description('answers what-if questions');
  addRunCommands(simulate);
  addReportCommands(simulate);
  simulate
    .command('cache <trace>')
    .description(
      'object and byte misses of cache policies over a trace (oracleGeneral, .zst, CSV, "time id size")',
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
      '--format <format>',
      `one of ${FORMATS.join(', ')} (default: by the file’s name)`,
      format,
    )
    .option(
      '--sample <share>',
      'SHARDS: simulate this share of the keys, with standard errors',
      share,
    )
    .option('--seeds <count>', 'samples to draw with --sample', positive, 10)
    .option('--bound', 'also PFOO-L, which no policy can beat (byte and object bound)')
    .option('--json', 'one JSON object on the last line')
    .action((path: string, options: CacheOptions) => simulateCache(path, options));
}

function simulateCache(path: string, options: CacheOptions): void {
  const trace = readTrace(path, options.format);
  const sizesBytes =
    options.size ?? CURVE_SHARES.map((part) => Math.max(1, Math.round(trace.bytesDistinct * part)));
  console.log(
    `${trace.name}: ${trace.requests} requests for ${trace.objects} objects, ` +
      `${formatBytes(trace.bytesRequested)} asked for, footprint ${formatBytes(trace.bytesDistinct)}`,
  );
  const rows = sizesBytes.flatMap((sizeBytes) => rowsOf(trace, sizeBytes, options));
  print(rows);
  if (options.json === true) {
    const { requests, objects, bytesRequested, bytesDistinct } = trace;
    console.log(
      JSON.stringify({ trace: path, requests, objects, bytesRequested, bytesDistinct, rows }),
    );
  }
}

function rowsOf(trace: Trace, sizeBytes: number, options: CacheOptions): readonly Row[] {
  const rows: Row[] = options.policy.map((policy) => {
    const create = POLICIES[policy];
    if (options.sample === undefined)
      return { policy, sizeBytes, ...runPolicy(trace, create, sizeBytes) };
    const sampled = sampledRatio(trace, create, sizeBytes, {
      share: options.sample,
      seeds: options.seeds,
    });
    return { policy, sizeBytes, ...sampled };
  });
  if (options.bound === true) {
    const { missObjects, missBytes } = pfooLower(trace, sizeBytes);
    rows.push({
      policy: 'PFOO-L bound',
      sizeBytes,
      missObjects,
      missBytes,
      objectMissRatio: missObjects / trace.requests,
      byteMissRatio: missBytes / trace.bytesRequested,
    });
  }
  return rows;
}

function print(rows: readonly Row[]): void {
  const percent = (ratio: number, error: number | undefined): string =>
    `${(ratio * 100).toFixed(2)} %${error === undefined ? '' : ` ± ${(error * 100).toFixed(2)}`}`;
  console.log(
    `${'cache size'.padEnd(12)}${'policy'.padEnd(14)}${'object misses'.padEnd(20)}byte misses`,
  );
  for (const row of rows) {
    const objects = percent(row.objectMissRatio, row.objectMissRatioError);
    const bytes = percent(row.byteMissRatio, row.byteMissRatioError);
    const oversize = row.oversizeRequests ?? 0;
    const note =
      oversize > 0 ? `   ${oversize} requests are for objects larger than the cache` : '';
    console.log(
      `${formatBytes(row.sizeBytes).padEnd(12)}${row.policy.padEnd(14)}${objects.padEnd(20)}${bytes}${note}`,
    );
  }
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

function sizes(text: string): readonly number[] {
  return text.split(',').map((part) => {
    const bytes = parseBytes(part);
    if (bytes === null || bytes < 1)
      throw new InvalidArgumentError(`"${part}" is no size such as 128MiB.`);
    return bytes;
  });
}

function format(text: string): TraceFormat {
  const found = FORMATS.find((name) => name === text);
  if (found === undefined) throw new InvalidArgumentError(`one of ${FORMATS.join(', ')}.`);
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
