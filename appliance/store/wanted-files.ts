/**
 * Takes over the manifest's set: what it names is pinned, what it does not becomes reactive and leaves when room is needed.
 * Nothing is deleted here.
 */
import type { Failure } from '#base/outcome.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';
import type { StoredEntry } from './entry.ts';
import type { VolumeState } from './volume-state.ts';
import type { CatalogueChange } from './volume.ts';

const ROWS_PER_COMMIT_MAX = 5000; // a commit of that many rows blocks for some 20 ms

export interface WantedFile {
  readonly titles: readonly TitleId[];
  readonly sizeBytes: number;
  readonly density: number;
}

/** Changes entries as it goes, and writes their rows; between two pieces the event loop turns. */
export async function takeWanted(
  wanted: ReadonlyMap<FileId, WantedFile>,
  entries: Iterable<StoredEntry>,
  volumes: readonly VolumeState[],
  nowMs: number,
  diskFailed: (state: VolumeState, failure: Failure) => void,
): Promise<void> {
  const changes: CatalogueChange[][] = volumes.map(() => []);
  let looked = 0;
  for (const entry of entries) {
    if (++looked % ROWS_PER_COMMIT_MAX === 0) await turn();
    if (entry.isGone) continue;
    if (!change(entry, wanted.get(entry.fileId), volumes[entry.volumeAt], nowMs)) continue;
    changes[entry.volumeAt].push({ kind: 'put', row: entry.toRow() });
  }
  for (const [at, list] of changes.entries()) {
    const state = volumes[at];
    for (let from = 0; from < list.length && state.isUp; from += ROWS_PER_COMMIT_MAX) {
      const rows = list.slice(from, from + ROWS_PER_COMMIT_MAX);
      const committed = state.volume.catalogue.commit(rows);
      if (!committed.ok) diskFailed(state, committed.failure);
      await turn();
    }
  }
}

/** True where its row is another one now. */
function change(
  entry: StoredEntry,
  want: WantedFile | undefined,
  state: VolumeState,
  nowMs: number,
): boolean {
  const isPinned = want !== undefined;
  const density = want?.density ?? 0;
  const titles = want === undefined ? entry.titles : union(entry.titles, want.titles);
  if (entry.isPinned === isPinned && entry.forecastPerDay === density && titles === entry.titles) {
    return false;
  }
  const wasPinned = entry.isPinned;
  state.account(entry, -1);
  entry.isPinned = isPinned;
  entry.forecastPerDay = density;
  entry.titles = titles;
  state.account(entry, 1);
  if (isPinned) state.reactive.remove(entry);
  else if (wasPinned) state.reactive.enter(entry, nowMs, false);
  else state.reactive.used(entry, nowMs, 0);
  return true;
}

/** The same array where nothing is new. */
function union(have: readonly TitleId[], more: readonly TitleId[]): readonly TitleId[] {
  const added = more.filter((titleId) => !have.includes(titleId));
  return added.length === 0 ? have : [...have, ...added];
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
