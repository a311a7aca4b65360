import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExternalCdn, FleetDelta, FleetSnapshot } from '#control-plane/contract.ts';
import { EXAMPLE_AT_MS, exampleSnapshot } from './example-fleet.ts';
import { FleetHolder, FUTURE_MS_MAX } from './fleet-holder.ts';
import { checkSnapshot } from './fleet-check.ts';
import { holds } from './holdings.ts';

const NOW = EXAMPLE_AT_MS;

function full(changes: Partial<FleetSnapshot> = {}): FleetSnapshot {
  return exampleSnapshot({ snapshot: changes });
}

function delta(changes: Partial<FleetDelta> = {}): FleetDelta {
  return {
    kind: 'delta',
    version: 8,
    baseVersion: 7,
    epoch: 1,
    issuedAtMs: NOW,
    prefixesVersion: 3,
    appliances: [],
    appliancesRemoved: [],
    holdings: [],
    titles: [],
    titlesRemoved: [],
    ...changes,
  };
}

function akme(externalId: string): ExternalCdn {
  return {
    externalId,
    name: 'Akme',
    baseUrl: 'https://akme.example',
    tokens: 'rfc9246',
    costPerGb: 1,
    regions: [{ countries: ['*'], commitBps: 0, capBps: 1 }],
  };
}

test('what is offered and what becomes of it: table', () => {
  const cases: readonly [string, FleetSnapshot | FleetDelta, string, number][] = [
    ['a newer version', full({ version: 8 }), 'taken', 8],
    ['the version that is held', full(), 'same', 7],
    ['an older version', full({ version: 6 }), 'refused', 7],
    ['an older catalogue epoch', full({ version: 99, epoch: 0 }), 'refused', 7],
    [
      'a newer catalogue epoch, versions from the start',
      full({ version: 1, epoch: 2 }),
      'taken',
      1,
    ],
    ['from the future', full({ version: 8, issuedAtMs: NOW + FUTURE_MS_MAX + 1 }), 'refused', 7],
    ['a delta that follows', delta(), 'taken', 8],
    ['a delta on another version', delta({ baseVersion: 5 }), 'gap', 7],
    ['a delta of another epoch', delta({ epoch: 2 }), 'gap', 7],
    ['a delta that goes back', delta({ version: 5 }), 'refused', 7],
    [
      'hours old, but newer than what is held',
      full({ version: 8, issuedAtMs: NOW - 8 * 3_600_000 }),
      'taken',
      8,
    ],
    ['a delta from the future', delta({ issuedAtMs: NOW + FUTURE_MS_MAX + 1 }), 'refused', 7],
    ['an external CDN by the name of a box', delta({ externals: [akme('lyon-a')] }), 'refused', 7],
    [
      'an external CDN twice',
      full({ version: 8, externals: [akme('a'), akme('a')] }),
      'refused',
      7,
    ],
    ['an external CDN', delta({ externals: [akme('a')] }), 'taken', 8],
    ['a box in a cluster that does not exist', full({ version: 8, clusters: [] }), 'refused', 7],
  ];
  for (const [title, message, kind, version] of cases) {
    const holder = new FleetHolder();
    assert.equal(holder.offer(full(), NOW).kind, 'taken');
    assert.equal(holder.offer(message, NOW).kind, kind, title);
    assert.equal(holder.current?.epochs.snapshot, version, title);
  }
});

test('a delta before any full snapshot is a gap', () => {
  const holder = new FleetHolder();
  assert.equal(holder.offer(delta(), NOW).kind, 'gap');
  assert.equal(holder.current, null);
});

test('a delta changes what it names and shares the rest with the fleet before it', () => {
  const holder = new FleetHolder();
  holder.offer(full(), NOW);
  const before = holder.current!;
  holder.offer(
    delta({ holdings: [{ applianceId: 'lyon-a', version: 5, added: [9], removed: [0] }] }),
    NOW,
  );
  const after = holder.current!;
  const held = (ordinal: number): boolean => holds(after.appliances[0].holdings, ordinal);
  assert.deepEqual([held(0), held(1), held(9)], [false, true, true]);
  assert.equal(after.epochs.holdings, before.epochs.holdings + 1);
  assert.equal(after.prefixes, before.prefixes);
  assert.equal(after.titles, before.titles);
  assert.equal(after.appliances[1].holdings, before.appliances[1].holdings);
  assert.notEqual(after.appliances[0].holdings, before.appliances[0].holdings);
});

test('prefixes that change make a new table', () => {
  const holder = new FleetHolder();
  holder.offer(full(), NOW);
  const clusters = full().clusters.map((cluster) => ({ ...cluster, prefixes: [] }));
  holder.offer(delta({ clusters, prefixesVersion: 4 }), NOW);
  assert.equal(holder.current?.prefixes.prefixes, 0);
  assert.equal(holder.current.epochs.prefixes, 4);
});

test('contradictions are all named', () => {
  const [box] = full().appliances;
  const [title] = full().titles;
  const problems = checkSnapshot(
    full({
      appliances: [box, box, { ...box, applianceId: 'x', clusterId: 'nowhere' }],
      clusters: [
        ...full().clusters,
        { clusterId: 'c', siteId: 's', country: 'FR', prefixes: ['10.0.0.1/8'] },
      ],
      titles: [title, { ...title, titleId: 'other', files: [{ ...title.files[0], ordinal: 1 }] }],
    }),
  ).join('\n');
  for (const words of [
    'appliance lyon-a is there twice',
    'cluster nowhere does not exist',
    '"10.0.0.1/8" is no prefix',
    'ordinal 1 names two files',
    'holdings of lyon-b: no such appliance',
  ]) {
    assert.ok(problems.includes(words), `${words}\n${problems}`);
  }
});
