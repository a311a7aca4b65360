/**
 * Files that come in: room, names and a chunk list first, then chunk by verified chunk.
 *
 * Invariants: (1) only a VerifiedChunk is written
 *             (2) a file is begun once, whoever asks for it at the same time
 *             (3) room is taken before anything awaits: two beginnings never take the same
 */
import type { Clock } from '#base/clock.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { CHUNK_BYTES, decodeChunkList, type FileId, type TitleId } from '#upstream/contract.ts';
import type { Catalogue } from './catalogue.ts';
import type { ChunkLists } from './chunk-lists.ts';
import { ChunkSet } from './chunk-set.ts';
import type { Departures } from './departures.ts';
import type { DiskWatch } from './disk-watch.ts';
import { StoredEntry } from './entry.ts';
import { COLD, viewsPerDay } from './heat.ts';
import type { OpenFiles } from './open-files.ts';
import { choosePlacement } from './placement.ts';
import type { ReactiveRoom } from './reactive-room.ts';
import type { VerifiedChunk } from './verified-chunk.ts';
import type { VolumeState } from './volume-state.ts';

/** What a file is, before its first chunk. */
export interface NewFile {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly titles: readonly TitleId[];
  readonly isPinned: boolean;
  readonly forecastPerDay: number;
  readonly chunkList: Buffer; // encoded; checked here again
  readonly from: string;
  /** It was pulled through at its first request: reactive-set.ts. */
  readonly isOnTrial?: boolean;
}

export interface ArrivalsDeps {
  readonly clock: Clock;
  readonly nowMs: () => number;
  readonly volumes: readonly VolumeState[];
  readonly catalogue: Catalogue;
  readonly openFiles: OpenFiles;
  readonly chunkLists: ChunkLists;
  readonly departures: Departures;
  readonly room: ReactiveRoom;
  readonly watch: DiskWatch;
  /** A file that should be here could not be opened. */
  readonly openFailed: (entry: StoredEntry, failure: Failure) => void;
}

export class Arrivals {
  readonly #deps: ArrivalsDeps;
  readonly #beginning = new Map<FileId, Promise<Outcome<StoredEntry>>>();

  constructor(deps: ArrivalsDeps) {
    this.#deps = deps;
  }

  isBeginning(fileId: FileId): boolean {
    return this.#beginning.has(fileId);
  }

  /** Makes room for a file and its first row. A file that is here already is returned as it is. */
  async begin(file: NewFile): Promise<Outcome<StoredEntry>> {
    const here = this.#deps.catalogue.get(file.fileId);
    if (here !== undefined) return success(here);
    const underWay = this.#beginning.get(file.fileId);
    if (underWay !== undefined) return underWay;
    const beginning = this.#begin(file).finally(() => this.#beginning.delete(file.fileId));
    this.#beginning.set(file.fileId, beginning);
    return beginning;
  }

  async #begin(file: NewFile): Promise<Outcome<StoredEntry>> {
    const list = decodeChunkList(file.chunkList, file.fileId);
    if (!list.ok || list.value.sizeBytes !== file.sizeBytes) {
      return failed({
        code: 'chunk-list-bad',
        source: 'upstream',
        retry: 'another-source',
        detail: `${file.fileId}: the chunk list from ${file.from} is ${list.ok ? 'for another size' : list.failure}`,
      });
    }
    await this.#deps.departures.settled(file.fileId);
    await this.#deps.catalogue.whenLoaded(); // what is free is not known before
    const nowMs = this.#deps.nowMs();
    const needBytes = file.isPinned ? file.sizeBytes : Math.min(file.sizeBytes, CHUNK_BYTES);
    const rooms = this.#deps.volumes.map((state) => state.room(this.#deps.clock.monotonicMs()));
    const heat = this.#deps.room.takeBack(file.fileId) ?? COLD;
    const at = choosePlacement(rooms, needBytes, viewsPerDay(heat, file.forecastPerDay, nowMs));
    if (at === 'no-room' || !this.#deps.room.make(this.#deps.volumes[at], needBytes)) {
      return failed(this.#noRoom(needBytes));
    }
    const state = this.#deps.volumes[at];
    const entry = new StoredEntry(
      at,
      { ...file, storedAtMs: nowMs },
      new ChunkSet(list.value.chunkCount),
      false,
    );
    entry.heat = heat;
    state.account(entry, 1); // before anything awaits: the room is taken
    const made = await this.#makeFiles(state, entry, file.chunkList);
    if (!made.ok || !state.isUp) {
      if (state.isUp) state.account(entry, -1);
      if (!made.ok) this.#deps.watch.failed(state, made.failure);
      return made.ok ? failed(this.#noRoom(needBytes)) : made;
    }
    this.#deps.catalogue.add(entry);
    this.#deps.chunkLists.set(list.value);
    if (!entry.isPinned) state.reactive.enter(entry, nowMs, file.isOnTrial === true);
    return success(entry);
  }

  async #makeFiles(
    state: VolumeState,
    entry: StoredEntry,
    chunkList: Buffer,
  ): Promise<Outcome<void>> {
    const { files } = state.volume;
    const created = await files.create(entry.fileId);
    if (!created.ok) return created;
    const listed = await files.writeChunkList(entry.fileId, chunkList);
    if (!listed.ok || !state.isUp) {
      files.close(created.value);
      return listed;
    }
    this.#deps.openFiles.release(this.#deps.openFiles.attach(entry, created.value));
    return success(undefined);
  }

  /** Stores a chunk that was verified. "already" where it is here. */
  async writeChunk(
    entry: StoredEntry,
    chunk: VerifiedChunk,
    from: string,
  ): Promise<Outcome<'stored' | 'already'>> {
    const state = this.#deps.volumes[entry.volumeAt];
    if (entry.isGone) return failed(leftFailure(entry));
    if (entry.has(chunk.index)) return success('already');
    if (!entry.isPinned && !this.#deps.room.make(state, chunk.bytes.length, entry)) {
      return failed(this.#noRoom(chunk.bytes.length));
    }
    const file = await this.#deps.openFiles.take(entry, true);
    if (!file.ok) {
      this.#deps.openFailed(entry, file.failure);
      return file;
    }
    const offset = chunk.index * CHUNK_BYTES;
    const written = await state.volume.files.write(file.value.content, chunk.bytes, offset);
    this.#deps.openFiles.release(file.value);
    if (!written.ok) {
      this.#deps.watch.failed(state, written.failure);
      return written;
    }
    if (entry.isGone) return failed(leftFailure(entry));
    if (entry.readable === null || !entry.readable.add(chunk.index)) return success('already');
    state.resize(entry, chunk.bytes.length);
    entry.from = from;
    state.group.add(entry, chunk.index);
    return success('stored');
  }

  #noRoom(bytes: number): Failure {
    const volumes = this.#deps.volumes
      .map(
        (state) => `${state.volume.name}: ${state.isUp ? `${state.freeBytes} bytes free` : 'out'}`,
      )
      .join(', ');
    return {
      code: 'no-room',
      source: 'disk',
      retry: 'never',
      detail: `no volume has room for ${bytes} bytes (${volumes})`,
    };
  }
}

function leftFailure(entry: StoredEntry): Failure {
  return {
    code: 'file-left',
    source: 'self',
    retry: 'never',
    detail: `${entry.fileId} left the store`,
  };
}
