import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { ChunkHistory } from './zero-copy-admission.ts';

/** A whole chunk is read. */
function isSecond(history: ChunkHistory, serial: number, chunk: number): boolean {
  return history.isSecondHit(serial, chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
}

test('the second request for a chunk is told from the first, per file and chunk', () => {
  const history = new ChunkHistory();
  assert.equal(isSecond(history, 1, 5), false);
  assert.equal(isSecond(history, 1, 6), false);
  assert.equal(isSecond(history, 2, 5), false);
  assert.equal(isSecond(history, 1, 5), true);
  assert.equal(isSecond(history, 1, 5), true);
});

test('one viewer who reads on within a chunk is no second hit, whoever follows is', () => {
  const history = new ChunkHistory();
  const ranges = [0, 300_000, 700_000, 1_200_000, 1_900_000, 2_097_152];
  const film = (): readonly boolean[] =>
    ranges.slice(1).map((end, at) => history.isSecondHit(1, ranges[at], end));
  assert.deepEqual(film(), [false, false, false, false, false]);
  assert.ok(film()[0], 'the same range again');
});

test('what was asked for long ago is forgotten, what was asked for lately is not', () => {
  const history = new ChunkHistory();
  isSecond(history, 1, 0);
  for (let chunk = 0; chunk < 100_000; chunk++) isSecond(history, 2, chunk);
  assert.equal(isSecond(history, 2, 99_999), true);
  assert.equal(isSecond(history, 2, 40_000), true, 'one map back');
  for (let chunk = 0; chunk < 100_000; chunk++) isSecond(history, 3, chunk);
  assert.equal(isSecond(history, 1, 0), false);
});

test('residency is believed for a second, of that chunk only', () => {
  const history = new ChunkHistory();
  assert.equal(history.wasResident(1, 0, 0), false);
  history.foundResident(1, 0, 1000);
  assert.equal(history.wasResident(1, 0, 1999), true);
  assert.equal(history.wasResident(1, 0, 2000), false);
  assert.equal(history.wasResident(1, 1, 1000), false);
  assert.equal(history.wasResident(2, 0, 1000), false);
});
