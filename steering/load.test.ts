import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXAMPLE_AT_MS, exampleSnapshot } from './example-fleet.ts';
import { createFleet } from './fleet.ts';
import { FORGET_MS, LoadLedger, PICK_UP_MS } from './load.ts';

test('effective load is the report plus own assignments since it, times the live nodes', () => {
  const fleet = createFleet(exampleSnapshot({ appliances: { 'lyon-a': { egressBps: 5e6 } } }));
  const ledger = new LoadLedger(3, EXAMPLE_AT_MS);
  ledger.assigned('lyon-a', 1e6, EXAMPLE_AT_MS);
  ledger.assigned('lyon-a', 1e6, EXAMPLE_AT_MS + 100);
  const frame = ledger.freeze(fleet, [], EXAMPLE_AT_MS + 250);
  assert.equal(frame.effectiveBps[0], 5e6 + 3 * 2e6);
  assert.equal(frame.effectiveBps[1], 0);
});

test('an assignment is dropped once a report is newer than it by the pick-up time', () => {
  const at = EXAMPLE_AT_MS;
  const ledger = new LoadLedger(1, at);
  ledger.assigned('lyon-a', 1e6, at);
  const reported = (heartbeatAtMs: number): number => {
    const fleet = createFleet(exampleSnapshot({ appliances: { 'lyon-a': { heartbeatAtMs } } }));
    return ledger.freeze(fleet, [], heartbeatAtMs).effectiveBps[0];
  };
  assert.equal(reported(at + 1000), 1e6);
  assert.equal(reported(at + PICK_UP_MS + 1000), 0);
});

test('without reports an assignment is forgotten after half a minute', () => {
  const at = EXAMPLE_AT_MS;
  const fleet = createFleet(exampleSnapshot());
  const ledger = new LoadLedger(1, at);
  ledger.assigned('lyon-a', 1e6, at);
  assert.equal(ledger.freeze(fleet, [], at + FORGET_MS - 1000).effectiveBps[0], 1e6);
  assert.equal(ledger.freeze(fleet, [], at + FORGET_MS + 1000).effectiveBps[0], 0);
});

test('load epochs grow with every freeze and over a restart, also while the wall clock stands still', () => {
  const fleet = createFleet(exampleSnapshot());
  const ledger = new LoadLedger(1, EXAMPLE_AT_MS);
  const first = ledger.freeze(fleet, [], EXAMPLE_AT_MS).epoch;
  const second = ledger.freeze(fleet, [], EXAMPLE_AT_MS).epoch;
  assert.ok(second > first);
  const restarted = new LoadLedger(1, EXAMPLE_AT_MS + 10_000);
  assert.ok(restarted.freeze(fleet, [], EXAMPLE_AT_MS + 10_000).epoch > second);
});
