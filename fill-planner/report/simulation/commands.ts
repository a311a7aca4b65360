/**
 * `nightfill simulate report` and `nightfill simulate compare`: results on disk, read again.
 */
import type { Command } from 'commander';
import type { SimulationResult } from '../../simulate/result.ts';
import { comparisonOf, type Comparison } from './comparison.ts';
import { readResults, writeReport } from './io/result-files.ts';
import { comparisonReportOf, named, reportOf } from './report.ts';
import { comparisonTable, type Table } from './tables.ts';

export function addReportCommands(simulate: Command): void {
  simulate
    .command('report <result>')
    .description('writes the HTML report of a result that simulate run kept')
    .option('--out <file>', 'default: beside the result, .html')
    .action(async (result: string, { out }: { out?: string }) => {
      const read = readResults(result);
      if (!read.ok) return refuse(read.failure);
      const file = out ?? `${result.replace(/(#.*|\.json)$/, '')}.html`;
      save(file, await reportOf(read.value));
    });
  simulate
    .command('compare <before> <after>')
    .description(
      'what differs between two results, and whether the seeds say that it is more than chance',
    )
    .option('--out <file>', 'writes an HTML report as well')
    .option('--json', 'the comparison as one JSON line')
    .action(async (before: string, after: string, options: { out?: string; json?: true }) => {
      const [a, b] = [readResults(before), readResults(after)];
      if (!a.ok) return refuse(a.failure);
      if (!b.ok) return refuse(b.failure);
      const [first, second] = named(a.value[0], b.value[0]);
      const comparison = comparisonOf(first, second);
      process.stdout.write(
        options.json === true
          ? `${JSON.stringify(jsonOf(comparison, first, second))}\n`
          : textOf(comparison, first, second),
      );
      if (options.out !== undefined) {
        save(options.out, await comparisonReportOf(a.value[0], b.value[0]));
      }
    });
}

function textOf(comparison: Comparison, a: SimulationResult, b: SimulationResult): string {
  const table = comparisonTable(comparison, [a.meta.variant, b.meta.variant]);
  const changes = comparison.changes.map((change) => `  ${change}\n`).join('');
  return `${table.title}\n${table.note}\n${changes === '' ? '' : `changed:\n${changes}`}\n${linesOf(table)}`;
}

/** A table for the terminal: text left, numbers right. */
export function linesOf({ columns, rows }: Table): string {
  const cells = [columns.map((column) => column.title), ...rows];
  const widths = columns.map((_, at) => Math.max(...cells.map((row) => row[at].length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, at) =>
        columns[at].isNumber ? cell.padStart(widths[at]) : cell.padEnd(widths[at]),
      )
      .join('  ')
      .trimEnd();
  return `${cells.map(line).join('\n')}\n`;
}

function jsonOf(comparison: Comparison, a: SimulationResult, b: SimulationResult): object {
  return {
    compare: {
      before: a.meta.variant,
      after: b.meta.variant,
      how: comparison.how,
      seeds: comparison.seeds,
      changes: comparison.changes,
      rows: comparison.rows.map(({ figure, ...row }) => ({ metric: figure.metric, ...row })),
    },
  };
}

function save(file: string, html: string): void {
  const written = writeReport(file, html);
  if (!written.ok) return refuse(written.failure);
  process.stderr.write(`${file}: ${(written.value / 1000).toFixed(0)} kB; open it in a browser\n`);
}

function refuse(why: string): void {
  process.stderr.write(`${why}\n`);
  process.exitCode = 1;
}
