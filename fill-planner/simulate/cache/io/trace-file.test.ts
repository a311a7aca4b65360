import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { TraceProblem } from '../trace.ts';
import { formatOf, readTrace } from './trace-file.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-trace-'));
after(() => rmSync(directory, { recursive: true }));

function write(name: string, content: string | Buffer): string {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  return file;
}

function oracleGeneral(
  records: readonly (readonly [time: number, id: bigint, size: number])[],
): Buffer {
  return Buffer.concat(
    records.map(([time, id, size]) => {
      const record = Buffer.alloc(24);
      record.writeUInt32LE(time, 0);
      record.writeBigUInt64LE(id, 4);
      record.writeUInt32LE(size, 12);
      record.writeBigInt64LE(-1n, 16);
      return record;
    }),
  );
}

const RECORDS: readonly (readonly [number, bigint, number])[] = [
  [1, 5n, 100],
  [1, 2n ** 63n, 200],
  [2, 5n, 100],
  [3, 5n + 2n ** 32n, 300], // the same low half as the first
];

test('the same requests read alike from every format', () => {
  const binary = oracleGeneral(RECORDS);
  const lines = RECORDS.map((record) => record.join(' ')).join('\n');
  const files = [
    write('a.oracleGeneral.bin', binary),
    write('a.oracleGeneral.bin.zst', zstdCompressSync(binary)),
    write('a.tr', `# a comment\n${lines}\n`),
    write('a.csv', `time,obj_id,obj_size\n${lines.replaceAll(' ', ',')}`),
    write('b.csv', `size,id,time\n${RECORDS.map(([t, i, s]) => [s, i, t].join(',')).join('\n')}`),
  ];
  for (const file of files) {
    const trace = readTrace(file);
    assert.deepEqual([...trace.ids], [0, 1, 0, 2], file);
    assert.deepEqual([...trace.sizes], [100, 200, 100, 300], file);
    assert.equal(trace.bytesRequested, 700);
    assert.equal(trace.bytesDistinct, 600);
  }
});

test('a name tells the format', () => {
  assert.equal(formatOf('x/cloudPhysicsIO.oracleGeneral.bin.zst'), 'oracle-general');
  assert.equal(formatOf('x.csv.zst'), 'csv');
  assert.equal(formatOf('x.tr'), 'text');
});

const broken: readonly [title: string, name: string, content: string | Buffer, message: RegExp][] =
  [
    [
      'cut mid-record',
      'cut.oracleGeneral.bin',
      oracleGeneral(RECORDS).subarray(0, 40),
      /record 2, byte 24: cut: 16 of 24/,
    ],
    ['with a size of zero', 'zero.tr', '1 1 10\n2 2 0\n', /zero\.tr, line 2: size 0/],
    ['whose time goes back', 'back.tr', '5 1 10\n4 2 10\n', /line 2: time 4 is before 5/],
    ['with a word for an id', 'word.tr', '1 abc 10\n', /line 1: not "time id size"/],
    ['of an object beyond 4 GiB', 'large.tr', '1 1 4294967296\n', /more than 4 GiB/],
    ['without the columns it needs', 'columns.csv', 'when,what,how\n1,2,3\n', /no column time/],
    ['with nothing in it', 'empty.tr', '', /no request/],
    ['that is not zstd', 'not.oracleGeneral.bin.zst', 'hello', /cannot be decompressed/],
  ];
for (const [title, name, content, message] of broken) {
  test(`a trace ${title} is refused with its place`, () => {
    const file = write(name, content);
    assert.throws(
      () => readTrace(file),
      (thrown) => thrown instanceof TraceProblem && message.test(thrown.message),
    );
  });
}
