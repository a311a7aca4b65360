import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catalogueOf } from './catalogue.ts';
import { orderVersionOf, type Order, type PlanSet } from './contract.ts';
import { planNight } from './fill-planner.ts';
import { refusalsOf, type PlanCheckInput } from './plan-check.ts';
import { PLAN_DATE, sampleNight } from './sample-night.ts';

function checked(change: (planSet: PlanSet) => void, over: Partial<PlanCheckInput> = {}): string {
  const input = sampleNight({
    boxesPerSite: [2],
    titles: 6,
    filesPerTitle: 2,
    storageBytes: 400_000,
  });
  const outcome = planNight(input);
  assert.ok(outcome.ok);
  const planSet = structuredClone(outcome.value.planSet);
  change(planSet);
  return refusalsOf({
    planSet,
    input,
    fillBytesOf: new Map(),
    pinsOf: new Map(),
    catalogue: catalogueOf(input.titles),
    nightMs: Date.parse(PLAN_DATE),
    untilGraceMs: 0,
    placed: null,
    ...over,
  }).join('\n');
}

function reversioned(order: Order, change: Partial<Order>): Order {
  const changed = { ...order, ...change };
  return { ...changed, orderVersion: orderVersionOf(changed) };
}

test('plans as they were made are not refused', () => {
  assert.equal(
    checked(() => undefined),
    '',
  );
});

test('the check names the record and what is wrong with it', () => {
  const cases: readonly [(planSet: PlanSet) => void, RegExp][] = [
    [(set) => set.plans.push(set.plans[0]), /plan of box-0-0: given twice/],
    [(set) => set.plans.pop(), /appliance box-0-1 has no plan/],
    [(set) => (set.plans[0].applianceId = 'stranger'), /plan of stranger: no such appliance/],
    [(set) => (set.plans[0].orderVersion = 'x'.repeat(43)), /its order x+ is not in the set/],
    [(set) => (set.plans[0].shareDensity = Number.NaN), /plan of box-0-0: shareDensity is NaN/],
    [(set) => (set.plans[0].members[0].weight = Infinity), /the weight of box-0-0 is Infinity/],
    [(set) => (set.orders[0].epoch = 2), /order cluster-0: epoch 2, the plan is of 1/],
    [(set) => set.orders[0].densities.reverse(), /the density of ordinal \d+ does not fall/],
    [(set) => (set.orders[0].densities[3] = Number.NaN), /has the density NaN/],
  ];
  for (const [change, why] of cases) assert.match(checked(change), why);
});

test('an overfilled disk is refused', () => {
  assert.match(
    checked((set) => (set.plans[0].everywhereDensity = 0)),
    /plan of box-0-0: .* planned on .* of disk/,
  );
});

test('a plan that does not expand to its placement is refused', () => {
  const placed = new Map([['box-0-0', new Set([0, 1, 2])]]);
  assert.match(
    checked((set) => (set.plans[0].pins = []), { placed }),
    /plan of box-0-0 does not expand to its placement/,
  );
});

test('a file where it may not be shown is refused', () => {
  const input = sampleNight({
    boxesPerSite: [2],
    titles: 6,
    filesPerTitle: 2,
    storageBytes: 400_000,
  });
  for (const title of input.titles) title.listing.availability = [{ countries: ['JP'] }];
  assert.match(
    checked(() => undefined, { catalogue: catalogueOf(input.titles) }),
    /may not be shown in DE/,
  );
});

test('a title without any copy is refused where one of its files would fit', () => {
  const text = checked((set) => {
    for (const plan of set.plans) {
      const dropped = set.orders[0].ordinals.filter((ordinal) => ordinal < 2);
      plan.drops = dropped;
      plan.pins = plan.pins.filter((ordinal) => ordinal >= 2);
    }
  });
  assert.match(text, /cluster cluster-0: no file of title title-0 is placed/);
});

test('a release without its copies is refused where a box has room', () => {
  const pinsOf = new Map([['cluster-0', [{ ordinal: 3, copies: 2 }]]]);
  const drop = (set: PlanSet): void => {
    for (const plan of set.plans) {
      plan.drops = [3];
      plan.pins = plan.pins.filter((ordinal) => ordinal !== 3);
    }
  };
  assert.match(
    checked(drop, { pinsOf }),
    /cluster cluster-0: file \S+ of a release has 0 of 2 copies, though a box has room/,
  );
});

test('a window overrun is refused', () => {
  const fillBytesOf = new Map([['box-0-0', 10]]);
  assert.match(
    checked(() => undefined, { fillBytesOf }),
    /plan of box-0-0: .* to fill, 10 B fit in tonight's window/,
  );
});

test('an order is named by its content', () => {
  const order: Order = {
    orderId: 'a',
    epoch: 1,
    ordinals: [1, 2],
    densities: [2, 1],
    orderVersion: '',
  };
  const first = reversioned(order, {});
  assert.equal(first.orderVersion, reversioned(order, {}).orderVersion);
  assert.notEqual(first.orderVersion, reversioned(order, { densities: [2, 1.5] }).orderVersion);
});
