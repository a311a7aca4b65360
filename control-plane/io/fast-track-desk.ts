/**
 * The fast track: files that boxes fetch at once, outside their window, within a small budget. Signed, versioned, pushed.
 *
 * Invariants: (1) a change is on disk before it is pushed
 *             (2) an entry ends at its time; what ended leaves the list at the next change or start
 */
import type { Clock } from '#base/clock.ts';
import { signCompact, type SigningKey } from '#base/jws.ts';
import { FAST_TRACK_MAX, JWS_TYPE, type FastTrackEntry, type FastTrackList } from '../contract.ts';
import { nextDenialsVersion } from '../denials.ts';
import type { Db } from './database.ts';

export interface FastTrackDeps {
  readonly db: Db;
  readonly key: SigningKey;
  readonly clock: Clock;
  readonly bytesPerHourMax: number;
  readonly onChange: (document: string) => void;
}

export class FastTrackDesk {
  readonly #deps: FastTrackDeps;
  readonly #sql: ReturnType<typeof statements>;
  #list: FastTrackList;
  #document: string | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: FastTrackDeps) {
    this.#deps = deps;
    this.#sql = statements(deps.db);
    const version = this.#sql.version.get()?.version ?? 0;
    this.#list = this.#made(version);
  }

  async start(): Promise<void> {
    if (this.#list.version > 0) this.#document = await this.#sign();
  }

  get list(): FastTrackList {
    return this.#list;
  }

  get document(): string | null {
    return this.#document;
  }

  /** Adds entries; one of a file that is there already replaces it. False where there is no room. */
  add(entries: readonly FastTrackEntry[], who: string): Promise<boolean> {
    return this.#change(() => {
      const files = new Set(entries.map(({ fileId }) => fileId));
      const kept = this.#list.entries.filter(({ fileId }) => !files.has(fileId));
      if (kept.length + entries.length > FAST_TRACK_MAX) return false;
      for (const entry of entries) {
        this.#sql.put.run(entry.fileId, JSON.stringify(entry), entry.untilMs, who);
      }
      return true;
    });
  }

  clear(): Promise<boolean> {
    return this.#change(() => {
      this.#sql.clear.run();
      return true;
    });
  }

  #change(write: () => boolean): Promise<boolean> {
    const next = this.#turn.then(async () => {
      const { clock, onChange } = this.#deps;
      const version = nextDenialsVersion(this.#list.version, clock.wallMs());
      this.#sql.forget.run(clock.wallMs());
      if (!write()) return false;
      this.#sql.setVersion.run(version);
      this.#list = this.#made(version);
      this.#document = await this.#sign();
      onChange(this.#document);
      return true;
    });
    this.#turn = next.catch(() => undefined);
    return next;
  }

  #made(version: number): FastTrackList {
    const nowMs = this.#deps.clock.wallMs();
    const entries = this.#sql.all.all(nowMs).map((row) => JSON.parse(row.entry) as FastTrackEntry);
    const { bytesPerHourMax } = this.#deps;
    return { version, issuedAtMs: nowMs, bytesPerHourMax, entries };
  }

  #sign(): Promise<string> {
    return signCompact(this.#deps.key, JWS_TYPE.fastTrack, this.#list);
  }
}

function statements(db: Db) {
  return {
    version: db.prepare<[], { version: number }>(
      "SELECT CAST(value AS INTEGER) AS version FROM meta WHERE name = 'fast_track_version'",
    ),
    setVersion: db.prepare<[number]>(
      "INSERT OR REPLACE INTO meta VALUES ('fast_track_version', CAST(? AS TEXT))",
    ),
    all: db.prepare<[number], { entry: string }>(
      'SELECT entry FROM fast_track WHERE until_ms > ? ORDER BY rowid',
    ),
    put: db.prepare<[string, string, number, string]>(
      'INSERT OR REPLACE INTO fast_track (file_id, entry, until_ms, who) VALUES (?, ?, ?, ?)',
    ),
    clear: db.prepare<[]>('DELETE FROM fast_track'),
    forget: db.prepare<[number]>('DELETE FROM fast_track WHERE until_ms <= ?'),
  };
}
