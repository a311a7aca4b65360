import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { applyDelta, type FleetSnapshot, type SnapshotTitle } from './contract.ts';
import { difference, snapshotOf, type FleetParts } from './snapshot.ts';

const ids = ['box-1', 'box-2', 'box-3', 'box-4'];

/** Records as JSON gives them: with Object's own prototype. */
function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

const appliance = (applianceId: string) =>
  plain({
    applianceId: fc.constant(applianceId),
    siteId: fc.constant('s'),
    clusterId: fc.constant('c'),
    baseUrl: fc.constant('http://box.test'),
    standing: fc.constantFrom('serving' as const, 'gone-hard' as const, 'draining' as const),
    reasons: fc.subarray(['a', 'b']),
    since: fc.nat(3),
    weight: fc.nat(2),
    servingBps: fc.nat(2),
    egressBps: fc.nat(2),
    heartbeatAtMs: fc.nat(2),
  });

const title = (titleId: string): fc.Arbitrary<SnapshotTitle> =>
  plain({
    titleId: fc.constant(titleId),
    availability: fc.constant([{ countries: ['*'] }]),
    durationSeconds: fc.nat(3),
    files: fc.constant([{ fileId: 'f'.repeat(43), ordinal: 0, sizeBytes: 1 }]),
  });

const parts: fc.Arbitrary<FleetParts> = fc.subarray(ids).chain((present) =>
  plain({
    epoch: fc.constant(1),
    prefixesVersion: fc.nat(2),
    clusters: fc
      .subarray(['192.0.2.0/24', '198.51.100.0/24'])
      .map((prefixes) => [{ clusterId: 'c', siteId: 's', country: 'FR', prefixes }]),
    appliances: fc.tuple(...present.map(appliance)),
    holdings: fc.tuple(
      ...present.map((applianceId) =>
        plain({
          applianceId: fc.constant(applianceId),
          version: fc.nat(3),
          ordinals: fc.uniqueArray(fc.nat(20), { maxLength: 12 }),
        }),
      ),
    ),
    titles: fc.subarray(['t1', 't2', 't3']).chain((names) => fc.tuple(...names.map(title))),
    originBaseUrl: fc.constant('http://origin.test'),
  }),
);

/** The same snapshot whatever the order of its lists. */
function sorted(snapshot: FleetSnapshot): FleetSnapshot {
  const by = <T>(list: readonly T[], keyOf: (entry: T) => string): T[] =>
    [...list].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  return {
    ...snapshot,
    appliances: by(snapshot.appliances, (entry) => entry.applianceId),
    holdings: by(snapshot.holdings, (entry) => entry.applianceId).map((entry) => ({
      ...entry,
      ordinals: [...entry.ordinals].sort((a, b) => a - b),
    })),
    titles: by(snapshot.titles, (entry) => entry.titleId),
  };
}

test('whatever changed, the delta leads from the one snapshot to the other', () => {
  fc.assert(
    fc.property(parts, parts, (before, after) => {
      const base = snapshotOf(before, 10, 1000);
      const next = snapshotOf(after, 11, 2000);
      const delta = difference(base, next);
      if (delta === null) {
        assert.deepEqual(sorted({ ...base, version: 11, issuedAtMs: 2000 }), sorted(next));
        return;
      }
      const reached = applyDelta(base, delta);
      assert.notEqual(reached, 'gap');
      assert.deepEqual(sorted(reached as FleetSnapshot), sorted(next));
    }),
    { seed: 20_260_601, numRuns: 400 },
  );
});

test('nothing changed is no delta, whatever the time', () => {
  fc.assert(
    fc.property(parts, (same) => {
      const copy = structuredClone(same);
      assert.equal(difference(snapshotOf(same, 1, 1), snapshotOf(copy, 2, 9)), null);
    }),
    { seed: 20_260_602, numRuns: 100 },
  );
});

test('a delta that does not follow is a gap', () => {
  const nothing: FleetParts = {
    epoch: 1,
    prefixesVersion: 0,
    clusters: [],
    appliances: [],
    holdings: [],
    titles: [],
    originBaseUrl: 'http://origin.test',
  };
  const base = snapshotOf(nothing, 1, 0);
  const delta = difference(base, snapshotOf({ ...nothing, prefixesVersion: 1 }, 2, 0));
  assert.ok(delta !== null);
  assert.equal(applyDelta({ ...base, version: 5 }, delta), 'gap');
  assert.equal(applyDelta({ ...base, epoch: 2 }, delta), 'gap');
});
