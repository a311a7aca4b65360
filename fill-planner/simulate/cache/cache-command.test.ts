import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { DuckDBInstance } from '@duckdb/node-api';
import { seededRandom } from '#base/random.ts';
import { readTraceFile } from './io/trace-file.ts';
import { TraceProblem } from './trace.ts';

const CLI = path.join(import.meta.dirname, '..', '..', '..', 'cli.ts');
const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-simulate-'));
after(() => rmSync(directory, { recursive: true }));

function argv(...words: readonly string[]): string[] {
  return ['--disable-warning=ExperimentalWarning', CLI, 'simulate', 'cache', ...words];
}

function simulate(...words: readonly string[]): {
  readonly status: number | null;
  readonly text: string;
  readonly rows: readonly { readonly [field: string]: number }[];
} {
  const ended = spawnSync(process.execPath, argv(...words, '--json'), { encoding: 'utf8' });
  const last = ended.stdout.trim().split('\n').at(-1) ?? '';
  const rows = ended.status === 0 ? (JSON.parse(last) as { rows: never[] }).rows : [];
  return { status: ended.status, text: ended.stdout + ended.stderr, rows };
}

function skewed(requests: number, objects: number): string {
  const random = seededRandom(3);
  const lines = Array.from({ length: requests }, (_, at) => {
    const id = Math.floor(objects ** random.next());
    return `${at} ${id} ${1 + (id % 5)}`;
  });
  const file = path.join(directory, `skewed-${requests}.tr`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

async function parquet(name: string, select: string): Promise<string> {
  const file = path.join(directory, name);
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  await connection.run(`COPY (${select}) TO '${file}' (FORMAT parquet)`);
  connection.closeSync();
  return file;
}

test('Parquet reads like text: requests in order, 64-bit ids, only what reads', async () => {
  const file = await parquet(
    'a.parquet',
    `SELECT * FROM (VALUES (1, 5::UBIGINT, 100, 'get'), (1, 9223372036854775808::UBIGINT, 200, 'READ'),
      (2, 5::UBIGINT, 100, 'get'), (2, 5::UBIGINT, 7, 'set'), (3, 4294967301::UBIGINT, 300, 'get')) AS t(timestamp, obj_id, obj_size, op)`,
  );
  const trace = await readTraceFile(file);
  assert.deepEqual([...trace.ids], [0, 1, 0, 2]);
  assert.deepEqual([...trace.sizes], [100, 200, 100, 300]);
  assert.deepEqual([...(trace.seconds ?? [])], [1, 1, 2, 3]);
});

test('Parquet of more rows than one batch, with text ids', async () => {
  const file = await parquet(
    'b.parquet',
    `SELECT i AS time, 'object ' || (i % 7) AS id, 10 AS size FROM range(10000) AS t(i)`,
  );
  const trace = await readTraceFile(file);
  assert.deepEqual([trace.requests, trace.objects, trace.bytesDistinct], [10_000, 7, 70]);
});

const BROKEN: readonly [what: string, select: string, message: RegExp][] = [
  ['without a size', 'SELECT 1 AS time, 2 AS id', /no column size or obj_size.*it has time, id/],
  ['with a size of zero', 'SELECT 1 AS time, 2 AS id, 0 AS size', /request 1: size 0/],
  ['with a null', 'SELECT 1 AS time, NULL AS id, 5 AS size', /request 1: null in time, id or size/],
  [
    'whose time goes back',
    'SELECT 10 - i AS time, 2 AS id, 5 AS size FROM range(3) AS t(i)',
    /request 2: time 9 is before 10/,
  ],
];
for (const [at, [what, select, message]] of BROKEN.entries()) {
  test(`a Parquet trace ${what} is refused with its place`, async () => {
    const file = await parquet(`broken-${at}.parquet`, select);
    await assert.rejects(
      readTraceFile(file),
      (thrown) => thrown instanceof TraceProblem && message.test(thrown.message),
    );
  });
}

test('what is no Parquet says so, and a file that is not there too', async () => {
  const file = path.join(directory, 'no.parquet');
  writeFileSync(file, 'hello');
  await assert.rejects(readTraceFile(file), /no\.parquet: cannot be read as Parquet/);
  const { status, text } = simulate(path.join(directory, 'absent.tr'));
  assert.equal(status, 1);
  assert.match(text, /absent\.tr.*no such file/);
});

test('of two tiers the second is asked for the misses of the first, and a first tier alone is the same run', () => {
  const trace = skewed(3000, 400);
  const [first, second] = simulate(trace, '--tiers', '200:lru,1000:s3-fifo').rows;
  const [alone] = simulate(trace, '--size', '200', '--policy', 'lru').rows;
  assert.equal(first['missObjects'], alone['missObjects']);
  assert.equal(second['requests'], first['missObjects']);
  assert.ok(second['missObjects'] < first['missObjects']);
  const [, none] = simulate(trace, '--tiers', '100KiB:lru,1000:lru').rows;
  assert.equal(none['missObjects'], none['requests'], 'all that a large first tier misses is new');
});

test('a tier that looks ahead behind another one is refused, and a tier that is none', () => {
  const trace = skewed(100, 20);
  assert.match(simulate(trace, '--tiers', '10:lru,20:belady').text, /first tier alone/);
  assert.match(simulate(trace, '--tiers', '10').text, /is no tier such as 10GiB:s3-fifo/);
});

test('a miss-ratio curve falls with the size, carries errors, ends at the new objects and is drawn', () => {
  const trace = skewed(40_000, 5000);
  const svg = path.join(directory, 'curve.svg');
  const exact = simulate(trace, '--mrc', '--policy', 'lru', '--svg', svg).rows;
  assert.equal(exact.length, 24);
  for (let at = 1; at < exact.length; at++) {
    assert.ok(exact[at]['objectMissRatio'] <= exact[at - 1]['objectMissRatio']);
  }
  assert.ok(exact.every((row) => row['objectMissRatioError'] === 0));
  assert.match(readFileSync(svg, 'utf8'), /^<svg.*cache size \(GB\).*<\/svg>$/s);
  const sampled = simulate(trace, '--mrc', '--sample', '0.2', '--seeds', '8').rows;
  const sizes = [8, 16, 20];
  for (const at of sizes) {
    const off = Math.abs(sampled[at]['objectMissRatio'] - exact[at]['objectMissRatio']);
    assert.ok(sampled[at]['objectMissRatioError'] > 0);
    assert.ok(off < 4 * sampled[at]['objectMissRatioError'] + 0.02, `${off} at size ${at}`);
  }
});

test('Ctrl-C ends a run with what it has, marked partial', async () => {
  const trace = skewed(300_000, 50_000);
  const sizes = Array.from({ length: 400 }, (_, at) => String(1000 + at)).join(',');
  const child = spawn(
    process.execPath,
    argv(trace, '--size', sizes, '--policy', 'gdsf', '--json'),
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  child.stdout.on('data', (part: Buffer) => {
    if (text === '') setTimeout(() => child.kill('SIGINT'), 200); // it has read its trace
    text += part.toString('utf8');
  });
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  assert.equal(status, 130);
  assert.match(text, /PARTIAL: interrupted/);
  const last = JSON.parse(text.trim().split('\n').at(-1) ?? '') as {
    isPartial: boolean;
    rows: unknown[];
  };
  assert.equal(last.isPartial, true);
  assert.ok(last.rows.length < 400);
});
