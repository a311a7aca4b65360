import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { formatPrefix, maskBytes, parseAddress, parsePrefix, type Prefix } from '#base/address.ts';
import { seededRandom } from '#base/random.ts';
import {
  buildPrefixTable,
  coverOf,
  lookUp,
  lookUpScoped,
  type Cover,
  type PrefixEntry,
} from './place.ts';

fc.configureGlobal({ seed: 20_261_120 });

/** The oracle: scan everything. */
function scan(entries: readonly PrefixEntry[], address: Uint8Array): Cover {
  const ranksOf = new Map<number, Map<number, number>>(); // length -> cluster -> best rank
  for (const { prefix, cluster, rank = 0 } of entries) {
    if (prefix.bytes.length !== address.length) continue;
    const masked = maskBytes(address, prefix.length);
    if (!masked.every((byte, at) => byte === prefix.bytes[at])) continue;
    const ranks = ranksOf.get(prefix.length) ?? new Map<number, number>();
    ranks.set(cluster, Math.min(rank, ranks.get(cluster) ?? Infinity));
    ranksOf.set(prefix.length, ranks);
  }
  const groups: number[][] = []; // what lies around first: short before long, bad rank before good
  for (const length of [...ranksOf.keys()].sort((a, b) => a - b)) {
    const ranks = [...ranksOf.get(length)!];
    const distinct = [...new Set(ranks.map(([, rank]) => rank))].sort((a, b) => b - a);
    for (const wanted of distinct) {
      groups.push(ranks.flatMap(([cluster, rank]) => (rank === wanted ? [cluster] : [])));
    }
  }
  const tiers: number[][] = [];
  for (const group of groups) {
    const clusters = group.sort((a, b) => a - b);
    if (tiers.length > 0 && String(tiers[0]) === String(clusters)) continue;
    for (let at = 0; at < tiers.length; at++) {
      tiers[at] = tiers[at].filter((cluster) => !clusters.includes(cluster));
    }
    tiers.unshift(clusters);
  }
  return tiers.filter((tier) => tier.length > 0);
}

function entry(text: string, cluster: number): PrefixEntry {
  return { prefix: parsePrefix(text)!, cluster };
}

function address(text: string): Uint8Array {
  return parseAddress(text)!;
}

/** Prefixes that nest and touch: few distinct bits, so that collisions are common. */
const prefixes = (bytes: 4 | 16): fc.Arbitrary<Prefix> =>
  fc
    .record({
      low: fc.array(fc.constantFrom(0, 1, 0x80, 0xff), { minLength: bytes, maxLength: bytes }),
      length: fc.integer({ min: 0, max: bytes * 8 }),
    })
    .map(({ low, length }) => ({
      family: bytes === 4 ? 4 : 6,
      bytes: maskBytes(Uint8Array.from(low), length),
      length,
    }));
const entries = (bytes: 4 | 16): fc.Arbitrary<PrefixEntry[]> =>
  fc.array(
    fc.record({
      prefix: prefixes(bytes),
      cluster: fc.integer({ min: 0, max: 4 }),
      rank: fc.constantFrom(0, 0, 1, 3 * 2 ** 32),
    }),
    { maxLength: 40 },
  );
const addresses = (bytes: 4 | 16): fc.Arbitrary<Uint8Array> =>
  fc
    .array(fc.constantFrom(0, 1, 2, 0x80, 0xfe, 0xff), { minLength: bytes, maxLength: bytes })
    .map((list) => Uint8Array.from(list))
    // A mapped address is looked up as IPv4: the oracle below does not know that.
    .filter((list) => bytes === 4 || list[10] !== 0xff || list[11] !== 0xff);
const notMapped = (list: readonly PrefixEntry[]): boolean =>
  list.every(
    ({ prefix }) => prefix.length < 96 || prefix.bytes[10] !== 0xff || prefix.bytes[11] !== 0xff,
  );

for (const bytes of [4, 16] as const) {
  test(`every address of ${bytes} bytes gets the clusters that a scan of all prefixes gives`, () => {
    fc.assert(
      fc.property(
        entries(bytes).filter(notMapped),
        fc.array(addresses(bytes), { minLength: 1, maxLength: 20 }),
        (list, asked) => {
          const table = buildPrefixTable(list);
          for (const one of asked) {
            assert.deepEqual(coverOf(table, lookUp(table, one)), scan(list, one));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
}

test('a table of 2,000 random prefixes agrees with the scan at and around each boundary', () => {
  const random = seededRandom(7);
  const list: PrefixEntry[] = [];
  for (let at = 0; at < 2000; at++) {
    const length = 8 + random.below(17);
    const raw = Uint8Array.from([10 + random.below(4), random.below(8), random.below(256), 0]);
    list.push({
      prefix: { family: 4, bytes: maskBytes(raw, length), length },
      cluster: random.below(50),
    });
  }
  const table = buildPrefixTable(list);
  for (let at = 0; at < 400; at++) {
    const { prefix } = list[random.below(list.length)];
    const asked = Uint8Array.from(prefix.bytes);
    asked[3] = random.below(2) * 255;
    asked[2] = (asked[2] + random.below(3) - 1) & 255;
    assert.deepEqual(coverOf(table, lookUp(table, asked)), scan(list, asked));
  }
});

test('the scopes of RFC 7871 7.2.1 come out exactly', () => {
  const table = buildPrefixTable([entry('1.2.0.0/20', 0), entry('1.2.3.0/24', 1)]);
  const cases: readonly [string, number][] = [
    ['1.2.0.0', 23],
    ['1.2.1.0', 23],
    ['1.2.2.0', 24],
    ['1.2.3.0', 24],
    ['1.2.4.0', 22],
    ['1.2.7.0', 22],
    ['1.2.8.0', 21],
    ['1.2.15.0', 21],
  ];
  for (const [text, scope] of cases) {
    assert.equal(lookUpScoped(table, address(text), 24).scopeBits, scope, text);
  }
});

test('scopes never overlap, and every address inside a scope gets the same answer', () => {
  fc.assert(
    fc.property(entries(4), addresses(4), addresses(4), (list, one, other) => {
      const table = buildPrefixTable(list);
      const { cover, scopeBits } = lookUpScoped(table, one, 32);
      const merged = Uint8Array.from(one);
      for (let bit = scopeBits; bit < 32; bit++) {
        const mask = 0x80 >> (bit & 7);
        merged[bit >> 3] = (merged[bit >> 3] & ~mask) | (other[bit >> 3] & mask);
      }
      assert.deepEqual(lookUpScoped(table, merged, 32), { cover, scopeBits });
      assert.equal(lookUp(table, one), cover);
      // One bit shorter would not do: the other half differs somewhere.
      if (scopeBits > 0) {
        const wider = lookUpScoped(table, one, scopeBits - 1);
        assert.ok(wider.scopeBits >= scopeBits || wider.scopeBits === Math.max(24, scopeBits - 1));
      }
    }),
    { numRuns: 300 },
  );
});

test('a source that is too short gets the covering answer and a scope that asks for more, at most /24 and /56', () => {
  const table = buildPrefixTable([
    entry('10.0.0.0/8', 0),
    entry('10.1.2.0/28', 1),
    entry('2001:db8::/32', 2),
    entry('2001:db8:1:2::/64', 3),
  ]);
  const v4 = lookUpScoped(table, address('10.1.2.0'), 24);
  assert.deepEqual(coverOf(table, v4.cover), [[0]]);
  assert.equal(v4.scopeBits, 24);
  const v6 = lookUpScoped(table, address('2001:db8:1::'), 48);
  assert.deepEqual(coverOf(table, v6.cover), [[2]]);
  assert.ok(v6.scopeBits > 48 && v6.scopeBits <= 56);
  const wide = lookUpScoped(table, address('10.0.0.0'), 4);
  assert.deepEqual(coverOf(table, wide.cover), []);
  assert.ok(wide.scopeBits > 4 && wide.scopeBits <= 24);
});

test('an IPv4-mapped IPv6 address is the IPv4 address that it carries, in tables, look-ups and scopes', () => {
  const mapped = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7]);
  const table = buildPrefixTable([entry('192.0.2.0/24', 5)]);
  assert.deepEqual(coverOf(table, lookUp(table, mapped)), [[5]]);
  assert.equal(lookUpScoped(table, mapped, 128).scopeBits, 24 + 96);
  assert.equal(formatPrefix(parsePrefix('192.0.2.0/24')!), '192.0.2.0/24');
});

test('two clusters of one prefix stand together, the covering prefix behind them', () => {
  const table = buildPrefixTable([
    entry('10.0.0.0/8', 3),
    entry('10.1.0.0/16', 2),
    entry('10.1.0.0/16', 1),
  ]);
  assert.deepEqual(coverOf(table, lookUp(table, address('10.1.9.9'))), [[1, 2], [3]]);
  assert.deepEqual(coverOf(table, lookUp(table, address('11.0.0.1'))), []);
});

test('clusters of one prefix stand by rank: an operator’s word, then the shorter path; equals share a tier', () => {
  const prefix = parsePrefix('23.0.0.0/16')!;
  const table = buildPrefixTable([
    { prefix, cluster: 3, rank: 20 },
    { prefix, cluster: 1, rank: 10 },
    { prefix, cluster: 2, rank: 10 },
    { prefix, cluster: 4 },
  ]);
  assert.deepEqual(coverOf(table, lookUp(table, address('23.0.1.1'))), [[4], [1, 2], [3]]);
});
