import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import { exportDays } from './records-export.ts';

test('exported days are Parquet that sums to the records, also after a second export of the same day', async (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), "nightfill-it's-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const day = (date: string, bytes: number) => ({
    day: date,
    files: [
      { fileId: 'a', titleIds: 'film', home: 'paris', bytes, starts: 1 },
      { fileId: 'b', titleIds: 'film,trailer', home: 'unknown', bytes: 5, starts: 0 },
    ],
    quarters: [
      { quarter: 900, home: 'paris', reason: 'home', applianceId: 'box-1', bytes, starts: 1 },
    ],
  });
  await exportDays(directory, [day('2026-11-18', 1), day('2026-11-19', 100)]);
  await exportDays(directory, [day('2026-11-18', 10)]);
  assert.deepEqual(readdirSync(directory).sort(), ['day=2026-11-18', 'day=2026-11-19']);
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  t.after(() => connection.closeSync());
  const files = path.join(directory, 'day=*', 'demand.parquet').replaceAll("'", "''");
  const reader = await connection.runAndReadAll(
    `SELECT home, CAST(sum(bytes) AS INTEGER) FROM read_parquet('${files}', hive_partitioning = true)
     WHERE day >= '2026-11-18' GROUP BY home ORDER BY home`,
  );
  assert.deepEqual(reader.getRows(), [
    ['paris', 110],
    ['unknown', 10],
  ]);
});
