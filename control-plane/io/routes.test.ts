import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Route, RouteBatch } from '#appliance/contract.ts';
import type { Alarm } from '../dashboard/fleet-view.ts';
import { exampleSite } from './test-examples.ts';
import { Rig, until } from './test-rig.ts';

const PEER = 'AS64500 192.0.2.1';

function batchOf(prefixes: readonly string[], over: Partial<RouteBatch> = {}): RouteBatch {
  const announced: Route[] = prefixes.map((prefix) => ({
    peer: PEER,
    prefix,
    originAs: 64_500,
    asPathLength: 2,
    origin: 0,
    med: 0,
  }));
  return {
    tableId: 'table-one',
    fromVersion: 0,
    toVersion: 1,
    reset: 'first',
    complete: true,
    monitored: true,
    peers: [{ peer: PEER, as: 64_500, up: true, routes: prefixes.length, stale: 0 }],
    dropped: 0,
    announced,
    withdrawn: [],
    ...over,
  };
}

test('routes of a box reach steering as a new epoch; what the policy refuses is shown and alarmed; a restart keeps both', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite({ ...exampleSite('paris'), routes: { originAs: [64_500] } });
  const box = await rig.box('paris-1');
  const steering = await rig.follow();
  const before = steering.snapshot.prefixesVersion;
  const answer = await box.post('/v1/routes', batchOf(['23.0.0.0/16', '10.0.0.0/8']));
  assert.deepEqual([answer.status, answer.body], [200, { version: 1, resync: false }]);
  await steering.until('the prefix', () => steering.snapshot.clusters[0].learned !== undefined);
  assert.deepEqual(steering.snapshot.clusters[0].learned, [['23.0.0.0/16', 1 + 6 * 2 ** 32]]);
  assert.ok(steering.snapshot.prefixesVersion > before);
  const shown = await rig.call('GET', '/v1/routes', 'operator');
  const [quarantined] = shown.body['quarantined'] as Record<string, unknown>[];
  assert.deepEqual([quarantined['siteId'], quarantined['why']], ['paris', 'bogon']);
  const view = await rig.call('GET', '/v1/fleet/view', null);
  assert.match(
    (view.body['alarms'] as Alarm[])[0].what,
    /quarantined and steer nobody, bogon: 10\.0\.0\.0\/8/,
  );

  await rig.restart();
  const again = await rig.follow();
  await again.until('the prefix', () => again.snapshot.clusters[0].learned !== undefined);
  const later = await box.post('/v1/routes', batchOf([], { reset: undefined, fromVersion: 1 }));
  assert.equal(later.body['resync'], true, 'the box is asked for its table');
});

test('a withdrawal goes through, and a removed box takes its prefixes with it', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite({ ...exampleSite('paris'), routes: { originAs: [64_500] } });
  const box = await rig.box('paris-1');
  const steering = await rig.follow();
  const learned = () => steering.snapshot.clusters[0].learned?.map(([prefix]) => prefix) ?? [];
  await box.post('/v1/routes', batchOf(['23.0.0.0/16', '23.1.0.0/16']));
  await steering.until('both', () => learned().length === 2);
  const withdrawn = [{ peer: PEER, prefix: '23.0.0.0/16' }];
  const change = batchOf([], { reset: undefined, fromVersion: 1, toVersion: 2, withdrawn });
  await box.post('/v1/routes', change);
  await steering.until('one', () => learned().join() === '23.1.0.0/16');
  await rig.call('DELETE', '/v1/appliances/paris-1', 'operator');
  await steering.until('none', () => learned().length === 0);
});

test('a site’s policy is checked when it is given, and judges at once what is there already', async (t) => {
  const rig = await Rig.start(t);
  const refused = await rig.putSite({
    ...exampleSite('paris'),
    routes: { prefixSet: ['23.0.0.1/16'] },
  });
  assert.equal(refused.status, 400);
  assert.match(String(refused.body['message']), /"23\.0\.0\.1\/16" is no line of a prefix set/);
  await rig.putSite(exampleSite('paris'));
  const box = await rig.box('paris-1');
  const steering = await rig.follow();
  await box.post('/v1/routes', batchOf(['23.0.0.0/16']));
  let shown = await rig.call('GET', '/v1/routes', 'operator');
  await until('the verdict', () => {
    void rig.call('GET', '/v1/routes', 'operator').then((next) => (shown = next));
    return shown.body['quarantinedCount'] === 1;
  });
  await rig.putSite({ ...exampleSite('paris'), routes: { prefixSet: ['23.0.0.0/8 le 16'] } });
  await steering.until('the prefix', () => steering.snapshot.clusters[0].learned !== undefined);
});

test('a stranger hands in no routes', async (t) => {
  const rig = await Rig.start(t);
  const answer = await rig.call('POST', '/v1/routes', null, batchOf(['23.0.0.0/16']));
  assert.equal(answer.status, 401);
});
