/**
 * Cuts a stream of bytes into chunks and hashes them: what a file's id is made of.
 *
 * Shape: update(bytes)* -> finish() -> { fileId, sizeBytes, encoded chunk list }
 * Units: bytes; pieces may have any length, chunk edges fall where they fall
 */
import { createHash, type Hash } from 'node:crypto';
import { assert } from '#base/outcome.ts';
import { CHUNK_BYTES, encodeChunkList, fileIdOf, type FileId } from './contract.ts';

export interface HashedFile {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly encodedChunkList: Buffer;
}

export class ChunkHasher {
  #hash: Hash = createHash('sha256');
  #bytesInChunk = 0;
  #sizeBytes = 0;
  readonly #hashes: Buffer[] = [];

  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const take = Math.min(bytes.length - at, CHUNK_BYTES - this.#bytesInChunk);
      this.#hash.update(bytes.subarray(at, at + take));
      this.#bytesInChunk += take;
      at += take;
      if (this.#bytesInChunk === CHUNK_BYTES) this.#endChunk();
    }
    this.#sizeBytes += bytes.length;
  }

  /** Null where there was not one byte: such a file has no id. */
  finish(): HashedFile | null {
    if (this.#bytesInChunk > 0) this.#endChunk();
    if (this.#sizeBytes === 0) return null;
    assert(this.#hashes.length > 0, 'bytes were hashed, so there is a chunk');
    const encodedChunkList = encodeChunkList(this.#sizeBytes, Buffer.concat(this.#hashes));
    return { fileId: fileIdOf(encodedChunkList), sizeBytes: this.#sizeBytes, encodedChunkList };
  }

  #endChunk(): void {
    this.#hashes.push(this.#hash.digest());
    this.#hash = createHash('sha256');
    this.#bytesInChunk = 0;
  }
}
