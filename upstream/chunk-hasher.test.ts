import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { ChunkHasher } from './chunk-hasher.ts';
import { CHUNK_BYTES, chunkMatches, decodeChunkList, FILE_ID_VECTORS } from './contract.ts';

function patternOf(sizeBytes: number): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at < sizeBytes; at++) bytes[at] = at % 251;
  return bytes;
}

for (const { sizeBytes, fileId } of FILE_ID_VECTORS) {
  test(`the reference content of ${sizeBytes} bytes has the id of the contract's vector`, () => {
    const hasher = new ChunkHasher();
    hasher.update(patternOf(sizeBytes));
    assert.equal(hasher.finish()?.fileId, fileId);
  });
}

test('the id does not depend on how the bytes arrive', () => {
  const random = seededRandom(41);
  const bytes = patternOf(3 * CHUNK_BYTES + 1);
  const hasher = new ChunkHasher();
  for (let at = 0; at < bytes.length;) {
    const take = 1 + random.below(400_000);
    hasher.update(bytes.subarray(at, at + take));
    at += take;
  }
  const hashed = hasher.finish();
  assert.equal(hashed?.fileId, FILE_ID_VECTORS[2].fileId);
  assert.equal(hashed?.sizeBytes, bytes.length);
});

test('every chunk matches the list that was made, and a flipped bit does not', () => {
  const bytes = patternOf(2 * CHUNK_BYTES + 17);
  const hasher = new ChunkHasher();
  hasher.update(bytes);
  const hashed = hasher.finish();
  assert.ok(hashed !== null);
  const list = decodeChunkList(hashed.encodedChunkList, hashed.fileId);
  assert.ok(list.ok);
  assert.equal(list.value.chunkCount, 3);
  for (let index = 0; index < 3; index++) {
    const chunk = bytes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
    assert.ok(chunkMatches(list.value, index, chunk));
    const flipped = Buffer.from(chunk);
    flipped[flipped.length >> 1] ^= 1;
    assert.ok(!chunkMatches(list.value, index, flipped));
  }
});

test('no bytes at all have no id', () => {
  const hasher = new ChunkHasher();
  hasher.update(Buffer.alloc(0));
  assert.equal(hasher.finish(), null);
});
