/**
 * Nights on disk: what was handed in, what waits for approval. One JSON file per run, written whole or not at all.
 *
 * handed-in/<plan date>_<run>.json, held/<plan date>_<run>.json
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openStateDir } from '#base/io/state-dir.ts';
import { checkNightRecord, type NightRecord } from '../report/record.ts';

export const PLAN_STATE_FORMAT = '1';
const KEPT_MAX = 30; // nights: a month to look back on

export type Shelf = 'handed-in' | 'held';

export class PlanStore {
  readonly #directory: string;

  /** Throws StateDirProblem where the directory is not ours or cannot be made. */
  constructor(directory: string) {
    openStateDir(directory, PLAN_STATE_FORMAT);
    this.#directory = directory;
    for (const shelf of ['handed-in', 'held'] as const) {
      mkdirSync(path.join(directory, shelf), { recursive: true });
    }
  }

  save(shelf: Shelf, record: NightRecord): void {
    const file = this.#path(shelf, nameOf(record));
    writeFileSync(`${file}.tmp`, JSON.stringify(record));
    renameSync(`${file}.tmp`, file);
    const names = this.names(shelf);
    for (const name of names.slice(0, Math.max(0, names.length - KEPT_MAX))) {
      rmSync(this.#path(shelf, name));
    }
  }

  /** The last night before `planDate`: tonight's own earlier run is no yesterday. */
  lastBefore(planDate: string): NightRecord | null {
    const name = this.names('handed-in').findLast((entry) => entry < planDate);
    return name === undefined ? null : this.#read('handed-in', name);
  }

  /** A night by its run, its plan date or the beginning of either; the latest that fits. Throws where none does. */
  find(wanted: string, shelves: readonly Shelf[] = ['held', 'handed-in']): NightRecord {
    for (const shelf of shelves) {
      const name = this.names(shelf).findLast(
        (entry) => entry.startsWith(wanted) || entry.slice(11).startsWith(wanted),
      );
      if (name !== undefined) return this.#read(shelf, name);
    }
    const known = shelves.flatMap((shelf) =>
      this.names(shelf).map((name) => `${name.replace('.json', '')} (${shelf})`),
    );
    throw new Error(
      `no plan ${wanted} in ${this.#directory}: known are ${known.join(', ') || 'none'}`,
    );
  }

  release(record: NightRecord): void {
    rmSync(this.#path('held', nameOf(record)), { force: true });
  }

  names(shelf: Shelf): readonly string[] {
    return readdirSync(path.join(this.#directory, shelf))
      .filter((name) => name.endsWith('.json'))
      .sort();
  }

  #read(shelf: Shelf, name: string): NightRecord {
    const file = this.#path(shelf, name);
    const checked = checkNightRecord(JSON.parse(readFileSync(file, 'utf8')));
    if (!checked.ok) throw new Error(`${file} is no night's record: ${checked.failure[0]}`);
    return checked.value;
  }

  #path(shelf: Shelf, name: string): string {
    return path.join(this.#directory, shelf, name);
  }
}

function nameOf(record: NightRecord): string {
  return `${record.planSet.planDate}_${record.planSet.run.slice(0, 22)}.json`;
}
