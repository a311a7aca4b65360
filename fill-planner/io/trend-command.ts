/**
 * `nightfill plan trend`: what is watched far more than forecast since the last look, and, with --hand-in, its files for the fast track.
 *
 * One look at a time: whoever runs it (the control plane, every quarter hour) starts it again. Between two looks STATE/trend.json holds
 * what was counted; it is written only when the look came to its end.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatBytes } from '#base/units.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import { checkTrendBook, trendingNow, type TrendBook, type TrendReport } from '../trending.ts';
import type { PlanRefusal } from '../night.ts';
import type { Outcome } from '#base/outcome.ts';
import type { ControlPlaneClient } from './control-plane-client.ts';
import { PLAN_STATE_FORMAT } from './plan-store.ts';

const TRENDS_SHOWN_MAX = 40;

export interface TrendRun {
  readonly given: unknown;
  readonly stateDir: string;
  readonly isJson: boolean;
  /** Null: shown, nothing handed in. */
  readonly client: ControlPlaneClient | null;
  readonly unwrap: (outcome: Outcome<TrendReport, PlanRefusal>) => TrendReport;
}

export async function lookAtTrends(run: TrendRun): Promise<void> {
  openStateDir(run.stateDir, PLAN_STATE_FORMAT);
  const file = path.join(run.stateDir, 'trend.json');
  const report = run.unwrap(trendingNow(run.given, readBook(file)));
  if (run.client !== null && report.entries.length > 0) {
    const posted = await run.client.postFastTrack(report.entries);
    if (!posted.ok) {
      throw new Error(`the fast track did not take the entries: ${posted.failure.detail}`);
    }
  }
  writeFileSync(`${file}.tmp`, JSON.stringify(report.book));
  renameSync(`${file}.tmp`, file);
  console.log(run.isJson ? JSON.stringify({ ...report, book: undefined }) : trendText(report));
  if (run.client !== null && !run.isJson && report.entries.length > 0) {
    console.log(`handed in: ${report.entries.length} files for the fast track`);
  }
}

/** Null where there is none, or one that says nothing: then this look is the first. */
function readBook(file: string): TrendBook | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return null;
  }
  try {
    const checked = checkTrendBook(JSON.parse(text));
    if (checked.ok) return checked.value;
  } catch {
    // Said below, like a book of another shape.
  }
  console.error(`nightfill plan trend: ${file} is no trend book: this look is the first`);
  return null;
}

export function trendText({ binMinutes, trends, entries }: TrendReport): string {
  if (binMinutes === null) {
    return 'first look of the day: starts are counted, the next look within an hour compares with them';
  }
  const minutes = `${Number(binMinutes.toPrecision(3))} minutes`;
  if (trends.length === 0) return `nothing trends: the last ${minutes} were as forecast`;
  const bytes = entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const shown = [...trends].sort((a, b) => b.rise - a.rise).slice(0, TRENDS_SHOWN_MAX);
  return [
    `${trends.length} titles trend in the last ${minutes}; ${entries.length} of their files (${formatBytes(bytes)}) are worth a fill before tonight`,
    ...shown.map(
      ({ titleId, home, starts, expectedStarts, rise, verdict }) =>
        `  ${titleId} at ${home}: ${starts} starts, ${Number(expectedStarts.toPrecision(2))} expected, ` +
        `${Number(rise.toPrecision(2))} times the forecast (${verdict.kind})`,
    ),
    ...(trends.length > shown.length ? [`  … and ${trends.length - shown.length} more`] : []),
  ].join('\n');
}
