/**
 * The one way from bytes that came from anywhere to bytes that may be stored or served.
 *
 * The hash runs off the event loop (WebCrypto works on libuv's threads), so that fill does not stand in a viewer's way.
 */
import { chunkLengthOf, HASH_BYTES, type ChunkList, type FileId } from '#upstream/contract.ts';

const MADE_HERE = Symbol('made by verifyChunk');

/** Bytes whose SHA-256 is the one in the file's chunk list. Nobody changes them any more. */
export class VerifiedChunk {
  readonly fileId: FileId;
  readonly index: number;
  readonly bytes: Buffer;

  constructor(key: typeof MADE_HERE, fileId: FileId, index: number, bytes: Buffer) {
    if (key !== MADE_HERE) throw new TypeError('only verifyChunk makes one');
    this.fileId = fileId;
    this.index = index;
    this.bytes = bytes;
  }
}

/** Null where `bytes` are not chunk `index` of the file. */
export async function verifyChunk(
  list: ChunkList,
  index: number,
  bytes: Buffer,
): Promise<VerifiedChunk | null> {
  if (index < 0 || index >= list.chunkCount) return null;
  if (bytes.length !== chunkLengthOf(list, index)) return null;
  const actual = Buffer.from(await crypto.subtle.digest('SHA-256', bytes as Buffer<ArrayBuffer>));
  const expected = list.hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
  return actual.equals(expected) ? new VerifiedChunk(MADE_HERE, list.fileId, index, bytes) : null;
}
