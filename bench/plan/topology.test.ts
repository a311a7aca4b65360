import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import {
  clustersOf,
  generatedTopology,
  publishedTopology,
  readPublishedTopology,
} from './topology.ts';

const HEAD =
  'Provider,Service Name,City,Country,C Number,Airport Code,Airport Code Number,ISP Name,CDN Type,Latitude,Longitude';
const LINES = [
  'N,OCA,Paris,France,c1,CDG,1,"Telco, Inc",ISP,49.0,2.5',
  'N,OCA,Paris,France,c1,CDG,1,"Telco, Inc",ISP,49.0,2.5', // its second address
  'N,OCA,Paris,France,c2,CDG,1,"Telco, Inc",ISP,49.0,2.5',
  'N,OCA,Paris,France,c1,CDG,1,,IXP,49.0,2.5',
  'N,OCA,Nice,France,c1,NCE,1,,IXP,43.7,7.2',
  'N,OCA,Oslo,Norway,c1,OSL,1,Nordnet,ISP,60.2,11.1',
];

test('the list of appliances becomes sites by country; a site of an ISP is under the nearest exchange of its country', () => {
  const { regions } = publishedTopology([HEAD, ...LINES].join('\n'));
  assert.deepEqual(
    regions.map(({ sites }) => sites.map(({ isExchange, boxes }) => [isExchange, boxes])),
    [
      [
        [true, 1],
        [false, 2],
        [true, 1],
      ],
      [[false, 1]],
    ],
  );
  const [paris, telco, nice] = regions[0].sites;
  assert.equal(telco.parentSiteId, paris.siteId);
  assert.deepEqual([paris.parentSiteId, nice.parentSiteId], [null, null]);
  assert.equal(regions[1].sites[0].parentSiteId, null);
  assert.throws(() => publishedTopology('City,Country\nParis,France'), /no column "Airport Code"/);
});

test('where there is no list, that is an answer', () => {
  const directory = mkdtempSync(`${tmpdir()}/nightfill-topology-`);
  assert.equal(readPublishedTopology(directory), null);
  rmSync(directory, { recursive: true });
});

test('a large exchange is parted into clusters of at most twelve boxes, and leaves take them in turn', () => {
  const leaf = (siteId: string) => ({ siteId, isExchange: false, boxes: 1, parentSiteId: 'x' });
  const exchange = { siteId: 'x', isExchange: true, boxes: 30, parentSiteId: null };
  const region = { regionId: 'r', sites: [leaf('a'), leaf('b'), leaf('c'), leaf('d'), exchange] };
  const clusters = clustersOf(seededRandom(1), region, 1, 1);
  assert.deepEqual(
    clusters.slice(0, 4).map(({ parentId }) => parentId),
    ['x-0', 'x-1', 'x-2', 'x-0'],
  );
  assert.deepEqual(
    clusters.slice(4).map(({ boxes }) => boxes.length),
    [10, 10, 10],
  );
  assert.ok(clusters[4].boxes.some(({ applianceClass }) => applianceClass === 'flash'));
});

test('a made-up fleet has the sites and boxes that were asked for', () => {
  const size = { regions: 5, sites: 300, appliances: 900 };
  const { regions } = generatedTopology(seededRandom(2), size);
  const sites = regions.flatMap((region) => region.sites);
  assert.equal(sites.length, 300);
  const boxes = sites.reduce((sum, site) => sum + site.boxes, 0);
  assert.ok(Math.abs(boxes - 900) < 30, String(boxes));
  for (const { parentSiteId } of sites) {
    if (parentSiteId !== null) assert.ok(sites.find((s) => s.siteId === parentSiteId)?.isExchange);
  }
});
