import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { billingMonthAt, NO_USAGE } from './billing.ts';
import { budgetLimit, hourlyBps, type BudgetFacts, type FillBudget } from './budget.ts';
import { BudgetDesk } from './budget-desk.ts';
import { stepYield } from './fill-yield.ts';
import type { Wanted } from './manifest-set.ts';
import { demandHeld, offloadCurve, stepTurnUp } from './turn-up.ts';

const at = (text: string): number => Date.parse(text);
const NIGHT_ONLY = Array.from({ length: 24 }, (_, hour) => (hour >= 2 && hour < 8 ? null : 0));
const paris = (hourlyBpsMax: readonly (number | null)[]): FillBudget => ({
  timeZone: 'Europe/Paris',
  hourlyBpsMax,
  monthly: null,
});

function factsAt(nowMs: number, given: Partial<BudgetFacts> = {}): BudgetFacts {
  return {
    nowMs,
    isPaused: false,
    rateBpsMax: null,
    usage: NO_USAGE,
    month: billingMonthAt(nowMs, 'UTC', 1),
    yieldShare: 1,
    linkBps: 10e9,
    ...given,
  };
}

test('caps by the hour go by the clocks of the site, also on the days on which they change', () => {
  const cases: readonly [now: string, isOpen: boolean][] = [
    ['2026-01-15T00:59:59Z', false], // 01:59 in Paris
    ['2026-01-15T01:00:00Z', true],
    ['2026-01-15T07:00:00Z', false], // 08:00
    ['2026-03-29T00:59:59Z', false], // 01:59, then the clocks show 03:00
    ['2026-03-29T01:00:00Z', true],
    ['2026-03-29T05:59:59Z', true],
    ['2026-03-29T06:00:00Z', false], // 08:00 of summer
    ['2026-10-25T00:30:00Z', true], // 02:30, the first time
    ['2026-10-25T01:30:00Z', true], // and the second
    ['2026-10-25T07:00:00Z', false],
  ];
  for (const [now, isOpen] of cases) {
    const { far, near } = budgetLimit(paris(NIGHT_ONLY), factsAt(at(now)));
    assert.deepEqual(
      far,
      isOpen
        ? { bps: null, why: null, limitedBy: null }
        : { bps: 0, why: 'budget', limitedBy: 'hour' },
      now,
    );
    assert.equal(near.bps, null, 'the site’s own network is nobody’s bill');
  }
});

test('the least of all limits holds and is named', () => {
  const now = at('2026-01-15T12:00:00Z');
  const caps = Array.from({ length: 24 }, () => 500e6);
  const budget: FillBudget = {
    ...paris(caps),
    monthly: { percentile95BpsMax: 300e6, firstDay: 1, isBursting: false },
  };
  assert.deepEqual(budgetLimit(budget, factsAt(now)).far, {
    bps: 300e6,
    why: null,
    limitedBy: 'month',
  });
  const slow = budgetLimit(budget, factsAt(now, { rateBpsMax: 100e6 }));
  assert.equal(slow.far.limitedBy, 'rate');
  assert.equal(slow.near.bps, 100e6);
  const hot = budgetLimit(budget, factsAt(now, { yieldShare: 0 }));
  assert.deepEqual(hot.near, { bps: 0, why: 'load', limitedBy: 'load' });
  const paused = budgetLimit(budget, factsAt(now, { isPaused: true, yieldShare: 0 }));
  assert.deepEqual(paused.far, { bps: 0, why: 'pause', limitedBy: 'pause' });
  assert.deepEqual(new Set(hourlyBps(budget, null)), new Set([300e6]));
});

function desk(kept: Map<string, unknown>, clock: SimulatedClock, nowMs: () => number): BudgetDesk {
  return new BudgetDesk(
    {
      clock,
      nowMs,
      keep: (name, text) => void kept.set(name, JSON.parse(text) as unknown),
      kept: (name) => kept.get(name) ?? null,
    },
    {
      budget: {
        ...paris([]),
        monthly: { percentile95BpsMax: 800e6, firstDay: 1, isBursting: false },
      },
      rateBpsMax: null,
      servingBps: 10e9,
    },
  );
}

const COLD = { viewerRequestsPerSecond: 0, egressShare: 0, loopDelayMs: 0, diskReadMs: null };

test('a pause and the month’s samples outlive a restart', () => {
  const kept = new Map<string, unknown>();
  const clock = new SimulatedClock(at('2026-11-21T02:00:00Z'));
  const first = desk(kept, clock, () => clock.wallMs());
  first.tick(0, COLD);
  first.tick(30e9, COLD); // exactly 800 Mbit/s over five minutes
  assert.equal(first.limit('far').bps, 0, 'this sample is full');
  first.pause(true);
  first.close();
  const second = desk(kept, clock, () => clock.wallMs());
  assert.equal(second.state().isPaused, true);
  assert.equal(second.limit('near').why, 'pause');
  second.pause(false);
  assert.equal(second.limit('near').bps, null, 'at once');
  assert.equal(second.limit('far').bps, 0, 'the sample is still full');
  clock.advance(300_000);
  assert.equal(second.limit('far').bps, 800e6);
  assert.equal(second.state().month?.burstsUsed, 0);
});

test('time that goes back by an hour moves the budget nowhere it was not', () => {
  const kept = new Map<string, unknown>();
  const clock = new SimulatedClock(at('2026-11-21T02:00:00Z'));
  let offMs = 0;
  const one = desk(kept, clock, () => clock.wallMs() + offMs);
  one.tick(0, COLD);
  one.tick(30e9, COLD);
  clock.advance(600_000);
  assert.equal(one.limit('far').bps, 800e6);
  offMs = -600_000;
  clock.advance(1000);
  assert.equal(one.limit('far').bps, 0, 'those five minutes were used');
});

test('the fill halves while viewers make the box hot, is gone within seconds, and comes back slowly', () => {
  const hot = { viewerRequestsPerSecond: 50, egressShare: 0.95, loopDelayMs: 10, diskReadMs: 5 };
  const cool = { ...hot, egressShare: 0.3 };
  let share = 1;
  const shares: number[] = [];
  for (let second = 0; second < 7; second++) shares.push((share = stepYield(share, hot)));
  assert.deepEqual(shares.slice(0, 3), [0.5, 0.25, 0.125]);
  assert.equal(shares.at(-1), 0);
  assert.equal(stepYield(0.5, { ...hot, egressShare: 0.8 }), 0.5, 'between hot and cool');
  for (let second = 0; second < 11; second++) share = stepYield(share, cool);
  assert.equal(share, 1);
  assert.equal(stepYield(1, { ...cool, diskReadMs: 300 }), 0.5, 'a slow disk is hot too');
  const nobody = { ...hot, viewerRequestsPerSecond: 0 };
  assert.equal(stepYield(1, nobody), 1, 'nobody watches: nobody is yielded to');
});

function wantedOf(fileId: string, density: number): Wanted {
  return { fileId, sizeBytes: 10, titles: ['t'], density, isUrgent: false };
}

test('a box is filling until it holds its share of the planned demand, not of the files', () => {
  const files = [wantedOf('hot', 90), wantedOf('warm', 9), wantedOf('cold', 1)];
  const demand = demandHeld(files, (id) => id === 'hot');
  assert.deepEqual(demand, { held: 900, planned: 1000 });
  assert.equal(stepTurnUp('filling', demand, 0.9), 'serving');
  assert.equal(stepTurnUp('filling', { held: 800, planned: 1000 }, 0.9), 'filling');
  assert.equal(stepTurnUp('serving', { held: 800, planned: 1000 }, 0.9), 'serving', 'a new plan');
  assert.equal(stepTurnUp('serving', { held: 300, planned: 1000 }, 0.9), 'filling', 'a new disk');
  assert.equal(stepTurnUp('filling', { held: 0, planned: 0 }, 0.9), 'serving', 'nothing planned');
});

test('the offload curve follows the order of fetching, what is here counts at once, and no speed gives no curve', () => {
  const files = [50, 30, 15, 5].map((density, at) => wantedOf(`f${at}`, density));
  const none = offloadCurve(files, () => 0, 10);
  assert.deepEqual(none, { shares: [0.5, 0.95, 1], fullAfterDays: 4 });
  const lastHere = offloadCurve(files, (id) => (id === 'f3' ? 10 : id === 'f0' ? 5 : 0), 10);
  assert.deepEqual(lastHere, { shares: [0.55, 1, 1], fullAfterDays: 2.5 });
  assert.equal(
    offloadCurve(files, () => 0, 0),
    null,
  );
  assert.deepEqual(
    offloadCurve([], () => 0, 1),
    { shares: [1, 1, 1], fullAfterDays: 0 },
  );
});
