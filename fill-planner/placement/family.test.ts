import assert from 'node:assert/strict';
import { test } from 'node:test';
import highsModule from 'highs';
import { seededRandom, type Random } from '#base/random.ts';
import { placeFamily, reordered, type FamilyCluster } from './family.ts';
import type { ClusterProblem } from './problem.ts';
import { randomCluster } from './random-cluster.ts';

// The package's types describe an ES module; what it exports is the loader itself.
const loadHighs = highsModule as unknown as typeof highsModule.default;
const INSTANCES = 300;
const HOP_WORTH = 0.8;
const SLACK = 1e-6;

/** Trees of one to four clusters over one catalogue; each cluster's viewers have a taste of their own. */
function randomFamily(random: Random, filesMax: number, boxesMax: number): FamilyCluster[] {
  const shapes = [[-1], [1, -1], [2, 2, -1], [1, 2, -1], [2, 2, 3, -1], [3, 3, 3, -1]];
  const parents = shapes[random.below(shapes.length)];
  const first = randomCluster(random, { filesMax, boxesMax, slotsMax: 2 });
  const { sizes, buckets, ranks } = first.feed;
  return parents.map((parent) => {
    const { feed: _, ...own } = randomCluster(random, { filesMax, boxesMax, slotsMax: 1 });
    const densities = Float64Array.from({ length: ranks }, () => 10 ** (4 * random.next() - 2));
    const level = random.next() < 0.2 ? 1e-3 : 1;
    const problem: ClusterProblem = {
      ...own,
      feed: reordered(
        { ...first.feed, sizes, buckets },
        densities.map((density) => level * density),
      ),
      slotFactors: first.slotFactors,
      present: own.boxes.map(() =>
        Uint8Array.from({ length: ranks }, () => (random.next() < 0.3 ? 1 : 0)),
      ),
    };
    return { problem, parent, churnShare: random.next() < 0.5 ? 0 : 0.3 };
  });
}

function heightsOf(family: readonly FamilyCluster[]): readonly number[] {
  const heights = family.map(() => 0);
  family.forEach(({ parent }, at) => {
    if (parent !== -1) heights[parent] = Math.max(heights[parent], heights[at] + 1);
  });
  return heights;
}

/** The family as an exact linear program over fractions of files: every viewer is served on the way up, peak by peak. */
function linearProgram(family: readonly FamilyCluster[], prices: readonly number[]): string {
  const objective: string[] = [];
  const rows: string[] = [];
  const bounds: string[] = [];
  const heights = heightsOf(family);
  const loads = new Map<string, string[]>();
  family.forEach(({ problem }, c) => {
    const worth = HOP_WORTH ** heights[c];
    problem.boxes.forEach((box, a) => {
      const stored: string[] = [];
      const filled: string[] = [];
      problem.feed.rows.forEach((row, rank) => {
        const size = problem.feed.sizes[rank];
        const x = `x_${c}_${a}_${row}`;
        bounds.push(`0 <= ${x} <= 1`);
        stored.push(`+ ${size} ${x}`);
        if (problem.present[a][rank] === 1) return;
        filled.push(`+ ${size} ${x}`);
        objective.push(`- ${worth * prices[c] * size} ${x}`);
      });
      rows.push(`${stored.join(' ')} <= ${box.storageBytes}`);
      if (Number.isFinite(box.fillBytes) && filled.length > 0) {
        rows.push(`${filled.join(' ')} <= ${box.fillBytes}`);
      }
    });
  });
  family.forEach(({ problem: home }, h) => {
    home.feed.rows.forEach((row, rank) => {
      const demand = home.feed.densities[rank] * home.feed.sizes[rank];
      home.slotFactors.forEach((factor, s) => {
        const split: string[] = [];
        for (let c = h; c !== -1; c = family[c].parent) {
          family[c].problem.boxes.forEach((_, a) => {
            const y = `y_${h}_${row}_${c}_${a}_${s}`;
            split.push(`+ 1 ${y}`);
            bounds.push(`0 <= ${y} <= 1`);
            rows.push(`${y} - x_${c}_${a}_${row} <= 0`);
            objective.push(`+ ${HOP_WORTH ** heights[c] * factor * demand} ${y}`);
            const key = `${c} ${a} ${s}`;
            loads.set(key, [...(loads.get(key) ?? []), `+ ${factor * demand} ${y}`]);
          });
        }
        rows.push(`${split.join(' ')} <= 1`);
      });
    });
  });
  for (const [key, load] of loads) {
    const [c, a] = key.split(' ').map(Number);
    rows.push(`${load.join(' ')} <= ${family[c].problem.boxes[a].servingBps}`);
  }
  return `Maximize\n obj: ${objective.join(' ')}\nSubject To\n${rows
    .map((row, at) => ` r${at}: ${row}`)
    .join('\n')}\nBounds\n${bounds.map((bound) => ` ${bound}`).join('\n')}\nEnd\n`;
}

const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

test('on random trees of clusters the bound is at least the exact linear program, and that at least the plan', async (t) => {
  const highs = await loadHighs();
  const random = seededRandom(20261121);
  let tight = 0;
  let gap = 0;
  for (let instance = 0; instance < INSTANCES; instance++) {
    const family = randomFamily(random, 6, 2);
    const placed = placeFamily(family, HOP_WORTH);
    const prices = placed.map(({ problem }) => problem.churnPrice);
    const solved = highs.solve(linearProgram(family, prices));
    assert.equal(solved.Status, 'Optimal', `instance ${instance}`);
    const exact = solved.ObjectiveValue;
    const bound = total(placed.map(({ placement }) => placement.proof.boundBps));
    const value = total(placed.map(({ placement }) => placement.proof.valueBps));
    const slack = SLACK * Math.max(1, exact);
    assert.ok(bound >= exact - slack, `instance ${instance}: bound ${bound} < LP ${exact}`);
    assert.ok(exact >= value - slack, `instance ${instance}: LP ${exact} < plan ${value}`);
    if (bound <= exact * 1.01 + slack) tight++;
    gap += exact > 0 ? (bound - exact) / exact : 0;
  }
  t.diagnostic(`${tight} of ${INSTANCES} within 1 %, mean ${(100 * gap) / INSTANCES} %`);
  assert.ok(tight > INSTANCES / 2, `only ${tight} of ${INSTANCES} bounds are within 1 %`);
});
