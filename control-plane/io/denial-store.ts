/**
 * Denials on disk: what was denied, by whom, and what each box said about it.
 *
 * Invariants: (1) at most one denial of a kind and value is in force
 *             (2) the first acknowledgement of a version and the first proof of a deletion stay: they are evidence
 */
import type { Denial, DenialKind } from '../contract.ts';
import type { DenialRecord } from '../denials.ts';
import type { Db } from './database.ts';

export interface StoredAck {
  readonly applianceId: string;
  readonly version: number;
  readonly atMs: number;
}

export interface StoredDeletion {
  readonly denialId: number;
  readonly applianceId: string;
  readonly atMs: number;
  readonly files: number;
  readonly bytes: number;
  readonly proof: string;
}

interface DenialRow {
  id: number;
  kind: DenialKind;
  value: string;
  reason: string;
  who: string;
  created_ms: number;
  version: number;
  lifted_ms: number | null;
  lifted_by: string | null;
}

export class DenialStore {
  readonly #db: Db;
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: Db) {
    this.#db = db;
    this.#sql = statements(db);
  }

  inForce(): readonly Denial[] {
    return this.#sql.inForce
      .all()
      .map(({ id, kind, value, created_ms }) => ({ id, kind, value, sinceMs: created_ms }));
  }

  record(id: number): DenialRecord | null {
    const row = this.#sql.get.get(id);
    return row === undefined ? null : recordOf(row);
  }

  /** Newest first. */
  records(max: number): readonly DenialRecord[] {
    return this.#sql.newest.all(max).map(recordOf);
  }

  add(denial: Omit<Denial, 'id'>, reason: string, who: string, version: number): DenialRecord {
    const { kind, value, sinceMs } = denial;
    const { lastInsertRowid } = this.#sql.insert.run(kind, value, reason, who, sinceMs, version);
    const row = this.#sql.get.get(Number(lastInsertRowid));
    return recordOf(row!);
  }

  lift(id: number, who: string, atMs: number): void {
    this.#sql.lift.run(atMs, who, id);
  }

  putAcks(acks: readonly StoredAck[], deletions: readonly StoredDeletion[]): void {
    this.#db.transaction(() => {
      for (const { applianceId, version, atMs } of acks) {
        this.#sql.ackPut.run(applianceId, version, atMs, applianceId);
      }
      for (const { denialId, applianceId, atMs, files, bytes, proof } of deletions) {
        const row = [denialId, applianceId, atMs, files, bytes, proof] as const;
        this.#sql.deletionPut.run(...row, applianceId, denialId);
      }
    })();
  }

  /** The last version that each box acknowledged. */
  latestAcks(): readonly StoredAck[] {
    return this.#sql.acksLatest.all();
  }

  /** When each box first acknowledged `version` or a later one. */
  acksFrom(version: number): ReadonlyMap<string, number> {
    return new Map(this.#sql.acksFrom.all(version).map((row) => [row.applianceId, row.atMs]));
  }

  deletionsOf(denialId: number): ReadonlyMap<string, StoredDeletion> {
    return new Map(this.#sql.deletions.all(denialId).map((row) => [row.applianceId, row]));
  }
}

function recordOf(row: DenialRow): DenialRecord {
  const { id, kind, value, reason, who, created_ms, version, lifted_ms, lifted_by } = row;
  return {
    id,
    kind,
    value,
    sinceMs: created_ms,
    reason,
    who,
    version,
    liftedAtMs: lifted_ms,
    liftedBy: lifted_by,
  };
}

function statements(db: Db) {
  return {
    inForce: db.prepare<[], DenialRow>('SELECT * FROM denials WHERE lifted_ms IS NULL ORDER BY id'),
    get: db.prepare<[number], DenialRow>('SELECT * FROM denials WHERE id = ?'),
    newest: db.prepare<[number], DenialRow>('SELECT * FROM denials ORDER BY id DESC LIMIT ?'),
    insert: db.prepare<[string, string, string, string, number, number]>(
      'INSERT INTO denials (kind, value, reason, who, created_ms, version) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    lift: db.prepare<[number, string, number]>(
      'UPDATE denials SET lifted_ms = ?, lifted_by = ? WHERE id = ? AND lifted_ms IS NULL',
    ),
    // A box that was removed meanwhile is not written of.
    ackPut: db.prepare<[string, number, number, string]>(
      `INSERT OR IGNORE INTO denial_acks SELECT ?, ?, ?
       WHERE EXISTS (SELECT 1 FROM appliances WHERE appliance_id = ?)`,
    ),
    deletionPut: db.prepare<[number, string, number, number, number, string, string, number]>(
      `INSERT OR IGNORE INTO denial_deletions SELECT ?, ?, ?, ?, ?, ?
       WHERE EXISTS (SELECT 1 FROM appliances WHERE appliance_id = ?)
         AND EXISTS (SELECT 1 FROM denials WHERE id = ?)`,
    ),
    acksLatest: db.prepare<[], StoredAck>(
      `SELECT appliance_id AS applianceId, max(version) AS version, max(at_ms) AS atMs
       FROM denial_acks GROUP BY appliance_id`,
    ),
    acksFrom: db.prepare<[number], { applianceId: string; atMs: number }>(
      `SELECT appliance_id AS applianceId, min(at_ms) AS atMs
       FROM denial_acks WHERE version >= ? GROUP BY appliance_id`,
    ),
    deletions: db.prepare<[number], StoredDeletion>(
      `SELECT denial_id AS denialId, appliance_id AS applianceId, at_ms AS atMs, files, bytes, proof
       FROM denial_deletions WHERE denial_id = ?`,
    ),
  };
}
