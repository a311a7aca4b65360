import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STEERING_NODE_SILENT_MS, STEERING_NODES_MAX, type SteeringReport } from './contract.ts';
import { SteeringNodes } from './steering-nodes.ts';

const SETTLED_MS = STEERING_NODE_SILENT_MS;

function report(
  nodeId: string,
  ...names: SteeringReport['verdicts'][number]['name'][]
): SteeringReport {
  return {
    nodeId,
    verdicts: names.map((name, at) => ({ applianceId: `box-${at}`, family: 4, name, ageMs: at })),
  };
}

test('nothing is told until every living node has had time to speak', () => {
  const nodes = new SteeringNodes(1000);
  assert.equal(nodes.take(report('a', 'suspect'), 1100), false);
  assert.equal(nodes.tick(1000 + SETTLED_MS - 1), false);
  assert.equal(nodes.entries, undefined);
  assert.equal(nodes.tick(1000 + SETTLED_MS), true);
  assert.deepEqual(nodes.entries, [
    { nodeId: 'a', verdicts: [{ applianceId: 'box-0', family: 4, name: 'suspect' }] },
  ]);
});

test('all are told where a node comes, judges otherwise or falls silent; ages and order tell nobody', () => {
  const nodes = new SteeringNodes(0);
  const at = SETTLED_MS;
  assert.equal(nodes.take(report('b'), at), true);
  assert.equal(nodes.take(report('a', 'suspect', 'reachable'), at), true);
  assert.deepEqual(
    nodes.entries?.map(({ nodeId }) => nodeId),
    ['a', 'b'],
  );
  const told = nodes.entries;
  const again = report('a', 'suspect', 'reachable').verdicts.map((one) => ({ ...one, ageMs: 500 }));
  assert.equal(nodes.take({ nodeId: 'a', verdicts: again.toReversed() }, at + 1000), false);
  assert.equal(nodes.tick(at + 2000), false);
  assert.equal(nodes.entries, told, 'the same list');
  assert.equal(nodes.take(report('a', 'suspect', 'suspect'), at + 2000), true);
  assert.equal(nodes.tick(at + 1 + STEERING_NODE_SILENT_MS), true, 'b is silent');
  assert.deepEqual(
    nodes.entries?.map(({ nodeId }) => nodeId),
    ['a'],
  );
});

test('people see a node that fell silent, for an hour, and before those that live', () => {
  const nodes = new SteeringNodes(0);
  nodes.take(report('b', 'suspect'), SETTLED_MS);
  nodes.take(report('a'), SETTLED_MS + 4000);
  const fallen = SETTLED_MS + STEERING_NODE_SILENT_MS + 1;
  nodes.tick(fallen);
  const verdicts: never[] = [];
  assert.deepEqual(nodes.seen(fallen), [
    { nodeId: 'b', heardAgoMs: STEERING_NODE_SILENT_MS + 1, isLive: false, verdicts },
    { nodeId: 'a', heardAgoMs: STEERING_NODE_SILENT_MS - 3999, isLive: true, verdicts },
  ]);
  nodes.take(report('b', 'suspect'), fallen + 1);
  assert.deepEqual(
    nodes.seen(fallen + 1).map(({ nodeId, isLive }) => [nodeId, isLive]),
    [
      ['a', true],
      ['b', true],
    ],
  );
  nodes.tick(fallen + 60_000);
  assert.equal(nodes.seen(fallen + 60_000).length, 2);
  nodes.tick(fallen + 3_600_002);
  assert.deepEqual(nodes.seen(fallen + 3_600_002), []);
});

test('however many names come and go, as many silent ones are remembered as may live', () => {
  const nodes = new SteeringNodes(0);
  for (let at = 0; at < 3 * STEERING_NODES_MAX; at++) {
    const nowMs = SETTLED_MS + at * (STEERING_NODE_SILENT_MS + 1);
    nodes.take(report(`n${at}`), nowMs);
    nodes.tick(nowMs);
  }
  assert.ok(nodes.seen(SETTLED_MS).length <= STEERING_NODES_MAX + 1);
});

test('a verdict of long ago is no verdict, and a node too many is refused until one is silent', () => {
  const nodes = new SteeringNodes(0);
  nodes.take(
    { nodeId: 'a', verdicts: [{ applianceId: 'box', family: 6, name: 'suspect', ageMs: 180_001 }] },
    SETTLED_MS,
  );
  assert.deepEqual(nodes.entries?.[0].verdicts, []);
  for (let at = 1; at < STEERING_NODES_MAX; at++) nodes.take(report(`n${at}`), SETTLED_MS);
  assert.equal(nodes.take(report('one-more'), SETTLED_MS), 'too-many');
  nodes.tick(2 * SETTLED_MS + 1);
  assert.equal(nodes.take(report('one-more'), 2 * SETTLED_MS + 1), true);
});
