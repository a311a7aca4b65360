import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillWindowAt, isTimeZone, utcDateOf } from './fill-window.ts';
import type { FillWindow } from './contract.ts';

const at = (text: string): number => Date.parse(text);
const text = (atMs: number | null): string | null =>
  atMs === null ? null : new Date(atMs).toISOString().replace('.000Z', 'Z');

const paris: FillWindow = { startLocal: '02:00', hours: 12, timeZone: 'Europe/Paris' };
const newYork: FillWindow = { startLocal: '02:00', hours: 12, timeZone: 'America/New_York' };
const overMidnight: FillWindow = { startLocal: '22:30', hours: 5, timeZone: 'Europe/Paris' };
const inTheGap: FillWindow = { startLocal: '02:10', hours: 0.5, timeZone: 'Europe/Paris' };
const halfHourZone: FillWindow = { startLocal: '02:00', hours: 2, timeZone: 'Australia/Lord_Howe' };

test('a fill window opens and closes on the clock of its site, also when the clocks change', () => {
  const cases: readonly [FillWindow, now: string, 'open' | 'closed', until: string][] = [
    // An ordinary winter day in Paris (UTC+1): 01:00Z to 13:00Z.
    [paris, '2026-01-15T00:59:59Z', 'closed', '2026-01-15T01:00:00Z'],
    [paris, '2026-01-15T01:00:00Z', 'open', '2026-01-15T13:00:00Z'],
    [paris, '2026-01-15T12:59:59Z', 'open', '2026-01-15T13:00:00Z'],
    [paris, '2026-01-15T13:00:00Z', 'closed', '2026-01-16T01:00:00Z'],
    // Summer (UTC+2).
    [paris, '2026-07-01T11:59:59Z', 'open', '2026-07-01T12:00:00Z'],
    [paris, '2026-07-01T12:00:00Z', 'closed', '2026-07-02T00:00:00Z'],
    // 29 March 2026: 02:00 does not exist, the window opens at 03:00 CEST = 01:00Z and has 11 hours.
    [paris, '2026-03-28T14:00:00Z', 'closed', '2026-03-29T01:00:00Z'],
    [paris, '2026-03-29T00:59:59Z', 'closed', '2026-03-29T01:00:00Z'],
    [paris, '2026-03-29T01:00:00Z', 'open', '2026-03-29T12:00:00Z'],
    [paris, '2026-03-29T12:00:00Z', 'closed', '2026-03-30T00:00:00Z'],
    // 25 October 2026: 02:00 comes twice, the first counts, the window has 13 hours.
    [paris, '2026-10-24T23:59:59Z', 'closed', '2026-10-25T00:00:00Z'],
    [paris, '2026-10-25T00:00:00Z', 'open', '2026-10-25T13:00:00Z'],
    [paris, '2026-10-25T12:59:59Z', 'open', '2026-10-25T13:00:00Z'],
    [paris, '2026-10-25T13:00:00Z', 'closed', '2026-10-26T01:00:00Z'],
    // New York: 8 March 2026 (07:00Z is the change) and 1 November 2026.
    [newYork, '2026-03-08T06:59:59Z', 'closed', '2026-03-08T07:00:00Z'],
    [newYork, '2026-03-08T07:00:00Z', 'open', '2026-03-08T18:00:00Z'],
    [newYork, '2026-03-09T06:00:00Z', 'open', '2026-03-09T18:00:00Z'],
    [newYork, '2026-11-01T06:59:59Z', 'closed', '2026-11-01T07:00:00Z'],
    [newYork, '2026-11-01T07:00:00Z', 'open', '2026-11-01T19:00:00Z'],
    // Over midnight, and over the midnight before a change.
    [overMidnight, '2026-01-15T21:29:59Z', 'closed', '2026-01-15T21:30:00Z'],
    [overMidnight, '2026-01-15T23:30:00Z', 'open', '2026-01-16T02:30:00Z'],
    [overMidnight, '2026-03-28T22:00:00Z', 'open', '2026-03-29T01:30:00Z'],
    [overMidnight, '2026-10-25T01:00:00Z', 'open', '2026-10-25T02:30:00Z'],
    // A window that falls whole into the skipped hour does not open that day.
    [inTheGap, '2026-03-29T00:00:00Z', 'closed', '2026-03-30T00:10:00Z'],
    // Half-hour daylight saving: 5 April 2026, 02:00 LHDT (UTC+11) becomes 01:30 LHST (UTC+10:30).
    [halfHourZone, '2026-04-04T15:15:00Z', 'closed', '2026-04-04T15:30:00Z'],
    [halfHourZone, '2026-04-04T16:00:00Z', 'open', '2026-04-04T17:30:00Z'],
  ];
  for (const [window, now, expected, until] of cases) {
    const state = fillWindowAt(window, at(now));
    const what = `${window.timeZone} ${window.startLocal} at ${now}`;
    assert.equal(state.open ? 'open' : 'closed', expected, what);
    assert.equal(text(state.open ? state.closesAtMs : state.opensAtMs), until, what);
    assert.equal(state.open ? state.opensAtMs : state.closesAtMs, null, what);
  }
});

test('a window of 24 hours is always open', () => {
  for (const now of ['2026-03-29T00:59:59Z', '2026-10-25T01:30:00Z', '2026-07-01T00:00:00Z']) {
    assert.deepEqual(
      fillWindowAt({ startLocal: '02:00', hours: 24, timeZone: 'Europe/Paris' }, at(now)),
      { open: true, opensAtMs: null, closesAtMs: null },
    );
  }
});

test('over a whole year every hour is inside or before a window, and the bounds lie ahead', () => {
  let changes = 0;
  let last = false;
  for (let now = at('2026-01-01T00:00:00Z'); now < at('2027-01-01T00:00:00Z'); now += 60 * 60_000) {
    const state = fillWindowAt(newYork, now);
    assert.ok((state.open ? state.closesAtMs! : state.opensAtMs!) > now);
    if (state.open !== last) changes++;
    last = state.open;
  }
  assert.equal(changes, 2 * 365, 'opens and closes once a day');
});

test('time zones are known by their IANA name only', () => {
  assert.equal(isTimeZone('Europe/Paris'), true);
  assert.equal(isTimeZone('Mars/Olympus'), false);
  assert.equal(utcDateOf(at('2026-03-29T23:59:59Z')), '2026-03-29');
});

test('a window that was asked for answers for its time only, also where the clock went back', () => {
  const window: FillWindow = { startLocal: '02:00', hours: 12, timeZone: 'Europe/Paris' };
  const at = (iso: string): boolean => fillWindowAt(window, Date.parse(iso)).open;
  const fresh = (iso: string): boolean => fillWindowAt({ ...window }, Date.parse(iso)).open;
  const days = ['2026-03-28', '2026-03-29', '2026-10-25', '2026-07-01', '2026-03-28'];
  for (const day of days) {
    for (const hour of ['00:30', '01:30', '12:59', '13:00', '11:59', '23:59', '00:59']) {
      const iso = `${day}T${hour}:00Z`;
      assert.equal(at(iso), fresh(iso), iso);
    }
  }
});
