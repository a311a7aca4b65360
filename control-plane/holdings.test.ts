import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { setDigestOf } from './contract.ts';
import { BoxHoldings, type HoldingsCatalogue } from './holdings.ts';

const fileIdFor = (n: number): string =>
  createHash('sha256').update(`file ${n}`).digest('base64url');
const FILES = Array.from({ length: 60 }, (_, n) => fileIdFor(n));

/** Files 0 to `known` - 1 are in the catalogue. */
function catalogueOf(known: { count: number }): HoldingsCatalogue {
  return {
    ordinalOf: (fileId) => {
      const at = FILES.indexOf(fileId);
      return at === -1 || at >= known.count ? undefined : at;
    },
    fileIdOf: (ordinal) => (ordinal < known.count ? FILES[ordinal] : undefined),
  };
}

test('over any sequence of deltas the digest is that of the set, known files and strangers alike', () => {
  const random = seededRandom(7);
  const known = { count: 30 };
  const holdings = new BoxHoldings(catalogueOf(known));
  const held = new Set<string>();
  holdings.takeFull({ version: 0, files: [] });
  for (let version = 1; version <= 300; version++) {
    const pick = (): string[] =>
      Array.from({ length: random.below(6) }, () => FILES[random.below(60)]);
    const removed = pick();
    const added = pick();
    for (const fileId of removed) held.delete(fileId);
    for (const fileId of added) held.add(fileId);
    const delta = { fromVersion: version - 1, toVersion: version, added, removed };
    assert.equal(holdings.takeDelta(delta), 'taken');
    assert.equal(holdings.digest, setDigestOf(held));
  }
  const ordinals = [...held].map((id) => FILES.indexOf(id)).filter((at) => at < 30);
  assert.deepEqual(new Set(holdings.ordinals), new Set(ordinals));
});

test('a file that is told twice counts once', () => {
  const holdings = new BoxHoldings(catalogueOf({ count: 60 }));
  holdings.takeFull({ version: 1, files: [FILES[0], FILES[0], FILES[1]] });
  assert.equal(holdings.digest, setDigestOf([FILES[0], FILES[1]]));
});

test('what is known is compared with what a heartbeat tells', () => {
  const holdings = new BoxHoldings(catalogueOf({ count: 60 }));
  const told = (version: number, files: string[]) => ({ version, digest: setDigestOf(files) });
  assert.equal(holdings.compare(told(0, [])), 'resync', 'nothing is known yet');
  holdings.takeFull({ version: 3, files: [FILES[0]] });
  assert.equal(holdings.compare(told(3, [FILES[0]])), 'current');
  assert.equal(holdings.compare(told(3, [FILES[1]])), 'resync', 'same version, other files');
  assert.equal(holdings.compare(told(2, [FILES[0]])), 'resync', 'the box went back');
  assert.equal(holdings.compare(told(4, [])), 'ahead', 'its delta is on the way');
  assert.equal(holdings.compare(told(4, [])), 'ahead');
  assert.equal(holdings.compare(told(4, [])), 'resync', 'it did not come');
});

test('a delta that does not follow is refused, and only the whole list helps', () => {
  const holdings = new BoxHoldings(catalogueOf({ count: 60 }));
  holdings.takeFull({ version: 3, files: [FILES[0]] });
  const delta = { fromVersion: 4, toVersion: 5, added: [FILES[1]], removed: [] };
  assert.equal(holdings.takeDelta(delta), 'refused');
  assert.equal(holdings.compare({ version: 3, digest: setDigestOf([FILES[0]]) }), 'resync');
  holdings.takeFull({ version: 5, files: [FILES[1]] });
  assert.equal(holdings.compare({ version: 5, digest: setDigestOf([FILES[1]]) }), 'current');
});

test('strangers become holdings when their title is taken in, and a restore gives the same digest', () => {
  const known = { count: 1 };
  const catalogue = catalogueOf(known);
  const holdings = new BoxHoldings(catalogue);
  holdings.takeFull({ version: 9, files: [FILES[0], FILES[5]] });
  assert.deepEqual([...holdings.ordinals], [0]);
  const restored = new BoxHoldings(catalogue);
  restored.restore(9, holdings.ordinals, holdings.strangers());
  assert.equal(restored.digest, holdings.digest);
  const { serial } = holdings;
  known.count = 10;
  holdings.adopt([FILES[5], FILES[6]]);
  assert.deepEqual(new Set(holdings.ordinals), new Set([0, 5]));
  assert.equal(holdings.digest, restored.digest, 'the set is the same');
  assert.ok(holdings.serial > serial);
});
