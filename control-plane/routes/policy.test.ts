import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import type { Route } from '#appliance/contract.ts';
import { parsePrefix } from '#base/address.ts';
import { seededRandom } from '#base/random.ts';
import type { Site } from '../contract.ts';
import {
  DEFAULT_LENGTHS,
  incumbentKey,
  judgeRoutes,
  rankOf,
  readSetLine,
  type BoxTable,
} from './policy.ts';
import { NO_ROAS, readRoas, validityOf } from './roa.ts';

const POLICY = { ...DEFAULT_LENGTHS, ownPrefixes: [parsePrefix('45.57.0.0/17')!], roas: NO_ROAS };

function site(siteId: string, routes: Site['routes'], prefixes: string[] = []): Site {
  return {
    siteId,
    name: siteId,
    country: 'FR',
    fillWindow: { startLocal: '02:00', hours: 12, timeZone: 'UTC' },
    clusters: [{ clusterId: siteId, prefixes }],
    ...(routes === undefined ? {} : { routes }),
  };
}

function route(prefix: string, originAs = 64_500, over: Partial<Route> = {}): Route {
  return {
    peer: 'AS64500 192.0.2.1',
    prefix,
    originAs,
    asPathLength: 1,
    origin: 0,
    med: 0,
    ...over,
  };
}

function table(siteId: string, routes: Route[], applianceId = `${siteId}-1`): BoxTable {
  return { applianceId, siteId, clusterId: siteId, routes };
}

function judge(tables: BoxTable[], sites: Site[], incumbents: string[] = [], policy = POLICY) {
  const { accepted, quarantined } = judgeRoutes(tables, sites, policy, new Set(incumbents));
  return {
    accepted: accepted.map(({ siteId, prefix }) => `${siteId} ${prefix}`).sort(),
    quarantined: quarantined
      .map(({ siteId, route: { prefix }, why }) => `${siteId} ${prefix} ${why}`)
      .sort(),
  };
}

test('a route by itself: each reason why it steers nobody', () => {
  const paris = site('paris', { originAs: [64_500] });
  const cases: readonly [string, Route, string][] = [
    ['the default route', route('0.0.0.0/0'), 'default-route'],
    ['too long', route('23.0.0.1/32'), 'length'],
    ['too short', route('16.0.0.0/7'), 'length'],
    ['IPv6 too long', route('2a00::/65'), 'length'],
    ['private', route('10.1.0.0/16'), 'bogon'],
    ['around something private', route('172.0.0.0/8'), 'bogon'],
    ['documentation', route('2001:db8:1::/48'), 'bogon'],
    ['not unicast of the Internet', route('fc00:1::/32'), 'bogon'],
    ['the CDN itself', route('45.57.8.0/24'), 'own-space'],
    ['another origin', route('23.0.0.0/16', 64_999), 'origin-not-allowed'],
    ['an origin nobody can name', route('23.0.0.0/16', 0), 'origin-not-allowed'],
    ['no prefix', route('23.0.0.1/16'), 'malformed'],
  ];
  for (const [name, bad, why] of cases) {
    const { accepted, quarantined } = judge([table('paris', [bad])], [paris]);
    assert.deepEqual([accepted, quarantined], [[], [`paris ${bad.prefix} ${why}`]], name);
  }
  assert.deepEqual(
    judge([table('paris', [route('23.0.0.0/16'), route('2a00::/32')])], [paris]).accepted,
    ['paris 23.0.0.0/16', 'paris 2a00::/32'],
  );
});

test('a site that lists nothing learns nothing', () => {
  const { accepted, quarantined } = judge(
    [table('paris', [route('23.0.0.0/16')])],
    [site('paris', undefined)],
  );
  assert.deepEqual([accepted, quarantined], [[], ['paris 23.0.0.0/16 site-allows-nothing']]);
});

test('a prefix set says which lengths it allows', () => {
  const paris = site('paris', { prefixSet: ['23.0.0.0/16 ge 20 le 24', '24.0.0.0/16'] });
  const routes = [
    '23.0.0.0/16',
    '23.0.16.0/20',
    '23.0.1.0/24',
    '23.0.1.0/25',
    '24.0.0.0/16',
    '24.0.1.0/24',
  ];
  const { accepted } = judge(
    [
      table(
        'paris',
        routes.map((one) => route(one)),
      ),
    ],
    [paris],
  );
  assert.deepEqual(accepted, ['paris 23.0.1.0/24', 'paris 23.0.16.0/20', 'paris 24.0.0.0/16']);
  for (const wrong of ['23.0.0.1/16', '23.0.0.0', '23.0.0.0/16 ge 8', '23.0.0.0/16 le 12', 'x']) {
    assert.equal(readSetLine(wrong), null, wrong);
  }
});

test('a site that announces another site’s prefix, or a part of it, gets none of its clients', () => {
  const allowed = { originAs: [64_500] };
  const sites = [site('lyon', allowed), site('paris', allowed, ['23.9.0.0/16'])];
  const lyon = table('lyon', [route('23.0.0.0/16')]);
  const stolen = [
    route('23.0.0.0/16'),
    route('23.0.1.0/24'),
    route('23.9.1.0/24'),
    route('24.0.0.0/16'),
  ];
  const incumbents = [incumbentKey('lyon', '23.0.0.0/16')];
  const { accepted, quarantined } = judge([table('paris', stolen), lyon], sites, incumbents);
  assert.deepEqual(accepted, ['lyon 23.0.0.0/16', 'paris 23.9.1.0/24', 'paris 24.0.0.0/16']);
  assert.deepEqual(quarantined, [
    'paris 23.0.0.0/16 prefix-of-other-site',
    'paris 23.0.1.0/24 prefix-of-other-site',
  ]);
  const permitted = [sites[0], site('paris', { ...allowed, mayAnnounceFor: ['lyon'] })];
  assert.equal(judge([table('paris', stolen), lyon], permitted, incumbents).quarantined.length, 0);
});

test('an operator’s prefix outranks a route that came first', () => {
  const sites = [site('lyon', { originAs: [64_500] }), site('paris', undefined, ['23.0.0.0/16'])];
  const { quarantined } = judge([table('lyon', [route('23.0.1.0/24')])], sites, [
    incumbentKey('lyon', '23.0.1.0/24'),
  ]);
  assert.deepEqual(quarantined, ['lyon 23.0.1.0/24 prefix-of-other-site']);
});

test('an aggregate that another site announces later takes nothing from who was there', () => {
  const allowed = { originAs: [64_500] };
  const sites = [site('lyon', allowed), site('paris', allowed)];
  const tables = [table('lyon', [route('23.0.1.0/24')]), table('paris', [route('23.0.0.0/16')])];
  const { accepted, quarantined } = judge(tables, sites, [incumbentKey('lyon', '23.0.1.0/24')]);
  assert.deepEqual(accepted, ['lyon 23.0.1.0/24', 'paris 23.0.0.0/16']);
  assert.deepEqual(quarantined, []);
});

test('of a peer that announces too much the first are kept and the rest wait', () => {
  const paris = site('paris', { originAs: [64_500], peerRoutesMax: 2 });
  const routes = ['23.0.0.0/16', '23.1.0.0/16', '23.2.0.0/16'].map((one) => route(one));
  const other = route('23.3.0.0/16', 64_500, { peer: 'AS64500 192.0.2.9' });
  const { accepted, quarantined } = judge([table('paris', [...routes, other])], [paris]);
  assert.deepEqual(accepted, ['paris 23.0.0.0/16', 'paris 23.1.0.0/16', 'paris 23.3.0.0/16']);
  assert.deepEqual(quarantined, ['paris 23.2.0.0/16 peer-maximum']);
});

test('verdicts do not depend on the order of boxes: 200 shuffles, seed 5', () => {
  const allowed = { originAs: [64_500] };
  const sites = ['a', 'b', 'c'].map((name) => site(name, allowed));
  const random = seededRandom(5);
  const tables = sites.map(({ siteId }) =>
    table(
      siteId,
      Array.from({ length: 30 }, () =>
        route(`23.${random.below(4)}.${random.below(3) * 64}.0/${[16, 18, 20][random.below(3)]}`),
      ).filter(({ prefix }) => parsePrefix(prefix) !== null),
    ),
  );
  const first = judge(tables, sites);
  for (let round = 0; round < 200; round++) {
    const shuffled = [...tables].sort(() => random.next() - 0.5);
    assert.deepEqual(judge(shuffled, sites), first);
  }
});

test('path length comes before origin, origin before MED', () => {
  const ranks = [
    rankOf({ asPathLength: 1, origin: 0, med: 0xffffffff }),
    rankOf({ asPathLength: 1, origin: 2, med: 0 }),
    rankOf({ asPathLength: 2, origin: 0, med: 0 }),
  ];
  assert.deepEqual(
    ranks,
    [...ranks].sort((a, b) => a - b),
  );
  assert.ok(Number.isSafeInteger(rankOf({ asPathLength: 255, origin: 2, med: 0xffffffff })));
});

test('ROAs of three exporters are read, and judge as RFC 6811 says', () => {
  const { table: roas, passedOver } = readRoas(
    [
      'ASN,IP Prefix,Max Length,Trust Anchor',
      'AS64500,23.0.0.0/16,24,ripe',
      '"64501","23.0.0.0/16","16","ripe"',
      'rsync://rpki.example/a.roa,AS64502,2a00::/32,,2026-01-01,2027-01-01',
      'AS0,24.0.0.0/8,32,arin',
      'nonsense',
    ].join('\n'),
  );
  assert.equal(passedOver, 1);
  const validity = (prefix: string, as: number) => validityOf(roas, parsePrefix(prefix)!, as);
  assert.deepEqual(
    [
      validity('23.0.1.0/24', 64_500),
      validity('23.0.1.0/24', 64_501),
      validity('23.0.0.0/16', 64_501),
      validity('23.0.1.0/25', 64_500),
      validity('2a00::/32', 64_502),
      validity('2a00:1::/48', 64_502),
      validity('24.1.0.0/16', 64_500),
      validity('25.0.0.0/16', 64_500),
    ],
    ['valid', 'invalid', 'valid', 'invalid', 'valid', 'unknown', 'invalid', 'unknown'],
  );
  const paris = site('paris', { originAs: [64_500, 64_501] });
  const { quarantined } = judge([table('paris', [route('23.0.1.0/24', 64_501)])], [paris], [], {
    ...POLICY,
    roas,
  });
  assert.deepEqual(quarantined, ['paris 23.0.1.0/24 rpki-invalid']);
});
