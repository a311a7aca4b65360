import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { comparisonOf } from './comparison.ts';
import { exampleResult } from './example-result.ts';
import { bandOf, decimalBytes, FIGURES, plain } from './figures.ts';
import { readResults, writeReport } from './io/result-files.ts';
import { checkResult, TOTALS } from '../../simulate/result.ts';
import { plotsOf } from './plots.ts';
import { comparisonReportOf, reportOf } from './report.ts';
import { studentT975 } from './student-t.ts';

const SEEDS = [1, 2, 3, 4, 5, 6];

test('the example has the form of a result, and every total has its place in reports', () => {
  const checked = checkResult(JSON.parse(JSON.stringify(exampleResult({ seeds: SEEDS }))));
  assert.deepEqual(checked.ok ? [] : checked.failure, []);
  assert.deepEqual(FIGURES.map(({ metric }) => metric).toSorted(), TOTALS.toSorted());
});

test('Student’s t is that of the tables to 0.5 %', () => {
  const table = [
    [1, 12.7062],
    [2, 4.3027],
    [3, 3.1824],
    [5, 2.5706],
    [9, 2.2622],
    [30, 2.0423],
    [1e9, 1.95996],
  ];
  for (const [freedom, t] of table) {
    assert.ok(
      Math.abs(studentT975(freedom) / t - 1) < 0.005,
      `${freedom}: ${studentT975(freedom)}`,
    );
  }
  assert.throws(() => studentT975(0.5), /at least 1/);
});

test('runs with the same seeds are paired: the chance that they share does not hide a small difference', () => {
  const before = exampleResult({ seeds: SEEDS, offload: 0.93 });
  const after = exampleResult({ seeds: SEEDS, offload: 0.931, variant: 'more' });
  const paired = comparisonOf(before, after);
  const row = paired.rows.find((entry) => entry.figure.metric === 'offloadShare');
  assert.equal(paired.how, 'paired by seed');
  assert.equal(row?.verdict, 'better');
  assert.ok(Math.abs(row.difference - 0.001) < 1e-12);

  const others = exampleResult({ seeds: SEEDS.map((seed) => seed + 100), offload: 0.931 });
  const unpaired = comparisonOf(before, others);
  const same = unpaired.rows.find((entry) => entry.figure.metric === 'offloadShare');
  assert.equal(unpaired.how, 'independent seeds');
  assert.equal(same?.verdict, 'no difference seen');
});

test('the order of the seeds in a result changes nothing', () => {
  const before = exampleResult({ seeds: SEEDS });
  const after = exampleResult({ seeds: SEEDS, offload: 0.94 });
  const shuffled = exampleResult({ seeds: SEEDS.toReversed(), offload: 0.94 });
  const figures = (other: typeof after) =>
    comparisonOf(before, other).rows.map((row) => row.interval?.map((edge) => edge.toFixed(12)));
  assert.deepEqual(figures(shuffled), figures(after));
});

test('one seed is never called significant', () => {
  const { how, rows } = comparisonOf(exampleResult(), exampleResult({ offload: 0.99 }));
  assert.equal(how, 'one seed');
  assert.deepEqual([...new Set(rows.map((row) => row.verdict))], ['not judged']);
});

test('a paired interval holds the true difference about as often as it says', () => {
  let held = 0;
  for (let run = 0; run < 400; run++) {
    const random = seededRandom(1000 + run);
    const normal = (): number =>
      Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
    const before = exampleResult({ seeds: SEEDS });
    const after = exampleResult({ seeds: SEEDS });
    const values = SEEDS.map((_, at) => before.bands[0].values[at] + 0.01 + 0.02 * normal());
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const [row] = comparisonOf(before, {
      ...after,
      bands: [{ ...after.bands[0], values, mean }],
    }).rows;
    const [low, high] = row.interval ?? [0, 0];
    if (low <= 0.01 && high >= 0.01) held++;
  }
  assert.ok(held > 365 && held < 395, `${held} of 400`); // 380 expected, 4.4 one deviation
});

test('a comparison says which fields of the scenarios differ, and with what names', () => {
  const before = exampleResult();
  const after = exampleResult({ variant: 'wide' });
  const changed = { ...after.scenario, days: 9, name: 'other' };
  const { changes } = comparisonOf(before, { ...after, scenario: changed });
  assert.deepEqual(changes, ['/days: 7 -> 9']);
});

test('a report stands alone, escapes what a scenario says, and is the same every time', async () => {
  const results = [
    exampleResult({ name: 'a <script>alert(1)</script> name', seeds: SEEDS }),
    exampleResult({ variant: 'more-disk', offload: 0.95, seeds: SEEDS }),
  ];
  const html = await reportOf(results);
  assert.equal(await reportOf(results), html);
  assert.ok(!html.includes('<script>alert'));
  assert.ok(html.includes('site &lt;b&gt;lost'));
  const loads = [...html.matchAll(/(?:src|href)="([^"]*)"|url\(([^)]*)\)|@import/g)]
    .map(([, address, inStyle]) => address ?? inStyle)
    .filter((address) => address !== undefined && !address.startsWith('#'));
  assert.deepEqual(loads, []);
  assert.equal(html.match(/<svg /g)?.length, plotsOf(results).length);
  for (const { title } of plotsOf(results)) assert.ok(html.includes(title), title);
  assert.ok(html.includes('+2.00 pt'), 'the difference of the variant');
});

test('an interrupted run says so at the top', async () => {
  const html = await reportOf([exampleResult({ isPartial: true, days: 4 })]);
  assert.match(html, /Partial: “base” was interrupted after 48 of 96 hours/);
});

test('a run of one site and one hour still has a report', async () => {
  const whole = exampleResult({ sites: 1, days: 1 });
  const hours = Object.fromEntries(
    Object.entries(whole.hours).map(([name, values]) => [name, values.slice(0, 1)]),
  ) as unknown as typeof whole.hours;
  const html = await reportOf([
    { ...whole, hours, nights: [], events: [], curves: [], meta: { ...whole.meta, hoursDone: 1 } },
  ]);
  assert.ok(html.includes('plot-demand'));
});

test('two runs of other scenarios are compared in a page of their own', async () => {
  const html = await comparisonReportOf(
    exampleResult({ name: 'autumn' }),
    exampleResult({ name: 'winter', offload: 0.9 }),
  );
  assert.match(html, /winter\/base against autumn\/base/);
  assert.match(html, /not judged/);
});

test('results are read back, a variant by its name; what is no result is refused by file and reason', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-report-'));
  try {
    const file = path.join(directory, 'run.json');
    const pair = [exampleResult(), exampleResult({ variant: 'more' })];
    writeFileSync(file, JSON.stringify(pair));
    const all = readResults(file);
    assert.deepEqual(all.ok && all.value.map((result) => result.meta.variant), ['base', 'more']);
    const one = readResults(`${file}#more`);
    assert.equal(one.ok && one.value.length, 1);
    const none = readResults(`${file}#less`);
    assert.match(none.ok ? '' : none.failure, /has no variant less; it has base, more/);
    writeFileSync(file, '{"format":2}');
    const wrong = readResults(file);
    assert.match(wrong.ok ? '' : wrong.failure, /run\.json: no simulation result: .*simulate run/);
    writeFileSync(file, '{"format":');
    assert.equal(readResults(file).ok, false);
    const gone = readResults(path.join(directory, 'gone.json'));
    assert.match(gone.ok ? '' : gone.failure, /gone\.json: there is no such file/);

    const report = path.join(directory, 'run.html');
    assert.deepEqual(writeReport(report, '<p>é'), { ok: true, value: 5 });
    assert.equal(readFileSync(report, 'utf8'), '<p>é');
    assert.match(
      (writeReport(path.join(directory, 'no', 'x.html'), '') as { failure: string }).failure,
      /could not be written/,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('numbers are printed as people write them', () => {
  assert.deepEqual([12_345.6, 12.34, 0.012_34, 0, 3].map(plain), [
    '12,346',
    '12.3',
    '0.0123',
    '0',
    '3',
  ]);
  assert.deepEqual([0, 999, 1.5e13].map(decimalBytes), ['0 B', '999 B', '15 TB']);
  assert.equal(bandOf(exampleResult(), 'offloadShare'), null);
});
