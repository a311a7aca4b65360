/**
 * A weekly top list as it is published: a TSV of (week, list, title, season, hours). Parsed whole, checked row by row.
 *
 * Shape:      parseWeeklyList(text) -> { list, problems } | refusal
 * Errors:     a row that cannot be read is left out and named by its line, up to PROBLEMS_MAX of them (a file
 *             that is cut shows in its last line); a text without the columns or without a readable row is refused
 * Invariants: (1) one value per (series, week): of two rows for the same the first stands, the second is a problem
 *             (2) weeks are numbered from the first one; a week that is missing keeps its number and is a problem
 */
import type { Outcome } from '#base/outcome.ts';

export interface WeeklyEntry {
  readonly week: number; // from the first week of the data
  readonly hours: number;
  readonly rank: number;
  readonly runtimeHours: number; // 0 where unknown
  readonly weeksListed: number; // as published: weeks on the list so far, this one included
}

export interface WeeklySeries {
  readonly key: string;
  readonly list: number; // index into `lists`
  readonly show: string;
  readonly entries: readonly WeeklyEntry[]; // by week
  readonly byWeek: ReadonlyMap<number, WeeklyEntry>;
}

export interface WeeklyList {
  readonly lists: readonly string[];
  readonly weeks: number;
  readonly firstWeek: string; // date of week 0
  readonly series: readonly WeeklySeries[];
}

const DAY_MS = 86_400_000;
const PROBLEMS_MAX = 50;
const LINES_MAX = 5_000_000;
const HOURS_MAX = 1e12;
const COLUMNS = [
  'week',
  'category',
  'weekly_rank',
  'show_title',
  'season_title',
  'weekly_hours_viewed',
] as const;

interface Row {
  readonly line: number;
  readonly day: number;
  readonly list: string;
  readonly show: string;
  readonly season: string;
  readonly hours: number;
  readonly rank: number;
  readonly runtimeHours: number;
  readonly weeksListed: number;
}

export function parseWeeklyList(
  text: string,
): Outcome<{ list: WeeklyList; problems: readonly string[] }, string> {
  const lines = text.split('\n');
  if (lines.length > LINES_MAX) return refused(`more than ${LINES_MAX} lines`);
  const header = (lines[0] ?? '')
    .replace(/^\uFEFF/, '')
    .trimEnd()
    .split('\t');
  const missing = COLUMNS.filter((name) => !header.includes(name));
  if (missing.length > 0) {
    return refused(`line 1 is no header of a weekly list: it lacks ${missing.join(', ')}`);
  }
  const problems: string[] = [];
  const problem = (what: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push(what);
    else if (problems.length === PROBLEMS_MAX) problems.push('more problems of the same kinds');
  };
  const rows: Row[] = [];
  for (let at = 1; at < lines.length; at++) {
    const line = lines[at].replace(/\r$/, '');
    if (line === '') continue;
    const row = readRow(line.split('\t'), header, at + 1);
    if (typeof row !== 'string') rows.push(row);
    else problem(`line ${at + 1} is left out: ${row}`);
  }
  if (rows.length === 0)
    return refused(
      `no row of ${lines.length} lines can be read; ${problems[0] ?? 'the file is empty'}`,
    );
  return { ok: true, value: { list: listOf(rows, problem), problems } };
}

function readRow(cells: readonly string[], header: readonly string[], line: number): Row | string {
  if (cells.length !== header.length) {
    return `${cells.length} cells under ${header.length} columns: is the file cut there?`;
  }
  const cell = (name: string): string => cells[header.indexOf(name)] ?? '';
  const day = Date.parse(`${cell('week')}T00:00:00Z`) / DAY_MS;
  if (!/^(19|20|21)\d\d-\d\d-\d\d$/.test(cell('week')) || !Number.isInteger(day)) {
    return `week "${cell('week')}" is no date YYYY-MM-DD`;
  }
  const hours = numberOf(cell('weekly_hours_viewed'));
  if (!(hours >= 0 && hours <= HOURS_MAX)) {
    return `weekly_hours_viewed "${cell('weekly_hours_viewed')}" is no number from 0 to ${HOURS_MAX}`;
  }
  if (cell('show_title') === '') return 'it has no show_title';
  const rank = numberOf(cell('weekly_rank'));
  if (!(Number.isInteger(rank) && rank >= 1))
    return `weekly_rank "${cell('weekly_rank')}" is no rank`;
  const views = numberOf(cell('weekly_views'));
  const runtime = numberOf(cell('runtime'));
  return {
    line,
    day,
    list: cell('category'),
    show: cell('show_title'),
    season: cell('season_title'),
    hours,
    rank,
    // A season that is still running has no published runtime; hours and views tell what is out so far.
    runtimeHours: runtime > 0 ? runtime : views > 0 ? hours / views : 0,
    weeksListed: Math.max(1, numberOf(cell('cumulative_weeks_in_top_10')) || 1),
  };
}

function numberOf(text: string): number {
  return text.trim() === '' ? Number.NaN : Number(text);
}

function listOf(rows: readonly Row[], problem: (what: string) => void): WeeklyList {
  const days = [...new Set(rows.map((row) => row.day))].sort((a, b) => a - b);
  const offGrid = days.find((day) => (day - days[0]) % 7 !== 0);
  if (offGrid !== undefined) {
    problem(
      `week ${isoDay(offGrid)} is no whole number of weeks after ${isoDay(days[0])}: its rows are left out`,
    );
  }
  const weeks = Math.floor((days[days.length - 1] - days[0]) / 7) + 1;
  for (let week = 1, at = 1; week < weeks && at < days.length; week++) {
    if (days[at] === days[0] + 7 * week) at++;
    else if (days[at] > days[0] + 7 * week) problem(`no row of week ${isoDay(days[0] + 7 * week)}`);
  }
  const lists = [...new Set(rows.map((row) => row.list))].sort();
  const found = new Map<string, { row: Row; entries: Map<number, WeeklyEntry> }>();
  for (const row of rows) {
    if ((row.day - days[0]) % 7 !== 0) continue;
    const key = `${row.list}\t${row.show}\t${row.season}`;
    let series = found.get(key);
    if (series === undefined) found.set(key, (series = { row, entries: new Map() }));
    const week = (row.day - days[0]) / 7;
    if (series.entries.has(week)) {
      problem(`line ${row.line} is left out: "${row.show}" is listed twice in ${isoDay(row.day)}`);
      continue;
    }
    const { hours, rank, runtimeHours, weeksListed } = row;
    series.entries.set(week, { week, hours, rank, runtimeHours, weeksListed });
  }
  const series = [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, { row, entries }]): WeeklySeries => {
      const sorted = [...entries.values()].sort((a, b) => a.week - b.week);
      const byWeek = new Map(sorted.map((entry) => [entry.week, entry]));
      return { key, list: lists.indexOf(row.list), show: row.show, entries: sorted, byWeek };
    });
  return { lists, weeks, firstWeek: isoDay(days[0]), series };
}

function refused(failure: string): { readonly ok: false; readonly failure: string } {
  return { ok: false, failure };
}

function isoDay(day: number): string {
  return new Date(day * DAY_MS).toISOString().slice(0, 10);
}
