import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import type { Outcome } from '#base/outcome.ts';
import { seededRandom } from '#base/random.ts';
import { reportOf } from '../../report/simulation/report.ts';
import { POLICIES } from '../cache/catalogue.ts';
import { runPolicy } from '../cache/run.ts';
import type { Trace } from '../cache/trace.ts';
import { fluidInput } from '../fluid/fluid-run.ts';
import { readScenarioFile, runVariants, writeResults } from '../io/scenario-run.ts';
import { generatedTopology } from '../network/topology.ts';
import { runRequest } from '../request/request-engine.ts';
import { checkResult, type SimulationResult } from '../result.ts';
import { scenarioOf, type Scenario } from '../scenario.ts';
import { runAnalytic } from './analytic-run.ts';
import { analyticHit, type Popularity } from './che.ts';
import { binnedByRate, generatedWorkload } from './workload.ts';

const TOPOLOGY = generatedTopology(1, 40);
const SITES = TOPOLOGY.filter((site) => !site.isExchange).slice(0, 3);
const FLEET = `fleet:
  source: generated
  sitesMax: 6
  boxes: {storage: {storageTb: 0.4}, small: {storageTb: 0.2}, flash: {storageTb: 0.1}}
`;

function scenario(given: object = {}): Scenario {
  const read = scenarioOf({
    name: 'test',
    days: 2,
    catalogue: { programmes: 200, variants: 40 },
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

/** Independent requests for files with the rates of the bins, each bin as so many files; bytes in units of 1 MB. */
function traceOf(popularity: Popularity, requests: number): { trace: Trace; unit: number } {
  const { ratesPerDay, sizesBytes, counts } = popularity;
  const unit = 1e6;
  const below: number[] = [];
  let sum = 0;
  for (let bin = 0; bin < ratesPerDay.length; bin++) {
    const files = Math.round(counts?.[bin] ?? 1);
    for (let file = 0; file < files; file++) below.push((sum += ratesPerDay[bin]));
  }
  const random = seededRandom(3);
  const size = Math.round(sizesBytes[0] / unit);
  const ids = new Int32Array(requests);
  for (let at = 0; at < requests; at++) {
    const drawn = random.next() * sum;
    let [low, high] = [0, below.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (below[middle] < drawn) low = middle + 1;
      else high = middle;
    }
    ids[at] = low;
  }
  const trace = {
    name: 'independent',
    requests,
    objects: below.length,
    ids,
    sizes: new Uint32Array(requests).fill(size),
    bytesRequested: requests * size,
    bytesDistinct: below.length * size,
  };
  return { trace, unit };
}

test('LRU and FIFO over the generated catalogue agree with simulated caches within one point', () => {
  const found = fluidInput(scenario(), SITES, 1);
  assert.ok(found.ok);
  const [{ popularity }] = generatedWorkload(found.value).clusters;
  const requests = 800_000;
  const { trace, unit } = traceOf(popularity, requests);
  const half = requests / 2;
  for (const policy of ['lru', 'fifo'] as const) {
    for (const share of [0.03, 0.1, 0.3]) {
      const capacity = Math.round(share * trace.bytesDistinct);
      const [all, warm] = [trace, { ...trace, requests: half }].map((part) =>
        runPolicy(part, POLICIES[policy], capacity),
      );
      const counted = 1 - (all.missObjects - warm.missObjects) / half;
      const { byteHitRatio } = analyticHit(popularity, policy, capacity * unit);
      assert.ok(
        Math.abs(byteHitRatio - counted) < 0.01,
        `${policy} at ${share}: ${byteHitRatio}, counted ${counted}`,
      );
    }
  }
});

test('planned placement agrees with real keys on small sites within two points', async () => {
  const request = await runRequest(scenario(), SITES, 1, {
    variant: 'base',
    sampleShare: 0.5,
    pause: () => Promise.resolve(),
  });
  const analytic = runAnalytic(scenario(), SITES, 1, 'base', null);
  assert.ok(request.ok && analytic.ok);
  const points = 100 * (analytic.value.totals.offloadShare - request.value.totals.offloadShare);
  assert.ok(Math.abs(points) < 2, `${points} points apart`);
});

test('many files in ranges of rate answer as they do one by one, to a fifth of a point', () => {
  const files = {
    ratesPerDay: Array.from({ length: 3000 }, (_, file) => 500 / (file + 1) ** 0.8),
    sizesBytes: Array.from({ length: 3000 }, (_, file) => 1e6 * (1 + (file % 11))),
  };
  const bins = binnedByRate(files, 1000);
  assert.ok(bins.ratesPerDay.length < 300);
  for (const policy of ['lru', 'fifo', 'best'] as const) {
    for (const capacity of [2e8, 2e9, 1e10]) {
      const [one, other] = [files, bins].map(
        (popularity) => analyticHit(popularity, policy, capacity).byteHitRatio,
      );
      assert.ok(Math.abs(one - other) < 0.002, `${policy}, ${capacity}: ${one}, ${other}`);
    }
  }
});

interface Ran {
  readonly results: readonly SimulationResult[];
  readonly directory: string;
}

/** A scenario's text, with files beside it, from file to results. */
async function ran(
  t: TestContext,
  text: string,
  files: Record<string, string>,
): Promise<Outcome<Ran, string>> {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-analytic-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const [name, content] of Object.entries({ ...files, 's.yaml': text })) {
    writeFileSync(path.join(directory, name), content);
  }
  const read = readScenarioFile(path.join(directory, 's.yaml'), undefined, 'analytic');
  assert.ok(read.ok, read.ok ? '' : read.failure.join('\n'));
  const run = await runVariants(read.value, {
    engine: 'analytic',
    sampleShare: 1,
    firstSeed: 1,
    seeds: 1,
    threads: 1,
    signal: new AbortController().signal,
    onProgress: () => {},
  });
  return run.ok ? { ok: true, value: { results: run.value, directory } } : run;
}

function pointsOf(result: SimulationResult, series: string): readonly number[] {
  return result.curves[0].points.filter((point) => point.series === series).map(({ y }) => y);
}

test('a scenario becomes curves of every class of clusters, in a report, with the best placement on top', async (t) => {
  const text = `name: curves\ndays: 2\ncatalogue: {programmes: 300, variants: 60}\n${FLEET}compare: [{name: pull, change: {policy: {placement: pull-through, admission: lru}}}]\n`;
  const run = await ran(t, text, {});
  assert.ok(run.ok, run.ok ? '' : run.failure);
  const [base, pull] = run.value.results;
  assert.ok(checkResult(JSON.parse(JSON.stringify(base))).ok);
  assert.ok(base.curves.length >= 2);
  const best = pointsOf(base, 'best placement');
  for (const series of ['second hit', 'LRU', 'FIFO']) {
    const points = pointsOf(base, series);
    assert.equal(points.length, best.length);
    points.forEach((y, at) => assert.ok(y <= best[at] + 1e-6 && y >= (points[at - 1] ?? 0) - 1e-6));
  }
  assert.ok(base.totals.offloadShare > pull.totals.offloadShare);
  assert.ok(pull.totals.offloadShare > 0.2);
  const written = await writeResults(run.value.results, {
    directory: run.value.directory,
    withReport: false,
  });
  assert.deepEqual(
    written.map((file) => path.basename(file)),
    ['result.json'],
  );
  const html = await reportOf(run.value.results);
  assert.ok(html.includes('id="plot-curve-0"') && !html.includes('id="plot-demand"'));
  assert.ok(!html.includes('Origin, 95th percentile'), 'figures without meaning are left out');
});

test('view records become rates of each home, by their own sizes where they have them', async (t) => {
  const lines = ['ordinal,home,day,bytes,size'];
  const sizes = Array.from({ length: 400 }, (_, file) => 1e8 * (1 + (file % 7)));
  sizes.forEach((size, file) => {
    for (const day of [0, 1])
      lines.push(`${file},alpha,${day},${(size * 1000) / (file + 1)},${size}`);
  });
  lines.push('7,beta,1,100000,1000');
  const text = `name: records\n${FLEET}workload: {source: view-records, file: v.csv}\n`;
  const run = await ran(t, text, { 'v.csv': `${lines.join('\n')}\n` });
  assert.ok(run.ok, run.ok ? '' : run.failure);
  const [{ curves, totals, meta }] = run.value.results;
  assert.match(curves[0].title, /home alpha/);
  const exact = {
    ratesPerDay: sizes.map((_, file) => 1000 / (file + 1)),
    sizesBytes: sizes,
  };
  for (const { x, y, series } of curves[0].points) {
    if (series !== 'LRU') continue;
    const { byteHitRatio } = analyticHit(exact, 'lru', x * 1e12);
    assert.ok(Math.abs(y - 100 * byteHitRatio) < 1e-3, `${x} TB: ${y}, ${100 * byteHitRatio}`);
  }
  const asked = sizes.reduce((sum, size, file) => sum + (size * 1000) / (file + 1), 0) + 5e4;
  assert.ok(Math.abs(totals.demandBytes / (30 * asked) - 1) < 1e-6);
  assert.match(meta.notes.join(' '), /2 of 2 homes are no sites of the fleet/);
});

test('view records that cannot be meant are refused by file and reason', async (t) => {
  const text = `name: records\n${FLEET}workload: {source: view-records, file: v.csv}\n`;
  for (const [content, reason] of [
    ['ordinal,day,bytes\n1,2,3\n', /v\.csv: no column home; view records have ordinal, home, day/],
    ['ordinal,home,day,bytes\n1,a,2,-3\n', /1 of 1 rows have a null, bytes below 0/],
    ['ordinal,home,day,bytes\n1,a,2,0\n', /nothing is asked for/],
  ] as const) {
    const run = await ran(t, text, { 'v.csv': content });
    assert.match(run.ok ? '' : run.failure, reason);
  }
  const none = await ran(t, text.replace('v.csv', 'no.csv'), {});
  assert.match(none.ok ? '' : none.failure, /no\.csv: there is no such file/);
});

test('a trace becomes analytic curves beside simulated caches, and how far they are apart', async (t) => {
  const random = seededRandom(5);
  const lines = Array.from({ length: 60_000 }, (_, at) => {
    const file = Math.floor(800 * random.next() ** 3);
    return `${at} ${file} ${1000 + (file % 50) * 40}`;
  });
  const text = `name: trace\n${FLEET}workload: {source: trace, file: requests.txt}\n`;
  const run = await ran(t, text, { 'requests.txt': `${lines.join('\n')}\n` });
  assert.ok(run.ok, run.ok ? '' : run.failure);
  const [{ curves, meta }] = run.value.results;
  const names = new Set(curves[0].points.map(({ series }) => series));
  for (const name of ['LRU', 'lru, simulated', 'fifo, simulated', 'nightfill, simulated']) {
    assert.ok(names.has(name), name);
  }
  assert.deepEqual(
    meta.errors.map(({ metric, against }) => [metric, against]),
    ['LRU', 'FIFO'].map((name) => [`${name}, bytes served`, 'simulated cache, the whole trace']),
  );
  for (const { maxPoints } of meta.errors) assert.ok(maxPoints < 2.5, `${maxPoints} points`);
  const cut = await ran(t, text, { 'requests.txt': '1 2 3\n2 3\n' });
  assert.match(cut.ok ? '' : cut.failure, /requests\.txt, line 2: not "time id size"/);
});
