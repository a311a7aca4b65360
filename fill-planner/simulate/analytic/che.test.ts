import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '#base/random.ts';
import { POLICIES } from '../cache/catalogue.ts';
import { runPolicy } from '../cache/run.ts';
import type { Trace } from '../cache/trace.ts';
import { ANALYTIC_POLICIES, analyticCurve, analyticHit, type Popularity } from './che.ts';

const FILES = 3000;

function zipf(exponent: number, sizeOf: (rank: number) => number): Popularity {
  const ratesPerDay = Float64Array.from(
    { length: FILES },
    (_, rank) => 1000 / (rank + 1) ** exponent,
  );
  const sizesBytes = Float64Array.from({ length: FILES }, (_, rank) => sizeOf(rank));
  return { ratesPerDay, sizesBytes };
}

/** Independent requests with these rates: what the approximation assumes. */
function traceOf({ ratesPerDay, sizesBytes }: Popularity, requests: number, seed: number): Trace {
  const random = seededRandom(seed);
  const below = new Float64Array(FILES);
  let sum = 0;
  for (let at = 0; at < FILES; at++) below[at] = sum += ratesPerDay[at];
  const ids = new Int32Array(requests);
  const sizes = new Uint32Array(requests);
  let bytesRequested = 0;
  for (let at = 0; at < requests; at++) {
    const drawn = random.next() * sum;
    let [low, high] = [0, FILES - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (below[middle] < drawn) low = middle + 1;
      else high = middle;
    }
    ids[at] = low;
    sizes[at] = sizesBytes[low];
    bytesRequested += sizesBytes[low];
  }
  const bytesDistinct = Array.from(sizesBytes).reduce((total, size) => total + size, 0);
  return {
    name: 'independent',
    requests,
    objects: FILES,
    ids,
    sizes,
    bytesRequested,
    bytesDistinct,
  };
}

/** The ratio of the second half: the first one warms the cache. */
function simulated(trace: Trace, policy: 'lru' | 'fifo', capacity: number) {
  const half = trace.requests / 2;
  const first: Trace = { ...trace, requests: half, bytesRequested: bytesOf(trace, half) };
  const [all, warm] = [trace, first].map((part) => runPolicy(part, POLICIES[policy], capacity));
  return {
    objectHitRatio: 1 - (all.missObjects - warm.missObjects) / (trace.requests - half),
    byteHitRatio:
      1 - (all.missBytes - warm.missBytes) / (trace.bytesRequested - first.bytesRequested),
  };
}

function bytesOf(trace: Trace, requests: number): number {
  return trace.sizes.subarray(0, requests).reduce((sum, size) => sum + size, 0);
}

test('LRU and FIFO agree with simulated caches to one point, in objects and in bytes', () => {
  const popularity = zipf(0.8, (rank) => 100 + ((rank * 7919) % 900));
  const trace = traceOf(popularity, 600_000, 7);
  for (const policy of ['lru', 'fifo'] as const) {
    for (const share of [0.02, 0.1, 0.4]) {
      const capacity = Math.round(share * trace.bytesDistinct);
      const [analytic, counted] = [
        analyticHit(popularity, policy, capacity),
        simulated(trace, policy, capacity),
      ];
      for (const ratio of ['objectHitRatio', 'byteHitRatio'] as const) {
        const error = Math.abs(analytic[ratio] - counted[ratio]);
        assert.ok(
          error < 0.01,
          `${policy} at ${share}: ${ratio} ${analytic[ratio]}, counted ${counted[ratio]}`,
        );
      }
    }
  }
});

test('admission on the second hit agrees with two lists simulated one after the other', () => {
  const popularity = zipf(0.9, () => 1);
  const trace = traceOf(popularity, 600_000, 11);
  const [capacity, ghosts] = [200, 400];
  const [ids, content] = [new Map<number, true>(), new Map<number, true>()];
  const touch = (list: Map<number, true>, id: number, size: number): void => {
    list.delete(id);
    list.set(id, true);
    const [oldest] = list.keys();
    if (list.size > size) list.delete(oldest);
  };
  let [hits, counted] = [0, 0];
  trace.ids.forEach((id, at) => {
    const isHeld = content.has(id);
    if (at >= trace.requests / 2) {
      counted++;
      if (isHeld) hits++;
    }
    if (isHeld || ids.has(id)) touch(content, id, capacity);
    touch(ids, id, ghosts);
  });
  const { objectHitRatio } = analyticHit(popularity, 'second-hit', capacity, ghosts);
  assert.ok(
    Math.abs(objectHitRatio - hits / counted) < 0.01,
    `${objectHitRatio}, ${hits / counted}`,
  );
});

test('more room never hits less, nothing hits more bytes than the densest files, and everything fits at the end', () => {
  const entry = fc.record({
    rate: fc.double({ min: 0, max: 1e6, noNaN: true }),
    size: fc.integer({ min: 1, max: 1e9 }),
    count: fc.integer({ min: 0, max: 1000 }),
  });
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1, maxLength: 30 }), (entries) => {
      fc.pre(entries.some(({ rate, count }) => rate > 1e-9 && count > 0));
      const popularity = {
        ratesPerDay: entries.map(({ rate }) => rate),
        sizesBytes: entries.map(({ size }) => size),
        counts: entries.map(({ count }) => count),
      };
      const all = entries.reduce((sum, { size, count }) => sum + size * count, 0);
      const capacities = [0, 0.01, 0.1, 0.5, 0.9, 1].map((share) => share * all);
      const best = analyticCurve(popularity, 'best', capacities);
      for (const policy of ANALYTIC_POLICIES) {
        const curve = analyticCurve(popularity, policy, capacities);
        curve.forEach(({ objectHitRatio, byteHitRatio }, at) => {
          assert.ok(objectHitRatio >= 0 && objectHitRatio <= 1 + 1e-12);
          assert.ok(byteHitRatio <= best[at].byteHitRatio + 1e-6, `${policy} beats the best`);
          if (at > 0) assert.ok(byteHitRatio >= curve[at - 1].byteHitRatio - 1e-9);
        });
        assert.ok(curve[curve.length - 1].byteHitRatio > 1 - 1e-9);
        assert.equal(curve[0].byteHitRatio, 0);
      }
    }),
    { seed: 20261121, numRuns: 200 },
  );
});

test('a bin of many files answers as those files one by one', () => {
  const single = { ratesPerDay: [9, 1, 1, 1, 1], sizesBytes: [5, 3, 3, 3, 3] };
  const binned = { ratesPerDay: [9, 1], sizesBytes: [5, 3], counts: [1, 4] };
  for (const policy of ANALYTIC_POLICIES) {
    const [one, other] = [analyticHit(single, policy, 8), analyticHit(binned, policy, 8)];
    assert.ok(Math.abs(one.byteHitRatio - other.byteHitRatio) < 1e-12, policy);
  }
});

test('what cannot be meant is refused by its place', () => {
  const refused = (rates: number[], sizes: number[], capacity = 1) =>
    assert.throws(
      () => analyticHit({ ratesPerDay: rates, sizesBytes: sizes }, 'lru', capacity),
      RangeError,
    );
  refused([1, Number.NaN], [1, 1]);
  refused([1, -1], [1, 1]);
  refused([1], [0]);
  refused([0], [1]);
  refused([1], [1, 2]);
  refused([1], [1], Number.NaN);
});
