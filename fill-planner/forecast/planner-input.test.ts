import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PlannerInput } from '../contract.ts';
import { isoDayOf } from './demand-records.ts';
import { generateWorkload, workloadRecords } from './generated/workload.ts';
import { forecastOfInput } from './planner-input.ts';

const workload = generateWorkload({
  seed: 1,
  days: 20,
  films: 12,
  seasons: 2,
  releasesPerWeek: 1,
  viewsPerDay: 3000,
  bigReleaseDay: null,
});

/** A night's input, with a home that is not known and a cluster that is new. */
function inputOf(): PlannerInput {
  const day = workload.firstDay + 20;
  const demand = [...workloadRecords(workload, day)].map((record) => ({ ...record, starts: 0 }));
  const clusters = [...workload.clusters, { clusterId: 'fresh', country: 'AT' }];
  return {
    epoch: 1,
    planDate: isoDayOf(day),
    cutAtMs: 0,
    sites: clusters.map(({ clusterId, country }) => ({
      siteId: `site-${clusterId}`,
      name: clusterId,
      country,
      clusters: [{ clusterId, prefixes: [] }],
    })) as unknown as PlannerInput['sites'],
    appliances: clusters.map(({ clusterId }) => ({
      applianceId: `box-${clusterId}`,
      siteId: `site-${clusterId}`,
      clusterId,
      applianceClass: 'flash' as const,
      storageBytes: 1e12,
      servingBps: 1e9,
    })),
    titles: workload.titles.map(({ listing, ordinals, takenInAtMs }) => ({
      listing: listing as unknown as PlannerInput['titles'][number]['listing'],
      ordinals: [...ordinals],
      takenInAtMs,
    })),
    demand: [...demand, { ...demand[0], home: 'unknown' }],
    holdings: [],
  };
}

test('an input is forecast for the clusters asked for, in their order, unknown homes included', () => {
  const forecast = forecastOfInput(inputOf(), ['fresh', 'de-1', 'us-1']);
  assert.deepEqual(forecast.clusterIds, ['fresh', 'de-1', 'us-1']);
  // Records of clusters that are not asked for are named; those without a home are not.
  assert.ok(forecast.problems.length > 0);
  assert.ok(forecast.problems.every((problem) => !problem.includes('"unknown"')));
  const known = (forecast.levels[1] + forecast.levels[2]) / 2;
  assert.ok(Math.abs(forecast.levels[0] / known - 1) < 1e-9, 'a new cluster is judged by capacity');
  assert.equal(forecast.ordinals.length, workload.sizes.length);
});
