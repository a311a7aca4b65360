/**
 * A run's hours and sites as Parquet, for whoever asks questions that no report foresaw.
 *
 * Out: hours.parquet (variant, hour, every series), sites.parquet (variant, every column)
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { HOUR_SERIES, type SimulationResult } from '../result.ts';

export async function writeParquet(
  results: readonly SimulationResult[],
  directory: string,
): Promise<readonly string[]> {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const hours = results.flatMap(({ meta, hours: series }) =>
    Array.from({ length: meta.hoursDone }, (_, hour) => ({
      variant: meta.variant,
      hour,
      ...Object.fromEntries(HOUR_SERIES.map((name) => [name, series[name][hour]])),
    })),
  );
  const sites = results.flatMap(({ meta, sites: rows }) =>
    rows.map((row) => ({ variant: meta.variant, ...row })),
  );
  const work = mkdtempSync(path.join(tmpdir(), 'nightfill-parquet-'));
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const written: string[] = [];
    for (const [name, rows] of [
      ['hours', hours],
      ['sites', sites],
    ] as const) {
      if (rows.length === 0) continue; // the analytic engine has no hours
      const lines = path.join(work, `${name}.ndjson`);
      const file = path.join(directory, `${name}.parquet`);
      writeFileSync(lines, rows.map((row) => JSON.stringify(row)).join('\n'));
      await connection.run(
        `COPY (SELECT * FROM read_json(${quoted(lines)}, format = 'newline_delimited')) TO ${quoted(file)} (FORMAT parquet)`,
      );
      written.push(file);
    }
    return written;
  } finally {
    connection.closeSync();
    instance.closeSync();
    rmSync(work, { recursive: true });
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
