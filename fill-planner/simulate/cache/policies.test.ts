/**
 * Every policy against a slow model of itself, or against what all of them must keep.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { POLICIES } from './catalogue.ts';
import { pfooLower, runPolicy } from './run.ts';
import { sampledRatio } from './shards.ts';
import { nextRequests, secondsOf, TraceBuilder, type Trace } from './trace.ts';

/** Skewed popularity over `objects`, sizes 1..sizeMax fixed per object. */
function syntheticTrace(seed: number, requests: number, objects: number, sizeMax: number): Trace {
  const random = seededRandom(seed);
  const sizeOf = Array.from({ length: objects }, () => 1 + random.below(sizeMax));
  const builder = new TraceBuilder();
  for (let at = 0; at < requests; at++) {
    const id = Math.floor(objects ** random.next()) - 1;
    builder.add(
      { seconds: at, idLow: id, idHigh: 7, sizeBytes: sizeOf[id] },
      () => `request ${at}`,
    );
  }
  return builder.build('synthetic');
}

/** The textbook versions, on arrays: O(n) a request and hard to get wrong. */
const MODELS: Readonly<
  Record<string, (capacity: number) => (id: number, size: number) => boolean>
> = {
  lru: (capacity) => modelOf(capacity, (held, at) => held.unshift(...held.splice(at, 1))),
  fifo: (capacity) => modelOf(capacity, () => {}),
};

function modelOf(
  capacity: number,
  onHit: (held: { id: number; size: number }[], at: number) => void,
): (id: number, size: number) => boolean {
  const held: { id: number; size: number }[] = [];
  return (id, size) => {
    const at = held.findIndex((entry) => entry.id === id);
    if (at !== -1) {
      onHit(held, at);
      return true;
    }
    if (size > capacity) return false;
    while (held.reduce((sum, entry) => sum + entry.size, size) > capacity) held.pop();
    held.unshift({ id, size });
    return false;
  };
}

for (const [name, createModel] of Object.entries(MODELS)) {
  test(`${name} agrees with its textbook version on every request, at many sizes`, () => {
    const trace = syntheticTrace(3, 4000, 300, 40);
    for (const capacityBytes of [1, 17, 100, 1000, 3000, 100_000]) {
      const model = createModel(capacityBytes);
      const policy = POLICIES[name]({
        objects: trace.objects,
        capacityBytes,
        nextAt: () => nextRequests(trace),
        secondsAt: secondsOf(trace),
      });
      for (let at = 0; at < trace.requests; at++) {
        const [id, size] = [trace.ids[at], trace.sizes[at]];
        assert.equal(
          policy.request(id, size, at),
          model(id, size),
          `request ${at}, capacity ${capacityBytes}`,
        );
      }
    }
  });
}

for (const [name, create] of Object.entries(POLICIES)) {
  test(`${name} never holds more than its capacity, and misses what is larger than it`, () => {
    const trace = syntheticTrace(5, 5000, 400, 60);
    for (const capacityBytes of [10, 59, 500, 5000]) {
      const policy = create({
        objects: trace.objects,
        capacityBytes,
        nextAt: () => nextRequests(trace),
        secondsAt: secondsOf(trace),
      });
      for (let at = 0; at < trace.requests; at++) {
        const size = trace.sizes[at];
        const isHit = policy.request(trace.ids[at], size, at);
        assert.ok(policy.bytesHeld() <= capacityBytes, `${policy.bytesHeld()} of ${capacityBytes}`);
        if (size > capacityBytes) assert.equal(isHit, false);
      }
    }
  });

  test(`${name} misses only first requests when everything fits`, () => {
    const trace = syntheticTrace(7, 3000, 200, 10);
    // S3-FIFO's small queue is a tenth of the cache: "fits" means that the tenth holds everything.
    const result = runPolicy(trace, create, trace.bytesDistinct * 10 + 10);
    assert.equal(result.missObjects, trace.objects);
  });
}

test('with objects of one size no policy beats Belady, and PFOO-L is below all of them', () => {
  const trace = syntheticTrace(11, 6000, 500, 1);
  for (const capacityBytes of [20, 60, 200]) {
    const belady = runPolicy(trace, POLICIES['belady'], capacityBytes);
    const bound = pfooLower(trace, capacityBytes);
    assert.ok(bound.missObjects <= belady.missObjects);
    assert.ok(bound.missBytes <= belady.missBytes);
    for (const [name, create] of Object.entries(POLICIES)) {
      const result = runPolicy(trace, create, capacityBytes);
      assert.ok(result.missObjects >= belady.missObjects, `${name} at ${capacityBytes}`);
    }
  }
});

test('PFOO-L is below every policy in bytes too when sizes differ', () => {
  const trace = syntheticTrace(13, 6000, 500, 50);
  for (const capacityBytes of [100, 1000, 4000]) {
    const bound = pfooLower(trace, capacityBytes);
    for (const [name, create] of Object.entries(POLICIES)) {
      const result = runPolicy(trace, create, capacityBytes);
      assert.ok(result.missBytes >= bound.missBytes, `${name} at ${capacityBytes}`);
      assert.ok(result.missObjects >= bound.missObjects, `${name} at ${capacityBytes}`);
    }
  }
});

test('a tenth of the keys tells the miss ratio of all of them within its own error bars', () => {
  const trace = syntheticTrace(17, 60_000, 20_000, 8);
  const exact = runPolicy(trace, POLICIES['lru'], 20_000);
  const sampled = sampledRatio(trace, POLICIES['lru'], 20_000, { share: 0.1, seeds: 20 });
  const off = Math.abs(sampled.objectMissRatio - exact.objectMissRatio);
  assert.ok(
    off < 4 * sampled.objectMissRatioError + 0.01,
    `${off} ± ${sampled.objectMissRatioError}`,
  );
});
