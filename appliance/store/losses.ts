/**
 * What the store takes back: a chunk that is bad or was lost before it was durable, a file that is not where it should be.
 *
 * Invariants: (1) a chunk that was taken back is never served again under any cached name: its entry has a new serial first
 *             (2) a whole file that loses a chunk leaves the holdings at once
 *             (3) what happens to a disk's bytes is told to the disk watch, which judges the disk
 */
import type { Logger } from '#base/log.ts';
import type { Failure } from '#base/outcome.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import type { Catalogue } from './catalogue.ts';
import { ChunkSet } from './chunk-set.ts';
import type { DiskWatch } from './disk-watch.ts';
import type { StoredEntry } from './entry.ts';
import type { OpenFiles } from './open-files.ts';
import type { VolumeState } from './volume-state.ts';

export interface LossesDeps {
  readonly log: Logger;
  readonly volumes: readonly VolumeState[];
  readonly catalogue: Catalogue;
  readonly openFiles: OpenFiles;
  readonly watch: DiskWatch;
  /** Takes a whole file out of the store. */
  readonly drop: (entry: StoredEntry) => void;
}

export class Losses {
  readonly #deps: LossesDeps;
  chunksCorrupt = 0;
  filesLost = 0;

  constructor(deps: LossesDeps) {
    this.#deps = deps;
  }

  /** It is not here any more, on the disk's catalogue too, before this returns. */
  async dropChunk(entry: StoredEntry, index: number, why: string): Promise<void> {
    if (entry.isGone || !entry.has(index)) return;
    this.chunksCorrupt++;
    const state = this.#deps.volumes[entry.volumeAt];
    this.#deps.log.warn(
      { event: 'chunk-corrupt', fileId: entry.fileId, chunk: index, volume: state.volume.name },
      `chunk ${index} of ${entry.fileId} was dropped: ${why}`,
    );
    this.#withdraw(entry, [index]);
    const committed = state.volume.catalogue.commit([{ kind: 'put', row: entry.toRow() }]);
    const synced = committed.ok ? await state.volume.catalogue.sync() : committed;
    if (!synced.ok) this.#deps.watch.failed(state, synced.failure);
  }

  /** Written chunks that never became durable. */
  chunksLost(entry: StoredEntry, chunks: readonly number[], failure: Failure): void {
    if (!entry.isGone) this.#withdraw(entry, chunks);
    this.#deps.watch.failed(this.#deps.volumes[entry.volumeAt], failure);
  }

  lose(entry: StoredEntry, why: string): void {
    this.filesLost++;
    this.#deps.log.error(
      { event: 'file-lost', fileId: entry.fileId },
      `${entry.fileId} is lost: ${why}`,
    );
    this.#deps.drop(entry);
  }

  openFailed(entry: StoredEntry, failure: Failure): void {
    if (entry.isGone || failure.code === 'file-left') return;
    if (failure.code === 'file-missing') this.lose(entry, failure.detail);
    else this.#deps.watch.failed(this.#deps.volumes[entry.volumeAt], failure);
  }

  readFailed(entry: StoredEntry, offset: number, code: string): void {
    const index = Math.floor(offset / CHUNK_BYTES);
    void this.dropChunk(entry, index, `reading it at offset ${offset} failed (${code})`);
    this.#deps.watch.readFailed(this.#deps.volumes[entry.volumeAt], code);
  }

  /** Takes chunks out of what is readable and durable, in memory. */
  #withdraw(entry: StoredEntry, chunks: readonly number[]): void {
    const { volumes, catalogue, openFiles } = this.#deps;
    const state = volumes[entry.volumeAt];
    if (entry.readable === null) {
      entry.readable = new ChunkSet(entry.chunkCount).addAll();
      entry.durable = entry.readable.copy();
      catalogue.holdings.remove(entry.fileId);
    }
    let bytes = 0;
    for (const index of chunks) {
      if (entry.readable.remove(index)) bytes += entry.chunkBytes(index);
      entry.durable?.remove(index);
      state.group.forgetChunk(entry, index);
    }
    state.resize(entry, -bytes);
    entry.renewSerial();
    openFiles.detach(entry);
  }
}
