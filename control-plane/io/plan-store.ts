/**
 * Plans, orders and manifest versions on disk.
 *
 * Invariants: (1) a plan set is written whole or not at all
 *             (2) an order is kept while a plan refers to it
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

export interface StoredPlan {
  readonly run: string;
  readonly plan: Plan;
}

export class PlanStore {
  readonly #db: Db;
  readonly #sql: ReturnType<typeof statements>;

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

  take(set: PlanSet, contentKey: string, takenInAtMs: number): void {
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
      for (const plan of set.plans) {
        this.#sql.planPut.run(plan.applianceId, set.run, plan.orderVersion, JSON.stringify(plan));
      }
      this.#sql.ordersForget.run();
    })();
  }

  plan(applianceId: string): StoredPlan | null {
    const row = this.#sql.planGet.get(applianceId);
    return row === undefined ? null : { run: row.run, plan: JSON.parse(row.content) as Plan };
  }

  /** Which run a box's plan is of: cheap, asked with each heartbeat. */
  runOf(applianceId: string): string | null {
    return this.#sql.runGet.get(applianceId)?.run ?? null;
  }

  order(orderVersion: string): Order | null {
    const row = this.#sql.orderGet.get(orderVersion);
    return row === undefined ? null : (JSON.parse(row.content) as Order);
  }

  /** The version of this content: the present one where nothing changed, else the next. */
  manifestVersion(applianceId: string, contentKey: string): number {
    return this.#db.transaction(() => {
      const row = this.#sql.manifestGet.get(applianceId);
      if (row?.content_key === contentKey) return row.version;
      const version = (row?.version ?? 0) + 1;
      this.#sql.manifestPut.run(applianceId, version, contentKey);
      return version;
    })();
  }
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
      'DELETE FROM orders WHERE order_version NOT IN (SELECT order_version FROM plans)',
    ),
    planPut: db.prepare<[string, string, string, string]>(
      `INSERT INTO plans VALUES (?, ?, ?, ?) ON CONFLICT (appliance_id) DO UPDATE SET
         run = excluded.run, order_version = excluded.order_version, content = excluded.content`,
    ),
    planGet: db.prepare<[string], { run: string; content: string }>(
      'SELECT run, content FROM plans WHERE appliance_id = ?',
    ),
    runGet: db.prepare<[string], { run: string }>('SELECT run FROM plans WHERE appliance_id = ?'),
    manifestGet: db.prepare<[string], { version: number; content_key: string }>(
      'SELECT version, content_key FROM manifests WHERE appliance_id = ?',
    ),
    manifestPut: db.prepare<[string, number, string]>(
      'INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)',
    ),
  };
}
