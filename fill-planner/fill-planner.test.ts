import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { checkPlanSet, expandPlan, type PlannerInput, type PlanSet } from './contract.ts';
import { planNight } from './fill-planner.ts';
import { sampleNight } from './sample-night.ts';

function planned(input: unknown): NonNullable<ReturnType<typeof planOrNull>> {
  const outcome = planOrNull(input);
  assert.ok(outcome !== null);
  return outcome;
}

function planOrNull(input: unknown) {
  const outcome = planNight(input);
  if (!outcome.ok) assert.fail(JSON.stringify(outcome.failure));
  return outcome.value;
}

/** What each box will hold, as the control plane expands it: ordinals in order. */
function expanded(planSet: PlanSet, input: PlannerInput): ReadonlyMap<string, readonly number[]> {
  const fileIds = new Map<number, string>();
  for (const { listing, ordinals } of input.titles) {
    ordinals.forEach((ordinal, at) => fileIds.set(ordinal, listing.files[at].fileId));
  }
  return new Map(
    planSet.plans.map((plan) => {
      const order = planSet.orders.find((entry) => entry.orderVersion === plan.orderVersion);
      assert.ok(order !== undefined);
      const held = expandPlan(plan, order, (ordinal) => fileIds.get(ordinal));
      return [plan.applianceId, held.map(({ ordinal }) => ordinal)];
    }),
  );
}

function sizesOf(input: PlannerInput): ReadonlyMap<number, number> {
  return new Map(
    input.titles.flatMap(({ listing, ordinals }) =>
      ordinals.map((ordinal, at) => [ordinal, listing.files[at].sizeBytes] as const),
    ),
  );
}

const nights = fc
  .record({
    seed: fc.nat(1e6),
    boxesPerSite: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
    titles: fc.integer({ min: 1, max: 12 }),
    filesPerTitle: fc.integer({ min: 1, max: 5 }),
    fileBytesMax: fc.constantFrom(1, 1000, 100_000),
    storageBytes: fc.constantFrom(0, 1000, 50_000, 400_000, 10_000_000),
    days: fc.integer({ min: 0, max: 3 }),
  })
  .map((given) => sampleNight(given));

test('a plan set fits its schema, fits every disk and names each appliance once', () => {
  fc.assert(
    fc.property(nights, (input) => {
      const { planSet } = planned(input);
      assert.deepEqual(checkPlanSet(JSON.parse(JSON.stringify(planSet))).ok, true);
      const sizes = sizesOf(input);
      for (const [applianceId, ordinals] of expanded(planSet, input)) {
        const bytes = ordinals.reduce((sum, ordinal) => sum + (sizes.get(ordinal) ?? 0), 0);
        const box = input.appliances.find((entry) => entry.applianceId === applianceId);
        assert.ok(box !== undefined && bytes <= box.storageBytes, `${applianceId}: ${bytes}`);
        assert.equal(new Set(ordinals).size, ordinals.length);
      }
      assert.deepEqual(
        planSet.plans.map((plan) => plan.applianceId).sort(),
        input.appliances.map((box) => box.applianceId).sort(),
      );
    }),
    { numRuns: 150, seed: 11 },
  );
});

test('no file of a cluster has a second copy while one that would have fitted has none', () => {
  fc.assert(
    fc.property(nights, (input) => {
      const { planSet } = planned(input);
      const held = expanded(planSet, input);
      const sizes = sizesOf(input);
      for (const order of planSet.orders) {
        const plans = planSet.plans.filter((plan) => plan.orderVersion === order.orderVersion);
        const copies = new Map<number, number>();
        const secondCopyBytes = new Map<string, number>();
        for (const plan of plans) {
          const boxes = input.appliances.find((box) => box.applianceId === plan.applianceId);
          let used = 0;
          for (const ordinal of held.get(plan.applianceId) ?? []) {
            copies.set(ordinal, (copies.get(ordinal) ?? 0) + 1);
            used += sizes.get(ordinal) ?? 0;
          }
          secondCopyBytes.set(plan.applianceId, (boxes?.storageBytes ?? 0) - used);
        }
        if (![...copies.values()].some((count) => count > 1)) continue;
        const roomMax = Math.max(...secondCopyBytes.values());
        for (const ordinal of order.ordinals) {
          if (copies.has(ordinal)) continue;
          assert.ok((sizes.get(ordinal) ?? 0) > roomMax, `ordinal ${ordinal} would have fitted`);
        }
      }
    }),
    { numRuns: 150, seed: 12 },
  );
});

test('the same night planned twice gives the same bytes', () => {
  fc.assert(
    fc.property(nights, (input) => {
      assert.equal(
        JSON.stringify(planned(input).planSet),
        JSON.stringify(planned(structuredClone(input)).planSet),
      );
    }),
    { numRuns: 30, seed: 13 },
  );
});

test('equal demand picks the same files at every site of equal size', () => {
  const input = { ...sampleNight({ boxesPerSite: [1, 1, 1], storageBytes: 300_000 }), demand: [] };
  const held = expanded(planned(input).planSet, input);
  assert.deepEqual(held.get('box-0-0'), held.get('box-1-0'));
  assert.deepEqual(held.get('box-0-0'), held.get('box-2-0'));
  assert.ok((held.get('box-0-0') ?? []).length > 0);
});

test('a file is placed only in countries where its title may be shown, and until the grace ends', () => {
  const input = sampleNight({ titles: 4, filesPerTitle: 1, storageBytes: 10_000_000 });
  input.titles[0].listing.availability = [{ countries: ['DE'] }];
  input.titles[1].listing.availability = [{ countries: ['FR'] }];
  input.titles[2].listing.availability = [{ countries: ['*'], until: '2026-11-10T00:00:00Z' }];
  input.titles[3].listing.availability = [{ countries: ['*'], from: '2026-11-21T06:00:00Z' }];
  const held = expanded(planned(input).planSet, input);
  assert.deepEqual(held.get('box-0-0')?.toSorted(), [0, 3]);
  assert.deepEqual(held.get('box-1-0')?.toSorted(), [1, 3]);
});

test('what a cluster watches more is placed before what the fleet watches more', () => {
  const input = sampleNight({
    boxesPerSite: [1, 1],
    titles: 2,
    filesPerTitle: 1,
    fileBytesMax: 1,
    storageBytes: 1,
    days: 0,
  });
  const views = (home: string, ordinal: number, count: number) => ({
    ordinal,
    home,
    day: '2026-11-19',
    bytes: count,
    starts: count,
  });
  input.demand.push(
    views('cluster-0', 0, 5000),
    views('cluster-0', 1, 100),
    views('cluster-1', 0, 100),
    views('cluster-1', 1, 900),
  );
  const held = expanded(planned(input).planSet, input);
  assert.deepEqual(held.get('box-0-0'), [0]);
  assert.deepEqual(held.get('box-1-0'), [1]);
});

test('bad records are named and the rest is planned', () => {
  const input = sampleNight({ titles: 3, filesPerTitle: 2 });
  const record = { ordinal: 0, home: 'cluster-0', day: '2026-11-19', bytes: 10, starts: 1 };
  const broken = {
    ...input,
    demand: [
      { ...record },
      { ...record },
      { ...record, bytes: -5 },
      { ...record, day: '2026-11-18', bytes: 1e30 },
      { ...record, day: '2026-12-24' },
      { ...record, day: '2026-02-30' },
      { ...record, ordinal: 4_000_000 },
      { ...record, home: 'nowhere' },
      { ...record, ordinal: 1, day: '2026-11-14' },
    ],
    holdings: [{ applianceId: 'box-0-0', ordinals: [0, 77_777] }],
    appliances: [
      ...input.appliances,
      { ...input.appliances[0], applianceId: 'stray', clusterId: 'cluster-1' },
      { ...input.appliances[0], applianceId: 'empty', storageBytes: 0, servingBps: 0 },
    ],
    sites: [
      ...input.sites,
      { ...input.sites[0], siteId: 'lonely', clusters: [{ clusterId: 'lonely', prefixes: [] }] },
    ],
  };
  const { planSet, summary } = planned(broken);
  const told = summary.problems.join('\n');
  for (const pattern of [
    /ordinal 0, home cluster-0, day 2026-11-19: given twice/,
    /demand\[2\]: \/bytes/,
    /1e\+30 bytes in a day cannot be/,
    /day 2026-12-24: after the plan date 2026-11-20: days are UTC/,
    /day 2026-02-30: no such day/,
    /ordinal 4000000.*no listed file has this ordinal in epoch 1/,
    /home nowhere is no cluster/,
    /no view record of 4 days from 2026-11-15/,
    /box-0-0 holds 1 ordinals that no listed file/,
    /appliance stray: site site-0 has no cluster cluster-1/,
    /appliance empty has no storage/,
    /appliance empty serves 0 bit\/s/,
    /site lonely has no appliance/,
  ]) {
    assert.match(told, pattern);
  }
  assert.equal(planSet.plans.length, 4);
  assert.ok(planSet.summary.problems.length === summary.problems.length);
});

test('a release of high priority is pinned in its countries, in two copies, and named where there is no room', () => {
  const input = sampleNight({ boxesPerSite: [3, 1], titles: 20, storageBytes: 200_000 });
  const { listing, ordinals } = input.titles[19];
  listing.release = { at: '2026-11-21T08:00:00Z', countries: ['DE'], priority: 9 };
  const held = expanded(planned(input).planSet, input);
  const copies = (ordinal: number): number =>
    ['box-0-0', 'box-0-1', 'box-0-2'].filter((id) => held.get(id)?.includes(ordinal)).length;
  assert.ok(ordinals.filter((ordinal) => copies(ordinal) >= 2).length >= 2);
  const crowded = sampleNight({ boxesPerSite: [1], titles: 20, storageBytes: 100_000 });
  for (const title of crowded.titles) {
    title.listing.release = { at: '2026-11-21T08:00:00Z', countries: ['*'], priority: 9 };
  }
  assert.match(
    planned(crowded).summary.problems.join(' '),
    /more pins than room: \d+ of \d+ files/,
  );
});

test('a file larger than any disk is named once per cluster and planned nowhere', () => {
  const input = sampleNight({ titles: 1, filesPerTitle: 2, storageBytes: 500, fileBytesMax: 10 });
  input.titles[0].listing.files[0].sizeBytes = 501;
  const { planSet, summary } = planned(input);
  assert.match(summary.problems.join('\n'), /\(501 bytes\) fits on no disk there/);
  for (const ordinals of expanded(planSet, input).values()) assert.ok(!ordinals.includes(0));
});

test('a night whose records jump is planned from the last good forecast, and that is said', () => {
  const input = sampleNight({ titles: 30, filesPerTitle: 2, days: 24 });
  const spoilt = input.demand.map((record) =>
    record.day === '2026-11-19'
      ? { ...record, bytes: record.bytes * (record.ordinal % 2) * 50 }
      : record,
  );
  const told = planned({ ...input, demand: spoilt }).summary.problems.join('\n');
  assert.match(
    told,
    /the forecast of 2026-11-18 is used, the last good one: the error of 2026-11-19 is .* where .* is usual/,
  );
  assert.doesNotMatch(planned(input).summary.problems.join('\n'), /last good/);
});

test('more storage, throughput or window never lowers what a night plans to serve by more than rounding', () => {
  fc.assert(
    fc.property(nights, fc.constantFrom('storageBytes', 'servingBps'), (input, field) => {
      const grown = {
        ...input,
        appliances: input.appliances.map((box) => ({
          ...box,
          [field]: Math.ceil(box[field] * 1.5),
        })),
      };
      const [before, after] = [input, grown].map((night) =>
        planned(night).summary.sites.reduce((sum, site) => sum + site.servedBps, 0),
      );
      assert.ok(after >= before * 0.98 - 1e-9, `${field}: ${before} -> ${after}`);
    }),
    { numRuns: 100, seed: 14 },
  );
});

test('an input without an epoch, a date or lists is refused with the field', () => {
  const input = sampleNight();
  const cases: readonly [unknown, RegExp][] = [
    [null, /no JSON object/],
    [{ ...input, epoch: 0 }, /\/epoch is 0/],
    [{ ...input, planDate: '2026-02-30' }, /\/planDate is "2026-02-30"/],
    [{ ...input, demand: 'none' }, /\/demand is no list/],
  ];
  for (const [value, why] of cases) {
    const outcome = planNight(value);
    assert.ok(!outcome.ok && outcome.failure.reason === 'input');
    assert.match(outcome.failure.detail, why);
  }
});
