import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Route } from '#appliance/contract.ts';
import { seededRandom } from '#base/random.ts';
import { BmpFrames, type BmpPeer } from './bmp.ts';
import { bmpRoutes, EXAMPLE_PEER, type ExampleUpdate } from './example-bmp.ts';
import { RouteTable } from './route-table.ts';

const STALE_MS = 60_000;
const PEER: BmpPeer = { name: 'AS64500 127.0.0.1', as: 64_500, rib: 'pre-policy' };

function feed(table: RouteTable, update: ExampleUpdate): void {
  const [message] = new BmpFrames().push(bmpRoutes(EXAMPLE_PEER, update));
  assert.ok(message.type === 'routes' && table.update(PEER, message.update));
}

function prefixesOf(table: RouteTable): string[] {
  return [...table.routes()].map(({ prefix }) => prefix).sort();
}

function exampleTable(): RouteTable {
  const table = new RouteTable(1000, STALE_MS);
  table.peerUp(PEER, false, 0);
  feed(table, { announced: ['23.0.0.0/16', '23.1.0.0/16'], asPath: [64_500, 64_511], med: 5 });
  return table;
}

test('what is announced is kept with what it is ranked by, and goes when it is withdrawn', () => {
  const table = exampleTable();
  const [route] = table.routes();
  assert.deepEqual(route, {
    peer: 'AS64500 127.0.0.1',
    prefix: '23.0.0.0/16',
    originAs: 64_511,
    asPathLength: 2,
    origin: 0,
    med: 5,
  });
  feed(table, { withdrawn: ['23.0.0.0/16'] });
  assert.deepEqual(prefixesOf(table), ['23.1.0.0/16']);
});

test('a flap of the session withdraws nothing, and changes nothing for whoever follows', () => {
  const table = exampleTable();
  const before = table.version;
  table.peerDown(PEER, 1000);
  table.tick(2000);
  table.peerUp(PEER, false, 3000);
  feed(table, { announced: ['23.0.0.0/16', '23.1.0.0/16'], asPath: [64_500, 64_511], med: 5 });
  feed(table, {});
  assert.equal(table.version, before);
  assert.deepEqual(prefixesOf(table), ['23.0.0.0/16', '23.1.0.0/16']);
});

test('what is not announced again goes with the End-of-RIB of its family', () => {
  const table = exampleTable();
  feed(table, { announced6: [['20010db801', 40]] });
  table.sessionLost([PEER.name], 1000);
  table.peerUp(PEER, false, 2000);
  feed(table, { announced: ['23.1.0.0/16'], asPath: [64_500, 64_511], med: 5 });
  feed(table, {}); // End-of-RIB of IPv4 only
  assert.deepEqual(prefixesOf(table), ['2001:db8:100::/40', '23.1.0.0/16']);
});

test('a session that stays away takes its routes with it when they are stale for too long', () => {
  const table = exampleTable();
  table.sessionLost([PEER.name], 1000);
  table.tick(1000 + STALE_MS - 1);
  assert.equal(table.size, 2);
  assert.deepEqual(table.peers(), [
    { peer: 'AS64500 127.0.0.1', as: 64_500, up: false, routes: 2, stale: 2 },
  ]);
  table.tick(1000 + STALE_MS);
  assert.equal(table.size, 0);
  assert.deepEqual(
    table
      .changesSince(2, 10)
      ?.withdrawn.map(({ prefix }) => prefix)
      .sort(),
    ['23.0.0.0/16', '23.1.0.0/16'],
  );
});

test('a whole Internet leaked to the box is counted, not kept', () => {
  const table = new RouteTable(3, STALE_MS);
  feed(table, { announced: ['23.0.0.0/16', '23.1.0.0/16', '23.2.0.0/16', '23.3.0.0/16'] });
  assert.deepEqual([table.size, table.dropped], [3, 1]);
});

test('a peer that sends several paths a prefix is not read', () => {
  const table = new RouteTable(10, STALE_MS);
  table.peerUp(PEER, true, 0);
  const [message] = new BmpFrames().push(bmpRoutes(EXAMPLE_PEER, { announced: ['23.0.0.0/16'] }));
  assert.ok(message.type === 'routes');
  assert.equal(table.update(PEER, message.update), false);
  assert.equal(table.size, 0);
});

test('whoever applies the changes has the table, however they are cut: 300 rounds, seed 3', () => {
  const random = seededRandom(3);
  const table = new RouteTable(1000, STALE_MS);
  const copy = new Map<string, Route>();
  let version = 0;
  for (let round = 0; round < 300; round++) {
    const some = (): string[] =>
      Array.from({ length: random.below(6) }, () => `23.${random.below(30)}.0.0/16`);
    const announced = [...new Set(some())];
    feed(table, { announced, withdrawn: some(), med: random.below(3) });
    if (random.below(3) > 0) continue;
    const changes = table.changesSince(version, 1 + random.below(5));
    assert.ok(changes !== null);
    for (const route of changes.announced) copy.set(route.prefix, route);
    for (const { prefix } of changes.withdrawn) copy.delete(prefix);
    version = changes.toVersion;
  }
  while (version !== table.version) {
    const changes = table.changesSince(version, 4);
    assert.ok(changes !== null);
    for (const route of changes.announced) copy.set(route.prefix, route);
    for (const { prefix } of changes.withdrawn) copy.delete(prefix);
    version = changes.toVersion;
  }
  assert.deepEqual(new Map([...table.routes()].map((route) => [route.prefix, route])), copy);
});
