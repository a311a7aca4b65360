/**
 * The registry on disk: catalogue, sites, appliances, holdings, audit log, alarms. Every statement is prepared here, once.
 *
 * Synchronous (better-sqlite3). Rows are shaped here and nowhere else; a caller sees the domain's own types.
 *
 * Invariants: (1) a method that writes more than one row is one transaction
 *             (2) an ordinal is inserted once and never deleted
 */
import type { JWK } from '#base/jws.ts';
import type { TitleListing } from '#upstream/contract.ts';
import type { CatalogueFile, CatalogueTitle } from '../catalogue.ts';
import { contentKeyOfListing } from '../catalogue.ts';
import type { ApplianceStanding, Site } from '../contract.ts';
import type { Alarm } from '../dashboard/fleet-view.ts';
import type { BoxRecord, SiteRecord, StandingChange } from '../fleet.ts';
import type { HealthState } from '../health-machine.ts';
import type { Db } from './database.ts';

const ALARMS_KEPT = 1000;
const AUDIT_SHOWN_MAX = 500;

export interface StoredBox {
  readonly record: BoxRecord;
  readonly standing: ApplianceStanding;
  readonly reasons: readonly string[];
  readonly sinceMs: number;
}

export interface StoredTitle extends CatalogueTitle {
  readonly signedBy: string;
}

export interface StoredHoldings {
  readonly applianceId: string;
  readonly version: number;
  readonly ordinals: Uint32Array;
  readonly strangers: readonly string[];
}

export interface AuditEntry {
  readonly atMs: number;
  readonly who: string;
  readonly what: string;
  readonly detail: string;
}

interface ApplianceRow {
  appliance_id: string;
  site_id: string;
  cluster_id: string;
  public_jwk: string;
  thumbprint: string;
  base_url: string;
  class: 'flash' | 'storage';
  storage_bytes: number;
  serving_bps: number;
  enrolled_ms: number;
  standing: ApplianceStanding;
  reasons: string;
  since_ms: number;
}

/** A new epoch of the prefix table. */
export function nextPrefixesVersion(store: Store): number {
  const version = store.number('prefixes_version', () => 0) + 1;
  store.setNumber('prefixes_version', version);
  return version;
}

export class Store {
  readonly #db: Db;
  readonly #sql: ReturnType<typeof statements>;

  constructor(db: Db) {
    this.#db = db;
    this.#sql = statements(db);
  }

  // -------------------------------------------------------------- numbers that only grow

  /** The number kept under `name`, made by `first` when there is none. */
  number(name: string, first: () => number): number {
    const row = this.#sql.metaGet.get(name);
    if (row !== undefined) return Number(row.value);
    const value = first();
    this.setNumber(name, value);
    return value;
  }

  setNumber(name: string, value: number): void {
    this.#sql.metaSet.run(name, String(value));
  }

  // -------------------------------------------------------------- catalogue

  files(): readonly { ordinal: number; fileId: string; sizeBytes: number }[] {
    return this.#sql.filesAll
      .all()
      .map((row) => ({ ordinal: row.ordinal, fileId: row.file_id, sizeBytes: row.size_bytes }));
  }

  titles(): readonly StoredTitle[] {
    return this.#sql.titlesAll.all().map((row) => {
      const listing = JSON.parse(row.listing) as TitleListing;
      return {
        listing,
        signed: row.signed,
        signedBy: row.signed_by,
        takenInAtMs: row.taken_in_ms,
        contentKey: contentKeyOfListing(listing),
      };
    });
  }

  putTitle(title: StoredTitle, newFiles: readonly CatalogueFile[]): void {
    this.#db.transaction(() => {
      for (const file of newFiles) {
        this.#sql.fileInsert.run(file.ordinal, file.fileId, file.sizeBytes);
      }
      this.#sql.titlePut.run(
        title.listing.titleId,
        JSON.stringify(title.listing),
        title.signed,
        title.signedBy,
        title.takenInAtMs,
      );
    })();
  }

  // -------------------------------------------------------------- sites

  sites(): readonly SiteRecord[] {
    return this.#sql.sitesAll
      .all()
      .map((row) => ({ site: JSON.parse(row.site) as Site, configuration: row.configuration }));
  }

  putSite(record: SiteRecord): void {
    const { site, configuration } = record;
    this.#db.transaction(() => {
      this.#sql.sitePut.run(site.siteId, JSON.stringify(site), configuration);
      const wanted = new Set(site.clusters.map(({ clusterId }) => clusterId));
      for (const row of this.#sql.clustersOfSite.all(site.siteId)) {
        if (!wanted.has(row.cluster_id)) this.#sql.clusterDelete.run(row.cluster_id);
      }
      for (const { clusterId, prefixes } of site.clusters) {
        this.#sql.clusterPut.run(clusterId, site.siteId);
        this.#sql.prefixesDelete.run(clusterId);
        for (const prefix of new Set(prefixes)) this.#sql.prefixInsert.run(prefix, clusterId);
      }
    })();
  }

  /** A prefix of this site that another site has already; null where there is none. */
  prefixOfAnother(site: Site): { readonly prefix: string; readonly siteId: string } | null {
    for (const { prefixes } of site.clusters) {
      for (const prefix of prefixes) {
        const row = this.#sql.prefixOwner.get(prefix, site.siteId);
        if (row !== undefined) return { prefix, siteId: row.site_id };
      }
    }
    return null;
  }

  /** Site of a cluster; null where there is no such cluster. */
  siteOfCluster(clusterId: string): string | null {
    return this.#sql.clusterGet.get(clusterId)?.site_id ?? null;
  }

  // -------------------------------------------------------------- appliances

  appliances(): readonly StoredBox[] {
    return this.#sql.appliancesAll.all().map((row) => ({
      record: {
        applianceId: row.appliance_id,
        siteId: row.site_id,
        clusterId: row.cluster_id,
        publicJwk: JSON.parse(row.public_jwk) as JWK,
        thumbprint: row.thumbprint,
        baseUrl: row.base_url,
        applianceClass: row.class,
        storageBytes: row.storage_bytes,
        servingBps: row.serving_bps,
        enrolledAtMs: row.enrolled_ms,
      },
      standing: row.standing,
      reasons: JSON.parse(row.reasons) as string[],
      sinceMs: row.since_ms,
    }));
  }

  /** Writes the box and marks its token used. Its standing is set for a new box and kept for a known one. */
  enrol(
    record: BoxRecord,
    token: { readonly jti: string; readonly expiresMs: number },
    first: Pick<HealthState, 'standing' | 'reasons' | 'sinceMs'>,
  ): void {
    this.#db.transaction(() => {
      this.#sql.appliancePut.run({
        appliance_id: record.applianceId,
        site_id: record.siteId,
        cluster_id: record.clusterId,
        public_jwk: JSON.stringify(record.publicJwk),
        thumbprint: record.thumbprint,
        base_url: record.baseUrl,
        class: record.applianceClass,
        storage_bytes: record.storageBytes,
        serving_bps: record.servingBps,
        enrolled_ms: record.enrolledAtMs,
        standing: first.standing,
        reasons: JSON.stringify(first.reasons),
        since_ms: first.sinceMs,
      });
      this.#sql.tokenUsedPut.run(token.jti, record.applianceId, record.thumbprint, token.expiresMs);
    })();
  }

  /** Which key used this enrolment token; null while it is unused. */
  tokenUsedBy(jti: string): string | null {
    return this.#sql.tokenUsedGet.get(jti)?.thumbprint ?? null;
  }

  /** Expired tokens are refused by their own date: what was used may then be forgotten. */
  forgetExpiredTokens(nowMs: number): void {
    this.#sql.tokensForget.run(nowMs);
  }

  baseUrlOwner(baseUrl: string): string | null {
    return this.#sql.baseUrlGet.get(baseUrl)?.appliance_id ?? null;
  }

  removeAppliance(applianceId: string): void {
    this.#sql.applianceDelete.run(applianceId);
  }

  /** What is written meanwhile is one transaction: a fleet that falls silent at once is one commit, not 17,000. */
  together(write: () => void): void {
    this.#db.transaction(write)();
  }

  setStanding(change: StandingChange): void {
    this.#sql.standingSet.run(
      change.to,
      JSON.stringify(change.reasons),
      change.sinceMs,
      change.applianceId,
    );
  }

  // -------------------------------------------------------------- holdings

  holdings(): readonly StoredHoldings[] {
    return this.#sql.holdingsAll.all().map((row) => ({
      applianceId: row.appliance_id,
      version: row.version,
      ordinals: ordinalsOf(row.ordinals),
      strangers: JSON.parse(row.strangers) as string[],
    }));
  }

  putHoldings(kept: readonly StoredHoldings[]): void {
    this.#db.transaction(() => {
      for (const { applianceId, version, ordinals, strangers } of kept) {
        const blob = Buffer.from(ordinals.buffer, ordinals.byteOffset, ordinals.byteLength);
        this.#sql.holdingsPut.run(applianceId, version, blob, JSON.stringify(strangers));
      }
    })();
  }

  // -------------------------------------------------------------- audit log and alarms

  audit(entry: AuditEntry): void {
    this.#sql.auditInsert.run(entry.atMs, entry.who, entry.what, entry.detail);
  }

  auditLog(): readonly AuditEntry[] {
    return this.#sql.auditAll
      .all(AUDIT_SHOWN_MAX)
      .map((row) => ({ atMs: row.at_ms, who: row.who, what: row.what, detail: row.detail }));
  }

  addAlarm(alarm: Alarm): void {
    this.#db.transaction(() => {
      this.#sql.alarmInsert.run(alarm.atMs, alarm.what, alarm.where, alarm.todo);
      this.#sql.alarmsForget.run(ALARMS_KEPT);
    })();
  }

  /** Newest first. */
  alarms(max: number): readonly Alarm[] {
    return this.#sql.alarmsAll
      .all(max)
      .map((row) => ({ atMs: row.at_ms, what: row.what, where: row.place, todo: row.todo }));
  }
}

function ordinalsOf(blob: Buffer): Uint32Array {
  const ordinals = new Uint32Array(Math.floor(blob.length / 4));
  for (let at = 0; at < ordinals.length; at++) ordinals[at] = blob.readUInt32LE(at * 4);
  return ordinals;
}

function statements(db: Db) {
  return {
    metaGet: db.prepare<[string], { value: string }>('SELECT value FROM meta WHERE name = ?'),
    metaSet: db.prepare<[string, string]>('INSERT OR REPLACE INTO meta VALUES (?, ?)'),
    filesAll: db.prepare<[], { ordinal: number; file_id: string; size_bytes: number }>(
      'SELECT ordinal, file_id, size_bytes FROM files ORDER BY ordinal',
    ),
    fileInsert: db.prepare<[number, string, number]>('INSERT INTO files VALUES (?, ?, ?)'),
    titlesAll: db.prepare<
      [],
      { listing: string; signed: string; signed_by: string; taken_in_ms: number }
    >('SELECT listing, signed, signed_by, taken_in_ms FROM titles ORDER BY taken_in_ms, title_id'),
    titlePut: db.prepare<[string, string, string, string, number]>(
      'INSERT OR REPLACE INTO titles VALUES (?, ?, ?, ?, ?)',
    ),
    sitesAll: db.prepare<[], { site: string; configuration: number }>(
      'SELECT site, configuration FROM sites ORDER BY site_id',
    ),
    sitePut: db.prepare<[string, string, number]>(
      `INSERT INTO sites VALUES (?, ?, ?) ON CONFLICT (site_id)
       DO UPDATE SET site = excluded.site, configuration = excluded.configuration`,
    ),
    clustersOfSite: db.prepare<[string], { cluster_id: string }>(
      'SELECT cluster_id FROM clusters WHERE site_id = ?',
    ),
    clusterGet: db.prepare<[string], { site_id: string }>(
      'SELECT site_id FROM clusters WHERE cluster_id = ?',
    ),
    clusterPut: db.prepare<[string, string]>('INSERT OR IGNORE INTO clusters VALUES (?, ?)'),
    clusterDelete: db.prepare<[string]>('DELETE FROM clusters WHERE cluster_id = ?'),
    prefixesDelete: db.prepare<[string]>('DELETE FROM prefixes WHERE cluster_id = ?'),
    prefixInsert: db.prepare<[string, string]>('INSERT INTO prefixes VALUES (?, ?)'),
    prefixOwner: db.prepare<[string, string], { site_id: string }>(
      `SELECT site_id FROM prefixes JOIN clusters USING (cluster_id)
       WHERE prefix = ? AND site_id <> ? LIMIT 1`,
    ),
    appliancesAll: db.prepare<[], ApplianceRow>('SELECT * FROM appliances ORDER BY appliance_id'),
    appliancePut: db.prepare<[ApplianceRow]>(
      `INSERT INTO appliances VALUES (@appliance_id, @site_id, @cluster_id, @public_jwk, @thumbprint,
         @base_url, @class, @storage_bytes, @serving_bps, @enrolled_ms, @standing, @reasons, @since_ms)
       ON CONFLICT (appliance_id) DO UPDATE SET site_id = excluded.site_id,
         cluster_id = excluded.cluster_id, base_url = excluded.base_url, class = excluded.class,
         storage_bytes = excluded.storage_bytes, serving_bps = excluded.serving_bps`,
    ),
    applianceDelete: db.prepare<[string]>('DELETE FROM appliances WHERE appliance_id = ?'),
    baseUrlGet: db.prepare<[string], { appliance_id: string }>(
      'SELECT appliance_id FROM appliances WHERE base_url = ?',
    ),
    standingSet: db.prepare<[string, string, number, string]>(
      'UPDATE appliances SET standing = ?, reasons = ?, since_ms = ? WHERE appliance_id = ?',
    ),
    tokenUsedGet: db.prepare<[string], { thumbprint: string }>(
      'SELECT thumbprint FROM enrolment_tokens_used WHERE jti = ?',
    ),
    tokenUsedPut: db.prepare<[string, string, string, number]>(
      'INSERT OR IGNORE INTO enrolment_tokens_used VALUES (?, ?, ?, ?)',
    ),
    tokensForget: db.prepare<[number]>('DELETE FROM enrolment_tokens_used WHERE expires_ms < ?'),
    holdingsAll: db.prepare<
      [],
      { appliance_id: string; version: number; ordinals: Buffer; strangers: string }
    >('SELECT appliance_id, version, ordinals, strangers FROM holdings'),
    holdingsPut: db.prepare<[string, number, Buffer, string]>(
      'INSERT OR REPLACE INTO holdings VALUES (?, ?, ?, ?)',
    ),
    auditInsert: db.prepare<[number, string, string, string]>(
      'INSERT INTO audit (at_ms, who, what, detail) VALUES (?, ?, ?, ?)',
    ),
    auditAll: db.prepare<[number], { at_ms: number; who: string; what: string; detail: string }>(
      'SELECT at_ms, who, what, detail FROM audit ORDER BY id DESC LIMIT ?',
    ),
    alarmInsert: db.prepare<[number, string, string, string]>(
      'INSERT INTO alarms (at_ms, what, place, todo) VALUES (?, ?, ?, ?)',
    ),
    alarmsForget: db.prepare<[number]>(
      'DELETE FROM alarms WHERE id <= (SELECT max(id) FROM alarms) - ?',
    ),
    alarmsAll: db.prepare<[number], { at_ms: number; what: string; place: string; todo: string }>(
      'SELECT at_ms, what, place, todo FROM alarms ORDER BY id DESC LIMIT ?',
    ),
  };
}
