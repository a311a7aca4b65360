import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catalogueOf } from './catalogue.ts';
import { expandPlan, type PlannerInput, type PlanSet } from './contract.ts';
import { planningOptions } from './config.ts';
import { planNight } from './fill-planner.ts';
import { gatherNight, planFamily, prepareNight } from './night.ts';
import { sampleNight } from './sample-night.ts';
import { familiesOf } from './families.ts';
import { parentsOf } from './tiers.ts';

function siteOf(id: string, prefixes: readonly string[], parent?: string) {
  const [site] = sampleNight({ boxesPerSite: [1] }).sites;
  const cluster = { clusterId: id, prefixes: [...prefixes] };
  return {
    ...site,
    siteId: `site-${id}`,
    clusters: [parent === undefined ? cluster : { ...cluster, parent }],
  };
}

/** Two leaves under a metro under an exchange. */
function tieredNight(storageBytes: number, exchangeBytes: number): PlannerInput {
  const input = sampleNight({ boxesPerSite: [1, 1, 1, 2], titles: 30, storageBytes });
  const parents = ['cluster-2', 'cluster-2', 'cluster-3', undefined];
  return {
    ...input,
    sites: input.sites.map((site, at) => {
      const [cluster] = site.clusters;
      const parent = parents[at];
      return {
        ...site,
        country: 'DE',
        clusters: [parent === undefined ? cluster : { ...cluster, parent }],
      };
    }),
    appliances: input.appliances.map((box) =>
      box.clusterId === 'cluster-3' ? { ...box, storageBytes: exchangeBytes } : box,
    ),
  };
}

function heldBy(planSet: PlanSet, input: PlannerInput, clusterId: string): ReadonlySet<number> {
  const catalogue = catalogueOf(input.titles);
  const held = new Set<number>();
  for (const plan of planSet.plans) {
    if (plan.clusterId !== clusterId) continue;
    const order = planSet.orders.find((entry) => entry.orderVersion === plan.orderVersion);
    assert.ok(order !== undefined);
    const files = expandPlan(
      plan,
      order,
      (ordinal) => catalogue.fileIds[catalogue.rowOfOrdinal.get(ordinal) ?? -1],
    );
    for (const { ordinal } of files) held.add(ordinal);
  }
  return held;
}

test('a site names the parent of a cluster; else it is the one whose shorter prefixes cover it', () => {
  const sites = [
    siteOf('leaf-a', ['10.1.0.0/16', '2001:db8:1::/48']),
    siteOf('leaf-b', ['10.2.3.0/24']),
    siteOf('metro', ['10.0.0.0/8', '2001:db8::/32']),
    siteOf('exchange', ['0.0.0.0/0']),
    siteOf('named', ['10.9.0.0/16'], 'exchange'),
    siteOf('alone', ['192.0.2.0/24', 'no prefix']),
  ];
  const ids = ['leaf-a', 'leaf-b', 'metro', 'exchange', 'named', 'alone'];
  const { of, problems } = parentsOf(sites, new Set(ids));
  assert.deepEqual(Object.fromEntries(of), {
    alone: 'exchange',
    'leaf-a': 'metro',
    'leaf-b': 'metro',
    metro: 'exchange',
    named: 'exchange',
  });
  assert.deepEqual(problems, []);
  assert.deepEqual(familiesOf(ids, of), [
    ['leaf-a', 'leaf-b', 'alone', 'metro', 'named', 'exchange'],
  ]);
});

test('a parent that is not there, a circle and a chain of four tiers are named, and the cluster is planned without', () => {
  const sites = [
    siteOf('a', [], 'gone'),
    siteOf('b', [], 'c'),
    siteOf('c', [], 'b'),
    siteOf('t1', [], 't2'),
    siteOf('t2', [], 't3'),
    siteOf('t3', [], 't4'),
    siteOf('t4', []),
  ];
  const { of, problems } = parentsOf(sites, new Set(['a', 'b', 'c', 't1', 't2', 't3', 't4']));
  const told = problems.join('\n');
  assert.match(told, /cluster a: its parent gone is no other cluster with appliances/);
  assert.match(told, /cluster b: the chain over its parent c is a circle or longer than 3 tiers/);
  assert.match(told, /cluster t1: the chain over its parent t2 is/);
  assert.deepEqual(Object.fromEntries(of), { c: 'b', t2: 't3', t3: 't4' });
});

test('a higher tier holds what the leaves below lack, and serves more than if each were planned alone', () => {
  const input = tieredNight(250_000, 300_000);
  const joint = planNight(input);
  assert.ok(joint.ok, joint.ok ? '' : JSON.stringify(joint.failure));
  const leaves = new Set([
    ...heldBy(joint.value.planSet, input, 'cluster-0'),
    ...heldBy(joint.value.planSet, input, 'cluster-1'),
  ]);
  const above = heldBy(joint.value.planSet, input, 'cluster-2');
  const both = [...above].filter((ordinal) => leaves.has(ordinal)).length;
  assert.ok(both < above.size / 2, `${both} of ${above.size} files of the metro lie on leaves too`);
  const alone = planNight({
    ...input,
    sites: input.sites.map((site) => ({
      ...site,
      clusters: site.clusters.map(({ clusterId, prefixes }) => ({ clusterId, prefixes })),
    })),
  });
  assert.ok(alone.ok);
  const [from, to] = [alone, joint].map(({ value }) => value.summary.plannedOffloadShare);
  assert.ok(to > from + 0.05, `${from} -> ${to}`);
  const sites = joint.value.summary.sites;
  assert.deepEqual(
    sites.map(({ tier }) => tier),
    ['leaf', 'leaf', 'metro', 'exchange'],
  );
  const [leafA, leafB, metro, exchange] = sites;
  const left = leafA.demandBps + leafB.demandBps - leafA.servedBps - leafB.servedBps;
  assert.ok(Math.abs(metro.demandBps - metro.ownDemandBps - left) < 1e-6 * left);
  const passed = metro.demandBps - metro.servedBps;
  assert.ok(Math.abs(exchange.demandBps - exchange.ownDemandBps - passed) < 1e-6 * (1 + passed));
  assert.ok(joint.value.summary.gapShare < 0.05, String(joint.value.summary.gapShare));
});

test('the same tiers twice give the same bytes', () => {
  const input = tieredNight(250_000, 300_000);
  const [first, second] = [planNight(input), planNight(structuredClone(input))];
  assert.ok(first.ok && second.ok);
  assert.equal(JSON.stringify(first.value.planSet), JSON.stringify(second.value.planSet));
});

test('plans that do not serve what they claim of their tiers are refused, with the cluster', () => {
  const input = tieredNight(250_000, 300_000);
  const prepared = prepareNight(input, planningOptions());
  assert.ok(prepared.ok);
  const night = prepared.value;
  const plans = night.families.flatMap((family) => planFamily(night, family));
  const claimed = plans.map((plan) =>
    plan.clusterId === 'cluster-2'
      ? { ...plan, summary: { ...plan.summary, demandBps: 2 * plan.summary.demandBps } }
      : { ...plan, summary: { ...plan.summary, boundBps: plan.summary.valueBps / 2 } },
  );
  const gathered = gatherNight(night, claimed);
  assert.ok(!gathered.ok && gathered.failure.reason === 'plan-check');
  const told = gathered.failure.refusals.join('\n');
  assert.match(told, /cluster cluster-2: planned for .* of demand, .* reach it by these plans/);
  assert.match(told, /cluster cluster-0: worth .*, above its proven bound/);
});
