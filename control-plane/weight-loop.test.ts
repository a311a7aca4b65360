import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  ADMIT_MIN,
  MOVED_SHARE_MAX,
  stepWeights,
  WEIGHT_PERIOD_MS,
  type BoxWeight,
  type WeightBox,
  type WeightState,
} from './weight-loop.ts';

fc.configureGlobal({ seed: 20_261_121 });

function box(applianceId: string, use: number, changes: Partial<WeightBox> = {}): WeightBox {
  return {
    applianceId,
    region: 'FR',
    servingBps: 100,
    egressBps: use * 100,
    isHeard: true,
    ...changes,
  };
}

/** One box among so many idle ones that the region's limit does not bite. */
function after(use: number, before: BoxWeight): BoxWeight {
  const crowd = Array.from({ length: 60 }, (_, at) => box(`crowd-${at}`, 0.5));
  const state = stepWeights(
    new Map([['a', before]]),
    [box('a', use), ...crowd],
    WEIGHT_PERIOD_MS,
    WEIGHT_PERIOD_MS,
  );
  return state.get('a') ?? before;
}

test('what one step makes of a box: table', () => {
  const cases: readonly [string, number, BoxWeight, number, boolean][] = [
    ['room: all of it', 0.6, { admit: 1, isShedding: false }, 1, false],
    ['a bit above the target: nothing yet', 0.84, { admit: 1, isShedding: false }, 1, false],
    ['above 0.85: less', 0.9, { admit: 1, isShedding: false }, 0.95, true],
    ['far above: a tenth less at most', 1.3, { admit: 1, isShedding: false }, 0.9, true],
    ['shedding goes on below 0.85', 0.82, { admit: 0.5, isShedding: true }, 0.495, true],
    ['between 0.75 and the target it stands', 0.78, { admit: 0.5, isShedding: true }, 0.5, true],
    ['below 0.75 it comes back slowly', 0.7, { admit: 0.5, isShedding: true }, 0.525, false],
    [
      'never more than a tenth in 30 s',
      0.1,
      { admit: 0.9, isShedding: false },
      0.9 + 1 / 30,
      false,
    ],
    ['never to nothing', 2, { admit: ADMIT_MIN, isShedding: true }, ADMIT_MIN, true],
  ];
  for (const [name, use, before, admit, isShedding] of cases) {
    const found = after(use, before);
    assert.ok(Math.abs(found.admit - admit) < 1e-9, `${name}: ${found.admit}`);
    assert.equal(found.isShedding, isShedding, name);
  }
});

test('where news are old and players ask seldom a step is small', () => {
  const crowd = Array.from({ length: 60 }, (_, at) => box(`crowd-${at}`, 0.5));
  const state = stepWeights(new Map(), [box('a', 0.9), ...crowd], 10_000, 200_000);
  assert.ok(Math.abs((state.get('a')?.admit ?? 0) - (1 - 0.05 / 20)) < 1e-9);
});

test('a box that is not heard keeps its share', () => {
  const before: BoxWeight = { admit: 0.4, isShedding: true };
  const state = stepWeights(new Map([['a', before]]), [box('a', 2, { isHeard: false })], 10_000);
  assert.deepEqual(state.get('a'), before);
});

test('one step moves at most a twentieth of what a region serves, whatever is wrong with it', () => {
  const boxes = fc.array(
    fc.record({
      use: fc.double({ min: 0, max: 3, noNaN: true }),
      admit: fc.double({ min: ADMIT_MIN, max: 1, noNaN: true }),
      region: fc.constantFrom('FR', 'NO'),
      isShedding: fc.boolean(),
    }),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(
    fc.property(boxes, (drawn) => {
      const list = drawn.map(({ use, region }, at) => box(`b${at}`, use, { region }));
      const state: WeightState = new Map(
        drawn.map(({ admit, isShedding }, at) => [`b${at}`, { admit, isShedding }]),
      );
      const next = stepWeights(state, list, WEIGHT_PERIOD_MS);
      for (const region of ['FR', 'NO']) {
        const own = list.filter((one) => one.region === region);
        const served = own.reduce((sum, one) => sum + one.egressBps, 0);
        const moved = own.reduce((sum, one) => {
          const [old, now] = [state.get(one.applianceId), next.get(one.applianceId)];
          assert.ok(old !== undefined && now !== undefined);
          assert.ok(now.admit >= ADMIT_MIN - 1e-9 && now.admit <= 1);
          return sum + (Math.abs(now.admit - old.admit) / old.admit) * one.egressBps;
        }, 0);
        assert.ok(moved <= MOVED_SHARE_MAX * served + 1e-6);
      }
    }),
    { numRuns: 200 },
  );
});
