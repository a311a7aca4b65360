import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import {
  CHUNK_BYTES,
  decodeChunkList,
  encodeChunkList,
  fileIdOf,
  type ChunkList,
} from '#upstream/contract.ts';
import { ChunkVerifier } from './chunk-verifier.ts';

function fileOf(sizeBytes: number): { bytes: Buffer; list: ChunkList } {
  const bytes = Buffer.alloc(sizeBytes, 'nightfill');
  const hashes: Buffer[] = [];
  for (let at = 0; at < sizeBytes; at += CHUNK_BYTES) {
    hashes.push(
      createHash('sha256')
        .update(bytes.subarray(at, at + CHUNK_BYTES))
        .digest(),
    );
  }
  const encoded = encodeChunkList(sizeBytes, Buffer.concat(hashes));
  const list = decodeChunkList(encoded, fileIdOf(encoded));
  assert.ok(list.ok);
  return { bytes, list: list.value };
}

test('a file that arrives in pieces of any size is verified to its last byte', () => {
  const { bytes, list } = fileOf(3 * CHUNK_BYTES + 1);
  const random = seededRandom(1);
  const verifier = new ChunkVerifier(list);
  for (let at = 0; at < bytes.length;) {
    const length = 1 + random.below(300_000);
    verifier.take(bytes.subarray(at, at + length));
    at += length;
  }
  assert.equal(verifier.verifiedBytes, bytes.length);
  assert.equal(verifier.takenBytes, bytes.length);
  assert.deepEqual(verifier.badChunks, []);
});

test('one flipped bit costs its chunk, and only that', () => {
  const { bytes, list } = fileOf(3 * CHUNK_BYTES + 1);
  bytes[CHUNK_BYTES + 5] ^= 1;
  const verifier = new ChunkVerifier(list);
  verifier.take(bytes);
  assert.deepEqual(verifier.badChunks, [1]);
  assert.equal(verifier.verifiedBytes, bytes.length - CHUNK_BYTES);
});

test('more bytes than the file has are refused', () => {
  const { bytes, list } = fileOf(10);
  const verifier = new ChunkVerifier(list);
  verifier.take(bytes);
  assert.throws(() => verifier.take(Buffer.from('x')), RangeError);
});
