/**
 * A process's state directory: made on first use, refused when another format wrote it.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { codeOf, messageOf } from '../outcome.ts';

export class StateDirProblem extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'StateDirProblem';
  }
}

/** Opens (or makes) `directory` for `format`. Throws StateDirProblem: what is wrong, where, what to do. */
export function openStateDir(directory: string, format: string): void {
  const marker = path.join(directory, 'format');
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const found = readFileSync(marker, 'utf8').trim();
    if (found !== format) {
      throw new StateDirProblem(
        `${directory} was written by format ${found}, this program reads ${format}: ` +
          'use another state directory, or the version of the program that wrote this one',
      );
    }
  } catch (thrown) {
    if (thrown instanceof StateDirProblem) throw thrown;
    if (codeOf(thrown) === 'ENOENT') {
      writeFileSync(marker, `${format}\n`);
      return;
    }
    throw new StateDirProblem(
      `cannot use ${directory} as a state directory: ${messageOf(thrown)}`,
      thrown,
    );
  }
}
