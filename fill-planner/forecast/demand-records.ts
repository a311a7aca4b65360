/**
 * View records on their way into the forecast: checked one by one, streamed, kept as numbers by day.
 *
 * Shape:      takeRecords(records, rowOf, clusterOf, atDay) -> days in order, each with (row, cluster, views); problems
 * Units:      days since 1970 UTC; a view of a file = as many bytes as the file has
 * Errors:     a record that cannot be used is left out and named in `problems`, up to PROBLEMS_MAX; the rest stands
 * Invariants: (1) nothing of `atDay` or later enters
 *             (2) one value per (file, cluster, day): of two the first stands
 *             (3) the order of the records changes nothing but which of two duplicates stands
 */
export interface DemandRecord {
  readonly ordinal: number;
  readonly home: string;
  readonly day: string; // YYYY-MM-DD, UTC
  readonly bytes: number;
}

export interface DemandDay {
  readonly day: number;
  readonly rows: ArrayLike<number>;
  readonly clusters: ArrayLike<number>;
  readonly views: ArrayLike<number>;
}

export interface TakenRecords {
  readonly days: readonly DemandDay[];
  readonly problems: readonly string[];
}

/** Where the fleet says that the home of a viewer is not known. */
export const HOME_NOT_KNOWN = -1;

export const DAY_MS = 86_400_000;
const HISTORY_DAYS = 120; // older records say nothing that the discount leaves standing
const VIEWS_MAX = 1e12; // of one file in one cluster and day: beyond any audience
const PROBLEMS_MAX = 200;
const DATES_KEPT_MAX = 1000;
const CLUSTERS_MAX = 65_536; // rows x clusters stay exact integers

export interface RecordLookup {
  /** Row and size of a file by its ordinal; undefined where the catalogue has none. */
  file(ordinal: number): { readonly row: number; readonly sizeBytes: number } | undefined;
  /** Index of a cluster; HOME_NOT_KNOWN for viewers without a home; undefined for a cluster that does not exist. */
  cluster(home: string): number | undefined;
}

export function takeRecords(
  records: Iterable<DemandRecord>,
  lookup: RecordLookup,
  atDay: number,
): TakenRecords {
  const found = new Map<number, { seen: KeySet; day: Columns }>();
  const problems: string[] = [];
  let left = 0;
  const problem = (what: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push(what);
    else left++;
  };
  let number = 0;
  const dayNumbers = new Map<string, number>(); // a few dates stand in millions of records
  for (const record of records) {
    number++;
    let dayNumber = dayNumbers.get(record.day);
    if (dayNumber === undefined) {
      dayNumber = dayNumberOf(record.day);
      if (dayNumbers.size < DATES_KEPT_MAX) dayNumbers.set(record.day, dayNumber);
    }
    const taken = readRecord(record, dayNumber, lookup);
    if (typeof taken === 'string') {
      problem(`view record ${number} is left out: ${taken}`);
      continue;
    }
    if (taken.day >= atDay || taken.day < atDay - HISTORY_DAYS) continue;
    let day = found.get(taken.day);
    if (day === undefined) {
      found.set(taken.day, (day = { seen: new KeySet(), day: new Columns() }));
    }
    const key = taken.row * CLUSTERS_MAX + taken.cluster + 1;
    if (!day.seen.add(key)) {
      problem(
        `view record ${number} is left out: file ${record.ordinal} of ${record.home} on ${record.day} came before`,
      );
      continue;
    }
    day.day.push(taken.row, taken.cluster, taken.views);
  }
  const days = [...found]
    .sort(([a], [b]) => a - b)
    .map(([day, { day: columns }]) => ({ day, ...columns.taken() }));
  problems.push(...missingDays(days, atDay));
  if (left > 0) problems.push(`${left} more view records are left out`);
  return { days, problems };
}

/** Three growing columns: 16 bytes a record, whatever their number. */
class Columns {
  #rows = new Uint32Array(64);
  #clusters = new Int32Array(64);
  #views = new Float64Array(64);
  #length = 0;

  push(row: number, cluster: number, views: number): void {
    if (this.#length === this.#rows.length) this.#grow();
    this.#rows[this.#length] = row;
    this.#clusters[this.#length] = cluster;
    this.#views[this.#length] = views;
    this.#length++;
  }

  taken(): Omit<DemandDay, 'day'> {
    return {
      rows: this.#rows.subarray(0, this.#length),
      clusters: this.#clusters.subarray(0, this.#length),
      views: this.#views.subarray(0, this.#length),
    };
  }

  #grow(): void {
    const rows = new Uint32Array(2 * this.#length);
    rows.set(this.#rows);
    this.#rows = rows;
    const clusters = new Int32Array(2 * this.#length);
    clusters.set(this.#clusters);
    this.#clusters = clusters;
    const views = new Float64Array(2 * this.#length);
    views.set(this.#views);
    this.#views = views;
  }
}

/** A set of whole numbers from 0 with open addressing: 16 to 32 bytes an entry, no object. */
class KeySet {
  #slots = new Float64Array(256); // key + 1; 0 is free
  #size = 0;

  /** False where the key was in the set. */
  add(key: number): boolean {
    if (2 * this.#size >= this.#slots.length) this.#grow();
    const at = this.#find(key + 1);
    if (this.#slots[at] !== 0) return false;
    this.#slots[at] = key + 1;
    this.#size++;
    return true;
  }

  #find(stored: number): number {
    const mask = this.#slots.length - 1;
    const low = (stored % 0x1_0000_0000) | 0;
    const high = (stored / 0x1_0000_0000) | 0;
    let hash = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
    hash ^= hash >>> 15;
    let at = hash & mask;
    while (this.#slots[at] !== 0 && this.#slots[at] !== stored) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Float64Array(2 * old.length);
    for (const stored of old) if (stored !== 0) this.#slots[this.#find(stored)] = stored;
  }
}

function readRecord(
  record: DemandRecord,
  day: number,
  lookup: RecordLookup,
): { row: number; cluster: number; day: number; views: number } | string {
  if (Number.isNaN(day)) return `day "${record.day}" is no UTC date YYYY-MM-DD`;
  const file = lookup.file(record.ordinal);
  if (file === undefined) return `file ${record.ordinal} is in no listing`;
  const cluster = lookup.cluster(record.home);
  if (cluster === undefined) return `home "${record.home}" is no cluster of the fleet`;
  const views = record.bytes / file.sizeBytes;
  if (!(views >= 0)) return `${record.bytes} bytes of file ${record.ordinal}`;
  if (views > VIEWS_MAX) {
    return `${record.bytes} bytes of file ${record.ordinal} are more than ${VIEWS_MAX} views`;
  }
  return { row: file.row, cluster, day, views };
}

/** NaN where the text is no date. */
export function dayNumberOf(text: string): number {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return Number.NaN;
  const ms = Date.parse(`${text}T00:00:00Z`);
  return new Date(ms || 0).toISOString().startsWith(text) ? ms / DAY_MS : Number.NaN;
}

export function isoDayOf(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}

/** A day without a single record was lost, not quiet. */
function missingDays(days: readonly DemandDay[], atDay: number): readonly string[] {
  const problems: string[] = [];
  for (let at = 0; at < days.length; at++) {
    const next = at + 1 < days.length ? days[at + 1].day : atDay;
    const gap = next - days[at].day - 1;
    if (gap === 0) continue;
    const first = isoDayOf(days[at].day + 1);
    problems.push(
      gap === 1
        ? `no view record of ${first}: the day is left out`
        : `no view record of ${gap} days from ${first}: they are left out`,
    );
  }
  return problems;
}
