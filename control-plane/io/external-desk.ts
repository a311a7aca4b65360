/**
 * The external CDNs that steering may send viewers to: kept here, told in the snapshot. No secret is ever among them: a CDN that
 * signs by HMAC shares its key with steering, in a file.
 *
 * Invariants: (1) a change is on disk before it is told
 *             (2) `list` is the same object until something changes
 */
import type { ExternalCdn } from '../contract.ts';
import type { Db } from './database.ts';

export class ExternalDesk {
  readonly #sql: ReturnType<typeof statements>;
  #list: readonly ExternalCdn[];

  constructor(db: Db) {
    this.#sql = statements(db);
    this.#list = this.#read();
  }

  get list(): readonly ExternalCdn[] {
    return this.#list;
  }

  put(external: ExternalCdn): 'added' | 'changed' | 'same' {
    const present = this.#list.find(({ externalId }) => externalId === external.externalId);
    if (JSON.stringify(present) === JSON.stringify(external)) return 'same';
    this.#sql.put.run(external.externalId, JSON.stringify(external));
    this.#list = this.#read();
    return present === undefined ? 'added' : 'changed';
  }

  /** False where there is none of that name. */
  remove(externalId: string): boolean {
    if (this.#sql.remove.run(externalId).changes === 0) return false;
    this.#list = this.#read();
    return true;
  }

  #read(): readonly ExternalCdn[] {
    return this.#sql.all.all().map(({ entry }) => JSON.parse(entry) as ExternalCdn);
  }
}

function statements(db: Db) {
  return {
    all: db.prepare<[], { entry: string }>('SELECT entry FROM externals ORDER BY external_id'),
    put: db.prepare<[string, string]>(
      `INSERT INTO externals VALUES (?, ?) ON CONFLICT (external_id) DO UPDATE SET entry = excluded.entry`,
    ),
    remove: db.prepare<[string]>('DELETE FROM externals WHERE external_id = ?'),
  };
}
