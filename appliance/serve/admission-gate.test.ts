import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OPEN, stepGate, type Gate, type GateMeasures } from './admission-gate.ts';

const CALM: GateMeasures = {
  isDraining: false,
  isDrainOverdue: false,
  egressBps: 10,
  servingBps: 100,
  loopDelayMs: 5,
};

function walk(looks: readonly Partial<GateMeasures>[]): readonly string[] {
  let gate: Gate = OPEN;
  return looks.map((look, at) => {
    gate = stepGate(gate, { ...CALM, ...look }, at * 1000);
    return gate.name === 'open' ? 'open' : `${gate.reason} since ${gate.sinceMs}`;
  });
}

test('three looks above 95 % close the gate, and it opens below 85 % only', () => {
  assert.deepEqual(
    walk([
      { egressBps: 96 },
      { egressBps: 97 },
      { egressBps: 98 },
      { egressBps: 90 },
      { egressBps: 86 },
      { egressBps: 84 },
    ]),
    ['open', 'open', 'full since 2000', 'full since 2000', 'full since 2000', 'open'],
  );
});

test('one peak closes nothing', () => {
  assert.deepEqual(walk([{ egressBps: 99 }, {}, { egressBps: 99 }, {}]), [
    'open',
    'open',
    'open',
    'open',
  ]);
});

test('an event loop that lags closes it as well as a full line', () => {
  assert.deepEqual(
    walk([
      { loopDelayMs: 2000 },
      { loopDelayMs: 2000 },
      { loopDelayMs: 2000 },
      { loopDelayMs: 200 },
      { loopDelayMs: 50 },
    ]),
    ['open', 'open', 'full since 2000', 'full since 2000', 'open'],
  );
});

test('a drain closes at once, whatever the load, and keeps its instant', () => {
  assert.deepEqual(walk([{}, { isDraining: true }, { isDraining: true, egressBps: 99 }, {}]), [
    'open',
    'draining since 1000',
    'draining since 1000',
    'open',
  ]);
});

test('after its deadline a drain keeps nobody', () => {
  assert.deepEqual(walk([{ isDraining: true }, { isDraining: true, isDrainOverdue: true }]), [
    'draining since 0',
    'draining since -Infinity',
  ]);
});
