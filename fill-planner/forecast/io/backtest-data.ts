/**
 * Reads the data of the backtests from a file, or from a directory and the directory `netflix` in it.
 *
 * Errors: a path that does not exist, a file above FILE_BYTES_MAX and a file that is none of the known tables throw with the
 *         path and what is wanted; rows that cannot be read are in `problems` with file and line
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { BacktestData } from '../backtest/suite.ts';
import { parseEngagement, type EngagementReport } from '../half-years/engagement.ts';
import { parseWeeklyList, type WeeklyList } from '../weekly-list/weekly-list.ts';

const FILE_BYTES_MAX = 256 * 1024 * 1024;
const FILES_MAX = 100;

export function readBacktestData(where: string): BacktestData {
  const files = filesOf(where);
  const lists: { file: string; list: WeeklyList }[] = [];
  const reports: EngagementReport[] = [];
  const problems: string[] = [];
  for (const file of files) {
    const { size } = statSync(file);
    if (size > FILE_BYTES_MAX)
      throw new Error(`${file} has ${size} bytes, above ${FILE_BYTES_MAX}`);
    const text = readFileSync(file, 'utf8');
    const parsed = file.endsWith('.tsv') ? parseWeeklyList(text) : parseEngagement(text);
    if (!parsed.ok) throw new Error(`${file} cannot be read: ${parsed.failure}`);
    if ('list' in parsed.value) lists.push({ file, list: parsed.value.list });
    else reports.push(parsed.value);
    problems.push(...parsed.value.problems.map((problem) => `${file}: ${problem}`));
  }
  return {
    lists: lists.map(({ file, list }) => ({
      name: lists.length === 1 ? 'top10' : `top10 ${path.basename(file, '.tsv')}`,
      list,
    })),
    reports,
    problems,
  };
}

function filesOf(where: string): readonly string[] {
  if (!existsSync(where)) {
    throw new Error(
      `--data ${where} does not exist: name a weekly list (.tsv), an engagement report (.csv), or a directory of them`,
    );
  }
  if (statSync(where).isFile()) return [where];
  const inside = path.join(where, 'netflix');
  const directories = existsSync(inside) ? [where, inside] : [where];
  const files = directories.flatMap((directory) =>
    readdirSync(directory)
      .filter((name) => name.endsWith('.tsv') || /^engagement.*\.csv$/.test(name))
      .sort()
      .map((name) => path.join(directory, name)),
  );
  if (files.length === 0) {
    throw new Error(`--data ${where} holds no weekly list (*.tsv) and no report (engagement*.csv)`);
  }
  if (files.length > FILES_MAX)
    throw new Error(`--data ${where} holds more than ${FILES_MAX} tables`);
  return files;
}
