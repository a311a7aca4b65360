import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { seededRandom } from '#base/random.ts';
import {
  bytesOf,
  countOf,
  holdersAmong,
  holdingsOf,
  isWorthPacking,
  markUnlike,
  membersOf,
  ordinalSet,
  packed,
  rebased,
  holds as holdsOf,
  withChanges,
  type Holdings,
} from './holdings.ts';

fc.configureGlobal({ seed: 20_261_120 });

const ordinals = fc.array(fc.integer({ min: 0, max: 3000 }));
const holds = (set: ReturnType<typeof ordinalSet>, ordinal: number): boolean =>
  holdsOf(holdingsOf(1, set), ordinal);

function assertHolds(holdings: Holdings, plain: ReadonlySet<number>): void {
  assert.deepEqual(
    [...membersOf(holdings)],
    [...plain].sort((a, b) => a - b),
  );
  assert.equal(countOf(holdings), plain.size);
  for (let at = 0; at <= 3000; at += 7) assert.equal(holdsOf(holdings, at), plain.has(at));
}

test('a set holds exactly the ordinals that it was made of', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 300_000 }))),
      fc.array(fc.integer({ min: 0, max: 300_000 })),
      (members, others) => {
        const set = ordinalSet(members);
        const plain = new Set(members);
        assert.equal(set.size, plain.size);
        for (const one of members) assert.ok(holds(set, one));
        for (const one of others) assert.equal(holds(set, one), plain.has(one));
      },
    ),
    { numRuns: 300 },
  );
});

test('the largest ordinals and dense runs are held', () => {
  const run = Array.from({ length: 1200 }, (_, at) => 71_999_000 + at);
  const set = ordinalSet([0, ...run, 2 ** 26]);
  assert.ok(
    holds(set, 0) && holds(set, 71_999_000) && holds(set, 72_000_199) && holds(set, 2 ** 26),
  );
  assert.ok(!holds(set, 1) && !holds(set, 71_998_999) && !holds(set, 72_000_200));
  assert.ok(!holds(set, 2 ** 32 - 1));
});

test('400,000 files out of 72 million take at most 520 kB', () => {
  const random = seededRandom(3);
  const members = Array.from({ length: 400_000 }, () => random.below(72_000_000));
  const set = ordinalSet(members);
  assert.ok(bytesOf(holdingsOf(1, set)) < 520_000, `${bytesOf(holdingsOf(1, set))} bytes`);
  for (let at = 0; at < 1000; at++) assert.ok(holds(set, members[at * 400]));
});

test('changes over a set, packed or not, hold what a plain set would hold', () => {
  fc.assert(
    fc.property(
      ordinals,
      fc.array(fc.tuple(ordinals, ordinals, fc.boolean())),
      (first, changes) => {
        const plain = new Set(first);
        let holdings = holdingsOf(1, ordinalSet(first));
        let version = 1;
        for (const [added, removed, packs] of changes) {
          holdings = withChanges(holdings, ++version, added, removed);
          for (const one of removed) plain.delete(one);
          for (const one of added) plain.add(one);
          if (packs) holdings = holdingsOf(version, packed(holdings));
          assertHolds(holdings, plain);
        }
        assert.equal(holdings.version, version);
      },
    ),
    { numRuns: 100 },
  );
});

test('a set packed while it changed goes on as what it has become', () => {
  fc.assert(
    fc.property(ordinals, ordinals, ordinals, ordinals, ordinals, (first, a, b, c, d) => {
      const before = withChanges(holdingsOf(1, ordinalSet(first)), 2, a, b);
      const base = packed(before); // elsewhere, while this comes in:
      const now = withChanges(before, 3, c, d);
      const after = rebased(before, base, now);
      assertHolds(after, new Set(membersOf(now)));
      assert.equal(after.version, 3);
      assert.deepEqual([...membersOf(rebased(before, base, before))], [...membersOf(before)]);
    }),
    { numRuns: 200 },
  );
});

test('a set is worth packing once its overlay is more than a thirty-second of it', () => {
  const base = ordinalSet(Array.from({ length: 100_000 }, (_, at) => at * 3));
  const news = Array.from({ length: 3126 }, (_, at) => at * 3 + 1);
  assert.ok(!isWorthPacking(withChanges(holdingsOf(1, base), 2, news.slice(0, 3125), [])));
  assert.ok(isWorthPacking(withChanges(holdingsOf(1, base), 2, news, [])));
});

test('several boxes, and several files of a box, looked at together: as one by one', () => {
  const random = seededRandom(11);
  const draw = (share: number): number[] =>
    Array.from({ length: 40_000 }, (_, at) => at).filter(() => random.next() < share);
  for (let round = 0; round < 30; round++) {
    const boxes = Array.from({ length: 1 + random.below(50) }, (_, id) => {
      const share = [0, 0.001, 0.3, 0.9, 1][random.below(5)];
      const base = holdingsOf(1, ordinalSet(random.below(8) === 0 ? [] : draw(share)));
      const isChanged = random.below(2) === 0;
      const holdings = isChanged ? withChanges(base, 2, draw(0.02), draw(0.02)) : base;
      return { id, holdings };
    });
    for (let ask = 0; ask < 100; ask++) {
      const ordinal = random.below(50_000);
      const found = holdersAmong(boxes, ordinal);
      assert.deepEqual(
        found.map(({ id }) => id),
        boxes.filter(({ holdings }) => holdsOf(holdings, ordinal)).map(({ id }) => id),
      );
      if (found.length === boxes.length) assert.equal(found, boxes);
      const from = random.below(50_000);
      const files = Array.from({ length: 1 + random.below(40) }, (_, at) => {
        return { ordinal: random.below(5) === 0 ? random.below(50_000) : from + at };
      });
      const place = random.below(files.length);
      const { holdings } = boxes[random.below(boxes.length)];
      const unlike = new Uint8Array(files.length);
      markUnlike(holdings, files, place, unlike);
      const isHeld = holdsOf(holdings, files[place].ordinal);
      for (let at = 0; at < files.length; at++) {
        const isUnlike = at > place && holdsOf(holdings, files[at].ordinal) !== isHeld;
        assert.equal(unlike[at] === 1, isUnlike, `file ${at} of ${files.length}, beside ${place}`);
      }
    }
  }
});
