import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PathQuality } from '#appliance/contract.ts';
import { PathLedger, PATHS_MAX } from './path-ledger.ts';

const NOW = 1_000_000 * 60;

function minute(at: number, prefixes: readonly string[], errors = 0): PathQuality {
  const aggregates = prefixes.map((prefix) => ({
    prefix,
    firstByteMs: [1, 2],
    rateKbps: [0, 0, 3],
    errors,
  }));
  return { minute: at, aggregates };
}

test('boxes of one cluster are folded per client network, another cluster apart', () => {
  const ledger = new PathLedger();
  assert.equal(ledger.take('a', 'paris', minute(NOW - 60, ['192.0.2.0/24'], 1), NOW), 'taken');
  assert.equal(ledger.take('b', 'paris', minute(NOW - 60, ['192.0.2.0/24']), NOW), 'taken');
  assert.equal(ledger.take('c', 'lyon', minute(NOW - 60, ['192.0.2.0/24']), NOW), 'taken');
  assert.equal(ledger.fold(NOW), true);
  const entry = { prefix: '192.0.2.0/24', rateKbps: [0, 0, 6], firstByteMs: [2, 4] };
  assert.deepEqual(ledger.entries, [
    { ...entry, clusterId: 'paris', errors: 1 },
    { ...entry, clusterId: 'lyon', firstByteMs: [1, 2], rateKbps: [0, 0, 3], errors: 0 },
  ]);
  const { entries } = ledger;
  assert.equal(ledger.fold(NOW + 60), false);
  assert.equal(ledger.entries, entries, 'the same object while nothing changed');
});

test('a minute counts once, and is forgotten after an hour', () => {
  const ledger = new PathLedger();
  const report = minute(NOW - 60, ['2001:db8:1::/48']);
  assert.equal(ledger.take('a', 'paris', report, NOW), 'taken');
  assert.equal(ledger.take('a', 'paris', report, NOW), 'again');
  ledger.fold(NOW);
  assert.equal(ledger.entries.length, 1);
  assert.equal(ledger.fold(NOW + 3600), true);
  assert.deepEqual(ledger.entries, []);
});

test('full addresses, half minutes and other times are refused', () => {
  const ledger = new PathLedger();
  const cases = [
    [minute(NOW, ['192.0.2.7/32']), 'no-aggregate'],
    [minute(NOW, ['192.0.2.7']), 'no-aggregate'],
    [minute(NOW, ['2001:db8::/64']), 'no-aggregate'],
    [minute(NOW - 30, ['192.0.2.0/24']), 'not-of-now'],
    [minute(NOW - 3660, ['192.0.2.0/24']), 'not-of-now'],
    [minute(NOW + 180, ['192.0.2.0/24']), 'not-of-now'],
  ] as const;
  for (const [report, expected] of cases) {
    assert.equal(ledger.take('a', 'paris', report, NOW), expected);
  }
});

test('of too many paths those with the most answers are told', () => {
  const ledger = new PathLedger();
  const prefixes = Array.from(
    { length: PATHS_MAX / 2 + 10 },
    (_, at) => `10.${at >> 8}.${at & 255}.0/24`,
  );
  ledger.take('a', 'paris', minute(NOW - 60, prefixes), NOW);
  ledger.take('b', 'lyon', minute(NOW - 60, prefixes), NOW);
  ledger.take('c', 'lyon', minute(NOW - 120, ['10.39.25.0/24']), NOW);
  ledger.fold(NOW);
  assert.equal(ledger.entries.length, PATHS_MAX);
  assert.deepEqual(ledger.entries[0].firstByteMs, [2, 4]);
});
