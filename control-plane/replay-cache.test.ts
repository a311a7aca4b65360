import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReplayCache } from './replay-cache.ts';
import { TokenBucket } from './token-bucket.ts';

test('an id is good once; a full cache refuses new ids and forgets only what has expired', () => {
  const cache = new ReplayCache(2);
  assert.equal(cache.use('a', 100, 0), 'fresh');
  assert.equal(cache.use('a', 100, 0), 'replayed');
  assert.equal(cache.use('b', 200, 0), 'fresh');
  assert.equal(cache.use('c', 300, 50), 'full');
  assert.equal(cache.use('a', 300, 50), 'replayed', 'nothing was dropped to make room');
  assert.equal(cache.use('c', 300, 150), 'fresh', 'a has expired');
  assert.equal(cache.use('b', 300, 150), 'replayed');
});

test('a budget gives its burst, then its rate', () => {
  const bucket = new TokenBucket(3, 2, 0);
  assert.deepEqual(
    [0, 0, 0, 0].map((atMs) => bucket.take(atMs)),
    [true, true, true, false],
  );
  assert.equal(bucket.take(400), false);
  assert.equal(bucket.take(500), true);
  assert.equal(bucket.take(600), false);
  const rested = [10_000, 10_000, 10_000, 10_000].map((atMs) => bucket.take(atMs));
  assert.deepEqual(rested, [true, true, true, false], 'rest does not save more than the burst');
});
