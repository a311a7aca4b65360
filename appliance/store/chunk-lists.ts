/**
 * Chunk lists of files that are here: read beside the file when somebody needs one, checked against its id, kept while in use.
 */
import { LRUCache } from 'lru-cache';
import { failed, success, type Outcome } from '#base/outcome.ts';
import { MIB } from '#base/units.ts';
import { decodeChunkList, type ChunkList, type FileId } from '#upstream/contract.ts';
import type { StoredEntry } from './entry.ts';
import type { Volume } from './volume.ts';

const BYTES_MAX = 64 * MIB; // 2 M hashes: the lists in use, not the 240 M that exist

export class ChunkLists {
  readonly #known = new LRUCache<FileId, ChunkList>({
    maxSize: BYTES_MAX,
    sizeCalculation: (list) => list.hashes.length + 200,
  });

  /** A list that was checked a moment ago. */
  set(list: ChunkList): void {
    this.#known.set(list.fileId, list);
  }

  delete(fileId: FileId): void {
    this.#known.delete(fileId);
  }

  /** Failure 'chunk-list-bad': it is not this file's; any other: the disk's. */
  async of(entry: StoredEntry, volume: Volume): Promise<Outcome<ChunkList>> {
    const known = this.#known.get(entry.fileId);
    if (known !== undefined) return success(known);
    const encoded = await volume.files.readChunkList(entry.fileId);
    if (!encoded.ok) return encoded;
    const list = decodeChunkList(encoded.value, entry.fileId);
    if (!list.ok || list.value.sizeBytes !== entry.sizeBytes) {
      const why = list.ok ? 'another size' : list.failure;
      return failed({
        code: 'chunk-list-bad',
        source: 'disk',
        retry: 'another-source',
        detail: `${entry.fileId}: the chunk list on ${volume.name} is bad (${why}); the file was dropped`,
      });
    }
    this.#known.set(entry.fileId, list.value);
    return list;
  }
}
