/**
 * A volume's catalogue in SQLite, on that volume.
 *
 * WAL with synchronous=NORMAL: a commit is atomic and orders after what was synced before it, but a power cut may take
 * the last ones back; `sync` flushes the log on libuv's threads, so that no commit waits for the disk on the event loop.
 */
import { randomUUID } from 'node:crypto';
import { close, fdatasync, openSync } from 'node:fs';
import Database from 'better-sqlite3';
import { LRUCache } from 'lru-cache';
import { failed, success, type Outcome } from '#base/outcome.ts';
import type { FileId } from '#upstream/contract.ts';
import type { CatalogueChange, CatalogueRow, VolumeCatalogue } from '../store/volume.ts';
import { diskFailure } from './disk-files.ts';

export const CATALOGUE_FORMAT = 1;
const CACHE_KIB = 32 * 1024;
const TITLE_LISTS_MAX = 65_536;

export class CatalogueDb implements VolumeCatalogue {
  readonly volumeId: string;
  readonly #database: Database.Database;
  readonly #volumeName: string;
  readonly #logFd: number;
  readonly #page: Database.Statement<[string, number], Raw>;
  readonly #row: Database.Statement<[string], Raw>;
  /** Most files of a title have the same list of titles: one array for all of them. */
  readonly #titles = new LRUCache<string, readonly string[]>({ max: TITLE_LISTS_MAX });
  readonly #commit: (changes: readonly CatalogueChange[]) => void;

  /** Throws where the file is no catalogue, or of another format: the operator must decide. */
  constructor(file: string, volumeName: string) {
    this.#volumeName = volumeName;
    this.#database = new Database(file, { timeout: 200 }); // milliseconds to wait for another owner
    this.#database.pragma('journal_mode = WAL');
    this.#database.pragma('synchronous = NORMAL');
    this.#database.pragma('locking_mode = EXCLUSIVE'); // one owner: a second process is refused, not mixed in
    this.#database.pragma(`cache_size = -${CACHE_KIB}`);
    const found = this.#database.pragma('user_version', { simple: true }) as number;
    if (found !== 0 && found !== CATALOGUE_FORMAT) {
      throw new Error(
        `${file} was written by format ${found}, this program reads ${CATALOGUE_FORMAT}: ` +
          'use another volume directory, or the version of the program that wrote this one',
      );
    }
    this.#database.exec(`
      CREATE TABLE IF NOT EXISTS file (
        file_id TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, titles TEXT NOT NULL, chunks BLOB,
        is_pinned INTEGER NOT NULL, forecast_per_day REAL NOT NULL, heat_count REAL NOT NULL,
        heat_at_ms INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL, came_from TEXT NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS volume (id TEXT NOT NULL);
    `);
    this.#database.pragma(`user_version = ${CATALOGUE_FORMAT}`);
    this.volumeId = this.#readVolumeId();
    this.#logFd = openSync(`${file}-wal`, 'r+');
    this.#page = this.#database
      .prepare<[string, number], Raw>(
        'SELECT * FROM file WHERE file_id > ? ORDER BY file_id LIMIT ?',
      )
      .raw();
    this.#row = this.#database.prepare<[string], Raw>('SELECT * FROM file WHERE file_id = ?').raw();
    const put = this.#database.prepare(
      `INSERT OR REPLACE INTO file VALUES (@fileId, @sizeBytes, @titles, @chunks, @isPinned, @forecastPerDay,
        @heatCount, @heatAtMs, @storedAtMs, @from)`,
    );
    const remove = this.#database.prepare('DELETE FROM file WHERE file_id = ?');
    this.#commit = this.#database.transaction((changes: readonly CatalogueChange[]) => {
      for (const change of changes) {
        if (change.kind === 'remove') remove.run(change.fileId);
        else put.run(parametersOf(change.row));
      }
    });
  }

  page(after: FileId | null, limit: number): Outcome<readonly CatalogueRow[]> {
    try {
      return success(this.#page.all(after ?? '', limit).map((row) => this.#rowOf(row)));
    } catch (thrown) {
      return failed(diskFailure(this.#volumeName, 'read the catalogue', thrown));
    }
  }

  row(fileId: FileId): CatalogueRow | null {
    try {
      const row = this.#row.get(fileId);
      return row === undefined ? null : this.#rowOf(row);
    } catch {
      return null; // the page that holds it will fail too, and says so
    }
  }

  commit(changes: readonly CatalogueChange[]): Outcome<void> {
    try {
      this.#commit(changes);
      return success(undefined);
    } catch (thrown) {
      return failed(diskFailure(this.#volumeName, 'write the catalogue', thrown));
    }
  }

  sync(): Promise<Outcome<void>> {
    return new Promise((resolve) => {
      fdatasync(this.#logFd, (error) =>
        resolve(
          error === null
            ? success(undefined)
            : failed(diskFailure(this.#volumeName, 'sync the catalogue', error)),
        ),
      );
    });
  }

  close(): void {
    close(this.#logFd, () => {});
    try {
      this.#database.close();
    } catch {
      // A disk that is gone cannot be closed well; what counts was committed before.
    }
  }

  #rowOf(raw: Raw): CatalogueRow {
    const [fileId, sizeBytes, titlesText, chunks, isPinned, forecastPerDay] = raw;
    const [, , , , , , heatCount, heatAtMs, storedAtMs, from] = raw;
    let titles = this.#titles.get(titlesText);
    if (titles === undefined) {
      titles = JSON.parse(titlesText) as string[];
      this.#titles.set(titlesText, titles);
    }
    return {
      fileId,
      sizeBytes,
      titles,
      chunks,
      isPinned: isPinned === 1,
      forecastPerDay,
      heatCount,
      heatAtMs,
      storedAtMs,
      from,
    };
  }

  #readVolumeId(): string {
    const found = this.#database.prepare<[], { id: string }>('SELECT id FROM volume').get();
    if (found !== undefined) return found.id;
    const id = randomUUID();
    this.#database.prepare('INSERT INTO volume VALUES (?)').run(id);
    return id;
  }
}

/** Columns in the order of the table: rows are read raw, 400,000 of them at a start. */
type Raw = [
  fileId: string,
  sizeBytes: number,
  titles: string,
  chunks: Buffer | null,
  isPinned: number,
  forecastPerDay: number,
  heatCount: number,
  heatAtMs: number,
  storedAtMs: number,
  from: string,
];

function parametersOf(row: CatalogueRow): Record<string, string | number | Buffer | null> {
  const { fileId, sizeBytes, forecastPerDay, heatCount, heatAtMs, storedAtMs, from } = row;
  return {
    fileId: fileId satisfies FileId,
    sizeBytes,
    titles: JSON.stringify(row.titles),
    chunks: row.chunks === null ? null : Buffer.from(row.chunks),
    isPinned: row.isPinned ? 1 : 0,
    forecastPerDay,
    heatCount,
    heatAtMs: Math.floor(heatAtMs),
    storedAtMs: Math.floor(storedAtMs),
    from,
  };
}
