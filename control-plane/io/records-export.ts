/**
 * Demand of whole days as Parquet, for capacity engineers: `DIR/day=YYYY-MM-DD/home.parquet`, read by any tool that knows Hive layout.
 *
 * Columns: file_id, title_ids, home (cluster, or "unknown"), bytes, starts; and of the quarters, in quarters.parquet:
 * quarter (Unix seconds), home, reason, appliance_id (who served), bytes, starts.
 *
 * Errors:     throws with what the disk or DuckDB said
 * Invariants: (1) a day is written whole or not at all: aside, then renamed
 *             (2) the day that is not over is left out: what was exported never changes
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';

export interface DayRow {
  readonly fileId: string;
  readonly titleIds: string;
  readonly home: string;
  readonly bytes: number;
  readonly starts: number;
}

export interface QuarterRow {
  readonly quarter: number;
  readonly home: string;
  readonly reason: string;
  readonly applianceId: string;
  readonly bytes: number;
  readonly starts: number;
}

export interface DayRecords {
  readonly day: string;
  readonly files: readonly DayRow[];
  readonly quarters: readonly QuarterRow[];
}

/** Writes each day under `directory`; a day that is there is written anew. */
export async function exportDays(
  directory: string,
  days: readonly DayRecords[],
): Promise<readonly string[]> {
  const { DuckDBInstance } = await import('@duckdb/node-api'); // lazily: nothing else here needs it
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const scratch = mkdtempSync(path.join(os.tmpdir(), 'nightfill-records-'));
  try {
    const written: string[] = [];
    for (const records of days)
      written.push(await exportDay(connection, scratch, directory, records));
    return written;
  } finally {
    connection.closeSync();
    instance.closeSync();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function exportDay(
  connection: DuckDBConnection,
  scratch: string,
  directory: string,
  { day, files, quarters }: DayRecords,
): Promise<string> {
  const target = path.join(directory, `day=${day}`);
  mkdirSync(directory, { recursive: true });
  const aside = mkdtempSync(path.join(directory, '.day-'));
  await toParquet(connection, scratch, path.join(aside, 'demand.parquet'), FILE_COLUMNS, files);
  await toParquet(
    connection,
    scratch,
    path.join(aside, 'quarters.parquet'),
    QUARTER_COLUMNS,
    quarters,
  );
  rmSync(target, { recursive: true, force: true });
  renameSync(aside, target);
  return target;
}

const FILE_COLUMNS =
  "{fileId: 'VARCHAR', titleIds: 'VARCHAR', home: 'VARCHAR', bytes: 'BIGINT', starts: 'BIGINT'}";
const QUARTER_COLUMNS =
  "{quarter: 'BIGINT', home: 'VARCHAR', reason: 'VARCHAR', applianceId: 'VARCHAR', bytes: 'BIGINT', starts: 'BIGINT'}";

async function toParquet(
  connection: DuckDBConnection,
  scratch: string,
  target: string,
  columns: string,
  rows: readonly object[],
): Promise<void> {
  const json = path.join(scratch, 'rows.ndjson');
  writeFileSync(json, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  await connection.run(
    `COPY (SELECT * FROM read_json('${quoted(json)}', format = 'newline_delimited', columns = ${columns}))
     TO '${quoted(target)}' (FORMAT parquet, COMPRESSION zstd)`,
  );
}

function quoted(text: string): string {
  return text.replaceAll("'", "''");
}
