/**
 * Chunks kept in memory for the portable sender, bounded in bytes, admitted on their second hit.
 *
 * Why the second hit: one viewer who reads a film once would otherwise wash out what many watch.
 *
 * Invariants: (1) the bytes of an entry are never changed: answers hold views of them while the entry may already be evicted
 *             (2) an entry's key names one file of this process (StoredFile.serial): a file stored anew has another serial
 */
import { LRUCache } from 'lru-cache';
import { CHUNK_BYTES } from '#upstream/contract.ts';

const SEEN_ONCE_MAX = 65_536; // keys, about 5 MB
const CHUNKS_PER_FILE_MAX = 2 ** 20; // FILE_BYTES_MAX / CHUNK_BYTES

export class HotChunks {
  readonly #chunks: LRUCache<number, Buffer> | null;
  readonly #seenOnce = new LRUCache<number, true>({ max: SEEN_ONCE_MAX });
  hits = 0;
  misses = 0;

  /** `bytesMax` 0 switches the cache off. */
  constructor(bytesMax: number) {
    this.#chunks =
      bytesMax < CHUNK_BYTES
        ? null
        : new LRUCache({ maxSize: bytesMax, sizeCalculation: (chunk) => chunk.length });
  }

  get(fileSerial: number, chunkIndex: number): Buffer | undefined {
    const found = this.#chunks?.get(keyOf(fileSerial, chunkIndex));
    if (found === undefined) this.misses++;
    else this.hits++;
    return found;
  }

  /** True when this miss is the chunk's second: the caller should read all of it and `put` it. */
  isWorthKeeping(fileSerial: number, chunkIndex: number): boolean {
    if (this.#chunks === null) return false;
    const key = keyOf(fileSerial, chunkIndex);
    if (this.#seenOnce.has(key)) return true;
    this.#seenOnce.set(key, true);
    return false;
  }

  put(fileSerial: number, chunkIndex: number, bytes: Buffer): void {
    const key = keyOf(fileSerial, chunkIndex);
    this.#seenOnce.delete(key);
    this.#chunks?.set(key, bytes);
  }

  /** A chunk that turned out bad, or a file that left. */
  drop(fileSerial: number, chunkIndex: number): void {
    this.#chunks?.delete(keyOf(fileSerial, chunkIndex));
  }
}

function keyOf(fileSerial: number, chunkIndex: number): number {
  return fileSerial * CHUNKS_PER_FILE_MAX + chunkIndex;
}
