/**
 * Reads what a scenario's workload was measured as: view records (Parquet or CSV, summed by DuckDB) or a request trace.
 *
 * View records: columns ordinal (file), home, day (number or date), bytes; size (of the file, bytes) where it is known.
 *
 * Errors: the file and what is wrong with it: no such file or column, nulls, negative bytes, more sums than fit
 */
import { statSync } from 'node:fs';
import path from 'node:path';
import { codeOf, messageOf, type Outcome } from '#base/outcome.ts';
import type { Measured } from '../analytic/analytic-run.ts';
import type { HomeSums, ViewSums } from '../analytic/workload.ts';
import { readTraceFile } from '../cache/io/trace-file.ts';
import { TraceProblem } from '../cache/trace.ts';
import type { Scenario } from '../scenario.ts';

const SUMS_MAX = 5_000_000;
const HOMES_MAX = 500;
const COLUMNS = ['ordinal', 'home', 'day', 'bytes'] as const;

export async function readMeasured(
  { workload }: Scenario,
  directory: string,
): Promise<Outcome<Measured | null, string>> {
  if (workload.source === 'generated') return { ok: true, value: null };
  const file = path.resolve(directory, workload.file ?? '');
  try {
    if (workload.source === 'trace') {
      return { ok: true, value: { source: 'trace', trace: await readTraceFile(file) } };
    }
    statSync(file);
    return { ok: true, value: { source: 'view-records', sums: await readViewRecords(file) } };
  } catch (thrown) {
    if (thrown instanceof TraceProblem) return { ok: false, failure: thrown.message };
    const why = codeOf(thrown) === 'ENOENT' ? 'there is no such file' : messageOf(thrown);
    return { ok: false, failure: `${file}: ${why}` };
  }
}

class RecordsProblem extends Error {}

async function readViewRecords(file: string): Promise<ViewSums> {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const from = file.toLowerCase().endsWith('.parquet') ? 'read_parquet($1)' : 'read_csv($1)';
  const rowsOf = async (query: string): Promise<readonly (readonly unknown[])[]> =>
    (await connection.runAndReadAll(query.replace('FILE', from), [file])).getRows();
  try {
    const names = (await rowsOf('SELECT column_name FROM (DESCRIBE SELECT * FROM FILE)')).map(
      ([name]) => String(name).toLowerCase(),
    );
    const missing = COLUMNS.filter((column) => !names.includes(column));
    if (missing.length > 0) {
      throw new RecordsProblem(
        `no column ${missing.join(', ')}; view records have ${COLUMNS.join(', ')} and, where it is known, size; this file has ${names.join(', ')}`,
      );
    }
    const hasSizes = names.includes('size');
    const size = hasSizes ? 'CAST(size AS DOUBLE)' : '1.0';
    const [counts] = await rowsOf(
      `SELECT count(*), count(DISTINCT day), count(*) FILTER (WHERE ordinal IS NULL OR home IS NULL OR day IS NULL
       OR bytes IS NULL OR bytes < 0 OR ${size} IS NULL OR ${size} <= 0), sum(CAST(bytes AS DOUBLE)) FROM FILE`,
    );
    const [rows, days, wrong, asked] = counts.map(Number);
    if (wrong > 0) {
      throw new RecordsProblem(
        `${wrong} of ${rows} rows have a null, bytes below 0 or a size that is not above 0`,
      );
    }
    if (rows === 0 || asked === 0) throw new RecordsProblem('nothing is asked for in it');
    const sums = await rowsOf(
      `SELECT CAST(home AS VARCHAR), sum(CAST(bytes AS DOUBLE)), max(${size}) FROM FILE WHERE bytes > 0
       GROUP BY home, ordinal ORDER BY 1, ordinal LIMIT ${SUMS_MAX + 1}`,
    );
    if (sums.length > SUMS_MAX) {
      throw new RecordsProblem(`more than ${SUMS_MAX} pairs of home and file: take fewer homes`);
    }
    return { days, hasSizes, rows: sums.length, homes: homesOf(sums, hasSizes) };
  } catch (thrown) {
    if (thrown instanceof RecordsProblem) throw thrown;
    throw new RecordsProblem(`cannot be read as view records: ${messageOf(thrown)}`);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** Rows come sorted by home. */
function homesOf(sums: readonly (readonly unknown[])[], hasSizes: boolean): readonly HomeSums[] {
  const homes: { readonly home: string; readonly bytes: number[]; readonly sizes: number[] }[] = [];
  for (const [home, bytes, size] of sums) {
    const name = String(home);
    if (homes.at(-1)?.home !== name) homes.push({ home: name, bytes: [], sizes: [] });
    homes[homes.length - 1].bytes.push(Number(bytes));
    homes[homes.length - 1].sizes.push(Number(size));
  }
  if (homes.length > HOMES_MAX) {
    throw new RecordsProblem(`${homes.length} homes: at most ${HOMES_MAX}; take fewer`);
  }
  const total = (of: { readonly bytes: readonly number[] }): number =>
    of.bytes.reduce((sum, bytes) => sum + bytes, 0);
  return homes
    .toSorted((a, b) => total(b) - total(a) || (a.home < b.home ? -1 : 1))
    .map(({ home, bytes, sizes }) => ({
      home,
      bytes: Float64Array.from(bytes),
      sizes: hasSizes ? Float64Array.from(sizes) : null,
    }));
}
