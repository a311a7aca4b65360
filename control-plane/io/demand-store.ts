/**
 * What was watched, on disk: each batch of a spool exactly once, rolled up as it comes in.
 *
 * Invariants: (1) a batch's records and its sequence number are one transaction: taken in and acknowledged, or neither
 *             (2) batch n + 1 is taken only after batch n: `acknowledged` never leaves a hole behind
 */
import type { ViewRecord, ViewRecordBatch } from '#appliance/contract.ts';
import { DAY_MS } from '#base/units.ts';
import { utcDateOf } from '../fill-window.ts';
import type { Db } from './database.ts';

/** A quarter that lies further ahead is a box whose clock is wrong; further back, of no use to a forecast. */
const AHEAD_SECONDS_MAX = 3600;

export interface DayDemand {
  readonly ordinal: number;
  readonly home: string;
  readonly day: string;
  readonly bytes: number;
  readonly starts: number;
}

export interface Ingest {
  readonly outcome: 'taken' | 'again' | 'gap';
  readonly acknowledged: number;
  /** Records of files that are in no title, or of a time that cannot be. */
  readonly dropped: number;
}

export class DemandStore {
  readonly #db: Db;
  readonly #sql: ReturnType<typeof statements>;
  readonly #daysKept: number;

  constructor(db: Db, daysKept: number) {
    this.#db = db;
    this.#sql = statements(db);
    this.#daysKept = daysKept;
  }

  ingest(
    applianceId: string,
    batch: ViewRecordBatch,
    ordinalOf: (fileId: string) => number | undefined,
    nowMs: number,
  ): Ingest {
    return this.#db.transaction((): Ingest => {
      const { spoolId, sequence, records } = batch;
      const last = this.#sql.spoolGet.get(applianceId, spoolId)?.sequence ?? 0;
      if (sequence <= last) return { outcome: 'again', acknowledged: last, dropped: 0 };
      if (sequence > last + 1) return { outcome: 'gap', acknowledged: last, dropped: 0 };
      let dropped = 0;
      for (const record of records) {
        const ordinal = ordinalOf(record.fileId);
        if (ordinal === undefined || !this.#isPlausible(record, nowMs)) {
          dropped++;
          continue;
        }
        const { quarter, home, reason, bytes, starts } = record;
        this.#sql.dayAdd.run(utcDateOf(quarter * 1000), home, ordinal, bytes, starts);
        this.#sql.quarterAdd.run(quarter, home, reason, applianceId, bytes, starts);
      }
      this.#sql.spoolPut.run(applianceId, spoolId, sequence);
      return { outcome: 'taken', acknowledged: sequence, dropped };
    })();
  }

  /** Demand of the days before and on `planDate`, as many as are kept. */
  demand(planDate: string): readonly DayDemand[] {
    const from = utcDateOf(Date.parse(planDate) - this.#daysKept * DAY_MS);
    return this.#sql.daysBetween.all(from, planDate);
  }

  dayOf(day: string): readonly DayDemand[] {
    return this.#sql.daysBetween.all(day, day);
  }

  quartersOf(day: string): ReturnType<DemandStore['quarters']> {
    const from = Date.parse(day) / 1000;
    const until = from + DAY_MS / 1000;
    return this.quarters(from).filter(({ quarter }) => quarter < until);
  }

  /** Bytes and starts by home and reason since a quarter: what was served where, and why not at home. */
  quarters(sinceSeconds: number): readonly {
    readonly quarter: number;
    readonly home: string;
    readonly reason: string;
    readonly applianceId: string;
    readonly bytes: number;
    readonly starts: number;
  }[] {
    return this.#sql.quartersSince.all(sinceSeconds);
  }

  forgetOld(nowMs: number): void {
    const oldestMs = nowMs - this.#daysKept * DAY_MS;
    this.#db.transaction(() => {
      this.#sql.daysForget.run(utcDateOf(oldestMs));
      this.#sql.quartersForget.run(Math.floor(oldestMs / 1000));
    })();
  }

  #isPlausible(record: ViewRecord, nowMs: number): boolean {
    const nowSeconds = nowMs / 1000;
    return (
      record.quarter <= nowSeconds + AHEAD_SECONDS_MAX &&
      record.quarter >= nowSeconds - (this.#daysKept * DAY_MS) / 1000
    );
  }
}

function statements(db: Db) {
  return {
    spoolGet: db.prepare<[string, string], { sequence: number }>(
      'SELECT sequence FROM spools WHERE appliance_id = ? AND spool_id = ?',
    ),
    spoolPut: db.prepare<[string, string, number]>(
      'INSERT OR REPLACE INTO spools VALUES (?, ?, ?)',
    ),
    dayAdd: db.prepare<[string, string, number, number, number]>(
      `INSERT INTO demand_days VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         bytes = bytes + excluded.bytes, starts = starts + excluded.starts`,
    ),
    quarterAdd: db.prepare<[number, string, string, string, number, number]>(
      `INSERT INTO demand_quarters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         bytes = bytes + excluded.bytes, starts = starts + excluded.starts`,
    ),
    daysBetween: db.prepare<[string, string], DayDemand>(
      `SELECT ordinal, home, day, bytes, starts FROM demand_days
       WHERE day >= ? AND day <= ? ORDER BY day, home, ordinal`,
    ),
    quartersSince: db.prepare<
      [number],
      {
        quarter: number;
        home: string;
        reason: string;
        applianceId: string;
        bytes: number;
        starts: number;
      }
    >(
      `SELECT quarter, home, reason, appliance_id AS applianceId, bytes, starts
       FROM demand_quarters WHERE quarter >= ? ORDER BY quarter, home, reason, appliance_id`,
    ),
    daysForget: db.prepare<[string]>('DELETE FROM demand_days WHERE day < ?'),
    quartersForget: db.prepare<[number]>('DELETE FROM demand_quarters WHERE quarter < ?'),
  };
}
