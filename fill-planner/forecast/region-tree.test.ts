import assert from 'node:assert/strict';
import { test } from 'node:test';
import { languageAreaOf, regionTreeOf } from './region-tree.ts';

test('a country belongs to the area of its likely language', () => {
  assert.equal(languageAreaOf('AT'), languageAreaOf('DE'));
  assert.equal(languageAreaOf('BR'), languageAreaOf('PT'));
  assert.notEqual(languageAreaOf('BR'), languageAreaOf('MX'));
  assert.equal(languageAreaOf(''), 'unknown');
});

test('parents stand before children, and every cluster is a leaf five deep', () => {
  const tree = regionTreeOf([
    { clusterId: 'a', country: 'DE', network: '3320' },
    { clusterId: 'b', country: 'DE', network: '3320' },
    { clusterId: 'c', country: 'AT' },
    { clusterId: 'd', country: '' },
  ]);
  tree.parents.forEach((parent, node) => assert.ok(parent < node));
  for (const path of tree.paths)
    assert.deepEqual(
      [...path].map((n) => tree.levels[n]),
      [0, 1, 2, 3, 4],
    );
  assert.equal(tree.paths[0][3], tree.paths[1][3], 'one network');
  assert.equal(tree.paths[0][1], tree.paths[2][1], 'one language area');
  assert.notEqual(tree.paths[0][2], tree.paths[2][2], 'two countries');
  assert.equal(new Set(tree.leaves).size, 4);
});
