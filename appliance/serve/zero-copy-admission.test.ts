import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkHistory } from './zero-copy-admission.ts';

test('the second request for a chunk is told from the first, per file and chunk', () => {
  const history = new ChunkHistory();
  assert.equal(history.isSecondHit(1, 5), false);
  assert.equal(history.isSecondHit(1, 6), false);
  assert.equal(history.isSecondHit(2, 5), false);
  assert.equal(history.isSecondHit(1, 5), true);
  assert.equal(history.isSecondHit(1, 5), true);
});

test('what was asked for long ago is forgotten, what was asked for lately is not', () => {
  const history = new ChunkHistory();
  history.isSecondHit(1, 0);
  for (let chunk = 0; chunk < 100_000; chunk++) history.isSecondHit(2, chunk);
  assert.equal(history.isSecondHit(2, 99_999), true);
  assert.equal(history.isSecondHit(2, 40_000), true, 'one set back');
  for (let chunk = 0; chunk < 100_000; chunk++) history.isSecondHit(3, chunk);
  assert.equal(history.isSecondHit(1, 0), false);
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
