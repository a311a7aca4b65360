/**
 * Opens the control plane's database and brings it to this program's form.
 *
 * Errors:     DatabaseProblem: what is wrong, where, what to do
 * Invariants: (1) a migration runs once, whole or not at all; `user_version` counts those that ran
 *             (2) a database of a later program is refused, never written
 */
import Database from 'better-sqlite3';
import { messageOf } from '#base/outcome.ts';

export type Db = Database.Database;

export class DatabaseProblem extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'DatabaseProblem';
  }
}

/** Each entry leads from version n to n + 1. Entries are never changed once released, only added. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  CREATE TABLE titles (
    title_id TEXT PRIMARY KEY,
    listing TEXT NOT NULL,          -- TitleListing as JSON, current version
    signed TEXT NOT NULL,           -- the same as a JWS
    signed_by TEXT NOT NULL,        -- key id
    taken_in_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE files (
    ordinal INTEGER PRIMARY KEY,    -- of meta.epoch; never reused
    file_id TEXT NOT NULL UNIQUE,
    size_bytes INTEGER NOT NULL
  );

  CREATE TABLE sites (
    site_id TEXT PRIMARY KEY,
    site TEXT NOT NULL,             -- Site as JSON
    configuration INTEGER NOT NULL  -- grows with each change
  ) WITHOUT ROWID;
  CREATE TABLE clusters (
    cluster_id TEXT PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES sites (site_id)
  ) WITHOUT ROWID;
  CREATE TABLE prefixes (
    prefix TEXT NOT NULL,           -- canonical text
    cluster_id TEXT NOT NULL REFERENCES clusters (cluster_id) ON DELETE CASCADE,
    PRIMARY KEY (prefix, cluster_id)
  ) WITHOUT ROWID;

  CREATE TABLE appliances (
    appliance_id TEXT PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES sites (site_id),
    cluster_id TEXT NOT NULL REFERENCES clusters (cluster_id),
    public_jwk TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    base_url TEXT NOT NULL UNIQUE,
    class TEXT NOT NULL,
    storage_bytes INTEGER NOT NULL,
    serving_bps INTEGER NOT NULL,
    enrolled_ms INTEGER NOT NULL,
    standing TEXT NOT NULL,
    reasons TEXT NOT NULL,          -- JSON array
    since_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE enrolment_tokens_used (
    jti TEXT PRIMARY KEY,
    appliance_id TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE holdings (
    appliance_id TEXT PRIMARY KEY REFERENCES appliances (appliance_id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    ordinals BLOB NOT NULL,         -- u32 little-endian
    strangers TEXT NOT NULL         -- JSON array of file ids without a title
  ) WITHOUT ROWID;

  CREATE TABLE plan_sets (
    run TEXT PRIMARY KEY,
    plan_date TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    content_key TEXT NOT NULL,
    summary TEXT NOT NULL,          -- JSON
    taken_in_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE orders (
    order_version TEXT PRIMARY KEY,
    content TEXT NOT NULL           -- Order as JSON
  ) WITHOUT ROWID;
  CREATE TABLE plans (
    appliance_id TEXT PRIMARY KEY REFERENCES appliances (appliance_id) ON DELETE CASCADE,
    run TEXT NOT NULL REFERENCES plan_sets (run),
    order_version TEXT NOT NULL REFERENCES orders (order_version),
    content TEXT NOT NULL           -- Plan as JSON
  ) WITHOUT ROWID;
  CREATE TABLE manifests (
    appliance_id TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    content_key TEXT NOT NULL
  ) WITHOUT ROWID;

  CREATE TABLE spools (
    appliance_id TEXT NOT NULL,
    spool_id TEXT NOT NULL,
    sequence INTEGER NOT NULL,      -- the last one taken in
    PRIMARY KEY (appliance_id, spool_id)
  ) WITHOUT ROWID;
  CREATE TABLE demand_days (
    day TEXT NOT NULL,              -- UTC date
    home TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    PRIMARY KEY (day, home, ordinal)
  ) WITHOUT ROWID;
  CREATE TABLE demand_quarters (
    quarter INTEGER NOT NULL,       -- Unix seconds
    home TEXT NOT NULL,
    reason TEXT NOT NULL,
    appliance_id TEXT NOT NULL,     -- who served
    bytes INTEGER NOT NULL,
    starts INTEGER NOT NULL,
    PRIMARY KEY (quarter, home, reason, appliance_id)
  ) WITHOUT ROWID;

  CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
  );
  CREATE TABLE alarms (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    what TEXT NOT NULL,
    place TEXT NOT NULL,
    todo TEXT NOT NULL
  );
  `,
  `
  CREATE TABLE denials (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,       -- of the deny list that named it first
    lifted_ms INTEGER,              -- NULL: in force
    lifted_by TEXT
  );
  CREATE UNIQUE INDEX denials_in_force ON denials (kind, value) WHERE lifted_ms IS NULL;
  CREATE TABLE denial_acks (
    appliance_id TEXT NOT NULL REFERENCES appliances (appliance_id) ON DELETE CASCADE,
    version INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (appliance_id, version)
  ) WITHOUT ROWID;
  CREATE TABLE denial_deletions (
    denial_id INTEGER NOT NULL REFERENCES denials (id),
    appliance_id TEXT NOT NULL REFERENCES appliances (appliance_id) ON DELETE CASCADE,
    at_ms INTEGER NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    proof TEXT NOT NULL,            -- JWS by the box's key
    PRIMARY KEY (denial_id, appliance_id)
  ) WITHOUT ROWID;
  `,
  `
  CREATE TABLE manifest_versions (  -- the last ones of each box: what a delta, a diff or a rollback starts from
    appliance_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    run TEXT NOT NULL,
    order_version TEXT NOT NULL REFERENCES orders (order_version),
    plan TEXT NOT NULL,             -- Plan as JSON
    set_key TEXT NOT NULL,          -- of its files and their titles
    set_digest TEXT NOT NULL,
    entries INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    made_ms INTEGER NOT NULL,
    PRIMARY KEY (appliance_id, version)
  ) WITHOUT ROWID;
  CREATE INDEX manifest_versions_order ON manifest_versions (order_version);
  `,
  `
  CREATE TABLE fast_track (
    file_id TEXT PRIMARY KEY,
    entry TEXT NOT NULL,            -- FastTrackEntry as JSON
    until_ms INTEGER NOT NULL,
    who TEXT NOT NULL
  );
  `,
  `
  CREATE TABLE plans_waiting (      -- of a run that is rolled out in stages
    appliance_id TEXT PRIMARY KEY REFERENCES appliances (appliance_id) ON DELETE CASCADE,
    run TEXT NOT NULL,
    order_version TEXT NOT NULL REFERENCES orders (order_version),
    content TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE plans_before (       -- what a box had before the run that is rolled out
    appliance_id TEXT PRIMARY KEY REFERENCES appliances (appliance_id) ON DELETE CASCADE,
    run TEXT NOT NULL,
    order_version TEXT NOT NULL REFERENCES orders (order_version),
    content TEXT NOT NULL
  ) WITHOUT ROWID;
  `,
  `
  CREATE TABLE externals (
    external_id TEXT PRIMARY KEY,
    entry TEXT NOT NULL             -- ExternalCdn as JSON: no secret
  ) WITHOUT ROWID;
  `,
];

export function openDatabase(file: string): Db {
  let db: Db;
  try {
    db = new Database(file);
    db.pragma('journal_mode = WAL');
    // Everything that a box was told is taken in must survive a power cut.
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    db.pragma('busy_timeout = 2000');
  } catch (thrown) {
    throw new DatabaseProblem(
      `cannot open the database ${file}: ${messageOf(thrown)}; if the file is damaged, restore it from a copy`,
      thrown,
    );
  }
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > MIGRATIONS.length) {
    db.close();
    throw new DatabaseProblem(
      `${file} has form ${version}, this program knows ${MIGRATIONS.length}: ` +
        'start the later version of the program, or restore the copy made before it was upgraded',
    );
  }
  for (let next = version; next < MIGRATIONS.length; next++) {
    db.transaction(() => {
      db.exec(MIGRATIONS[next]);
      db.pragma(`user_version = ${next + 1}`);
    })();
  }
  return db;
}
