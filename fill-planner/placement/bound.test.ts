import assert from 'node:assert/strict';
import { test } from 'node:test';
import highsModule from 'highs';
import { seededRandom } from '#base/random.ts';
import { boundAt, leastBound } from './bound.ts';
import { massOf } from './mass.ts';
import { boundProblemOf, place } from './placement.ts';
import { boxTypesOf, type ClusterProblem } from './problem.ts';
import { randomCluster, randomFeed } from './random-cluster.ts';

// The package's types describe an ES module; what it exports is the loader itself.
const loadHighs = highsModule as unknown as typeof highsModule.default;
const INSTANCES = 600;
const SLACK = 1e-6; // relative: the solver's own tolerance
const SEARCH_SLACK = 1e-4; // relative: how far from the least bound the search may end

/** The cluster as an exact linear program over fractions of files, box by box. */
function linearProgram(problem: ClusterProblem): string {
  const { feed, boxes, slotFactors, churnPrice, present } = problem;
  const objective: string[] = [];
  const rows: string[] = [];
  const bounds: string[] = [];
  boxes.forEach((box, a) => {
    slotFactors.forEach((factor, s) => {
      objective.push(`+ 1 v_${a}_${s}`);
      bounds.push(`0 <= v_${a}_${s} <= ${box.servingBps}`);
      const load = files(feed.ranks)
        .map((f) => `- ${factor * feed.densities[f] * feed.sizes[f]} y_${f}_${a}`)
        .join(' ');
      rows.push(`v_${a}_${s} ${load} <= 0`);
    });
    const stored = files(feed.ranks).map((f) => `+ ${feed.sizes[f]} x_${f}_${a}`);
    rows.push(`${stored.join(' ')} <= ${box.storageBytes}`);
    const fresh = files(feed.ranks).filter((f) => present[a][f] === 0);
    const filled = fresh.map((f) => `+ ${feed.sizes[f]} x_${f}_${a}`).join(' ');
    if (Number.isFinite(box.fillBytes) && filled !== '') rows.push(`${filled} <= ${box.fillBytes}`);
    for (const f of files(feed.ranks)) {
      if (present[a][f] === 0) objective.push(`- ${churnPrice * feed.sizes[f]} x_${f}_${a}`);
      rows.push(`y_${f}_${a} - x_${f}_${a} <= 0`);
      bounds.push(`0 <= x_${f}_${a} <= 1`, `0 <= y_${f}_${a} <= 1`);
    }
  });
  for (const f of files(feed.ranks)) {
    rows.push(`${boxes.map((_, a) => `+ y_${f}_${a}`).join(' ')} <= 1`);
  }
  return `Maximize\n obj: ${objective.join(' ')}\nSubject To\n${rows
    .map((row, at) => ` r${at}: ${row}`)
    .join('\n')}\nBounds\n${bounds.map((bound) => ` ${bound}`).join('\n')}\nEnd\n`;
}

function files(count: number): readonly number[] {
  return Array.from({ length: count }, (_, at) => at);
}

test('on random clusters the bound is at least the exact linear program, and that at least the plan', async (t) => {
  const highs = await loadHighs();
  const random = seededRandom(20261120);
  let tight = 0;
  for (let instance = 0; instance < INSTANCES; instance++) {
    const problem = randomCluster(random, { filesMax: 8, boxesMax: 3, slotsMax: 2 });
    const solved = highs.solve(linearProgram(problem));
    assert.equal(solved.Status, 'Optimal', `instance ${instance}`);
    const exact = solved.ObjectiveValue;
    const { boundBps, valueBps } = place(problem).proof;
    const slack = SLACK * Math.max(1, exact);
    assert.ok(boundBps >= exact - slack, `instance ${instance}: bound ${boundBps} < LP ${exact}`);
    assert.ok(exact >= valueBps - slack, `instance ${instance}: LP ${exact} < plan ${valueBps}`);
    if (boundBps <= exact * 1.001 + slack) tight++;
  }
  t.diagnostic(`${tight} of ${INSTANCES} bounds within 0.1 % of the linear program`);
  assert.ok(tight > INSTANCES / 2, `only ${tight} of ${INSTANCES} bounds are tight`);
});

test('the bound returned is the value at the multipliers returned', () => {
  const random = seededRandom(7);
  for (let instance = 0; instance < 200; instance++) {
    const problem = randomCluster(random, { filesMax: 50, boxesMax: 5, slotsMax: 3 });
    const bound = boundProblemOf(problem, boxTypesOf(problem.boxes));
    const least = leastBound(bound);
    const again = boundAt(bound, least.multipliers);
    assert.ok(Math.abs(again - least.bound) <= 1e-9 * Math.max(1, again), `${instance}`);
    for (const values of Object.values(least.multipliers)) {
      for (const value of values as readonly number[]) assert.ok(value >= 0);
    }
  }
});

test('more storage, throughput or fill never lowers the bound', () => {
  const random = seededRandom(8);
  for (let instance = 0; instance < 200; instance++) {
    const problem = randomCluster(random, { filesMax: 60, boxesMax: 4, slotsMax: 2 });
    const before = place(problem).proof.boundBps;
    for (const field of ['storageBytes', 'servingBps', 'fillBytes'] as const) {
      const boxes = problem.boxes.map((box) => ({ ...box, [field]: box[field] * 1.2 }));
      const after = place({ ...problem, boxes }).proof.boundBps;
      assert.ok(
        after >= before * (1 - SEARCH_SLACK),
        `${field}, instance ${instance}: ${before} -> ${after}`,
      );
    }
  }
});

test('a coarse grid only raises the bound, and by little', () => {
  const random = seededRandom(9);
  const feed = randomFeed(random, 5000);
  const bytes = feed.sizes.reduce((sum, size) => sum + size, 0);
  const types = [{ storageBytes: bytes / 5, servingBps: 1e12, fillBytes: Infinity }];
  const boundWith = (points: number): number =>
    leastBound({
      mass: massOf(feed.densities, feed.sizes, null, points),
      types,
      slotFactors: [1],
      churnPrice: 0,
    }).bound;
  const exact = boundWith(feed.ranks);
  const coarse = boundWith(100);
  assert.ok(coarse >= exact * (1 - 2e-6), `${coarse} < ${exact}`);
  assert.ok(coarse <= exact * 1.02, `${coarse} is far above ${exact}`);
});
