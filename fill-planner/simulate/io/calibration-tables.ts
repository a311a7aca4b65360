/**
 * The public tables from the shared data directory; what is not there is named and left out.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { CalibrationTables } from '../workload/calibration.ts';

const HALF_YEARS = [
  ['engagement 2023 H1', ['engagement_2023Jan-Jun.csv']],
  ['engagement 2023 H2', ['engagement_2023Jul-Dec.Film.csv', 'engagement_2023Jul-Dec.TV.csv']],
  ['engagement 2024 H1', ['engagement_2024Jan-Jun.Film.csv', 'engagement_2024Jan-Jun.TV.csv']],
  ['engagement 2024 H2', ['engagement_2024Jul-Dec.Film.csv', 'engagement_2024Jul-Dec.TV.csv']],
] as const;
/** Which clock the metro lives by is not said; the shapes fit these summer times. */
const DAYS = [
  ['eu', 'video-eu-metro.csv', 2],
  ['us', 'video-us-metro-2024-05-12.csv', -4],
] as const;

export function readCalibrationTables(directory: string): {
  readonly tables: CalibrationTables;
  readonly problems: readonly string[];
} {
  const problems: string[] = [];
  const read = (...parts: readonly string[]): string | null => {
    const file = path.join(directory, ...parts);
    try {
      return readFileSync(file, 'utf8');
    } catch {
      problems.push(`${file} could not be read: its rows are left out`);
      return null;
    }
  };
  return {
    tables: {
      engagement: HALF_YEARS.flatMap(([name, files]) => {
        const texts = files.flatMap((file) => read('netflix', file) ?? []);
        return texts.length > 0 ? [{ name, texts }] : [];
      }),
      topTen: read('netflix', 'all-weeks-global.tsv'),
      days: DAYS.flatMap(([name, file, offsetHours]) => {
        const text = read('diurnal', file);
        return text === null ? [] : [{ name, text, offsetHours }];
      }),
    },
    problems,
  };
}
