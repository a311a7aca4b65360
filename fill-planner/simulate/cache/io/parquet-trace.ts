/**
 * Reads a request trace from Parquet through DuckDB, a batch of rows at a time: columns time, id and size, and op where there is one.
 *
 * Errors: TraceProblem with the file, and the row where one is at fault: no such column, null, a size of zero, times that go back
 */
import { messageOf } from '#base/outcome.ts';
import { TraceBuilder, TraceProblem, type Trace } from '../trace.ts';

const COLUMNS: readonly (readonly [name: string, aliases: readonly string[]])[] = [
  ['time', ['time', 'timestamp']],
  ['id', ['id', 'obj_id', 'key']],
  ['size', ['size', 'obj_size']],
];
/** Rows of other operations ask for nothing. */
const READS = ['get', 'gets', 'read', 'head'];

export async function readParquet(path: string): Promise<Trace> {
  const { DuckDBInstance } = await import('@duckdb/node-api');
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    const described = await connection.runAndReadAll(
      'SELECT column_name FROM (DESCRIBE SELECT * FROM read_parquet($1))',
      [path],
    );
    const names = described.getRows().map(([name]) => String(name));
    const result = await connection.stream(queryOf(path, names), [path]);
    const builder = new TraceBuilder();
    for (let row = 0; ;) {
      const chunk = await result.fetchChunk();
      if (chunk === null || chunk.rowCount === 0) return builder.build(path);
      for (const [seconds, id, sizeBytes] of chunk.getRows()) {
        row++;
        addRow(builder, `${path}, request ${row}`, seconds, id, sizeBytes);
      }
    }
  } catch (thrown) {
    if (thrown instanceof TraceProblem) throw thrown;
    throw new TraceProblem(path, `cannot be read as Parquet: ${messageOf(thrown)}`);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

/** Numbers of any width become what the builder takes; text ids are hashed to 64 bits. */
function queryOf(path: string, names: readonly string[]): string {
  const [time, id, size] = COLUMNS.map(([name, aliases]) => {
    const found = names.find((column) => aliases.includes(column.toLowerCase()));
    if (found !== undefined) return quoted(found);
    throw new TraceProblem(
      path,
      `no column ${aliases.join(' or ')} for the ${name}; it has ${names.join(', ')}`,
    );
  });
  const op = names.find((column) => column.toLowerCase() === 'op');
  const reads = READS.map((word) => `'${word}'`).join(', ');
  const where =
    op === undefined ? '' : ` WHERE lower(CAST(${quoted(op)} AS VARCHAR)) IN (${reads})`;
  const wide = `COALESCE(TRY_CAST(${id} AS UBIGINT), hash(CAST(${id} AS VARCHAR)))`;
  const key = `CASE WHEN ${id} IS NULL THEN NULL ELSE ${wide} END`;
  return `SELECT CAST(${time} AS DOUBLE), ${key}, CAST(${size} AS BIGINT) FROM read_parquet($1)${where}`;
}

function quoted(column: string): string {
  return `"${column.replaceAll('"', '""')}"`;
}

function addRow(
  builder: TraceBuilder,
  where: string,
  seconds: unknown,
  id: unknown,
  sizeBytes: unknown,
): void {
  if (typeof id !== 'bigint' || typeof sizeBytes !== 'bigint' || typeof seconds !== 'number') {
    throw new TraceProblem(where, `null in time, id or size: ${String([seconds, id, sizeBytes])}`);
  }
  builder.add(
    {
      seconds,
      idLow: Number(id & 0xffffffffn),
      idHigh: Number((id >> 32n) & 0xffffffffn),
      sizeBytes: Number(sizeBytes),
    },
    () => where,
  );
}
