import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FastTrackListSchema } from '#control-plane/contract.ts';
import { checker } from '#base/config.ts';
import type { PlannerInput } from './contract.ts';
import { PLAN_DATE, sampleNight } from './sample-night.ts';
import { trendingNow, type TrendBook, type TrendReport } from './trending.ts';

const CUT_MS = Date.parse(`${PLAN_DATE}T18:00:00Z`);
const QUARTER_MS = 15 * 60_000;

/** Half a year of quiet: a sample night, seen `quarters` of an hour after 18:00, with these starts of today per ordinal. */
function seen(quarters: number, starts: (ordinal: number) => number, home = 'cluster-0') {
  const input = sampleNight({ titles: 20, filesPerTitle: 2, storageBytes: 300_000, days: 14 });
  const today: PlannerInput['demand'] = input.titles.flatMap(({ ordinals, listing }) =>
    ordinals.map((ordinal, at) => ({
      ordinal,
      home,
      day: PLAN_DATE,
      bytes: starts(ordinal) * listing.files[at].sizeBytes,
      starts: starts(ordinal),
    })),
  );
  return {
    ...input,
    cutAtMs: CUT_MS + quarters * QUARTER_MS,
    demand: [...input.demand, ...today],
  };
}

function looked(input: unknown, book: TrendBook | null): TrendReport {
  const outcome = trendingNow(input, book);
  if (!outcome.ok) assert.fail(JSON.stringify(outcome.failure));
  return outcome.value;
}

/** By taste of the sample's generator: low ordinals are watched more. */
const usual = (quarters: number) => (ordinal: number) =>
  Math.round((40 * (10 + quarters)) / (1 + ordinal));

test('the first look, a gap of hours and a new day have nothing to compare with', () => {
  const first = looked(seen(0, usual(0)), null);
  assert.equal(first.binMinutes, null);
  assert.deepEqual([first.trends, first.entries], [[], []]);
  const jumped = seen(9, (ordinal) => usual(9)(ordinal) + (ordinal === 30 ? 900 : 0));
  assert.equal(looked(jumped, first.book).binMinutes, null);
  const other = { ...first.book, planDate: '2026-11-19' };
  assert.equal(looked(seen(1, usual(1)), other).binMinutes, null);
});

test('an evening as usual trends nothing', () => {
  let { book } = looked(seen(0, usual(0)), null);
  for (let quarter = 1; quarter <= 8; quarter++) {
    const report = looked(seen(quarter, usual(quarter)), book);
    assert.equal(report.binMinutes, 15);
    assert.deepEqual(report.entries, []);
    book = report.book;
  }
});

test('a title that jumps is named, and its files that no box holds become entries that the fast track takes', () => {
  const { book } = looked(seen(0, usual(0)), null);
  const jump = (ordinal: number) => usual(1)(ordinal) + (ordinal >= 38 ? 400 : 0);
  const report = looked(seen(1, jump), book);
  assert.deepEqual(
    report.trends.map(({ titleId, home, verdict }) => [titleId, home, verdict.kind]),
    [['title-19', 'cluster-0', 'surprise']],
  );
  assert.equal(report.trends[0].starts > 20 * report.trends[0].expectedStarts, true);
  assert.equal(report.entries.length, 2);
  for (const entry of report.entries) {
    assert.deepEqual(entry.titles, ['title-19']);
    assert.deepEqual(entry.clusters, ['cluster-0']);
    assert.equal(entry.untilMs, CUT_MS + QUARTER_MS + 24 * 3_600_000);
    assert.match(entry.why, /title-19 jumped at cluster-0: \d+ starts, .* expected/);
  }
  const list = { version: 1, issuedAtMs: 0, bytesPerHourMax: 0, entries: [...report.entries] };
  assert.ok(checker(FastTrackListSchema)(list).ok);
});

test('what a box of the cluster holds already is not asked for again', () => {
  const { book } = looked(seen(0, usual(0)), null);
  const jump = (ordinal: number) => usual(1)(ordinal) + (ordinal >= 38 ? 400 : 0);
  const input = {
    ...seen(1, jump),
    holdings: [
      { applianceId: 'box-0-0', ordinals: [38] },
      { applianceId: 'box-1-0', ordinals: [39] },
    ],
  };
  const { entries } = looked(input, book);
  assert.deepEqual(
    entries.map(({ fileId }) => fileId),
    [input.titles[19].listing.files[1].fileId],
  );
});

test('a jump that stays below the fill threshold is seen and not filled', () => {
  const { book } = looked(seen(0, usual(0)), null);
  const jump = (ordinal: number) => usual(1)(ordinal) + (ordinal >= 38 ? 400 : 0);
  const full = seen(1, jump);
  const tiny = {
    ...full,
    appliances: full.appliances.map((box) => ({ ...box, storageBytes: 60_000 })),
    demand: full.demand.map((record) =>
      record.ordinal < 4 ? { ...record, bytes: record.bytes * 5000 } : record,
    ),
  };
  const { trends, entries } = looked(tiny, book);
  assert.ok(trends.some(({ titleId }) => titleId === 'title-19'));
  assert.ok(!entries.some(({ titles }) => titles.includes('title-19')));
});

test('a rise too slow for one look is seen after some', () => {
  let { book } = looked(seen(0, usual(0)), null);
  const slow = (quarter: number) => (ordinal: number) =>
    usual(quarter)(ordinal) + (ordinal >= 38 ? 4 * quarter : 0);
  const kinds: string[] = [];
  for (let quarter = 1; quarter <= 6; quarter++) {
    const report = looked(seen(quarter, slow(quarter)), book);
    for (const { titleId, verdict } of report.trends) {
      if (titleId === 'title-19') kinds.push(verdict.kind);
    }
    book = report.book;
  }
  assert.ok(kinds.includes('rising'), kinds.join(' '));
});
