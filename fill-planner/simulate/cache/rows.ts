/**
 * Results of the cache simulator as a table for a person: object and byte misses side by side, never mixed.
 */
import { formatBytes } from '#base/units.ts';

export interface Row {
  readonly policy: string;
  readonly sizeBytes: number;
  readonly objectMissRatio: number;
  readonly byteMissRatio: number;
  readonly objectMissRatioError?: number;
  readonly byteMissRatioError?: number;
  readonly missObjects?: number;
  readonly missBytes?: number;
  readonly requests?: number;
  readonly oversizeRequests?: number;
  readonly isPartial?: boolean;
}

export function printRows(rows: readonly Row[]): void {
  const percent = (ratio: number, error: number | undefined): string =>
    `${(ratio * 100).toFixed(2)} %${error === undefined ? '' : ` ± ${(error * 100).toFixed(2)}`}`;
  console.log(
    `${'cache size'.padEnd(12)}${'policy'.padEnd(14)}${'object misses'.padEnd(20)}byte misses`,
  );
  for (const row of rows) {
    const objects = percent(row.objectMissRatio, row.objectMissRatioError);
    const bytes = percent(row.byteMissRatio, row.byteMissRatioError);
    console.log(
      `${formatBytes(row.sizeBytes).padEnd(12)}${row.policy.padEnd(14)}${objects.padEnd(20)}${bytes}${notesOf(row)}`,
    );
  }
}

function notesOf({ oversizeRequests = 0, isPartial = false, requests }: Row): string {
  const notes: string[] = [];
  if (oversizeRequests > 0)
    notes.push(`${oversizeRequests} requests are for objects larger than the cache`);
  if (isPartial) notes.push(`partial: ${requests} requests`);
  return notes.length === 0 ? '' : `   ${notes.join('; ')}`;
}
