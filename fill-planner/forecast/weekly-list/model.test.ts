import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { backtestList } from './backtest.ts';
import { BASELINE_NAMES, baselinesAt } from './baselines.ts';
import { featuresOf } from './features.ts';
import { rollForecasts, type ListForecast } from './model.ts';
import { parseWeeklyList, type WeeklyList } from './weekly-list.ts';

/** Two lists of ten; titles start at mid-week or not, then halve at a rate of their own. `change` edits hours by week. */
function madeUpList(weeks: number, change: (week: number, hours: number) => number): WeeklyList {
  const random = seededRandom(21);
  const titles: {
    list: string;
    name: string;
    start: number;
    scale: number;
    keep: number;
    first: number;
  }[] = [];
  for (let week = -5; week < weeks; week++) {
    for (const list of ['Films', 'TV']) {
      for (let i = 0; i < 3; i++) {
        titles.push({
          list,
          name: `${list} ${week} ${i}`,
          start: week,
          scale: 1e7 * Math.exp(1.2 * random.next()),
          keep: (list === 'TV' ? 0.6 : 0.45) * Math.exp(0.2 * (random.next() - 0.5)),
          first: 0.2 + 0.8 * random.next(),
        });
      }
    }
  }
  const rows = ['week\tcategory\tweekly_rank\tshow_title\tseason_title\tweekly_hours_viewed'];
  for (let week = 0; week < weeks; week++) {
    const day = new Date(Date.UTC(2023, 0, 1 + 7 * week)).toISOString().slice(0, 10);
    for (const list of ['Films', 'TV']) {
      const on = titles
        .filter((title) => title.list === list && title.start <= week)
        .map(({ name, start, scale, keep, first }) => {
          const age = week - start;
          const noise = Math.exp(0.1 * Math.sin(37 * (age + scale)));
          return { name, hours: noise * (age === 0 ? first * scale : scale * keep ** age) };
        })
        .sort((a, b) => b.hours - a.hours)
        .slice(0, 10);
      on.forEach(({ name, hours }, rank) => {
        const shown = Math.round(change(week, hours));
        rows.push([day, list, rank + 1, name, 'N/A', shown].join('\t'));
      });
    }
  }
  const parsed = parseWeeklyList(rows.join('\n'));
  assert.ok(parsed.ok);
  return parsed.value.list;
}

const asItWas = (_: number, hours: number): number => hours;
const WEEKS = 70;

test('changing the future does not change a forecast', () => {
  const origin = 50;
  const list = madeUpList(WEEKS, asItWas);
  const changed = madeUpList(WEEKS, (week, hours) => (week > origin ? 3 * hours + week : hours));
  const plain = (made: readonly ListForecast[], of: WeeklyList): unknown =>
    made.map(({ row, ...rest }) => ({ ...rest, title: of.series[row.series].key }));
  for (const step of [1, 2]) {
    const before = rollForecasts(list, { from: 40, to: origin + 1, step });
    const after = rollForecasts(changed, { from: 40, to: origin + 1, step });
    assert.ok(before.length > 200);
    assert.deepEqual(plain(after, changed), plain(before, list));
  }
});

test('features of a week and every baseline but the oracle do not see the weeks after it', () => {
  const origin = 55;
  const list = madeUpList(WEEKS, asItWas);
  const changed = madeUpList(WEEKS, (week, hours) => (week > origin ? 3 * hours + week : hours));
  const rows = featuresOf(list);
  const later = featuresOf(changed);
  const known = (all: typeof rows): typeof rows => all.filter(({ week }) => week <= origin);
  assert.deepEqual(
    known(later).map(({ features }) => features),
    known(rows).map(({ features }) => features),
  );
  const open = rows.filter(({ week }) => week === origin);
  const here = baselinesAt(list, rows, origin, 1);
  const there = baselinesAt(changed, later, origin, 1);
  for (const name of BASELINE_NAMES) {
    const isSame = open.every((row) => here[name](row) === there[name](row));
    assert.equal(isSame, name !== 'oracle', name);
  }
});

test('on titles that decay at a steady rate ours beats every baseline, and the bands hold what they say', () => {
  const scores = backtestList(madeUpList(84, asItWas), 'made up');
  const wapeOf = (model: string): number => {
    const found = scores.find((score) => score.model === model && score.step === 1);
    assert.ok(found?.wape !== null && found?.wape !== undefined, model);
    return found.wape;
  };
  for (const name of BASELINE_NAMES) {
    if (name === 'oracle') assert.equal(wapeOf(name), 0);
    else
      assert.ok(wapeOf('ours') < wapeOf(name), `${wapeOf('ours')} against ${name} ${wapeOf(name)}`);
  }
  const ours = scores.find((score) => score.model === 'ours' && score.step === 1);
  assert.ok(ours?.coverage !== undefined && ours.coverage > 0.6 && ours.coverage < 0.95);
  const baseRate = scores.find((score) => score.model === 'base rate by rank' && score.step === 1);
  assert.ok((ours.brier ?? 1) < (baseRate?.brier ?? 0));
});

test('a list that is too short is not scored', () => {
  assert.deepEqual(backtestList(madeUpList(10, asItWas), 'short'), []);
});

test('weeks that are missing in the middle are gone around', () => {
  const list = madeUpList(WEEKS, asItWas);
  const holed: WeeklyList = {
    ...list,
    series: list.series
      .map((series) => {
        const entries = series.entries.filter(({ week }) => week !== 50 && week !== 51);
        return { ...series, entries, byWeek: new Map(entries.map((entry) => [entry.week, entry])) };
      })
      .filter(({ entries }) => entries.length > 0),
  };
  const made = rollForecasts(holed, { from: 45, to: WEEKS - 1, step: 1 });
  assert.ok(made.every(({ ifListed, hours, stays }) => ifListed > 0 && hours > 0 && stays > 0));
  assert.ok(!made.some(({ origin }) => origin === 50));
});
