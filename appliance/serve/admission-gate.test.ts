import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  admit,
  admittedShare,
  OPEN,
  stepGate,
  type Gate,
  type GateMeasures,
} from './admission-gate.ts';

const CALM: GateMeasures = {
  isDraining: false,
  isDrainOverdue: false,
  egressBps: 10,
  servingBps: 100,
  rampMs: 0,
  connectionsShare: 0.1,
  diskMs: null,
  loopDelayMs: 5,
};

function walk(looks: readonly Partial<GateMeasures>[]): readonly string[] {
  let gate: Gate = OPEN;
  return looks.map((look, at) => {
    gate = stepGate(gate, { ...CALM, ...look }, at * 1000);
    if (gate.name === 'open') return 'open';
    if (gate.name === 'ramping') return `ramping ${gate.share.toFixed(2)}`;
    return `${gate.reason} since ${gate.sinceMs}`;
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

test('a disk whose reads take half a second, or nearly all connections taken, closes it too', () => {
  for (const [over, between] of [
    [{ diskMs: 600 }, { diskMs: 200 }],
    [{ connectionsShare: 0.97 }, { connectionsShare: 0.9 }],
  ]) {
    assert.deepEqual(walk([over, over, over, between, {}]), [
      'open',
      'open',
      'full since 2000',
      'full since 2000',
      'open',
    ]);
  }
});

test('after a drain the admitted share rises from a tenth to all, and overload closes it meanwhile', () => {
  const ramp = { rampMs: 4000 };
  assert.deepEqual(walk([{ ...ramp, isDraining: true }, ramp, ramp, ramp, ramp, ramp]), [
    'draining since 0',
    'ramping 0.10',
    'ramping 0.33',
    'ramping 0.55',
    'ramping 0.78',
    'open',
  ]);
  const over = { ...ramp, egressBps: 99 };
  assert.deepEqual(walk([{ ...ramp, isDraining: true }, ramp, over, over, over, ramp]), [
    'draining since 0',
    'ramping 0.10',
    'ramping 0.33',
    'ramping 0.55',
    'full since 4000',
    'open',
  ]);
});

test('sessions of before are kept; of new ones a ramp admits those whose draw is below its share, for good', () => {
  const old = { firstSeenMs: 10, draw: 0.99 };
  const young = { firstSeenMs: 200, draw: 0.3 };
  assert.equal(admit(OPEN, young), 'admitted');
  const closed: Gate = { name: 'closed', reason: 'full', sinceMs: 100 };
  assert.equal(admit(closed, old), 'kept');
  assert.equal(admit(closed, young), 'full');
  const shares = [0.1, 0.25, 0.31, 0.9];
  assert.deepEqual(
    shares.map((share) =>
      admit({ name: 'ramping', sinceMs: 100, share, overloadedLooks: 0 }, young),
    ),
    ['warming', 'warming', 'admitted', 'admitted'],
  );
  assert.equal(
    admit({ name: 'ramping', sinceMs: 100, share: 0.1, overloadedLooks: 0 }, old),
    'kept',
  );
  assert.equal(admittedShare(OPEN), 1);
  assert.equal(admittedShare(closed), 0);
});
