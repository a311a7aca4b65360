import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bucketOwners,
  expandPlan,
  ownerOfBuckets,
  SHARE_BUCKETS,
  shareBucketOf,
  shareOwner,
  type Order,
  type Plan,
} from './contract.ts';
import { fileIdFor } from './sample-night.ts';

const FILES = Array.from({ length: 5000 }, (_, at) => fileIdFor(`file ${at}`));
const order: Order = {
  orderId: 'feed',
  orderVersion: 'A'.repeat(43),
  epoch: 1,
  ordinals: FILES.map((_, at) => at),
  densities: FILES.map((_, at) => FILES.length - at),
};

function planOf(applianceId: string, change: Partial<Plan> = {}): Plan {
  return {
    applianceId,
    clusterId: 'c',
    planDate: '2026-11-20',
    epoch: 1,
    orderVersion: order.orderVersion,
    everywhereDensity: 4900,
    shareDensity: 1000,
    fillDensity: 1000,
    members: ['a', 'b', 'c'].map((id) => ({ applianceId: id, weight: 1 })),
    pins: [],
    drops: [],
    ...change,
  };
}

function held(plan: Plan): ReadonlySet<number> {
  return new Set(expandPlan(plan, order, (at) => FILES[at]).map(({ ordinal }) => ordinal));
}

test('a bucket is the first 12 bits of a file id', () => {
  for (const fileId of [...FILES.slice(0, 200), '-_'.repeat(22).slice(0, 43)]) {
    const bytes = Buffer.from(fileId, 'base64url');
    assert.equal(shareBucketOf(fileId), bytes.readUInt16BE(0) >> 4);
  }
});

test('the head is on every box, the rest on exactly the one that shareOwner names', () => {
  const sets = ['a', 'b', 'c'].map((id) => held(planOf(id)));
  for (let at = 0; at < FILES.length; at++) {
    const density = order.densities[at];
    const on = ['a', 'b', 'c'].filter((_, box) => sets[box].has(at));
    if (density >= 4900) assert.equal(on.length, 3);
    else if (density >= 1000) assert.deepEqual(on, [shareOwner(FILES[at], planOf('a').members)]);
    else assert.equal(on.length, 0);
  }
});

test('bands say how many copies a file has and who may hold them', () => {
  const bands = [
    { fromDensity: 4000, copies: 2, weights: [1, 1, 0] },
    { fromDensity: 2000, copies: 1, weights: [0, 0, 1] },
  ];
  const sets = ['a', 'b', 'c'].map((id) => held(planOf(id, { bands, shareDensity: 0 })));
  for (let at = 0; at < FILES.length; at++) {
    const density = order.densities[at];
    const on = ['a', 'b', 'c'].filter((_, box) => sets[box].has(at)).join('');
    if (density >= 4900) assert.equal(on, 'abc');
    else if (density >= 4000) assert.equal(on, 'ab');
    else assert.equal(on, density >= 2000 ? 'c' : '');
  }
});

test('a kept file needs less density than a filled one, and to have been there the night before', () => {
  const previous = FILES.map((_, at) => (at % 2 === 0 ? 800 : 10));
  const plan = planOf('a', {
    members: [{ applianceId: 'a', weight: 1 }],
    keep: { density: 600, previousDensity: 500 },
  });
  const on = new Set(
    expandPlan(plan, { ...order, previous }, (at) => FILES[at]).map(({ ordinal }) => ordinal),
  );
  for (let at = 0; at < FILES.length; at++) {
    const density = order.densities[at];
    assert.equal(on.has(at), density >= 1000 || (density >= 600 && at % 2 === 0));
  }
});

test('pins are held and drops are not, whatever the thresholds say', () => {
  const owned = [...held(planOf('a'))];
  const set = held(planOf('a', { drops: [owned[0], owned[500]], pins: [4999, 1, owned[500]] }));
  assert.ok(!set.has(owned[0]) && set.has(owned[500]));
  assert.ok(set.has(4999) && set.has(1));
});

test('a box that joins takes only its own share, from all others alike', () => {
  const ids = ['a', 'b', 'c', 'd'];
  let moved = 0;
  for (let bucket = 0; bucket < SHARE_BUCKETS; bucket++) {
    const [before] = bucketOwners(bucket, ids.slice(0, 3), [1, 1, 1], 1);
    const [after] = bucketOwners(bucket, ids, [1, 1, 1, 1], 1);
    if (before !== after) {
      assert.equal(ids[after], 'd');
      moved++;
    }
  }
  assert.ok(Math.abs(moved / SHARE_BUCKETS - 0.25) < 0.03, `${moved} buckets moved`);
});

test('the table of all buckets names the owners that each bucket names', () => {
  const ids = ['d', 'a', 'c', 'b'];
  const weights = [1, 2, 0, 5];
  const table = ownerOfBuckets(ids, weights);
  for (let bucket = 0; bucket < SHARE_BUCKETS; bucket++) {
    assert.deepEqual([table[bucket]], bucketOwners(bucket, ids, weights, 1));
  }
});

test('shares follow the weights', () => {
  const owned = [0, 0, 0];
  for (let bucket = 0; bucket < SHARE_BUCKETS; bucket++) {
    owned[bucketOwners(bucket, ['a', 'b', 'c'], [1, 2, 5], 1)[0]]++;
  }
  [1 / 8, 2 / 8, 5 / 8].forEach((share, at) => {
    assert.ok(Math.abs(owned[at] / SHARE_BUCKETS - share) < 0.03, `${at}: ${owned[at]}`);
  });
});
