import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Route, RouteBatch } from '#appliance/contract.ts';
import type { Site } from '../contract.ts';
import { DEFAULT_LENGTHS } from './policy.ts';
import { NO_ROAS } from './roa.ts';
import { RouteBook } from './route-book.ts';

const POLICY = { ...DEFAULT_LENGTHS, ownPrefixes: [], roas: NO_ROAS };
const PARIS: Site = {
  siteId: 'paris',
  name: 'Paris',
  country: 'FR',
  fillWindow: { startLocal: '02:00', hours: 12, timeZone: 'UTC' },
  clusters: [{ clusterId: 'paris', prefixes: [] }],
  routes: { originAs: [64_500] },
};
const PEER = 'AS64500 192.0.2.1';

function routes(...prefixes: string[]): Route[] {
  return prefixes.map((prefix) => ({
    peer: PEER,
    prefix,
    originAs: 64_500,
    asPathLength: 1,
    origin: 0,
    med: 0,
  }));
}

function batch(over: Partial<RouteBatch>): RouteBatch {
  return {
    tableId: 'table-one',
    fromVersion: 0,
    toVersion: 0,
    complete: true,
    monitored: true,
    peers: [],
    dropped: 0,
    announced: [],
    withdrawn: [],
    ...over,
  };
}

function judge(book: RouteBook): string[] {
  book.judge(() => ({ siteId: 'paris', clusterId: 'paris' }), [PARIS], POLICY);
  return book.accepted.map(({ prefix }) => prefix).sort();
}

test('a table is told whole in parts, then by its changes; a gap asks for it whole', () => {
  const book = new RouteBook();
  assert.equal(book.take('p1', batch({ fromVersion: 4, toVersion: 5 }), 0).resync, true);
  const first = batch({
    reset: 'first',
    complete: false,
    toVersion: 5,
    announced: routes('23.0.0.0/16'),
  });
  assert.deepEqual(book.take('p1', first, 0), { version: 0, resync: false, isChanged: false });
  const last = batch({ reset: 'more', toVersion: 5, announced: routes('23.1.0.0/16') });
  assert.deepEqual(book.take('p1', last, 0), { version: 5, resync: false, isChanged: true });
  assert.deepEqual(judge(book), ['23.0.0.0/16', '23.1.0.0/16']);
  const change = batch({
    fromVersion: 5,
    toVersion: 7,
    announced: routes('23.2.0.0/16'),
    withdrawn: [{ peer: PEER, prefix: '23.0.0.0/16' }],
  });
  assert.equal(book.take('p1', change, 0).version, 7);
  assert.deepEqual(judge(book), ['23.1.0.0/16', '23.2.0.0/16']);
  assert.equal(book.take('p1', batch({ fromVersion: 8, toVersion: 9 }), 0).resync, true);
  assert.deepEqual(judge(book), ['23.1.0.0/16', '23.2.0.0/16'], 'what was known stands meanwhile');
});

test('a box that starts again keeps its old prefixes until its routers have spoken for 30 s', () => {
  const book = new RouteBook();
  book.take(
    'p1',
    batch({ reset: 'first', toVersion: 2, announced: routes('23.0.0.0/16', '23.1.0.0/16') }),
    0,
  );
  judge(book);
  const fresh = { tableId: 'table-two', reset: 'first' as const };
  book.take('p1', batch({ ...fresh, monitored: false }), 1000);
  assert.deepEqual(judge(book), ['23.0.0.0/16', '23.1.0.0/16']);
  const one = {
    tableId: 'table-two',
    fromVersion: 0,
    toVersion: 1,
    announced: routes('23.1.0.0/16'),
  };
  book.take('p1', batch(one), 5000);
  assert.equal(book.tick(34_999), false);
  assert.deepEqual(judge(book), ['23.0.0.0/16', '23.1.0.0/16']);
  assert.equal(book.tick(35_000), true);
  assert.deepEqual(judge(book), ['23.1.0.0/16']);
});

test('what is kept on disk restores what steered, also against a site that announces it meanwhile', () => {
  const book = new RouteBook();
  book.take('p1', batch({ reset: 'first', toVersion: 1, announced: routes('23.0.0.0/16') }), 0);
  judge(book);
  const [{ table }] = book.changedSince(new Map());
  const again = new RouteBook();
  again.restore('p1', 'paris', table);
  again.take('a1', batch({ reset: 'first', toVersion: 1, announced: routes('23.0.0.0/16') }), 0);
  const aix = { ...PARIS, siteId: 'aix', clusters: [{ clusterId: 'aix', prefixes: [] }] };
  const owner = (id: string) =>
    id === 'p1' ? { siteId: 'paris', clusterId: 'paris' } : { siteId: 'aix', clusterId: 'aix' };
  again.judge(owner, [aix, PARIS], POLICY);
  assert.deepEqual(
    again.accepted.map(({ siteId }) => siteId),
    ['paris'],
  );
  assert.deepEqual(
    again.quarantined.map(({ siteId, why }) => `${siteId} ${why}`),
    ['aix prefix-of-other-site'],
  );
});

test('boxes of one cluster that hear different prefixes are told of once, after 30 s', () => {
  const book = new RouteBook();
  const owner = () => ({ siteId: 'paris', clusterId: 'paris' });
  book.take(
    'p1',
    batch({ reset: 'first', toVersion: 1, announced: routes('23.0.0.0/16', '23.1.0.0/16') }),
    0,
  );
  book.take('p2', batch({ reset: 'first', toVersion: 1, announced: routes('23.0.0.0/16') }), 0);
  judge(book);
  assert.deepEqual(book.differences(owner, 0), []);
  assert.deepEqual(book.differences(owner, 30_000), [
    { clusterId: 'paris', applianceIds: ['p1', 'p2'], prefixes: ['23.1.0.0/16'] },
  ]);
  assert.deepEqual(book.differences(owner, 60_000), []);
});

test('only what was not quarantined before is news', () => {
  const book = new RouteBook();
  const owner = () => ({ siteId: 'paris', clusterId: 'paris' });
  book.take('p1', batch({ reset: 'first', toVersion: 1, announced: routes('10.0.0.0/8') }), 0);
  assert.equal(book.judge(owner, [PARIS], POLICY).quarantined.length, 1);
  assert.equal(book.judge(owner, [PARIS], POLICY).quarantined.length, 0);
});
