import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  billedBps,
  billingMonthAt,
  burstsUsed,
  NO_USAGE,
  SAMPLE_MS,
  sampleLimitBps,
  withBytes,
  type LinkUsage,
} from './billing.ts';

const at = (text: string): number => Date.parse(text);
const bytesAt = (bps: number): number => (bps / 8) * (SAMPLE_MS / 1000);

test('a billing month begins at local midnight of its day and has an hour less or more where the clocks change', () => {
  const cases: readonly [zone: string, day: number, now: string, start: string, hours: number][] = [
    ['UTC', 1, '2026-11-21T03:00:00Z', '2026-11-01T00:00:00Z', 30 * 24],
    ['Europe/Paris', 1, '2026-03-15T00:00:00Z', '2026-02-28T23:00:00Z', 31 * 24 - 1],
    ['Europe/Paris', 1, '2026-10-31T22:59:59Z', '2026-09-30T22:00:00Z', 31 * 24 + 1],
    ['Europe/Paris', 1, '2026-10-31T23:00:00Z', '2026-10-31T23:00:00Z', 30 * 24],
    ['America/New_York', 15, '2026-01-10T00:00:00Z', '2025-12-15T05:00:00Z', 31 * 24],
    ['America/New_York', 28, '2026-03-01T12:00:00Z', '2026-02-28T05:00:00Z', 28 * 24 - 1],
  ];
  for (const [zone, day, now, start, hours] of cases) {
    const month = billingMonthAt(at(now), zone, day);
    assert.equal(
      new Date(month.startMs).toISOString(),
      start.replace('Z', '.000Z'),
      `${zone} ${now}`,
    );
    assert.equal(month.samples, hours * 12, `${zone} ${now}`);
    assert.equal(month.forgiven, Math.floor((hours * 12) / 20));
  }
});

test('the highest twentieth of the month is not charged, the next sample is', () => {
  const month = billingMonthAt(at('2026-11-05T00:00:00Z'), 'UTC', 1);
  let usage: LinkUsage = NO_USAGE;
  for (let sample = 0; sample < 500; sample++) {
    const bps = sample < month.forgiven ? 9e9 : 2e9;
    usage = withBytes(usage, month, month.startMs + sample * SAMPLE_MS, bytesAt(bps));
  }
  assert.equal(month.forgiven, 432);
  assert.equal(billedBps(usage, month), 2e9);
  const now = month.startMs + 500 * SAMPLE_MS;
  assert.equal(burstsUsed(usage, month, 2e9, now), 432);
  assert.equal(sampleLimitBps(usage, month, now, 2e9, true), 2e9, 'all forgiven ones are used');
  const one = withBytes(usage, month, now, bytesAt(9e9));
  assert.equal(billedBps(one, month), 9e9, 'the 433rd high one is charged');
});

test('whatever a sender does that keeps to the limit, the month is never charged above the ceiling', () => {
  const month = billingMonthAt(at('2026-02-05T00:00:00Z'), 'UTC', 1);
  for (const isBursting of [true, false]) {
    let usage: LinkUsage = NO_USAGE;
    for (let now = month.startMs; now < month.endMs; now += SAMPLE_MS) {
      const limit = sampleLimitBps(usage, month, now, 1e9, isBursting) ?? 10e9;
      usage = withBytes(usage, month, now, bytesAt(limit));
    }
    assert.ok(billedBps(usage, month) <= 1e9, `bursting ${isBursting}`);
    const bursts = burstsUsed(usage, month, 1e9, month.startMs);
    assert.ok(isBursting ? bursts >= month.forgiven - 1 : bursts === 0);
  }
});

test('a clock that jumps back an hour lets nothing more through, one that jumps ahead leaves samples empty', () => {
  const month = billingMonthAt(at('2026-11-05T12:00:00Z'), 'UTC', 1);
  const now = month.startMs + 100 * SAMPLE_MS;
  let usage: LinkUsage = NO_USAGE;
  for (let sample = 80; sample < 100; sample++) {
    usage = withBytes(usage, month, month.startMs + sample * SAMPLE_MS, bytesAt(1e9));
  }
  assert.equal(sampleLimitBps(usage, month, now - 3_600_000, 1e9, false), 0, 'those are full');
  assert.equal(sampleLimitBps(usage, month, now + 3_600_000, 1e9, false), 1e9);
  const ahead = withBytes(usage, month, now + 3_600_000, bytesAt(1e9));
  assert.equal(ahead.bytes[105], 0);
  assert.ok(billedBps(ahead, month) <= 1e9);
});

test('a new month starts with nothing sent', () => {
  const november = billingMonthAt(at('2026-11-30T23:59:00Z'), 'UTC', 1);
  const full = withBytes(NO_USAGE, november, at('2026-11-30T23:59:00Z'), bytesAt(5e9));
  const december = billingMonthAt(at('2026-12-01T00:00:00Z'), 'UTC', 1);
  assert.equal(december.startMs, november.endMs);
  assert.equal(billedBps(full, december), 0);
  assert.equal(sampleLimitBps(full, december, december.startMs, 1e9, false), 1e9);
  assert.deepEqual(withBytes(full, december, december.startMs, 7).bytes, [7]);
});
