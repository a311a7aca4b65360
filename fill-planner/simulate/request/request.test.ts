import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setDigestOf } from '#control-plane/contract.ts';
import { expandPlan } from '../../contract.ts';
import { candidatesOf } from '../../fleet/candidates.ts';
import { columnsOf, factoredOrderVersion } from '../../fleet/factored-order.ts';
import type { FleetCluster } from '../../fleet/fleet-files.ts';
import { planPart } from '../../fleet/region-job.ts';
import { cellsOf } from '../fluid/fluid-run.ts';
import { runFluid } from '../io/fluid-pool.ts';
import { generatedTopology } from '../network/topology.ts';
import { scenarioOf, type Scenario } from '../scenario.ts';
import { ladderOf } from '../workload/ladder.ts';
import { Moods, CountryViewing } from '../workload/popularity.ts';
import { fileIdOf, keysOf } from './keys.ts';
import { keyOrderOf, PlannedCluster } from './planned-cluster.ts';
import { runRequest } from './request-engine.ts';

function scenario(given: object = {}): Scenario {
  const read = scenarioOf({
    name: 'test',
    days: 3,
    catalogue: { programmes: 300, variants: 60 },
    fleet: {
      source: 'generated',
      boxes: {
        storage: { storageTb: 0.6, fillGbps: 0.01 },
        small: { storageTb: 0.4, fillGbps: 0.01 },
        flash: { storageTb: 0.2, fillGbps: 0.01 },
      },
    },
    ...given,
  });
  assert.ok(read.ok, read.ok ? '' : read.failure.join('\n'));
  return read.value;
}

for (const boxes of [1, 3]) {
  test(`a simulated night and the fleet planner give a cluster of ${boxes} the same manifest digests`, () => {
    const cells = cellsOf(scenario(), 1, false);
    const keys = keysOf(cells, ladderOf(60), 1, 1);
    const { titleViews } = new CountryViewing(cells, 1, 'Brazil', new Moods(cells, 1, 0)).on(0);
    const titles = Float32Array.from(keys.cellOfTitle, (cell) => titleViews[cell]);
    const order = { titles, variants: keys.shares, previousTitles: null, previousVariants: null };
    const cluster: FleetCluster = {
      clusterId: 'c',
      siteId: 's',
      parentId: null,
      boxes: Array.from({ length: boxes }, (_, at) => ({
        applianceId: `box-${at}`,
        applianceClass: 'storage',
        storageBytes: 6e11,
        servingBps: 1e12,
        fillBytes: 2e11,
      })),
      viewsPerDay: 1e5,
      previous: null,
    };
    const simulated = new PlannedCluster(cluster, keys);
    simulated.night(keyOrderOf(order, keys), 1, 0.25, 12, 1);
    const fleet = {
      planDate: '2026-11-20',
      epoch: 1,
      titles: keys.catalogue.titles,
      variants: keys.catalogue.variants,
      days: 1,
      regions: [],
    };
    const base = {
      regionId: 'Brazil',
      order,
      orderVersion: factoredOrderVersion('Brazil', 1, order),
      candidates: candidatesOf(order, keys.catalogue, 1e-12, null),
    };
    const [planned] = planPart(base, {
      fleet,
      clusters: [cluster],
      slotFactor: 16 / 86_400,
      churnShare: 0.25,
      hopWorth: 0.8,
      onStage: () => {},
    });
    const columns = columnsOf(order, 1e-12);
    planned.plans.forEach((plan, box) => {
      const expanded = expandPlan(plan, columns, (row) => fileIdOf(keys, row));
      const own = [...keys.rows.keys()].filter(
        (at) => simulated.held[at] === 1 && simulated.ownerOf(at) === box,
      );
      assert.ok(own.length > 100);
      assert.equal(
        setDigestOf(own.map((at) => fileIdOf(keys, keys.rows[at]))),
        setDigestOf(expanded.map(({ ordinal }) => fileIdOf(keys, ordinal))),
      );
    });
  });
}

test('real keys and density bins agree on the offload of small sites within two points', async () => {
  const topology = generatedTopology(1, 40)
    .filter((site) => !site.isExchange)
    .slice(0, 3);
  const given = scenario({ days: 2, catalogue: { programmes: 200, variants: 40 } });
  const pause = (): Promise<void> => Promise.resolve();
  const request = await runRequest(given, topology, 1, {
    variant: 'base',
    sampleShare: 0.5,
    pause,
  });
  const again = await runRequest(given, topology, 1, { variant: 'base', sampleShare: 0.5, pause });
  const fluid = await runFluid(given, topology, 1, { variant: 'base', threads: 1 });
  assert.ok(request.ok && again.ok && fluid.ok);
  assert.deepEqual(request.value, again.value);
  const points = 100 * (request.value.totals.offloadShare - fluid.value.totals.offloadShare);
  assert.ok(Math.abs(points) < 2, `${points} points apart`);
});

test('a fleet of more sites than real keys can be kept for is refused with what to set', async () => {
  const run = await runRequest(scenario(), generatedTopology(1, 400), 1, {
    variant: 'base',
    sampleShare: 1,
    pause: () => Promise.resolve(),
  });
  assert.ok(!run.ok);
  assert.match(run.failure, /400 sites are too many .* set fleet.sitesMax/);
});
