import assert from 'node:assert/strict';
import { test } from 'node:test';
import { array, assert as checkAll, constant, double, integer, oneof, property } from 'fast-check';
import { fitLevel, levelAt } from './level.ts';

const WEEK = [0.8, 0.8, 0.9, 1, 1.1, 1.3, 1.1];

test('a steady weekly season is forecast slot by slot', () => {
  const series = Array.from({ length: 56 }, (_, day) => 1000 * WEEK[day % 7]);
  const model = fitLevel(series, 7);
  for (let ahead = 1; ahead <= 14; ahead++) {
    const actual = 1000 * WEEK[(55 + ahead) % 7];
    assert.ok(Math.abs(levelAt(model, ahead) / actual - 1) < 0.02, String(ahead));
  }
});

test('hours of a week work the same way with a season of 168 slots', () => {
  const hour = (at: number): number => 100 + 80 * Math.sin((2 * Math.PI * (at % 24)) / 24);
  const series = Array.from(
    { length: 168 * 4 },
    (_, at) => hour(at) * WEEK[Math.floor(at / 24) % 7],
  );
  const model = fitLevel(series, 168);
  const at = 168 * 4 + 20;
  const actual = hour(at) * WEEK[Math.floor(at / 24) % 7];
  assert.ok(Math.abs(levelAt(model, 21) / actual - 1) < 0.02);
});

test('missing slots move time and nothing else', () => {
  const series = Array.from({ length: 56 }, (_, day) => 1000 * WEEK[day % 7]);
  const holed = series.map((value, day) => (day === 40 || day === 47 ? Number.NaN : value));
  const expected = levelAt(fitLevel(series, 7), 1);
  assert.ok(Math.abs(levelAt(fitLevel(holed, 7), 1) / expected - 1) < 0.02);
});

test('growth is followed', () => {
  const series = Array.from({ length: 70 }, (_, day) => (1000 + 10 * day) * WEEK[day % 7]);
  const forecast = levelAt(fitLevel(series, 7), 1);
  assert.ok(Math.abs(forecast / (1700 * WEEK[0]) - 1) < 0.05, String(forecast));
});

test('any series of counts gives a finite forecast that is not negative', () => {
  checkAll(
    property(
      array(oneof(constant(Number.NaN), constant(0), double({ min: 0, max: 1e9, noNaN: true })), {
        maxLength: 60,
      }),
      integer({ min: 1, max: 10 }),
      (series, ahead) => {
        const forecast = levelAt(fitLevel(series, 7), ahead);
        assert.ok(Number.isFinite(forecast) && forecast >= 0, String(forecast));
      },
    ),
    { seed: 4 },
  );
});
