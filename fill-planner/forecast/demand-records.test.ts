import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  dayNumberOf,
  HOME_NOT_KNOWN,
  isoDayOf,
  takeRecords,
  type DemandRecord,
  type RecordLookup,
} from './demand-records.ts';

const LOOKUP: RecordLookup = {
  file: (ordinal) => (ordinal < 3 ? { row: ordinal, sizeBytes: 1000 } : undefined),
  cluster: (home) => (home === 'unknown' ? HOME_NOT_KNOWN : home === 'a' ? 0 : undefined),
};
const GOOD: DemandRecord = { ordinal: 1, home: 'a', day: '2026-03-01', bytes: 5000 };
const AT = dayNumberOf('2026-03-02');

test('a view is as many bytes as the file has, whatever home it came from', () => {
  const taken = takeRecords([GOOD, { ...GOOD, home: 'unknown', bytes: 500 }], LOOKUP, AT);
  assert.deepEqual(
    taken.days.map(({ day, rows, clusters, views }) => ({
      day,
      rows: Array.from(rows),
      clusters: Array.from(clusters),
      views: Array.from(views),
    })),
    [{ day: AT - 1, rows: [1, 1], clusters: [0, HOME_NOT_KNOWN], views: [5, 0.5] }],
  );
  assert.deepEqual(taken.problems, []);
});

const BAD: readonly [what: string, record: Partial<DemandRecord>, why: RegExp][] = [
  ['an unknown file', { ordinal: 9 }, /view record 2 .*file 9 is in no listing/],
  ['an unknown cluster', { home: 'b' }, /view record 2 .*"b" is no cluster/],
  ['negative bytes', { bytes: -1 }, /view record 2 .*-1 bytes of file 1/],
  ['bytes that are no number', { bytes: Number.NaN }, /view record 2 .*NaN bytes/],
  ['a count beyond any audience', { bytes: 1e30 }, /view record 2 .*more than/],
  ['a day of another form', { day: '2026-3-1' }, /view record 2 .*"2026-3-1" is no UTC date/],
  ['a time with a zone', { day: '2026-03-01T00:00:00+09:00' }, /view record 2 .*no UTC date/],
  ['a day that does not exist', { day: '2026-02-30' }, /view record 2 .*no UTC date/],
  [
    'the same file, home and day again',
    {},
    /view record 2 .*file 1 of a on 2026-03-01 came before/,
  ],
];

for (const [what, change, why] of BAD) {
  test(`${what}: the record is left out and named, the rest stands`, () => {
    const { days, problems } = takeRecords([GOOD, { ...GOOD, ...change }], LOOKUP, AT);
    assert.equal(problems.length, 1);
    assert.match(problems[0], why);
    assert.deepEqual(Array.from(days[0].views), [5]);
  });
}

test('the day of the forecast and later days do not enter', () => {
  const records = ['2026-03-02', '2026-03-03'].map((day) => ({ ...GOOD, day }));
  assert.deepEqual(takeRecords(records, LOOKUP, AT).days, []);
});

test('days come in order, and one without a record is named', () => {
  const records = ['2026-02-27', '2026-02-24'].map((day) => ({ ...GOOD, day }));
  const { days, problems } = takeRecords(records, LOOKUP, AT);
  assert.deepEqual(
    days.map(({ day }) => isoDayOf(day)),
    ['2026-02-24', '2026-02-27'],
  );
  assert.deepEqual(problems, [
    'no view record of 2 days from 2026-02-25: they are left out',
    'no view record of 2 days from 2026-02-28: they are left out',
  ]);
});

test('problems are counted past the first two hundred', () => {
  const records = Array.from({ length: 300 }, () => ({ ...GOOD, bytes: -1 }));
  const { problems } = takeRecords(records, LOOKUP, AT);
  assert.equal(problems.length, 201);
  assert.match(problems[200], /100 more/);
});

test('ten thousand records of a day are each taken once', () => {
  const lookup: RecordLookup = {
    file: (ordinal) => ({ row: ordinal, sizeBytes: 1 }),
    cluster: (home) => Number(home),
  };
  const records = Array.from({ length: 10_000 }, (_, at) => ({
    ...GOOD,
    ordinal: 7919 * (at % 100),
    home: String(Math.floor(at / 100)),
    bytes: at + 1,
  }));
  const { days, problems } = takeRecords([...records, ...records.slice(0, 50)], lookup, AT);
  assert.equal(problems.length, 50);
  assert.deepEqual(
    Array.from(days[0].views),
    records.map(({ bytes }) => bytes),
  );
});
