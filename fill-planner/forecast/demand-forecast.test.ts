import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecastDemand, type DemandForecast } from './demand-forecast.ts';
import { isoDayOf, type DemandRecord } from './demand-records.ts';
import { generateWorkload, workloadRecords } from './generated/workload.ts';

const OPTIONS = {
  seed: 3,
  days: 44,
  films: 30,
  seasons: 6,
  releasesPerWeek: 2,
  viewsPerDay: 6000,
  bigReleaseDay: null,
};
const TESTED = 38;
const workload = generateWorkload(OPTIONS);
const DAY = workload.firstDay + TESTED;

function forecastOf(records: Iterable<DemandRecord>, day = DAY): DemandForecast {
  return forecastDemand(records, workload.titles, workload.clusters, isoDayOf(day));
}

function allDensities(forecast: DemandForecast): readonly number[] {
  return forecast.clusterIds.flatMap((_, cluster) => [...forecast.densitiesOf(cluster)]);
}

const plain = forecastOf(workloadRecords(workload, DAY));

test('densities are finite, positive, and sum to the level of their cluster', () => {
  plain.levels.forEach((level, cluster) => {
    const densities = plain.densitiesOf(cluster);
    assert.ok(densities.every((views) => Number.isFinite(views) && views >= 0));
    const sum = densities.reduce((total, views) => total + views, 0);
    assert.ok(Math.abs(sum / level - 1) < 1e-9, `${sum} of ${level}`);
  });
  assert.deepEqual(plain.verdict, { kind: 'fresh' });
  assert.deepEqual(plain.problems, []);
});

test('the levels and the large files are near the true means', () => {
  const { means } = workload.days[TESTED];
  const files = workload.sizes.length;
  let missed = 0;
  let total = 0;
  allDensities(plain).forEach((views, i) => {
    missed += Math.abs(views - means[i]);
    total += means[i];
  });
  assert.ok(missed / total < 0.25, `${missed / total}`);
  const own = means.subarray(0, files).reduce((sum, mean) => sum + mean, 0);
  assert.ok(Math.abs(plain.levels[0] / own - 1) < 0.15);
});

test('changing the future does not change a forecast', () => {
  const later = [...workloadRecords(workload, DAY + 4)].map((record) =>
    record.day >= isoDayOf(DAY) ? { ...record, bytes: 9 * record.bytes } : record,
  );
  assert.deepEqual(allDensities(forecastOf(later)), allDensities(plain));
});

test('the order of the records changes nothing but the last digits', () => {
  const turned = [...workloadRecords(workload, DAY)].toReversed();
  const here = allDensities(plain);
  allDensities(forecastOf(turned)).forEach((views, i) => {
    assert.ok(Math.abs(views - here[i]) <= 1e-9 * (1 + here[i]));
  });
});

test('the same records give the same bytes', () => {
  const again = forecastOf(workloadRecords(workload, DAY));
  assert.deepEqual(allDensities(again), allDensities(plain));
});

test('a release that nobody has watched yet is given its prior, above the median title', () => {
  const isNew = workload.titles.findIndex(
    ({ listing }) => listing.kind === 'film' && listing.release !== undefined,
  );
  const title = workload.titles[isNew];
  const day = Math.floor(Date.parse(title.listing.release?.at ?? '') / 86_400_000);
  const since = Math.max(day, workload.firstDay + 20);
  const moved = workload.titles.map((other, at) =>
    at === isNew
      ? {
          ...title,
          listing: {
            ...title.listing,
            release: {
              at: new Date(since * 86_400_000).toISOString(),
              countries: ['*'],
              priority: 9,
            },
          },
        }
      : other,
  );
  const unseen = [...workloadRecords(workload, since)].filter(
    ({ ordinal }) => !title.ordinals.includes(ordinal),
  );
  const forecast = forecastDemand(unseen, moved, workload.clusters, isoDayOf(since));
  const densities = forecast.densitiesOf(0);
  const own = densities[title.ordinals[0]];
  const others = [...densities].sort((a, b) => a - b);
  assert.ok(own > others[Math.floor(others.length / 2)], `${own}`);
  const before = forecastDemand(unseen, moved, workload.clusters, isoDayOf(since - 3));
  assert.ok(before.densitiesOf(0)[title.ordinals[0]] < 0.05 * own, 'not watched before it is out');
});

test('with days ahead, a release of tomorrow is forecast as on its first day, one of next week is not', () => {
  const at = (days: number): string => new Date((DAY + days) * 86_400_000 + 72e6).toISOString();
  const films = workload.titles.filter(
    ({ listing }) => listing.kind === 'film' && listing.class === 'release',
  );
  const [soon, late] = films;
  const titles = workload.titles.map((title) => {
    if (title !== soon && title !== late) return title;
    const release = { at: at(title === soon ? 1 : 7), countries: ['*'], priority: 5 };
    return { ...title, listing: { ...title.listing, release } };
  });
  const out = new Set([...soon.ordinals, ...late.ordinals]);
  const records = [...workloadRecords(workload, DAY)].filter(({ ordinal }) => !out.has(ordinal));
  const options = { homeUnknown: 'unknown', aheadDays: 2 };
  const forecast = forecastDemand(records, titles, workload.clusters, isoDayOf(DAY), options);
  const densities = forecast.densitiesOf(0);
  const typical = [...densities].sort((a, b) => a - b)[Math.floor(densities.length / 2)];
  assert.ok(densities[soon.ordinals[0]] > typical);
  assert.ok(densities[late.ordinals[0]] < 0.05 * typical);
});

test('a cluster without history gets the taste of its region and a level by its capacity', () => {
  const clusters = [...workload.clusters, { clusterId: 'new', country: 'DE', capacity: 5e8 }];
  const forecast = forecastDemand(
    workloadRecords(workload, DAY),
    workload.titles,
    clusters,
    isoDayOf(DAY),
  );
  const german = clusters.findIndex(({ clusterId }) => clusterId === 'de-1');
  const japanese = clusters.findIndex(({ clusterId }) => clusterId === 'jp-1');
  const shares = (cluster: number): readonly number[] =>
    [...forecast.densitiesOf(cluster)].map((views) => views / forecast.levels[cluster]);
  const apart = (a: readonly number[], b: readonly number[]): number =>
    a.reduce((sum, share, i) => sum + Math.abs(share - b[i]), 0);
  const fresh = shares(clusters.length - 1);
  assert.ok(forecast.levels[clusters.length - 1] > 0);
  assert.ok(apart(fresh, shares(german)) < apart(fresh, shares(japanese)));
});

test('without any record what is out is given the same small demand, and the verdict says so', () => {
  const forecast = forecastOf([]);
  assert.deepEqual(forecast.verdict, { kind: 'no-history' });
  const densities = allDensities(forecast);
  assert.ok(densities.every((views) => views >= 0 && Number.isFinite(views)));
  assert.ok(densities.filter((views) => views > 0).length > densities.length / 2);
});

test('when the records of the last day are spoilt, the forecast of the last good night stands', () => {
  const last = isoDayOf(DAY - 1);
  const files = workload.sizes.length;
  const spoilt = [...workloadRecords(workload, DAY)].map((record) =>
    record.day === last ? { ...record, ordinal: files - 1 - record.ordinal } : record,
  );
  const forecast = forecastOf(
    spoilt.map((record) => ({ ...record, bytes: Math.min(record.bytes, 1e15) })),
  );
  assert.equal(forecast.verdict.kind, 'fell-back');
  assert.ok(forecast.verdict.kind === 'fell-back');
  assert.equal(forecast.verdict.toDay, isoDayOf(DAY - 2));
  assert.match(forecast.problems[0], /fell back: the error of .* where .* is usual/);
  const good = forecastOf([...workloadRecords(workload, DAY - 1)]);
  const here = allDensities(forecast);
  const there = allDensities(good);
  const apart = here.reduce((sum, views, i) => sum + Math.abs(views - there[i]), 0);
  assert.ok(
    apart < 1e-6 * here.reduce((sum, views) => sum + views, 0),
    'as if the day had not been',
  );
});

test('one title that is suddenly talked about is no reason to doubt the records', () => {
  const last = isoDayOf(DAY - 1);
  const talked = workload.titles.findIndex(({ listing }) => listing.class === 'catalogue');
  const own = new Set(workload.titles[talked].ordinals);
  const records = [...workloadRecords(workload, DAY)].map((record) =>
    record.day === last && own.has(record.ordinal)
      ? { ...record, bytes: 8 * record.bytes }
      : record,
  );
  const forecast = forecastOf(records);
  assert.equal(forecast.verdict.kind, 'fresh');
  const [ordinal] = own;
  assert.ok(forecast.densitiesOf(0)[ordinal] > 1.1 * plain.densitiesOf(0)[ordinal]);
});

test('bands widen with their probability and hold about what they say', () => {
  const { counts } = workload.days[TESTED];
  const files = workload.sizes.length;
  let within = 0;
  let cases = 0;
  plain.clusterIds.forEach((_, cluster) => {
    plain.densitiesOf(cluster).forEach((views, row) => {
      if (views < 20) return;
      const low = plain.quantileOf(row, views, 0.1);
      const high = plain.quantileOf(row, views, 0.9);
      assert.ok(low < high && plain.quantileOf(row, views, 0.02) <= low);
      const actual = counts[cluster * files + row];
      cases++;
      if (actual >= low && actual <= high) within++;
    });
  });
  assert.ok(cases > 200);
  assert.ok(within / cases > 0.6 && within / cases < 0.99, `${within / cases}`);
});
