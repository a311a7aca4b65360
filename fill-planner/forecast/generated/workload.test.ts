import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { poissonFloor } from '../backtest/metrics.ts';
import { backtestWorkload } from './backtest.ts';
import { generateWorkload, workloadRecords } from './workload.ts';

const OPTIONS = {
  seed: 5,
  days: 30,
  films: 25,
  seasons: 5,
  releasesPerWeek: 2,
  viewsPerDay: 5000,
  bigReleaseDay: 27,
};

test('the generator reads no module of the forecaster', () => {
  const text = readFileSync(path.join(import.meta.dirname, 'workload.ts'), 'utf8');
  const imports = [...text.matchAll(/from '([^']+)'/g)].map((match) => match[1]);
  assert.deepEqual(imports, ['#base/random.ts']);
});

test('the same seed gives the same workload, another one another', () => {
  const counts = (seed: number): readonly number[] => [
    ...generateWorkload({ ...OPTIONS, seed }).days[20].counts,
  ];
  assert.deepEqual(counts(5), counts(5));
  assert.notDeepEqual(counts(5), counts(6));
});

test('counts lie around their means as a Poisson variable does: the floor is reached by the means', () => {
  const { days } = generateWorkload(OPTIONS);
  let missed = 0;
  let floor = 0;
  for (const { means, counts } of days) {
    counts.forEach((count, i) => {
      missed += Math.abs(count - means[i]);
      floor += poissonFloor(means[i]);
    });
  }
  assert.ok(Math.abs(missed / floor - 1) < 0.02, String(missed / floor));
});

test('the Poisson floor is the sum it stands for, and near sqrt(2 m / pi) for large means', () => {
  for (const mean of [0.3, 1, 4.5, 12]) {
    let sum = 0;
    let p = Math.exp(-mean);
    for (let k = 0; k < 100; k++) {
      sum += p * Math.abs(k - mean);
      p *= mean / (k + 1);
    }
    assert.ok(Math.abs(poissonFloor(mean) - sum) < 1e-9, String(mean));
  }
  assert.ok(Math.abs(poissonFloor(1e4) / Math.sqrt(2e4 / Math.PI) - 1) < 1e-3);
  assert.equal(poissonFloor(0), 0);
});

test('nothing is watched before it is out, and the big release is felt the day after', () => {
  const workload = generateWorkload(OPTIONS);
  const files = workload.sizes.length;
  workload.titles.forEach(({ listing, ordinals }) => {
    const day = Math.floor(Date.parse(listing.release?.at ?? '') / 86_400_000);
    if (Number.isNaN(day) || day <= workload.firstDay) return;
    const before = workload.days[day - workload.firstDay - 1];
    if (before !== undefined) assert.equal(before.means[ordinals[0]], 0, listing.titleId);
  });
  const { means } = workload.days[28];
  let own = 0;
  for (let file = 0; file < files; file++) {
    const { titleId } = workload.titles[workload.titleOfFile[file]].listing;
    if (titleId.startsWith('the-big-one-s2')) own += means[file];
  }
  const all = means.subarray(0, files).reduce((sum, mean) => sum + mean, 0);
  assert.ok(own > 0.05 * all, String(own / all));
});

test('records are the counts in bytes', () => {
  const workload = generateWorkload(OPTIONS);
  let views = 0;
  for (const { ordinal, bytes } of workloadRecords(workload, workload.firstDay + 2)) {
    views += bytes / workload.sizes[ordinal];
  }
  const sum = [0, 1].reduce(
    (total, at) => total + workload.days[at].counts.reduce((s, count) => s + count, 0),
    0,
  );
  assert.ok(Math.abs(views / sum - 1) < 1e-9);
});

test('ours is nearer to the floor than every baseline, and the oracle is at it', () => {
  const scores = backtestWorkload(generateWorkload(OPTIONS), 24, OPTIONS.bigReleaseDay);
  const steady = scores.filter(({ data }) => data === 'generated');
  const ratioOf = (model: string): number =>
    steady.find((score) => score.model === model)?.floorRatio ?? Number.NaN;
  assert.ok(Math.abs(ratioOf('oracle') - 1) < 0.1);
  for (const { model } of steady) {
    if (model !== 'ours' && model !== 'oracle') assert.ok(ratioOf('ours') < ratioOf(model), model);
  }
  assert.ok(scores.some(({ data }) => data === 'generated release week'));
  for (const { model, regret } of scores) {
    assert.ok(regret !== undefined && regret >= -1e-9, `${model} ${regret}`);
  }
});
