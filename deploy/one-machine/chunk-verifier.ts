/**
 * Checks a file's bytes against its chunk list as they arrive in order.
 *
 * Invariants: (1) `verifiedBytes` counts only whole chunks whose hash matched
 *             (2) after the last byte, verifiedBytes === sizeBytes or the file is not what its id says
 */
import { chunkLengthOf, chunkMatches, type ChunkList } from '#upstream/contract.ts';

export class ChunkVerifier {
  readonly #list: ChunkList;
  readonly #chunk: Buffer;
  #filled = 0;
  #index = 0;
  takenBytes = 0;
  verifiedBytes = 0;
  readonly badChunks: number[] = [];

  constructor(list: ChunkList) {
    this.#list = list;
    this.#chunk = Buffer.alloc(list.chunkBytes);
  }

  /** Takes the next bytes of the file. Throws RangeError past its end. */
  take(bytes: Buffer): void {
    this.takenBytes += bytes.length;
    let from = 0;
    while (from < bytes.length) {
      if (this.#index >= this.#list.chunkCount)
        throw new RangeError('more bytes than the file has');
      const length = chunkLengthOf(this.#list, this.#index);
      const taken = Math.min(length - this.#filled, bytes.length - from);
      bytes.copy(this.#chunk, this.#filled, from, from + taken);
      this.#filled += taken;
      from += taken;
      if (this.#filled === length) this.#finishChunk(length);
    }
  }

  #finishChunk(length: number): void {
    if (chunkMatches(this.#list, this.#index, this.#chunk.subarray(0, length)))
      this.verifiedBytes += length;
    else this.badChunks.push(this.#index);
    this.#index++;
    this.#filled = 0;
  }
}
