/**
 * Plans, orders and manifest versions on disk.
 *
 * Invariants: (1) a plan set is written whole or not at all
 *             (2) an order is kept while a plan, or a manifest that is remembered, refers to it
 *             (3) a manifest's version grows by one exactly when its content key changes
 */
import type { Order, Plan, PlanSet } from '#fill-planner/contract.ts';
import type { Db } from './database.ts';

export interface StoredPlanSet {
  readonly run: string;
  readonly planDate: string;
  readonly contentKey: string;
  readonly summary: PlanSet['summary'];
  readonly takenInAtMs: number;
}

/** One version of one box's manifest: the function that it was expanded from, and what came out. */
export interface ManifestVersion {
  readonly version: number;
  readonly run: string;
  readonly plan: Plan;
  readonly setKey: string;
  readonly setDigest: string;
  readonly entries: number;
  readonly bodyBytes: number;
  readonly madeAtMs: number;
}

export interface StoredPlan {
  readonly run: string;
  readonly plan: Plan;
}

const VERSIONS_KEPT = 10; // of each box

export class PlanStore {
  readonly #db: Db;
  readonly #sql: ReturnType<typeof statements>;
  readonly #runs = new Map<string, string | null>(); // as far as it was asked for since a plan changed

  constructor(db: Db) {
    this.#db = db;
    this.#sql = statements(db);
  }

  planSet(run: string): StoredPlanSet | null {
    const row = this.#sql.setGet.get(run);
    return row === undefined ? null : planSetOf(row);
  }

  latest(): StoredPlanSet | null {
    const row = this.#sql.setLatest.get();
    return row === undefined ? null : planSetOf(row);
  }

  /** `isFirst`: whose plan is in use at once; the others' wait for `promote`, but for boxes without any plan. */
  take(
    set: PlanSet,
    contentKey: string,
    takenInAtMs: number,
    isFirst: (applianceId: string) => boolean = () => true,
  ): void {
    this.#runs.clear();
    this.#db.transaction(() => {
      this.#sql.setInsert.run(
        set.run,
        set.planDate,
        set.epoch,
        contentKey,
        JSON.stringify(set.summary),
        takenInAtMs,
      );
      for (const order of set.orders) {
        this.#sql.orderPut.run(order.orderVersion, JSON.stringify(order));
      }
      this.#sql.waitingClear.run();
      this.#sql.beforeClear.run();
      for (const plan of set.plans) {
        const { applianceId, orderVersion } = plan;
        const row = [applianceId, set.run, orderVersion, JSON.stringify(plan)] as const;
        if (isFirst(applianceId) || this.#sql.runGet.get(applianceId) === undefined) {
          this.#sql.beforePut.run(applianceId);
          this.#sql.planPut.run(...row);
        } else this.#sql.waitingPut.run(...row);
      }
      this.#sql.ordersForget.run();
    })();
  }

  /** Waiting plans of these boxes are in use from here on. */
  promote(isWanted: (applianceId: string) => boolean): void {
    this.#runs.clear();
    this.#db.transaction(() => {
      for (const { appliance_id: applianceId } of this.#sql.waitingAll.all()) {
        if (!isWanted(applianceId)) continue;
        this.#sql.beforePut.run(applianceId);
        this.#sql.waitingPromote.run(applianceId);
        this.#sql.waitingDelete.run(applianceId);
      }
    })();
  }

  /** Every box that has a plan of this run gets the one that it had before; how many. What waits is dropped. */
  rollBack(run: string): number {
    this.#runs.clear();
    return this.#db.transaction(() => {
      this.#sql.waitingClear.run();
      const { changes } = this.#sql.beforeRestore.run(run);
      this.#sql.beforeClear.run();
      return changes;
    })();
  }

  rolloutState(): unknown {
    const row = this.#sql.rolloutGet.get();
    return row === undefined ? null : (JSON.parse(row.value) as unknown);
  }

  keepRolloutState(state: unknown): void {
    this.#sql.rolloutPut.run(JSON.stringify(state));
  }

  plan(applianceId: string): StoredPlan | null {
    const row = this.#sql.planGet.get(applianceId);
    return row === undefined ? null : { run: row.run, plan: JSON.parse(row.content) as Plan };
  }

  /** Which run a box's plan is of: from memory, asked with each heartbeat. */
  runOf(applianceId: string): string | null {
    let run = this.#runs.get(applianceId);
    if (run === undefined) {
      run = this.#sql.runGet.get(applianceId)?.run ?? null;
      this.#runs.set(applianceId, run);
    }
    return run;
  }

  /** The box was removed, and its plan with it. */
  forget(applianceId: string): void {
    this.#runs.delete(applianceId);
  }

  order(orderVersion: string): Order | null {
    const row = this.#sql.orderGet.get(orderVersion);
    return row === undefined ? null : (JSON.parse(row.content) as Order);
  }

  /** The version of this content: the present one where nothing changed, else the next, which is remembered. */
  manifestVersion(
    contentKey: string,
    stored: StoredPlan,
    facts: Omit<ManifestVersion, 'version' | 'run' | 'plan'>,
  ): number {
    const { plan, run } = stored;
    const { applianceId, orderVersion } = plan;
    return this.#db.transaction(() => {
      const row = this.#sql.manifestGet.get(applianceId);
      if (row?.content_key === contentKey) return row.version;
      const version = (row?.version ?? 0) + 1;
      this.#sql.manifestPut.run(applianceId, version, contentKey);
      const { setKey, setDigest, entries, bodyBytes, madeAtMs } = facts;
      this.#sql.versionPut.run(
        applianceId,
        version,
        run,
        orderVersion,
        JSON.stringify(plan),
        setKey,
        setDigest,
        entries,
        bodyBytes,
        madeAtMs,
      );
      this.#sql.versionsForget.run(applianceId, version - VERSIONS_KEPT);
      return version;
    })();
  }

  /** A version of a box's manifest as it was made; null where it is too old to be known. */
  manifestAt(applianceId: string, version: number): ManifestVersion | null {
    const row = this.#sql.versionGet.get(applianceId, version);
    return row === undefined ? null : versionOf(row);
  }

  /** Newest first. */
  manifestHistory(applianceId: string): readonly ManifestVersion[] {
    return this.#sql.versionsAll.all(applianceId).map(versionOf);
  }
}

interface VersionRow {
  version: number;
  run: string;
  plan: string;
  set_key: string;
  set_digest: string;
  entries: number;
  body_bytes: number;
  made_ms: number;
}

function versionOf(row: VersionRow): ManifestVersion {
  return {
    version: row.version,
    run: row.run,
    plan: JSON.parse(row.plan) as Plan,
    setKey: row.set_key,
    setDigest: row.set_digest,
    entries: row.entries,
    bodyBytes: row.body_bytes,
    madeAtMs: row.made_ms,
  };
}

interface SetRow {
  run: string;
  plan_date: string;
  content_key: string;
  summary: string;
  taken_in_ms: number;
}

function planSetOf(row: SetRow): StoredPlanSet {
  return {
    run: row.run,
    planDate: row.plan_date,
    contentKey: row.content_key,
    summary: JSON.parse(row.summary) as PlanSet['summary'],
    takenInAtMs: row.taken_in_ms,
  };
}

function statements(db: Db) {
  const columns = 'run, plan_date, content_key, summary, taken_in_ms';
  return {
    setGet: db.prepare<[string], SetRow>(`SELECT ${columns} FROM plan_sets WHERE run = ?`),
    setLatest: db.prepare<[], SetRow>(
      `SELECT ${columns} FROM plan_sets ORDER BY taken_in_ms DESC, run DESC LIMIT 1`,
    ),
    setInsert: db.prepare<[string, string, number, string, string, number]>(
      'INSERT INTO plan_sets VALUES (?, ?, ?, ?, ?, ?)',
    ),
    orderPut: db.prepare<[string, string]>('INSERT OR IGNORE INTO orders VALUES (?, ?)'),
    orderGet: db.prepare<[string], { content: string }>(
      'SELECT content FROM orders WHERE order_version = ?',
    ),
    ordersForget: db.prepare<[]>(
      `DELETE FROM orders WHERE order_version NOT IN
         (SELECT order_version FROM plans UNION SELECT order_version FROM manifest_versions
          UNION SELECT order_version FROM plans_waiting UNION SELECT order_version FROM plans_before)`,
    ),
    planPut: db.prepare<[string, string, string, string]>(
      `INSERT INTO plans VALUES (?, ?, ?, ?) ON CONFLICT (appliance_id) DO UPDATE SET
         run = excluded.run, order_version = excluded.order_version, content = excluded.content`,
    ),
    waitingClear: db.prepare<[]>('DELETE FROM plans_waiting'),
    waitingPut: db.prepare<[string, string, string, string]>(
      'INSERT OR REPLACE INTO plans_waiting VALUES (?, ?, ?, ?)',
    ),
    waitingAll: db.prepare<[], { appliance_id: string }>('SELECT appliance_id FROM plans_waiting'),
    waitingPromote: db.prepare<[string]>(
      'INSERT OR REPLACE INTO plans SELECT * FROM plans_waiting WHERE appliance_id = ?',
    ),
    waitingDelete: db.prepare<[string]>('DELETE FROM plans_waiting WHERE appliance_id = ?'),
    beforeClear: db.prepare<[]>('DELETE FROM plans_before'),
    beforePut: db.prepare<[string]>(
      'INSERT OR IGNORE INTO plans_before SELECT * FROM plans WHERE appliance_id = ?',
    ),
    beforeRestore: db.prepare<[string]>(
      `INSERT OR REPLACE INTO plans SELECT * FROM plans_before WHERE appliance_id IN
         (SELECT appliance_id FROM plans WHERE run = ?)`,
    ),
    rolloutGet: db.prepare<[], { value: string }>("SELECT value FROM meta WHERE name = 'rollout'"),
    rolloutPut: db.prepare<[string]>("INSERT OR REPLACE INTO meta VALUES ('rollout', ?)"),
    planGet: db.prepare<[string], { run: string; content: string }>(
      'SELECT run, content FROM plans WHERE appliance_id = ?',
    ),
    runGet: db.prepare<[string], { run: string }>('SELECT run FROM plans WHERE appliance_id = ?'),
    manifestGet: db.prepare<[string], { version: number; content_key: string }>(
      'SELECT version, content_key FROM manifests WHERE appliance_id = ?',
    ),
    versionPut: db.prepare<
      [string, number, string, string, string, string, string, number, number, number]
    >('INSERT OR REPLACE INTO manifest_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)'),
    versionGet: db.prepare<[string, number], VersionRow>(
      'SELECT * FROM manifest_versions WHERE appliance_id = ? AND version = ?',
    ),
    versionsAll: db.prepare<[string], VersionRow>(
      'SELECT * FROM manifest_versions WHERE appliance_id = ? ORDER BY version DESC',
    ),
    versionsForget: db.prepare<[string, number]>(
      'DELETE FROM manifest_versions WHERE appliance_id = ? AND version <= ?',
    ),
    manifestPut: db.prepare<[string, number, string]>(
      'INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)',
    ),
  };
}
