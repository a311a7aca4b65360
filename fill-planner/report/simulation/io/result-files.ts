/**
 * Reads simulation results back, and writes reports whole or not at all.
 *
 * Shape:  a JSON file with one result, or with a list of them (a scenario, then its variants)
 * Errors: each names the file and what is wrong with it
 */
import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import type { Outcome } from '#base/outcome.ts';
import { checkResult, type SimulationResult } from '../../../simulate/result.ts';

const BYTES_MAX = 512 * 2 ** 20;

/** `FILE` or `FILE#variant`; of a list without a variant all are given. */
export function readResults(
  argument: string,
): Outcome<readonly [SimulationResult, ...SimulationResult[]], string> {
  const [, file, variant] = /^(.*?)(?:#([a-z0-9-]+))?$/s.exec(argument) ?? ['', argument];
  const parsed = parsedFile(file);
  if (!parsed.ok) return parsed;
  const list: readonly unknown[] = Array.isArray(parsed.value) ? parsed.value : [parsed.value];
  const results: SimulationResult[] = [];
  for (const entry of list) {
    const checked = checkResult(entry);
    if (!checked.ok) {
      const [problem] = checked.failure;
      return refused(
        file,
        `no simulation result: ${problem}; give the .json that simulate run wrote`,
      );
    }
    results.push(checked.value);
  }
  const chosen =
    variant === undefined ? results : results.filter((result) => result.meta.variant === variant);
  const [first, ...rest] = chosen;
  if (first === undefined) {
    const names = results.map((result) => result.meta.variant).join(', ') || 'none at all';
    return refused(file, `has no variant ${variant ?? ''}; it has ${names}`);
  }
  return { ok: true, value: [first, ...rest] };
}

export function writeReport(file: string, html: string): Outcome<number, string> {
  try {
    writeFileSync(`${file}.part`, html);
    renameSync(`${file}.part`, file);
    return { ok: true, value: Buffer.byteLength(html) };
  } catch (error) {
    return refused(file, `could not be written: ${(error as Error).message}`);
  }
}

function parsedFile(file: string): Outcome<unknown, string> {
  try {
    if (statSync(file).size > BYTES_MAX) return refused(file, 'is over 512 MiB');
    return { ok: true, value: JSON.parse(readFileSync(file, 'utf8')) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return refused(file, code === 'ENOENT' ? 'there is no such file' : message);
  }
}

function refused(file: string, why: string): { ok: false; failure: string } {
  return { ok: false, failure: `${file}: ${why}` };
}
