/**
 * Reads a trace file whole: libCacheSim's oracleGeneral (plain or .zst), its CSV, `time id size` text; Parquet by parquet-trace.ts.
 *
 * Errors: TraceProblem with the file and the record or line: cut mid-record, a size of zero, times that go backwards, no number
 */
import { readFileSync, statSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import { messageOf } from '#base/outcome.ts';
import { formatBytes, GIB } from '#base/units.ts';
import { TraceBuilder, TraceProblem, type Trace } from '../trace.ts';
import { readParquet } from './parquet-trace.ts';

const ORACLE_GENERAL_BYTES = 24; // u32 time, u64 id, u32 size, i64 next request
const TRACE_BYTES_MAX = 2 * GIB - 1; // one Buffer

export const TRACE_FORMATS = ['oracle-general', 'csv', 'text', 'parquet'] as const;
export type TraceFormat = (typeof TRACE_FORMATS)[number];

/** By its name: .oracleGeneral[.bin][.zst], .csv, .parquet, anything else is `time id size` text. */
export function formatOf(path: string): TraceFormat {
  const name = path.replace(/\.zst$/, '').toLowerCase();
  if (name.includes('oraclegeneral')) return 'oracle-general';
  if (name.endsWith('.parquet')) return 'parquet';
  return name.endsWith('.csv') ? 'csv' : 'text';
}

/** Of any format. */
export async function readTraceFile(
  path: string,
  format: TraceFormat = formatOf(path),
): Promise<Trace> {
  if (format === 'parquet') {
    sizeOf(path);
    return readParquet(path);
  }
  return readTrace(path, format);
}

/** Of any format but Parquet, which is read a batch at a time. */
export function readTrace(path: string, format: TraceFormat = formatOf(path)): Trace {
  if (format === 'parquet') throw new TraceProblem(path, 'Parquet is read by readTraceFile');
  const sizeBytes = sizeOf(path);
  if (sizeBytes > TRACE_BYTES_MAX) {
    throw new TraceProblem(
      path,
      `${formatBytes(sizeBytes)} is more than the 2 GiB that fit at once; cut it`,
    );
  }
  let bytes = readFileSync(path);
  if (path.endsWith('.zst')) {
    try {
      bytes = zstdDecompressSync(bytes, { maxOutputLength: TRACE_BYTES_MAX });
    } catch (thrown) {
      throw new TraceProblem(path, `cannot be decompressed: ${String(thrown)}`);
    }
  }
  return format === 'oracle-general'
    ? readOracleGeneral(path, bytes)
    : readLines(path, bytes, format);
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size;
  } catch (thrown) {
    throw new TraceProblem(path, messageOf(thrown));
  }
}

function readOracleGeneral(path: string, bytes: Buffer): Trace {
  const records = Math.floor(bytes.length / ORACLE_GENERAL_BYTES);
  const rest = bytes.length % ORACLE_GENERAL_BYTES;
  if (rest !== 0) {
    throw new TraceProblem(
      `${path}, record ${records + 1}, byte ${records * ORACLE_GENERAL_BYTES}`,
      `cut: ${rest} of ${ORACLE_GENERAL_BYTES} bytes`,
    );
  }
  const builder = new TraceBuilder();
  for (let record = 0; record < records; record++) {
    const at = record * ORACLE_GENERAL_BYTES;
    builder.add(
      {
        seconds: bytes.readUInt32LE(at),
        idLow: bytes.readUInt32LE(at + 4),
        idHigh: bytes.readUInt32LE(at + 8),
        sizeBytes: bytes.readUInt32LE(at + 12),
      },
      () => `${path}, record ${record + 1}`,
    );
  }
  return builder.build(path);
}

/** CSV: a header names the columns (time, obj_id or id, obj_size or size), else they are in that order. */
function readLines(path: string, bytes: Buffer, format: 'csv' | 'text'): Trace {
  const separator = format === 'csv' ? ',' : /\s+/;
  const builder = new TraceBuilder();
  let columns = { time: 0, id: 1, size: 2 };
  let line = 0;
  for (const text of linesOf(bytes)) {
    line++;
    const trimmed = text.trim();
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const cells = trimmed.split(separator).map((cell) => cell.trim());
    if (line === 1 && /[a-z]/i.test(cells[0])) {
      columns = columnsOf(cells, path);
      continue;
    }
    const where = `${path}, line ${line}`;
    const [seconds, id, sizeBytes] = [cells[columns.time], cells[columns.id], cells[columns.size]];
    if (id === undefined || sizeBytes === undefined || !/^\d{1,20}$/.test(id)) {
      throw new TraceProblem(
        where,
        `not "time id size" with a numeric id: ${trimmed.slice(0, 80)}`,
      );
    }
    const wide = BigInt(id);
    builder.add(
      {
        seconds: Number(seconds),
        idLow: Number(wide & 0xffffffffn),
        idHigh: Number((wide >> 32n) & 0xffffffffn),
        sizeBytes: Number(sizeBytes),
      },
      () => where,
    );
  }
  return builder.build(path);
}

function columnsOf(
  header: readonly string[],
  path: string,
): { time: number; id: number; size: number } {
  const find = (...names: readonly string[]): number => {
    const at = header.findIndex((cell) => names.includes(cell.toLowerCase()));
    if (at === -1) throw new TraceProblem(`${path}, line 1`, `no column ${names.join(' or ')}`);
    return at;
  };
  return {
    time: find('time', 'timestamp'),
    id: find('obj_id', 'id', 'key'),
    size: find('obj_size', 'size'),
  };
}

function* linesOf(bytes: Buffer): Generator<string> {
  for (let from = 0; from < bytes.length;) {
    const end = bytes.indexOf(10, from);
    const stop = end === -1 ? bytes.length : end;
    yield bytes.toString('latin1', from, stop);
    from = stop + 1;
  }
}
