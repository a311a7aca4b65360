import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashText } from './hashing.ts';
import { HASH_PERIOD_MS, turnsOf } from './hash-turns.ts';

const BOXES = Array.from({ length: 300 }, (_, at) => ({ hash: hashText(`box-${at}`) }));
const START_MS = Date.UTC(2026, 10, 30, 12, 0, 17);

/** Turns by node and box over some periods, looked at in steps of some seconds. */
function turns(nodes: readonly string[], periods: number): Map<string, number[]> {
  const taken = new Map<string, number[]>();
  for (const node of nodes) {
    const counts = BOXES.map(() => 0);
    // Each node looks in steps of its own.
    const stepMs = 700 + 13 * node.length;
    for (let at = START_MS; at < START_MS + periods * HASH_PERIOD_MS; at += stepMs) {
      const end = Math.min(at + stepMs, START_MS + periods * HASH_PERIOD_MS);
      for (const box of turnsOf(BOXES, nodes.toReversed(), node, at, end)) counts[box]++;
    }
    taken.set(node, counts);
  }
  return taken;
}

test('each box has one turn in five minutes over all nodes together, each node about as many', () => {
  for (const nodes of [['a'], ['a', 'bb'], ['a', 'bb', 'ccc', 'dddd', 'eeeee']]) {
    const taken = turns(nodes, 4);
    const total = BOXES.map((_, box) =>
      nodes.reduce((sum, node) => sum + (taken.get(node)?.[box] ?? 0), 0),
    );
    assert.ok(
      total.every((count) => count === 4),
      `${nodes.length} nodes`,
    );
    for (const node of nodes) {
      const own = taken.get(node)?.reduce((sum, count) => sum + count, 0) ?? 0;
      const share = own / (4 * BOXES.length);
      assert.ok(Math.abs(share - 1 / nodes.length) < 0.06, `${node}: ${share}`);
    }
  }
});

test('a dead node’s boxes fall to others within some periods; those of the living keep their turns', () => {
  const taken = turns(['a', 'bb', 'ccc'], 15);
  const byLiving = BOXES.map(
    (_, box) => (taken.get('a')?.[box] ?? 0) + (taken.get('bb')?.[box] ?? 0),
  );
  assert.ok(
    byLiving.every((count) => count >= 1),
    'no box waits for the dead one every time',
  );
});

test('a node that nobody named yet takes the turns that would be its own', () => {
  const both = turnsOf(BOXES, ['a', 'bb'], 'bb', START_MS, START_MS + HASH_PERIOD_MS);
  const unnamed = turnsOf(BOXES, ['a'], 'bb', START_MS, START_MS + HASH_PERIOD_MS);
  assert.deepEqual(unnamed, both);
});
