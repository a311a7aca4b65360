import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { PEERS_MAX, rankSources, TIERS_MAX, type SourceBox } from './sources.ts';

const ORIGIN = 'http://origin.test';
const FILE = 'f'.repeat(43);

function box(applianceId: string, siteId: string, clusterId: string, country = 'FR'): SourceBox {
  return { applianceId, siteId, clusterId, country, baseUrl: `http://${applianceId}.test` };
}

const asker = box('me', 'paris', 'paris-a');

test('same cluster, then same site, then another site of the country, then abroad, then the origin', () => {
  const holders = [
    box('abroad', 'london', 'london-a', 'GB'),
    box('other-site', 'lyon', 'lyon-a'),
    box('same-site', 'paris', 'paris-b'),
    box('same-cluster', 'paris', 'paris-a'),
    asker,
  ];
  const sources = rankSources(asker, FILE, holders, ORIGIN);
  assert.deepEqual(
    sources.map(({ kind, id }) => [kind, id]),
    [
      ['peer', 'same-cluster'],
      ['peer', 'same-site'],
      ['tier', 'other-site'],
      ['tier', 'abroad'],
      ['origin', 'origin'],
    ],
  );
  assert.ok(sources.every(({ delayMs }) => delayMs === 0));
});

test('a file that nobody holds comes from the origin', () => {
  assert.deepEqual(rankSources(asker, FILE, [], ORIGIN), [
    { kind: 'origin', id: 'origin', baseUrl: ORIGIN, delayMs: 0 },
  ]);
});

test('many holders give a bounded list that keeps the origin', () => {
  const holders = Array.from({ length: 100 }, (_, n) =>
    box(`box-${n}`, n % 2 === 0 ? 'paris' : 'lyon', 'x'),
  );
  const sources = rankSources(asker, FILE, holders, ORIGIN);
  assert.equal(sources.length, PEERS_MAX + TIERS_MAX + 1);
  assert.equal(sources.at(-1)?.kind, 'origin');
});

test('equal peers share the files among them, and the order does not depend on how they are listed', () => {
  const holders = ['a', 'b', 'c', 'd'].map((id) => box(id, 'paris', 'paris-a'));
  const firsts = new Map<string, number>();
  for (let n = 0; n < 400; n++) {
    const fileId = createHash('sha256').update(`file ${n}`).digest('base64url');
    const sources = rankSources(asker, fileId, holders, ORIGIN);
    assert.deepEqual(rankSources(asker, fileId, holders.toReversed(), ORIGIN), sources);
    firsts.set(sources[0].id, (firsts.get(sources[0].id) ?? 0) + 1);
  }
  for (const [id, count] of firsts) assert.ok(count > 60 && count < 140, `${id}: ${count}`);
  assert.equal(firsts.size, 4);
});
