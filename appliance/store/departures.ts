/**
 * Files that leave a disk, and what lies there without a row.
 *
 * Invariants: (1) the catalogue forgets a file for good before its bytes go: a power cut between the two leaves bytes without a
 *                 row, never a row without bytes
 *             (2) whoever begins a file that is leaving waits until it has left
 */
import type { Failure, Outcome } from '#base/outcome.ts';
import type { FileId } from '#upstream/contract.ts';
import type { VolumeState } from './volume-state.ts';

export class Departures {
  readonly #leaving = new Map<FileId, Promise<void>>();
  readonly #diskFailed: (state: VolumeState, failure: Failure) => void;

  constructor(diskFailed: (state: VolumeState, failure: Failure) => void) {
    this.#diskFailed = diskFailed;
  }

  /** Resolves once the file, if it is leaving, has left. */
  async settled(fileId: FileId): Promise<void> {
    await this.#leaving.get(fileId);
  }

  async allSettled(): Promise<void> {
    await Promise.all(this.#leaving.values());
  }

  /** Removes a file that memory has forgotten. */
  leave(state: VolumeState, fileId: FileId): void {
    if (!state.isUp) return;
    this.#note(
      fileId,
      removeWithRow(state, fileId).then((removed) => {
        if (!removed.ok) this.#diskFailed(state, removed.failure);
      }),
    );
  }

  /** Removes what lies on a volume without a row: the room of removals and beginnings that a power cut interrupted. */
  async sweep(state: VolumeState, isKnown: (fileId: FileId) => boolean): Promise<number> {
    let removed = 0;
    for await (const fileId of state.volume.files.named()) {
      if (isKnown(fileId) || this.#leaving.has(fileId)) continue;
      // A file that another volume has too has a row here, which goes first.
      const hasRow = state.volume.catalogue.row(fileId) !== null;
      const removing = hasRow ? removeWithRow(state, fileId) : state.volume.files.remove(fileId);
      // As if it were leaving: whoever begins the same file meanwhile waits.
      this.#note(
        fileId,
        removing.then(() => {}),
      );
      if ((await removing).ok) removed++;
      await this.settled(fileId);
    }
    return removed;
  }

  #note(fileId: FileId, work: Promise<void>): void {
    const leaving = work.finally(() => this.#leaving.delete(fileId));
    this.#leaving.set(fileId, leaving);
  }
}

async function removeWithRow(state: VolumeState, fileId: FileId): Promise<Outcome<void>> {
  const { catalogue, files } = state.volume;
  const committed = catalogue.commit([{ kind: 'remove', fileId }]);
  const synced = committed.ok ? await catalogue.sync() : committed;
  return synced.ok ? files.remove(fileId) : synced;
}
