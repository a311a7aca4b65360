/**
 * View records on disk until the control plane has acknowledged them: numbered batches, each taken in exactly once.
 *
 *   appended --> batch (spool, number) --sent, acknowledged--> deleted
 *                  '--more than BATCH_BYTES_MAX that were never sent: the oldest--> rows by the hour --more than the rows
 *                     allow--> by the day; when all batches are gone: a batch of its own
 *
 * Each start of the box opens a new spool: a power cut may take back the last commits, and a number that was
 * sent must never be used again for other records. Batches of earlier spools are sent first, under their own names.
 *
 * Invariants: (1) what may have been sent stays as it is, under its number: only batches above the horizon are added up, and the
 *                 horizon is on the disk (fsync) before anything below it is sent
 *             (2) adding up keeps every byte and start: what gets coarser is when
 *             (3) the spool is bounded: BATCH_BYTES_MAX, HORIZON_STEP batches that may have been sent, and the rows; what leaves above
 *                 that is the oldest day, and is counted
 */
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import {
  VIEW_RECORDS_PER_POST_MAX,
  type Reason,
  type ViewRecord,
  type ViewRecordBatch,
} from '#appliance/contract.ts';
import { MIB } from '#base/units.ts';
import { failed, messageOf, success, type Outcome } from '#base/outcome.ts';

const SPOOL_FORMAT = 2; // 1: without rows and horizon
/** Some days of a busy box; more would be read in again for longer than it took to write. */
const BATCH_BYTES_MAX = 64 * MIB;
const ROWS_MAX = 1_000_000; // about 150 MB
/** Batches below the horizon are never added up; moving it costs an fsync. */
const HORIZON_STEP = 100;
/** Batches added up at one append, rows made coarser: some tens of milliseconds on the serving thread, each quarter of an hour. */
const FOLDS_PER_APPEND = 2;
const ROWS_PER_FOLD = 2 * VIEW_RECORDS_PER_POST_MAX;
const HOUR_SECONDS = 3600;
const DAY_SECONDS = 24 * HOUR_SECONDS;

export interface SpoolLimits {
  readonly batchBytes: number;
  readonly rows: number;
}

const STANDARD_LIMITS: SpoolLimits = { batchBytes: BATCH_BYTES_MAX, rows: ROWS_MAX };

interface BatchRow {
  id: number;
  spool_id: string;
  sequence: number;
  records: string;
}

export interface SpooledBatch {
  readonly id: number;
  readonly batch: ViewRecordBatch;
}

interface Row {
  quarter: number;
  file_id: string;
  home: string;
  reason: Reason;
  bytes: number;
  starts: number;
}

export class ViewSpool {
  readonly #database: Database.Database;
  readonly #limits: SpoolLimits;
  #spoolId = randomUUID();
  #sequence = 0;
  #horizon: number;
  #unsentBytes: number; // of batches above the horizon

  /** Throws where the file is no spool of this format. */
  constructor(file: string, limits = STANDARD_LIMITS) {
    this.#limits = limits;
    this.#database = new Database(file, { timeout: 200 });
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = NORMAL');
    const found = this.#database.pragma('user_version', { simple: true }) as number;
    if (found > SPOOL_FORMAT) {
      throw new Error(
        `${file} was written by format ${found}, this program reads ${SPOOL_FORMAT}: move it away`,
      );
    }
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, spool_id TEXT NOT NULL, sequence INTEGER NOT NULL, records TEXT NOT NULL
      );
      CREATE TABLE IF NOT EXISTS added_up (
        quarter INTEGER NOT NULL, file_id TEXT NOT NULL, home TEXT NOT NULL, reason TEXT NOT NULL,
        bytes INTEGER NOT NULL, starts INTEGER NOT NULL, PRIMARY KEY (quarter, file_id, home, reason)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS figure (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID`);
    // What a spool of format 1 holds may have been sent, all of it.
    if (found === 1) this.#setFigure('horizon', this.#lastId());
    this.#database.pragma(`user_version = ${SPOOL_FORMAT}`);
    this.#horizon = this.#figure('horizon');
    this.#unsentBytes = this.#number(
      'SELECT coalesce(sum(length(records)), 0) AS n FROM batch WHERE id > ?',
      this.#horizon,
    );
  }

  append(records: readonly ViewRecord[]): Outcome<void> {
    const before = { id: this.#spoolId, sequence: this.#sequence, unsent: this.#unsentBytes };
    try {
      this.#database.transaction(() => {
        this.#insert(records);
        this.#fold();
      })();
      return success(undefined);
    } catch (thrown) {
      this.#spoolId = before.id;
      this.#sequence = before.sequence;
      this.#unsentBytes = before.unsent;
      return failed({
        code: 'spool-failed',
        source: 'disk',
        retry: 'same-source',
        detail: `view records cannot be written down: ${messageOf(thrown)}`,
        cause: thrown,
      });
    }
  }

  /** The batch to send next; it may have been sent from here on. */
  oldest(): SpooledBatch | null {
    let row = this.#oldestRow();
    if (row === undefined && this.#takeRows()) row = this.#oldestRow();
    if (row === undefined) return null;
    if (row.id > this.#horizon) this.#moveHorizon(row.id + HORIZON_STEP - 1);
    const records = JSON.parse(row.records) as ViewRecord[];
    return { id: row.id, batch: { spoolId: row.spool_id, sequence: row.sequence, records } };
  }

  get count(): number {
    return this.#number('SELECT count(*) AS n FROM batch');
  }

  /** Records that were added up. */
  get rows(): number {
    return this.#number('SELECT count(*) AS n FROM added_up');
  }

  /** Bytes watched that there was no room to tell of, ever. */
  get lostBytes(): number {
    return this.#figure('lostBytes');
  }

  /** Everything of the spool up to `sequence` was taken in. */
  acknowledge(spoolId: string, sequence: number): void {
    this.#database
      .prepare('DELETE FROM batch WHERE spool_id = ? AND sequence <= ?')
      .run(spoolId, sequence);
  }

  /** The other side lost its place: what is left of this spool goes on under a new name, from 1. */
  renumber(spoolId: string): void {
    this.#database.transaction(() => this.#rename(spoolId, 0))();
  }

  close(): void {
    this.#database.close();
  }

  #insert(records: readonly ViewRecord[]): void {
    const text = JSON.stringify(records);
    const { lastInsertRowid } = this.#database
      .prepare('INSERT INTO batch (spool_id, sequence, records) VALUES (?, ?, ?)')
      .run(this.#spoolId, this.#sequence + 1, text);
    this.#sequence++;
    if (Number(lastInsertRowid) > this.#horizon) this.#unsentBytes += text.length;
  }

  /** Adds the oldest batches up that were never sent, where they are too many; then the oldest rows, where those are. */
  #fold(): void {
    const affected = new Set<string>();
    for (let folds = 0; folds < FOLDS_PER_APPEND; folds++) {
      if (this.#unsentBytes <= this.#limits.batchBytes) break;
      const row = this.#database
        .prepare<[number], BatchRow>('SELECT * FROM batch WHERE id > ? ORDER BY id LIMIT 1')
        .get(this.#horizon);
      if (row === undefined) break;
      for (const record of JSON.parse(row.records) as ViewRecord[]) {
        const { fileId, home, reason, bytes, starts } = record;
        const quarter = record.quarter - (record.quarter % HOUR_SECONDS);
        this.#add({ quarter, file_id: fileId, home, reason, bytes, starts });
      }
      this.#database.prepare('DELETE FROM batch WHERE id = ?').run(row.id);
      this.#unsentBytes -= row.records.length;
      affected.add(row.spool_id);
    }
    // Numbers of a spool have no gaps: what was never sent of it gets others.
    for (const spoolId of affected) this.#rename(spoolId, this.#horizon);
    if (affected.size > 0) this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.rows <= this.#limits.rows) return;
    const rows = this.#takeOldest(`WHERE quarter % ${DAY_SECONDS} <> 0`, ROWS_PER_FOLD);
    for (const row of rows)
      this.#add({ ...row, quarter: row.quarter - (row.quarter % DAY_SECONDS) });
    const tooMany = this.rows - this.#limits.rows;
    if (rows.length > 0 || tooMany <= 0) return;
    const lost = this.#takeOldest('', tooMany).reduce((sum, { bytes }) => sum + bytes, 0);
    this.#setFigure('lostBytes', this.lostBytes + lost);
  }

  #add({ quarter, file_id, home, reason, bytes, starts }: Row): void {
    this.#database
      .prepare(
        `INSERT INTO added_up VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
         SET bytes = bytes + excluded.bytes, starts = starts + excluded.starts`,
      )
      .run(quarter, file_id, home, reason, bytes, starts);
  }

  #takeOldest(where: string, limit: number): readonly Row[] {
    const rows = this.#database
      .prepare<[number], Row>(`SELECT * FROM added_up ${where} ORDER BY quarter LIMIT ?`)
      .all(limit);
    const remove = this.#database.prepare(
      'DELETE FROM added_up WHERE quarter = ? AND file_id = ? AND home = ? AND reason = ?',
    );
    for (const { quarter, file_id, home, reason } of rows)
      remove.run(quarter, file_id, home, reason);
    return rows;
  }

  /** A batch of the oldest rows. */
  #takeRows(): boolean {
    return this.#database.transaction(() => {
      const rows = this.#takeOldest('', VIEW_RECORDS_PER_POST_MAX);
      if (rows.length === 0) return false;
      this.#insert(
        rows.map(({ file_id: fileId, quarter, home, reason, bytes, starts }) => {
          return { fileId, quarter, home, reason, bytes, starts };
        }),
      );
      return true;
    })();
  }

  /** Batches of a spool above `id` go on under a new name, from 1. */
  #rename(spoolId: string, id: number): void {
    const next = randomUUID();
    const rows = this.#database
      .prepare<[string, number], { id: number }>(
        'SELECT id FROM batch WHERE spool_id = ? AND id > ? ORDER BY id',
      )
      .all(spoolId, id);
    const update = this.#database.prepare(
      'UPDATE batch SET spool_id = ?, sequence = ? WHERE id = ?',
    );
    for (const [at, row] of rows.entries()) update.run(next, at + 1, row.id);
    if (spoolId === this.#spoolId) {
      this.#spoolId = next;
      this.#sequence = rows.length;
    }
  }

  /** Durable before this returns, and with it everything that was written before. */
  #moveHorizon(id: number): void {
    this.#database.pragma('synchronous = FULL');
    this.#setFigure('horizon', id);
    this.#database.pragma('synchronous = NORMAL');
    this.#horizon = id;
    this.#unsentBytes = this.#number(
      'SELECT coalesce(sum(length(records)), 0) AS n FROM batch WHERE id > ?',
      id,
    );
  }

  #oldestRow(): BatchRow | undefined {
    return this.#database.prepare<[], BatchRow>('SELECT * FROM batch ORDER BY id LIMIT 1').get();
  }

  #lastId(): number {
    return this.#number('SELECT coalesce(max(id), 0) AS n FROM batch');
  }

  #figure(name: string): number {
    return this.#number('SELECT coalesce(max(value), 0) AS n FROM figure WHERE name = ?', name);
  }

  #setFigure(name: string, value: number): void {
    this.#database.prepare('INSERT OR REPLACE INTO figure VALUES (?, ?)').run(name, value);
  }

  #number(sql: string, ...values: readonly (string | number)[]): number {
    return this.#database.prepare<(string | number)[], { n: number }>(sql).get(...values)?.n ?? 0;
  }
}
