import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { backtestHalfYears } from './backtest.ts';
import { parseEngagement, periodEndDay, type EngagementReport } from './engagement.ts';

const HEAD = [
  ',What We Watched: A Netflix Engagement Report,,,,,,',
  ',Views from July to December 2023,,,,,,',
  ',Title,Available Globally?,Release Date,Hours Viewed,Runtime,Views,',
];
const GOOD = ',"Go Ahead, Brother: Season 1 // Idź",Yes,2023-10-30,52300000,5:50,9000000,';

function parsed(...rows: readonly string[]): EngagementReport {
  const outcome = parseEngagement([...HEAD, ...rows].join('\n'));
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.failure);
  return outcome.value;
}

test('a report is read: quotes, dates, runtimes, the half-year from its heading', () => {
  const { period, rows, problems } = parsed(GOOD, ',A film,No,,100000,1:30,100000,');
  assert.deepEqual(problems, []);
  assert.equal(period, 2 * 2023 + 1);
  assert.equal(periodEndDay(period), Date.UTC(2024, 0, 1) / 86_400_000);
  assert.deepEqual(rows[0], {
    title: 'Go Ahead, Brother: Season 1 // Idź',
    isSeries: true,
    isGlobal: true,
    releaseDay: Date.UTC(2023, 9, 30) / 86_400_000,
    hours: 52_300_000,
    runtimeHours: 5 + 50 / 60,
  });
  assert.equal(rows[1].releaseDay, null);
  assert.equal(rows[1].isSeries, false);
});

test('rows that cannot be read are left out and named by their line', () => {
  for (const [row, why] of [
    [',A film,No,,NaN,1:30,1,', /line 5 .*"NaN"/],
    [',A film,No,,-1,1:30,1,', /line 5 .*"-1"/],
    [',A film,No,,,1:30,1,', /line 5 .*hours ""/],
    [',,No,,5,1:30,1,', /line 5 .*no title/],
    [',A film,No', /line 5 .*cells under/],
    [',"A film,No,,5,1:30,1,', /line 5 .*quote/],
    [GOOD, /line 5 .*came before/],
  ] as const) {
    const { rows, problems } = parsed(GOOD, row);
    assert.equal(rows.length, 1);
    assert.match(problems.join(), why);
  }
});

test('a text that is no report is refused with what it lacks', () => {
  for (const [text, why] of [
    ['', /no line holds the column "Title"/],
    ['Title,Hours Viewed\n', /lacks Available Globally\?/],
    [`${HEAD[2]}\n${GOOD}`, /names a half-year/],
    [HEAD.join('\n'), /no row/],
  ] as const) {
    const outcome = parseEngagement(text);
    assert.ok(!outcome.ok);
    assert.match(outcome.failure, why);
  }
});

/** Three half-years of titles; those with a date lose more than half of their views in each. */
function reports(lastFactor: number): readonly EngagementReport[] {
  const random = seededRandom(8);
  const titles = Array.from({ length: 400 }, (_, i) => ({
    title: `title ${i}`,
    isSeries: i % 2 === 0,
    isGlobal: i % 3 === 0,
    releaseDay: i % 4 === 0 ? null : periodEndDay(4045) - Math.floor(2500 * random.next()),
    scale: 1e6 * Math.exp(4 * random.next()),
    runtimeHours: 2,
  }));
  return [4046, 4047, 4048].map((period, at) => ({
    period,
    problems: [],
    rows: titles.map(({ scale, ...row }) => ({
      ...row,
      hours:
        scale * (row.releaseDay === null ? 0.9 : 0.4) ** at * (at === 2 ? lastFactor : 1) +
        1000 * random.next(),
    })),
  }));
}

test('decay by age is learnt from the pair of reports before, and beats the last period', () => {
  const scores = backtestHalfYears(reports(1), 'engagement');
  const wapeOf = (model: string): number =>
    scores.find((score) => score.model === model)?.wape ?? 9;
  assert.ok(wapeOf('ours') < 0.1, `${wapeOf('ours')}`);
  assert.ok(wapeOf('ours') < wapeOf('last period'));
  assert.equal(wapeOf('oracle'), 0);
});

test('no report of the future enters: a last half-year twice as large is missed by half', () => {
  const ours = backtestHalfYears(reports(2), 'engagement').find(({ model }) => model === 'ours');
  assert.ok(ours?.wape !== null && ours?.wape !== undefined);
  assert.ok(Math.abs(ours.wape - 0.5) < 0.05, `${ours.wape}`);
});

test('two reports are too few to learn from one pair and score another', () => {
  assert.deepEqual(backtestHalfYears(reports(1).slice(0, 2), 'engagement'), []);
});
