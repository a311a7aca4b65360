/**
 * Half-yearly engagement reports: hours of every title of a catalogue, its tail included. CSV as published.
 *
 * Shape:      parseEngagement(text) -> { period, rows, problems } | refusal
 * Units:      hours, rounded by the publisher to 100,000; `period` counts half-years: 2 x year, + 1 for July to December
 * Errors:     a row that cannot be read is left out and named by its line; a text without a period or a header is refused
 * Invariants: (1) one value per (title, period): rows of one title (films and series of one name) are told apart by kind
 */
import type { Outcome } from '#base/outcome.ts';

export interface EngagementRow {
  readonly title: string;
  readonly isSeries: boolean;
  readonly isGlobal: boolean;
  readonly releaseDay: number | null; // days since 1970
  readonly hours: number;
  readonly runtimeHours: number; // 0 where unknown
}

export interface EngagementReport {
  readonly period: number;
  readonly rows: readonly EngagementRow[];
  readonly problems: readonly string[];
}

const DAY_MS = 86_400_000;
const LINES_MAX = 1_000_000;
const PROBLEMS_MAX = 50;
const HOURS_MAX = 1e12;
const SERIES =
  /: (season|series|part|volume|book|chapter|limited series|collection|arc)\b|\b(limited series|miniseries)\b|: s\d+\b/i;

export function parseEngagement(text: string): Outcome<EngagementReport, string> {
  const lines = text.split('\n');
  if (lines.length > LINES_MAX) return refused(`more than ${LINES_MAX} lines`);
  const headerAt = lines.findIndex((line) => cellsOf(line)?.includes('Title'));
  if (headerAt === -1) return refused('no line holds the column "Title"');
  const header = cellsOf(lines[headerAt]) ?? [];
  const missing = ['Available Globally?', 'Release Date', 'Hours Viewed'].filter(
    (name) => !header.includes(name),
  );
  if (missing.length > 0) return refused(`line ${headerAt + 1} lacks ${missing.join(', ')}`);
  const period = periodOf(lines.slice(0, headerAt).join(' '));
  if (period === null) {
    return refused('no line above the header names a half-year ("January to June 2023")');
  }
  const problems: string[] = [];
  const rows: EngagementRow[] = [];
  const seen = new Set<string>();
  for (let at = headerAt + 1; at < lines.length; at++) {
    const line = lines[at].replace(/\r$/, '');
    if (line.replaceAll(',', '').trim() === '') continue;
    const row = readRow(cellsOf(line), header);
    const why =
      typeof row === 'string'
        ? row
        : seen.has(keyOf(row))
          ? `"${row.title}" came before in the same report`
          : null;
    if (why === null && typeof row !== 'string') {
      seen.add(keyOf(row));
      rows.push(row);
    } else if (problems.length < PROBLEMS_MAX) {
      problems.push(`line ${at + 1} is left out: ${why}`);
    }
  }
  if (rows.length === 0) return refused(`no row can be read; ${problems[0] ?? 'it is empty'}`);
  return { ok: true, value: { period, rows, problems } };
}

export function keyOf({ title, isSeries }: EngagementRow): string {
  return `${isSeries ? 'series' : 'film'} ${title}`;
}

/** The last day of a period, days since 1970. */
export function periodEndDay(period: number): number {
  const year = Math.floor(period / 2);
  return Date.UTC(period % 2 === 0 ? year : year + 1, period % 2 === 0 ? 6 : 0, 1) / DAY_MS;
}

function readRow(
  cells: readonly string[] | null,
  header: readonly string[],
): EngagementRow | string {
  if (cells === null) return 'a quote is not closed: is the file cut there?';
  if (cells.length !== header.length) {
    return `${cells.length} cells under ${header.length} columns: is the file cut there?`;
  }
  const cell = (name: string): string => cells[header.indexOf(name)] ?? '';
  const title = cell('Title').trim();
  if (title === '') return 'it has no title';
  const hours = Number(cell('Hours Viewed').replaceAll(',', ''));
  if (cell('Hours Viewed').trim() === '' || !(hours >= 0 && hours <= HOURS_MAX)) {
    return `hours "${cell('Hours Viewed')}" are no number from 0 to ${HOURS_MAX}`;
  }
  const release = Date.parse(`${cell('Release Date')}T00:00:00Z`) / DAY_MS;
  const runtime = /^(\d+):(\d\d)/.exec(cell('Runtime'));
  return {
    title,
    isSeries: SERIES.test(title),
    isGlobal: cell('Available Globally?') === 'Yes',
    releaseDay: Number.isInteger(release) ? release : null,
    hours,
    runtimeHours: runtime === null ? 0 : Number(runtime[1]) + Number(runtime[2]) / 60,
  };
}

function periodOf(text: string): number | null {
  const match = /(January to June|July to December) (\d{4})/.exec(text);
  if (match === null) return null;
  return 2 * Number(match[2]) + (match[1].startsWith('July') ? 1 : 0);
}

/** The cells of one line; null where a quote is left open. */
function cellsOf(line: string): readonly string[] | null {
  const cells: string[] = [];
  let at = 0;
  const text = line.replace(/\r$/, '');
  while (at <= text.length) {
    if (text[at] === '"') {
      let cell = '';
      let from = at + 1;
      for (;;) {
        const end = text.indexOf('"', from);
        if (end === -1) return null;
        cell += text.slice(from, end);
        at = end + 1;
        if (text[at] !== '"') break;
        cell += '"';
        from = at + 1;
      }
      cells.push(cell);
      at++;
    } else {
      const end = text.indexOf(',', at);
      cells.push(text.slice(at, end === -1 ? text.length : end));
      at = end === -1 ? text.length + 1 : end + 1;
    }
  }
  return cells;
}

function refused(failure: string): { readonly ok: false; readonly failure: string } {
  return { ok: false, failure };
}
