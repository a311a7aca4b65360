import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix } from '#base/address.ts';
import { seededRandom } from '#base/random.ts';
import type { SnapshotCluster } from '#control-plane/contract.ts';
import { readPrefixFile } from './prefix-file.ts';
import { buildPrefixTable } from './place.ts';
import { preview, type TableOfSites } from './prefix-preview.ts';

function tableOf(sites: Record<string, readonly string[]>): TableOfSites {
  const clusters: SnapshotCluster[] = Object.entries(sites).map(([siteId, prefixes]) => ({
    clusterId: siteId,
    siteId,
    country: 'FR',
    prefixes: [...prefixes],
  }));
  const entries = clusters.flatMap(({ prefixes }, cluster) =>
    prefixes.map((text) => ({ prefix: parsePrefix(text)!, cluster })),
  );
  return { clusters, prefixes: buildPrefixTable(entries) };
}

const TRAFFIC = [
  { siteId: 'paris', viewerBps: 8000, capacityBps: 10_000 },
  { siteId: 'lyon', viewerBps: 4000, capacityBps: 5000 },
];

test('half of a site’s addresses take half of its traffic along, and the other site overflows', () => {
  const before = tableOf({ paris: ['23.0.0.0/16'], lyon: ['24.0.0.0/16'] });
  const after = tableOf({ paris: ['23.0.0.0/17'], lyon: ['24.0.0.0/16', '23.0.128.0/17'] });
  assert.deepEqual(preview(before, after, TRAFFIC, 0.3), {
    sites: [
      { siteId: 'paris', beforeBps: 8000, afterBps: 4000, capacityBps: 10_000, overflowBps: 0 },
      { siteId: 'lyon', beforeBps: 4000, afterBps: 8000, capacityBps: 5000, overflowBps: 3500 },
    ],
    homelessBps: 0,
    lostBackup: [],
    lostBackupCount: 0,
  });
});

test('a withdrawn covering prefix leaves its parts without a backup, and its rest without a home', () => {
  const before = tableOf({ paris: ['23.0.0.0/16'], lyon: ['23.0.0.0/15', '24.0.0.0/16'] });
  const after = tableOf({ paris: ['23.0.0.0/16'], lyon: ['24.0.0.0/16'] });
  const { homelessBps, lostBackup, lostBackupCount } = preview(before, after, TRAFFIC, 0.3);
  assert.equal(homelessBps, 2000, 'half of what Lyon had');
  assert.deepEqual(lostBackup, [{ prefix: '23.0.0.0/16', siteId: 'paris', bps: 8000 }]);
  assert.equal(lostBackupCount, 1);
});

test('a site with both families shares its traffic between them', () => {
  const before = tableOf({ paris: ['23.0.0.0/16', '2a00:1::/32'], lyon: ['24.0.0.0/16'] });
  const after = tableOf({ paris: ['23.0.0.0/16'], lyon: ['24.0.0.0/16', '2a00:1::/32'] });
  const { sites } = preview(before, after, TRAFFIC, 0.25);
  assert.deepEqual(
    sites.map(({ afterBps }) => afterBps),
    [6000, 6000],
  );
});

test('no traffic appears or vanishes: 100 random tables, seed 9', () => {
  const random = seededRandom(9);
  const randomTable = (): TableOfSites => {
    const list = (): string[] =>
      Array.from({ length: 1 + random.below(8) }, () => {
        const length = 10 + random.below(8);
        const address = ((random.below(2 ** 16) << 16) >>> 0) & (-(2 ** (32 - length)) >>> 0);
        return `${[24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.')}/${length}`;
      });
    return tableOf({ paris: list(), lyon: list() });
  };
  for (let round = 0; round < 100; round++) {
    const { homelessBps, sites } = preview(randomTable(), randomTable(), TRAFFIC, 0.3);
    const sum = sites.reduce((total, { afterBps }) => total + afterBps, homelessBps);
    assert.ok(Math.abs(sum - 12_000) < 4, `round ${round}: ${sum}`);
  }
});

test('a prefix file: an operator’s word, a route, a comment; each mistake with its line', () => {
  const { lines, problems } = readPrefixFile(
    [
      '# ours',
      '23.10.0.0/16 paris',
      '2a00::/32 lyon as-path=64500,64511 med=50 origin=egp  # theirs',
    ].join('\n'),
  );
  assert.deepEqual(problems, []);
  assert.deepEqual(lines, [
    { prefix: '23.10.0.0/16', site: 'paris', route: null },
    {
      prefix: '2a00::/32',
      site: 'lyon',
      route: { originAs: 64_511, asPathLength: 2, origin: 1, med: 50 },
    },
  ]);
  const bad = readPrefixFile('23.10.0.1/16 paris\n23.10.0.0/16\n\n23.10.0.0/16 paris med=x');
  assert.deepEqual(
    bad.problems.map((text) => text.slice(0, 8)),
    ['line 1: ', 'line 2: ', 'line 4: '],
  );
});
