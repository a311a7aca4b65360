/**
 * How far the generator is from the public tables that it was calibrated on.
 *
 * Shape:      tables as text -> rows of (what, table's value, generator's value)
 * Errors:     a table that cannot be read is named, and left out
 */
import { cellsOf } from '../network/csv.ts';
import { curveAt } from './day-curve.ts';
import { DAY_CURVES, HALF_YEAR_DAYS, WEEK_RATIOS } from './parameters.ts';
import { decayAt, decayIntegral, programmesOf } from './programmes.ts';

export interface CalibrationRow {
  readonly table: string;
  readonly what: string;
  readonly measured: number;
  readonly generated: number;
}

export interface CalibrationTables {
  /** Per half-year: the texts of its reports. */
  readonly engagement: readonly { readonly name: string; readonly texts: readonly string[] }[];
  readonly topTen: string | null;
  readonly days: readonly {
    readonly name: 'eu' | 'us';
    readonly text: string;
    readonly offsetHours: number;
  }[];
}

const SEED = 1;
const DAY_MS = 86_400_000;
const ENTRY_RANK = 4;
const CUT_BINS = 12; // the last bins of a day's capture were cut

export function calibrationOf(tables: CalibrationTables): {
  readonly rows: readonly CalibrationRow[];
  readonly problems: readonly string[];
} {
  const rows: CalibrationRow[] = [];
  const problems: string[] = [];
  const generated = generatedReport();
  for (const { name, texts } of tables.engagement) {
    const report = texts.flatMap((text) => engagementRows(text));
    if (report.length === 0) problems.push(`${name}: no row with hours`);
    else rows.push(...catalogueRows(name, report, generated));
  }
  if (tables.topTen !== null) rows.push(...decayRows(tables.topTen));
  for (const day of tables.days) rows.push(...dayRows(day));
  return { rows, problems };
}

interface Watched {
  readonly hours: number;
  readonly isRelease: boolean;
}

/** What the generator's half-year would look like as a report. */
function generatedReport(): readonly Watched[] {
  const cells = programmesOf({
    seed: SEED,
    programmes: 17_000,
    days: HALF_YEAR_DAYS,
    releaseScale: 1,
    releases: [],
    isBundled: false,
  });
  return cells.map(({ hoursShare, releaseDay, isSeason, decay }) => {
    if (releaseDay === null) return { hours: hoursShare, isRelease: false };
    let hours = 0;
    for (let day = Math.max(0, releaseDay); day < HALF_YEAR_DAYS; day++) {
      hours += decayAt(isSeason, decay, day - releaseDay);
    }
    const whole = decayIntegral(isSeason, decay, HALF_YEAR_DAYS);
    return { hours: (hoursShare * hours) / whole, isRelease: releaseDay >= 0 };
  });
}

function engagementRows(text: string): readonly Watched[] {
  const lines = text.split(/\r?\n/);
  const at = lines.findIndex((line) => cellsOf(line).includes('Title'));
  if (at === -1) return [];
  const header = cellsOf(lines[at]);
  const months = /(January|July) (?:to|through) (?:June|December) (\d{4})/.exec(
    lines.slice(0, at).join(' '),
  );
  const firstMonth = months?.[1] === 'July' ? '07' : '01';
  const from = months === null ? 0 : Date.parse(`${months[2]}-${firstMonth}-01`);
  return lines.slice(at + 1).flatMap((line) => {
    const cells = cellsOf(line);
    const hours = Number((cells[header.indexOf('Hours Viewed')] ?? '').replaceAll(',', ''));
    const released = Date.parse(cells[header.indexOf('Release Date')] ?? '');
    const isRelease = released >= from && released < from + HALF_YEAR_DAYS * DAY_MS;
    return hours > 0 ? [{ hours, isRelease }] : [];
  });
}

function catalogueRows(
  table: string,
  report: readonly Watched[],
  generated: readonly Watched[],
): readonly CalibrationRow[] {
  const row = (what: string, of: (rows: readonly Watched[]) => number): CalibrationRow => ({
    table,
    what,
    measured: of(report),
    generated: of(generated),
  });
  const head = (count: (rows: number) => number) => (rows: readonly Watched[]) => {
    const hours = rows.map((entry) => entry.hours).sort((a, b) => b - a);
    const total = hours.reduce((sum, value) => sum + value, 0);
    return hours.slice(0, count(hours.length)).reduce((sum, value) => sum + value, 0) / total;
  };
  return [
    row(
      'share of hours, top 1 % of titles',
      head((rows) => Math.round(rows / 100)),
    ),
    row(
      'share of hours, top 10 %',
      head((rows) => Math.round(rows / 10)),
    ),
    row(
      'share of hours, top 100',
      head(() => 100),
    ),
    row(
      'share of hours, top 1,000',
      head(() => 1000),
    ),
    row('share of hours, released in it', (rows) => {
      const total = rows.reduce((sum, entry) => sum + entry.hours, 0);
      return rows.reduce((sum, entry) => sum + (entry.isRelease ? entry.hours : 0), 0) / total;
    }),
    row('rank that has half of the hours', (rows) => {
      const hours = rows.map((entry) => entry.hours).sort((a, b) => b - a);
      const total = hours.reduce((sum, value) => sum + value, 0);
      let sum = 0;
      return hours.findIndex((value) => (sum += value) >= total / 2) + 1;
    }),
  ];
}

/** Week over week, medians of entries then ranked at the top; a leaver counts as the lowest. */
function decayRows(text: string): readonly CalibrationRow[] {
  const lines = text.split(/\r?\n/);
  const header = lines[0].split('\t');
  const series = new Map<string, Map<number, { hours: number; rank: number }>>();
  for (const line of lines.slice(1)) {
    const cells = line.split('\t');
    const cell = (name: string): string => cells[header.indexOf(name)] ?? '';
    const week = Date.parse(cell('week')) / (7 * DAY_MS);
    if (Number.isNaN(week)) continue;
    const kind = cell('category').startsWith('TV') ? 'season' : 'film';
    const key = `${kind}\t${cell('show_title')}\t${cell('season_title')}`;
    const known = series.get(key) ?? new Map<number, { hours: number; rank: number }>();
    known.set(week, {
      hours: Number(cell('weekly_hours_viewed')),
      rank: Number(cell('weekly_rank')),
    });
    series.set(key, known);
  }
  const first = Math.min(...[...series.values()].flatMap((weeks) => [...weeks.keys()]));
  return (['season', 'film'] as const).flatMap((kind) =>
    WEEK_RATIOS[kind].slice(0, 4).map((generated, weeks) => {
      const ratios: number[] = [];
      for (const [key, own] of series) {
        const entry = Math.min(...own.keys());
        if (!key.startsWith(kind) || entry === first) continue;
        const before = own.get(entry + weeks);
        if (before === undefined || before.rank > ENTRY_RANK) continue;
        ratios.push((own.get(entry + weeks + 1)?.hours ?? 0) / before.hours);
      }
      ratios.sort((a, b) => a - b);
      return {
        table: 'top 10',
        what: `${kind}: week ${weeks + 2} over week ${weeks + 1}, median`,
        measured: ratios[ratios.length >> 1] ?? 0,
        generated,
      };
    }),
  );
}

function dayRows(day: CalibrationTables['days'][number]): readonly CalibrationRow[] {
  const points = day.text
    .split(/\r?\n/)
    .map((line) => line.split(',').map(Number))
    .filter(([at, requests]) => at > 0 && requests >= 0)
    .slice(0, -CUT_BINS);
  const mean = points.reduce((sum, [, requests]) => sum + requests, 0) / points.length;
  const curve = points.map(([at, requests]) => {
    const localHour = (((at / 3600 + day.offsetHours) % 24) + 24) % 24;
    return {
      measured: requests / mean,
      generated: curveAt(DAY_CURVES[day.name], localHour),
      localHour,
    };
  });
  const peak = (of: 'measured' | 'generated'): (typeof curve)[number] =>
    curve.reduce((best, point) => (point[of] > best[of] ? point : best));
  const deviation =
    curve.reduce((sum, point) => sum + Math.abs(point.measured - point.generated), 0) /
    curve.length;
  const table = `day, ${day.name} metro`;
  return [
    {
      table,
      what: 'peak over mean',
      measured: peak('measured').measured,
      generated: peak('generated').generated,
    },
    {
      table,
      what: 'local hour of the peak',
      measured: peak('measured').localHour,
      generated: peak('generated').localHour,
    },
    { table, what: 'mean distance, of the day’s mean', measured: 0, generated: deviation },
  ];
}
