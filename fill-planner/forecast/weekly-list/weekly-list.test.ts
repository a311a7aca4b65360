import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWeeklyList, type WeeklyList } from './weekly-list.ts';

const HEADER =
  'week\tcategory\tweekly_rank\tshow_title\tseason_title\tweekly_hours_viewed\truntime\tweekly_views\tcumulative_weeks_in_top_10';

function textOf(...rows: readonly string[]): string {
  return [HEADER, ...rows].join('\n');
}

function parsed(text: string): { list: WeeklyList; problems: readonly string[] } {
  const outcome = parseWeeklyList(text);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.failure);
  return outcome.value;
}

const GOOD = '2024-01-07\tFilms\t1\tA\tN/A\t1000000\t2\t500000\t1';

test('rows become one series per title, by week', () => {
  const { list, problems } = parsed(
    textOf('2024-01-14\tFilms\t2\tA\tN/A\t600000\t2\t300000\t2', GOOD),
  );
  assert.deepEqual(problems, []);
  assert.equal(list.weeks, 2);
  assert.equal(list.firstWeek, '2024-01-07');
  assert.deepEqual(
    list.series[0].entries.map(({ week, hours, runtimeHours }) => [week, hours, runtimeHours]),
    [
      [0, 1_000_000, 2],
      [1, 600_000, 2],
    ],
  );
});

test('a runtime that is not published is told by hours and views', () => {
  const { list } = parsed(textOf('2024-01-07\tTV\t1\tB\tB: Season 1\t3000000\t\t1000000\t1'));
  assert.equal(list.series[0].entries[0].runtimeHours, 3);
});

const BAD_ROWS: readonly [what: string, row: string, why: RegExp][] = [
  [
    'hours that are no number',
    '2024-01-07\tFilms\t2\tB\tN/A\tNaN\t2\t1\t1',
    /line 3 .*weekly_hours_viewed "NaN"/,
  ],
  ['negative hours', '2024-01-07\tFilms\t2\tB\tN/A\t-5\t2\t1\t1', /line 3 .*"-5"/],
  ['hours beyond any audience', '2024-01-07\tFilms\t2\tB\tN/A\t1e30\t2\t1\t1', /line 3 .*1e30/],
  ['no hours', '2024-01-07\tFilms\t2\tB\tN/A\t\t2\t1\t1', /line 3 .*weekly_hours_viewed ""/],
  ['a date of another form', '07/01/2024\tFilms\t2\tB\tN/A\t5\t2\t1\t1', /line 3 .*no date/],
  ['no title', '2024-01-07\tFilms\t2\t\tN/A\t5\t2\t1\t1', /line 3 .*no show_title/],
  ['a rank of zero', '2024-01-07\tFilms\t0\tB\tN/A\t5\t2\t1\t1', /line 3 .*no rank/],
  ['a row that is cut', '2024-01-07\tFilms\t2\tB\tN/A\t40', /line 3 .*6 cells under 9 columns/],
  ['the same title twice in a week', GOOD, /line 3 .*"A" is listed twice in 2024-01-07/],
];

for (const [what, row, why] of BAD_ROWS) {
  test(`${what}: the row is left out and named, the rest stands`, () => {
    const { list, problems } = parsed(textOf(GOOD, row));
    assert.equal(problems.length, 1);
    assert.match(problems[0], why);
    assert.equal(list.series.length, 1);
    assert.equal(list.series[0].entries.length, 1);
  });
}

test('a missing week keeps its number and is named; a day off the weekly grid is left out', () => {
  const { list, problems } = parsed(
    textOf(
      GOOD,
      '2024-01-21\tFilms\t1\tA\tN/A\t5\t2\t1\t2',
      '2024-01-24\tFilms\t1\tC\tN/A\t5\t2\t1\t2',
    ),
  );
  assert.deepEqual(
    list.series.map(({ show, entries }) => [show, entries.map(({ week }) => week)]),
    [['A', [0, 2]]],
  );
  assert.match(problems.join('\n'), /no row of week 2024-01-14/);
  assert.match(problems.join('\n'), /2024-01-24 is no whole number of weeks/);
});

test('a text that is no weekly list is refused with what it lacks', () => {
  for (const [text, why] of [
    ['', /lacks week/],
    ['a\tb\n1\t2\n', /lacks week, category/],
    [HEADER, /no row/],
    [textOf('x\ty'), /no row .* line 2 is left out/],
  ] as const) {
    const outcome = parseWeeklyList(text);
    assert.ok(!outcome.ok);
    assert.match(outcome.failure, why);
  }
});
