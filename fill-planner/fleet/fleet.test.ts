import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { generateSigningKey, peekPayload, type JWK } from '#base/jws.ts';
import { seededRandom } from '#base/random.ts';
import { PlanSchema, type Plan } from '../contract.ts';
import { checker } from '#base/config.ts';
import { columnsOf, densityOf, type FactoredOrder } from './factored-order.ts';
import { expandSample, fileIdOfRow } from './expand-sample.ts';
import type { FleetDescription, FleetRegion } from './fleet-files.ts';
import { readCatalogue, readRegion, writeArray } from './io/fleet-disk.ts';
import { planFleet, type FleetResult } from './io/fleet-pool.ts';

const TITLES = 300;
const VARIANTS = 30;
const DAYS = 7;
const REGIONS = ['de', 'fr', 'jp'];
const SLOT_FACTOR = 16 / 86_400;
/** Storage per box; below 500 MB a box is flash. Leaves `one` and `two` are under the exchange `mixed`. */
const SHAPES: readonly { name: string; parent: string | null; boxes: readonly number[] }[] = [
  { name: 'one', parent: 'mixed', boxes: [1e9] },
  { name: 'two', parent: 'mixed', boxes: [1e9, 6e8] },
  { name: 'four', parent: null, boxes: [1e9, 1e9, 1e9, 1e9] },
  { name: 'mixed', parent: null, boxes: [1e9, 2e8, 8e8] },
];
const checkPlan = checker(PlanSchema);

let directory: string;
let planKey: JWK;
let fleet: FleetDescription;

/** Three regions of a few clusters; the boxes hold what the night before gave them. */
before(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'nightfill-fleet-'));
  planKey = (await generateSigningKey('EdDSA')).privateJwk;
  const random = seededRandom(4);
  const rows = TITLES * VARIANTS;
  writeArray(
    directory,
    'blocks.u32',
    Uint32Array.from({ length: rows }, () => 1 + random.below(999)),
  );
  writeArray(
    directory,
    'buckets.u16',
    Uint16Array.from({ length: rows }, () => random.below(4096)),
  );
  const views = (scale: number) =>
    Float32Array.from({ length: TITLES * DAYS }, (_, at) =>
      Math.round((scale * (0.5 + random.next())) / (1 + Math.floor(at / DAYS))),
    );
  writeArray(directory, 'world.views.f32', views(1e6));
  const shares = Float32Array.from({ length: VARIANTS }, (_, at) => 1 / (at + 1) ** 2);
  writeArray(
    directory,
    'world.variants.f32',
    shares.map((share) => share / 1.6),
  );
  const day = Date.UTC(2026, 10, 20) / 86_400_000;
  const released = Int32Array.from({ length: TITLES }, (_, title) =>
    title % 50 === 7 ? day - (title % 9) : day - 500,
  );
  writeArray(directory, 'released.i32', released);
  writeArray(
    directory,
    'classes.u8',
    released
      .map((at) => (at > day - 20 ? 1 : 0))
      .reduce((bytes, value, at) => {
        bytes[at] = value;
        return bytes;
      }, new Uint8Array(TITLES)),
  );
  for (const region of REGIONS) {
    writeArray(directory, `${region}.views.f32`, views(1e5));
    writeArray(
      directory,
      `${region}.variants.f32`,
      shares.map((share) => share * 1e5 * random.next()),
    );
    const placeable = Uint8Array.from({ length: TITLES }, (_, title) =>
      random.next() < 0.9 || title === 57 ? 1 : 0,
    );
    writeArray(directory, `${region}.placeable.u8`, placeable);
    const pins = Uint8Array.from({ length: TITLES }, (_, title) => (title === 57 ? 1 : 0));
    if (region !== 'fr') writeArray(directory, `${region}.pins.u8`, pins);
  }
  fleet = {
    planDate: '2026-11-20',
    epoch: 1,
    titles: TITLES,
    variants: VARIANTS,
    days: DAYS,
    regions: REGIONS.map((regionId) => ({
      regionId,
      clusters: SHAPES.map((shape) => ({
        clusterId: `${regionId}-${shape.name}`,
        siteId: `${regionId}-${shape.name}`,
        parentId: shape.parent === null ? null : `${regionId}-${shape.parent}`,
        boxes: shape.boxes.map((storageBytes, at) => ({
          applianceId: `${regionId}-${shape.name}-${at}`,
          applianceClass: storageBytes < 5e8 ? ('flash' as const) : ('storage' as const),
          storageBytes,
          servingBps: shape.name === 'four' ? 2e7 : 1e12,
          fillBytes: 1e9,
        })),
        viewsPerDay: 1e6,
        previous: null,
      })),
    })),
  };
  writeFleet(fleet.regions);
  const first = await planned(1, 'first');
  const cuts = new Map(
    first.regions.flatMap(({ clusters }) => clusters.map((c) => [c.clusterId, c.next] as const)),
  );
  for (const regionId of REGIONS) {
    const order = readFileSync(path.join(directory, 'first', `${regionId}.order.f32`));
    writeArray(directory, `${regionId}.previous.f32`, order);
    writeArray(directory, `${regionId}.views.f32`, views(1e5));
  }
  writeFleet(
    fleet.regions.map((region) => ({
      ...region,
      clusters: region.clusters.map((cluster) => ({
        ...cluster,
        boxes: cluster.boxes.map((box) => ({ ...box, fillBytes: 2e8 })),
        previous: cuts.get(cluster.clusterId) ?? null,
      })),
    })),
  );
});

after(() => rmSync(directory, { recursive: true }));

function writeFleet(regions: readonly FleetRegion[]): void {
  fleet = { ...fleet, regions };
  writeFileSync(path.join(directory, 'fleet.json'), JSON.stringify(fleet));
}

function planned(workers: number, name: string): Promise<FleetResult> {
  const out = path.join(directory, name);
  mkdirSync(out);
  return planFleet({
    boxesPerPart: 4,
    directory,
    out,
    planKey,
    workers,
    slotFactor: SLOT_FACTOR,
    churnShare: 0.25,
    hopWorth: 0.8,
  });
}

test('plans and orders are the same bytes with one, two and four workers', async () => {
  const digests: string[] = [];
  for (const workers of [1, 2, 4]) {
    const { regions } = await planned(workers, `w${workers}`);
    digests.push(regions.map((region) => region.sha256).join(' '));
    assert.deepEqual(
      regions.map((region) => region.regionId),
      REGIONS,
    );
  }
  assert.equal(digests[1], digests[0]);
  assert.equal(digests[2], digests[0]);
});

test('every plan expands to exactly the bytes that were planned, within disk and window and below its bound', async () => {
  const { regions } = await planned(2, 'expanded');
  const catalogue = readCatalogue(directory, fleet);
  let kept = 0;
  for (const result of regions) {
    const region = fleet.regions.find((entry) => entry.regionId === result.regionId);
    assert.ok(region !== undefined);
    assert.equal(result.parts, 2);
    const lines = [0, 1].flatMap((part) =>
      readFileSync(path.join(directory, 'expanded', `${result.regionId}.${part}.plans.jws`), 'utf8')
        .trim()
        .split('\n'),
    );
    const order = orderOf(result.regionId);
    const plans = lines.map((line) => peekPayload(line) as Plan);
    result.clusters.forEach((cluster) => {
      const described = region.clusters.find(({ clusterId }) => clusterId === cluster.clusterId);
      assert.ok(described !== undefined);
      described.boxes.forEach(({ applianceId, storageBytes, fillBytes }, box) => {
        const plan = plans.find((entry) => entry.applianceId === applianceId);
        assert.ok(plan !== undefined && checkPlan(plan).ok, applianceId);
        if (plan.keep !== undefined) kept++;
        assert.equal(expandSample(plan, order, catalogue).bytes, cluster.bytes[box], applianceId);
        assert.ok(cluster.bytes[box] <= storageBytes && cluster.filledBytes[box] <= fillBytes);
        assert.ok(cluster.bytes[box] > 0.8 * storageBytes, `${applianceId} is half empty`);
      });
      const { valueBps, boundBps, servedBps, demandBps, ownDemandBps } = cluster.figures;
      assert.ok(valueBps <= boundBps * (1 + 1e-9));
      assert.ok(valueBps > 0.9 * boundBps, `${cluster.clusterId}: ${valueBps} of ${boundBps}`);
      assert.ok(servedBps <= demandBps);
      assert.ok(demandBps >= ownDemandBps * (1 - 1e-9));
      assert.equal(demandBps > ownDemandBps * 1.001, cluster.clusterId.endsWith('mixed'));
    });
  }
  assert.ok(kept > 0, 'some box keeps what it would not fill');
});

function plansOf(name: string, result: FleetResult['regions'][number]): readonly Plan[] {
  return Array.from({ length: result.parts }, (_, part) =>
    readFileSync(path.join(directory, name, `${result.regionId}.${part}.plans.jws`), 'utf8'),
  )
    .flatMap((text) => text.trim().split('\n'))
    .map((line) => peekPayload(line) as Plan);
}

test('files of a pinned release lie on two boxes of every cluster of their region, and nowhere else are any pinned', async () => {
  const { regions } = await planned(1, 'pinned');
  for (const result of regions) {
    const copies = new Map<string, number>();
    for (const { clusterId, pins, drops } of plansOf('pinned', result)) {
      for (const ordinal of pins) {
        assert.equal(Math.floor(ordinal / VARIANTS), 57);
        assert.ok(!drops.includes(ordinal));
        copies.set(`${clusterId} ${ordinal}`, (copies.get(`${clusterId} ${ordinal}`) ?? 0) + 1);
      }
    }
    if (result.regionId === 'fr') assert.equal(copies.size, 0);
    else assert.ok(copies.size > 0);
    for (const [key, count] of copies) {
      assert.equal(count, key.includes('-one ') ? 1 : 2, key);
    }
    for (const { pinsLacking } of result.clusters) assert.equal(pinsLacking, 0);
  }
});

test('in a mixed cluster flash holds what is densest, storage what comes after it', async () => {
  const { regions } = await planned(1, 'bands');
  for (const result of regions) {
    const [first, flash, last] = plansOf('bands', result).filter(({ clusterId }) =>
      clusterId.endsWith('mixed'),
    );
    const bands = flash.bands ?? [];
    const ofFlash = bands.findIndex(({ weights }) => weights[1] > 0);
    const ofStorage = bands.findIndex(({ weights }) => weights[0] > 0 && weights[2] > 0);
    assert.ok(ofFlash !== -1 && ofStorage === ofFlash + 1, JSON.stringify(bands));
    assert.equal(bands[ofStorage].weights[1], 0);
    assert.ok(flash.shareDensity >= bands[ofFlash].fromDensity);
    for (const plan of [first, last]) assert.ok(plan.shareDensity <= bands[ofFlash].fromDensity);
  }
});

function orderOf(regionId: string): FactoredOrder {
  const factors = readFileSync(path.join(directory, 'expanded', `${regionId}.order.f32`));
  const order = new Float32Array(new Uint8Array(factors).buffer);
  const { previous } = readRegion(directory, fleet, regionId);
  return {
    titles: order.subarray(0, TITLES),
    variants: order.subarray(TITLES),
    previousTitles: previous?.subarray(0, TITLES) ?? null,
    previousVariants: previous?.subarray(TITLES) ?? null,
  };
}

test('the columns of an order are all files of at least that density, by falling density and then by ordinal', async () => {
  const titles = Float32Array.of(0.5, 0, 0.25, 0.25);
  const variants = Float32Array.of(0.25, 0.5);
  const { ordinals, densities } = columnsOf(
    { titles, variants, previousTitles: null, previousVariants: null },
    0.1,
  );
  assert.deepEqual(Array.from(ordinals), [1, 0, 5, 7]);
  assert.deepEqual(Array.from(densities), [0.25, 0.125, 0.125, 0.125]);
  assert.equal(densityOf(titles, variants, 5), 0.125);
});

test('a file id made for a row lies in the bucket of the row', () => {
  const buckets = Uint16Array.from({ length: 4096 }, (_, at) => at);
  for (let row = 0; row < 4096; row++) assert.equal(fileIdOfRow(row, buckets).length, 43);
});

test('rollups that do not fit the description are refused by name', async () => {
  const views = path.join(directory, 'de.views.f32');
  const whole = readFileSync(views);
  writeFileSync(views, whole.subarray(4));
  await assert.rejects(planned(1, 'short'), /de\.views\.f32 has \d+ bytes, fleet\.json says \d+/);
  writeFileSync(views, whole);
});
