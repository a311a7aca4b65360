import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { columnsOf, type FactoredOrder } from './factored-order.ts';
import { candidatesOf, densityForBytes } from './candidates.ts';
import { bestCut } from './cluster-cuts.ts';
import { fileIdOfRow } from './expand-sample.ts';
import { BLOCK_BYTES, type FleetCluster, type FleetDescription } from './fleet-files.ts';
import { planPart } from './region-job.ts';
import { expandPlan } from '../contract.ts';

const TITLES = 200;
const VARIANTS = 20;
const SLOT_FACTOR = 16 / 86_400;
const FLEET: FleetDescription = {
  planDate: '2026-11-20',
  epoch: 1,
  titles: TITLES,
  variants: VARIANTS,
  days: 7,
  regions: [],
};
/** Storage per box; below 500 MB a box is flash. `one` and `two` are leaves under `mixed`. */
const SHAPES: readonly { name: string; parent: string | null; boxes: readonly number[] }[] = [
  { name: 'one', parent: 'mixed', boxes: [1e9] },
  { name: 'two', parent: 'mixed', boxes: [1e9, 6e8] },
  { name: 'four', parent: null, boxes: [6e8, 6e8, 6e8, 6e8] },
  { name: 'mixed', parent: null, boxes: [1e9, 2e8, 8e8] },
];

interface Night {
  readonly offload: number; // served of the demand that the viewers of the region make
  readonly planned: number; // bytes that the planner believes it fills
  readonly refilled: number; // bytes of the expansion that the night before did not have
  readonly windows: number; // bytes that might have been filled
  readonly storage: number;
}

/** Plans night after night. What a box truly holds is the expansion of its last plan, nothing else. */
function nightsOf(
  count: number,
  fillShare: (night: number) => number, // of a box's storage
  wander: number, // most that a title's popularity changes in a night, up or down, in natural logarithm
  seed: number,
): readonly Night[] {
  const random = seededRandom(seed);
  const catalogue = {
    titles: TITLES,
    variants: VARIANTS,
    blocks: Uint32Array.from({ length: TITLES * VARIANTS }, () => 1 + random.below(999)),
    buckets: Uint16Array.from({ length: TITLES * VARIANTS }, () => random.below(4096)),
  };
  const popularity = Float64Array.from({ length: TITLES }, (_, title) => 1 / (3 + title));
  const variants = normalised(Float64Array.from({ length: VARIANTS }, (_, at) => (at + 1) ** -2));
  let previous: FactoredOrder | null = null;
  let clusters = SHAPES.map(({ name, parent, boxes }): FleetCluster => ({
    clusterId: name,
    siteId: name,
    parentId: parent,
    boxes: boxes.map((storageBytes, at) => ({
      applianceId: `${name}-${at}`,
      applianceClass: storageBytes < 5e8 ? 'flash' : 'storage',
      storageBytes,
      servingBps: name === 'four' ? 2e7 : 1e12,
      fillBytes: 0,
    })),
    viewsPerDay: 1e6,
    previous: null,
  }));
  let held = new Map<string, ReadonlySet<number>>();
  const nights: Night[] = [];
  for (let night = 0; night < count; night++) {
    clusters = clusters.map((cluster) => ({
      ...cluster,
      boxes: cluster.boxes.map((box) => ({
        ...box,
        fillBytes: fillShare(night) * box.storageBytes,
      })),
    }));
    const order: FactoredOrder = {
      titles: normalised(popularity),
      variants,
      previousTitles: previous?.titles ?? null,
      previousVariants: previous?.variants ?? null,
    };
    const candidates = candidatesOf(order, catalogue, densityForBytes(order, catalogue, 4e9), null);
    const base = { regionId: 'de', order, orderVersion: 'x'.repeat(43), candidates };
    const planned = planPart(base, {
      fleet: FLEET,
      clusters,
      slotFactor: SLOT_FACTOR,
      churnShare: 0.25,
      hopWorth: 0.8,
      onStage: () => undefined,
    });
    const columns = columnsOf(order, 0);
    const now = new Map<string, ReadonlySet<number>>();
    const total = { planned: 0, refilled: 0, windows: 0, storage: 0, served: 0, demand: 0 };
    for (const { clusterId, plans, bytes, filledBytes, figures } of planned) {
      const boxes = clusters.find((entry) => entry.clusterId === clusterId)?.boxes ?? [];
      total.served += figures.servedBps;
      total.demand += figures.ownDemandBps;
      plans.forEach((plan, box) => {
        const rows = expandPlan(plan, columns, (row) => fileIdOfRow(row, catalogue.buckets)).map(
          ({ ordinal }) => ordinal,
        );
        const before = held.get(plan.applianceId);
        const sizeOf = (list: readonly number[]): number =>
          list.reduce((sum, row) => sum + catalogue.blocks[row] * BLOCK_BYTES, 0);
        const refilled = sizeOf(rows.filter((row) => before?.has(row) !== true));
        const name = `night ${night + 1}, ${plan.applianceId}`;
        assert.equal(sizeOf(rows), bytes[box], name);
        assert.ok(refilled <= filledBytes[box], `${name}: ${refilled} of ${filledBytes[box]}`);
        assert.ok(filledBytes[box] <= boxes[box].fillBytes, name);
        assert.ok(bytes[box] <= boxes[box].storageBytes, name);
        now.set(plan.applianceId, new Set(rows));
        total.planned += filledBytes[box];
        total.refilled += refilled;
        total.windows += boxes[box].fillBytes;
        total.storage += boxes[box].storageBytes;
      });
    }
    const { served, demand, ...sums } = total;
    nights.push({ offload: served / demand, ...sums });
    held = now;
    const next = new Map(planned.map((entry) => [entry.clusterId, entry.next]));
    clusters = clusters.map((cluster) => ({
      ...cluster,
      previous: next.get(cluster.clusterId) ?? null,
    }));
    previous = order;
    for (let title = 0; title < TITLES; title++) {
      popularity[title] *= Math.exp(wander * (2 * random.next() - 1));
    }
  }
  return nights;
}

function normalised(values: Float64Array): Float32Array {
  const total = values.reduce((sum, value) => sum + value, 0);
  return Float32Array.from(values, (value) => value / total);
}

const nightOne = (share: number) => (night: number) => (night === 0 ? 1 : share);

test('with unchanged demand the planned offload never falls, and once all is there nothing is filled again', () => {
  const nights = nightsOf(12, () => 0.3, 0, 7);
  for (let night = 1; night < nights.length; night++) {
    assert.ok(
      nights[night].offload >= nights[night - 1].offload * (1 - 1e-9),
      `night ${night + 1}: ${nights[night].offload} after ${nights[night - 1].offload}`,
    );
  }
  assert.ok(nights[0].refilled > 0.25 * nights[0].storage, 'the first window is used');
  for (const { refilled, planned, storage } of nights.slice(8)) {
    assert.ok(planned <= 1e-3 * storage && refilled <= 1e-3 * storage);
  }
});

test('where nothing can be filled and demand stays, every box keeps what it holds', () => {
  const [first, ...later] = nightsOf(6, nightOne(0), 0, 7);
  for (const { offload, planned, refilled } of later) {
    assert.ok(offload >= first.offload * (1 - 1e-9), `${offload} after ${first.offload}`);
    assert.equal(planned, 0);
    assert.equal(refilled, 0);
  }
});

test('with demand that wanders slowly the offload stays, and a small part of the window is filled', () => {
  for (const seed of [7, 8]) {
    const [first, ...later] = nightsOf(10, nightOne(0.2), 0.05, seed);
    for (const { offload, refilled, storage } of later) {
      assert.ok(offload > 0.99 * first.offload, `${offload} after ${first.offload}`);
      assert.ok(refilled < 0.02 * storage, `${refilled} of ${storage}`);
    }
    assert.ok(later.some(({ refilled }) => refilled > 0));
  }
});

test('where the window is smaller than what the orders change by, the offload wears off slowly and does not break down', () => {
  const nights = nightsOf(12, nightOne(0.02), 0.2, 7);
  for (let night = 1; night < nights.length; night++) {
    assert.ok(
      nights[night].offload > 0.98 * nights[night - 1].offload,
      `night ${night + 1}: ${nights[night].offload} after ${nights[night - 1].offload}`,
    );
  }
});

test('where nothing can ever be filled and demand wanders, most of what is held is still remembered', () => {
  const [first, ...later] = nightsOf(10, nightOne(0), 0.05, 7);
  for (const { offload, planned, refilled } of later) {
    assert.ok(offload > 0.8 * first.offload, `${offload} after ${first.offload}`);
    assert.equal(planned, 0);
    assert.equal(refilled, 0);
  }
});

test('of cuts that are worth the same for the same fill the deepest is taken', () => {
  const own = {
    presentBytes: Float64Array.of(10, 10, 10, 10),
    presentViews: Float64Array.of(8, 4, 2, 1),
    absentBytes: Float64Array.of(0, 0, 10, 0),
    absentViews: Float64Array.of(0, 0, 2, 0),
  };
  const cut = bestCut(own, new Float64Array(4).fill(1), 0, 4, 40, 5, 0.1);
  assert.deepEqual(cut, { fillBins: 2, keepBins: 4, bytes: 40, filledBytes: 0, views: 15 });
});
