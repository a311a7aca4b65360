import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import Database from 'better-sqlite3';
import type { ViewRecord, ViewRecordBatch } from '#appliance/contract.ts';
import { seededRandom } from '#base/random.ts';
import { ViewSpool, type SpoolLimits } from './view-spool.ts';

const DAY = 1_800_057_600 - (1_800_057_600 % 86_400);
const FILES = Array.from({ length: 20 }, (_, at) => `file-${at}`.padEnd(43, 'x'));

class Disk implements Disposable {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'nightfill-spool-'));
  readonly file = path.join(this.directory, 'views.sqlite');

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }
}

/** The other end: takes each number of a spool in once, and no other than the next one. */
class Desk {
  readonly #last = new Map<string, number>();
  readonly records: ViewRecord[] = [];

  take({ spoolId, sequence, records }: ViewRecordBatch): number {
    const last = this.#last.get(spoolId) ?? 0;
    if (sequence !== last + 1) return last;
    this.#last.set(spoolId, sequence);
    this.records.push(...records);
    return sequence;
  }
}

/** Sends everything; a share of the answers is lost on the way, and the batch is sent again. */
function sendAll(spool: ViewSpool, desk: Desk, lostShare = 0, random = seededRandom(1)): void {
  for (let posts = 0; posts < 10_000; posts++) {
    const next = spool.oldest();
    if (next === null) return;
    const acknowledged = desk.take(next.batch);
    if (random.next() < lostShare) continue;
    assert.ok(acknowledged >= next.batch.sequence, 'no gap in the numbers of a spool');
    spool.acknowledge(next.batch.spoolId, acknowledged);
  }
  throw new Error('it never ends');
}

function batchAt(quarter: number, files = FILES): ViewRecord[] {
  return files.map((fileId, at) => {
    return { fileId, quarter, home: 'c1', reason: 'home', bytes: 1000 + at, starts: 1 };
  });
}

/** Bytes and starts by file and day. */
function perDay(records: readonly ViewRecord[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { fileId, quarter, bytes, starts } of records) {
    const day = `${fileId} ${quarter - (quarter % 86_400)}`;
    sums[day] = (sums[day] ?? 0) + bytes + starts * 1e9;
  }
  return sums;
}

const SMALL: SpoolLimits = { batchBytes: 20_000, rows: 60 };

test('days without the control plane: the oldest are added up by hour, then by day; bytes and starts stay, the disk does not grow', () => {
  using disk = new Disk();
  const spool = new ViewSpool(disk.file, SMALL);
  const written: ViewRecord[] = [];
  let batchesMax = 0;
  for (let quarter = 0; quarter < 96 * 2; quarter++) {
    const records = batchAt(DAY + quarter * 900);
    written.push(...records);
    assert.ok(spool.append(records).ok);
    batchesMax = Math.max(batchesMax, spool.count);
    assert.ok(spool.rows <= SMALL.rows + FILES.length, `${spool.rows} rows`);
  }
  assert.ok(batchesMax < 12, `${batchesMax} batches of about 2.6 kB`);
  assert.equal(spool.lostBytes, 0);
  const desk = new Desk();
  sendAll(spool, desk, 0.3);
  assert.deepEqual(perDay(desk.records), perDay(written));
  assert.ok(desk.records.length < written.length / 4, `${desk.records.length} records`);
  assert.equal(spool.oldest(), null);
  assert.equal(spool.rows, 0);
  spool.close();
});

test('a batch that was sent is never added up, also when nobody heard the answer and the box started again', () => {
  using disk = new Disk();
  const desk = new Desk();
  const written: ViewRecord[] = [];
  const random = seededRandom(7);
  for (let start = 0; start < 6; start++) {
    const spool = new ViewSpool(disk.file, SMALL);
    for (let at = 0; at < 40; at++) {
      const records = batchAt(DAY + (start * 40 + at) * 900);
      written.push(...records);
      assert.ok(spool.append(records).ok);
      const next = spool.oldest();
      // Taken in, and the answer is lost: the same records must come again under the same number, or not at all.
      if (next !== null && random.next() < 0.2) desk.take(next.batch);
    }
    spool.close();
  }
  const spool = new ViewSpool(disk.file, SMALL);
  sendAll(spool, desk, 0.3, random);
  assert.deepEqual(perDay(desk.records), perDay(written));
  spool.close();
});

test('what does not fit even by the day leaves oldest first, and is counted', () => {
  using disk = new Disk();
  const spool = new ViewSpool(disk.file, { batchBytes: 3000, rows: 30 });
  let bytes = 0;
  for (let day = 0; day < 12; day++) {
    for (let at = 0; at < 3; at++) {
      const records = batchAt(DAY + day * 86_400 + at * 900);
      bytes += records.reduce((sum, record) => sum + record.bytes, 0);
      assert.ok(spool.append(records).ok);
    }
  }
  assert.ok(spool.lostBytes > 0);
  const desk = new Desk();
  sendAll(spool, desk);
  const told = desk.records.reduce((sum, record) => sum + record.bytes, 0);
  assert.equal(told + spool.lostBytes, bytes, 'told or counted as lost, nothing twice');
  assert.ok(
    desk.records.every(({ quarter }) => quarter >= DAY + 86_400),
    'the first day is what left',
  );
  spool.close();
});

test('after a gap the rest goes on under a new name, and what follows under that one', () => {
  using disk = new Disk();
  const spool = new ViewSpool(disk.file);
  for (let at = 0; at < 3; at++) spool.append(batchAt(DAY + at * 900));
  const first = spool.oldest()!.batch;
  spool.acknowledge(first.spoolId, 1);
  spool.renumber(first.spoolId);
  const again = spool.oldest()!.batch;
  assert.notEqual(again.spoolId, first.spoolId);
  assert.equal(again.sequence, 1);
  spool.append(batchAt(DAY + 4 * 900));
  const desk = new Desk();
  sendAll(spool, desk);
  assert.equal(desk.records.length, 3 * FILES.length);
  spool.close();
});

test('a spool of the format before is read, and nothing of it is added up: it may have been sent', () => {
  using disk = new Disk();
  const old = new Database(disk.file);
  old.exec(`CREATE TABLE batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, spool_id TEXT NOT NULL, sequence INTEGER NOT NULL, records TEXT NOT NULL)`);
  for (let at = 1; at <= 3; at++) {
    old
      .prepare('INSERT INTO batch (spool_id, sequence, records) VALUES (?, ?, ?)')
      .run('old', at, JSON.stringify(batchAt(DAY)));
  }
  old.pragma('user_version = 1');
  old.close();
  const spool = new ViewSpool(disk.file, { batchBytes: 1, rows: 100 });
  spool.append(batchAt(DAY + 900));
  assert.deepEqual([spool.oldest()?.batch.spoolId, spool.oldest()?.batch.sequence], ['old', 1]);
  assert.equal(spool.count, 3);
  const desk = new Desk();
  sendAll(spool, desk);
  assert.equal(desk.records.length, 4 * FILES.length);
  spool.close();
});
