/**
 * View records on disk until the control plane has acknowledged them: numbered batches, each taken in exactly once.
 *
 * Each start of the box opens a new spool: a power cut may take back the last commits, and a number that was
 * sent must never be used again for other records. Batches of earlier spools are sent first, under their own names.
 */
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import type { ViewRecord, ViewRecordBatch } from '#appliance/contract.ts';
import { failed, messageOf, success, type Outcome } from '#base/outcome.ts';

const SPOOL_FORMAT = 1;

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

export class ViewSpool {
  readonly #database: Database.Database;
  #spoolId = randomUUID();
  #sequence = 0;

  /** Throws where the file is no spool of this format. */
  constructor(file: string) {
    this.#database = new Database(file, { timeout: 200 });
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = NORMAL');
    const found = this.#database.pragma('user_version', { simple: true }) as number;
    if (found !== 0 && found !== SPOOL_FORMAT) {
      throw new Error(
        `${file} was written by format ${found}, this program reads ${SPOOL_FORMAT}: move it away`,
      );
    }
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS batch (
        id INTEGER PRIMARY KEY AUTOINCREMENT, spool_id TEXT NOT NULL, sequence INTEGER NOT NULL, records TEXT NOT NULL
      )`);
    this.#database.pragma(`user_version = ${SPOOL_FORMAT}`);
  }

  append(records: readonly ViewRecord[]): Outcome<void> {
    try {
      this.#database
        .prepare('INSERT INTO batch (spool_id, sequence, records) VALUES (?, ?, ?)')
        .run(this.#spoolId, this.#sequence + 1, JSON.stringify(records));
      this.#sequence++;
      return success(undefined);
    } catch (thrown) {
      return failed({
        code: 'spool-failed',
        source: 'disk',
        retry: 'same-source',
        detail: `view records cannot be written down: ${messageOf(thrown)}`,
        cause: thrown,
      });
    }
  }

  oldest(): SpooledBatch | null {
    const row = this.#database
      .prepare<[], BatchRow>('SELECT * FROM batch ORDER BY id LIMIT 1')
      .get();
    if (row === undefined) return null;
    const records = JSON.parse(row.records) as ViewRecord[];
    return { id: row.id, batch: { spoolId: row.spool_id, sequence: row.sequence, records } };
  }

  get count(): number {
    return (
      this.#database.prepare<[], { n: number }>('SELECT count(*) AS n FROM batch').get()?.n ?? 0
    );
  }

  /** Everything of the spool up to `sequence` was taken in. */
  acknowledge(spoolId: string, sequence: number): void {
    this.#database
      .prepare('DELETE FROM batch WHERE spool_id = ? AND sequence <= ?')
      .run(spoolId, sequence);
  }

  /** The other side lost its place: what is left of this spool goes on under a new name, from 1. */
  renumber(spoolId: string): void {
    const next = randomUUID();
    const rows = this.#database
      .prepare<[string], { id: number }>('SELECT id FROM batch WHERE spool_id = ? ORDER BY id')
      .all(spoolId);
    const update = this.#database.prepare(
      'UPDATE batch SET spool_id = ?, sequence = ? WHERE id = ?',
    );
    this.#database.transaction(() => {
      for (const [at, row] of rows.entries()) update.run(next, at + 1, row.id);
    })();
    if (spoolId === this.#spoolId) {
      this.#spoolId = next;
      this.#sequence = rows.length;
    }
  }

  close(): void {
    this.#database.close();
  }
}
