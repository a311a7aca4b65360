import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { SteeringNode } from '#control-plane/contract.ts';
import type { EvidenceName } from './evidence.ts';
import type { FamilyEvidence } from './load.ts';
import { PanelKeeper } from './panel-keeper.ts';
import { judgeTogether, panelOf, verdictOf } from './quorum.ts';

const FEW = { numRuns: 400, seed: 20_261_130 };
const OWN = ['unknown', 'reachable', 'suspect', 'unreachable'] as const;

function node(nodeId: string, name?: 'reachable' | 'suspect' | 'unreachable'): SteeringNode {
  return {
    nodeId,
    verdicts: name === undefined ? [] : [{ applianceId: 'box', family: 4, name }],
  };
}

function own(name: EvidenceName): readonly FamilyEvidence[] {
  return name === 'unknown' ? [] : [{ applianceId: 'box', family: 4, name }];
}

function seenBy(self: EvidenceName, nodes: readonly SteeringNode[] | null, known = 1): string {
  const panel = panelOf(nodes, 'self', known);
  return [...judgeTogether(own(self), panel)][0]?.name ?? 'unknown';
}

test('what the nodes together make of a box: table', () => {
  const others = (...names: Parameters<typeof node>[1][]): readonly SteeringNode[] =>
    names.map((name, at) => node(`n${at}`, name));
  const cases: readonly [string, EvidenceName, readonly SteeringNode[] | null, EvidenceName][] = [
    ['alone, it judges alone', 'suspect', [node('self', 'suspect')], 'suspect'],
    ['its own echo is no second vote', 'suspect', [node('self', 'suspect'), node('n')], 'doubted'],
    ['a broken path of ours', 'suspect', others('reachable', 'reachable'), 'reachable'],
    ['a broken path of another', 'reachable', others('suspect', 'reachable'), 'reachable'],
    ['most suspect it', 'reachable', others('suspect', 'suspect'), 'suspect'],
    ['most suspect it, and we never looked', 'unknown', others('suspect', 'suspect'), 'suspect'],
    ['all do', 'suspect', others('suspect', 'suspect'), 'suspect'],
    ['two nodes that disagree', 'suspect', others('reachable'), 'doubted'],
    ['two nodes that agree', 'suspect', others('suspect'), 'suspect'],
    ['the others have not looked yet', 'suspect', others(undefined, undefined), 'doubted'],
    [
      'one of four has, and agrees: no quorum',
      'suspect',
      others('suspect', undefined, undefined),
      'doubted',
    ],
    ['refused elsewhere is a vote', 'suspect', others('unreachable', undefined), 'suspect'],
    ['refused elsewhere alone is nothing', 'unknown', others('unreachable', undefined), 'unknown'],
    ['refused here is hard', 'unreachable', others('reachable', 'reachable'), 'unreachable'],
  ];
  for (const [title, self, nodes, expected] of cases) {
    assert.equal(seenBy(self, nodes), expected, title);
  }
});

test('with the control plane gone a node of several doubts what it would suspect; one alone suspects it', () => {
  assert.equal(seenBy('suspect', null, 3), 'doubted');
  assert.equal(seenBy('suspect', null, 1), 'suspect');
  assert.equal(seenBy('unreachable', null, 3), 'unreachable');
});

test('the number of nodes outlives the control plane and a snapshot that names none; their votes do not', () => {
  const keeper = new PanelKeeper('self', 2);
  assert.equal(keeper.look(undefined, false).liveNodes, 2, 'as configured, until it is told');
  assert.equal(keeper.known, null);
  const nodes = [node('a', 'suspect'), node('b'), node('self')];
  const told = keeper.look(nodes, false);
  assert.deepEqual([told.liveNodes, [...told.suspected]], [3, ['box']]);
  assert.equal(keeper.look(nodes, false), told, 'made once');
  const gone = keeper.look(nodes, true);
  assert.deepEqual([gone.liveNodes, gone.votes.size], [3, 0]);
  const restarted = keeper.look(undefined, false);
  assert.deepEqual([restarted.liveNodes, restarted.votes.size], [3, 0]);
  assert.equal(keeper.look([node('a')], false).liveNodes, 2, 'not named itself yet');
  const fromDisk = new PanelKeeper('self', 1);
  assert.equal(fromDisk.look(nodes, true).liveNodes, 3);
});

test('families are judged apart', () => {
  const nodes = ['a', 'b'].map((nodeId): SteeringNode => ({
    nodeId,
    verdicts: [
      { applianceId: 'box', family: 4, name: 'reachable' },
      { applianceId: 'box', family: 6, name: 'suspect' },
    ],
  }));
  const both = ([4, 6] as const).map((family) => ({
    applianceId: 'box',
    family,
    name: 'suspect' as const,
  }));
  const verdicts = [...judgeTogether(both, panelOf(nodes, 'self', 1))];
  assert.deepEqual(
    verdicts.map(({ family, name }) => [family, name]),
    [
      [4, 'reachable'],
      [6, 'suspect'],
    ],
  );
});

test('alone, and hard evidence, are as if there were no quorum', () => {
  fc.assert(
    fc.property(fc.constantFrom(...OWN), fc.nat(50), fc.nat(50), (name, against, well) => {
      assert.equal(verdictOf(name, { against: 0, well: 0 }, 1), name);
      assert.equal(verdictOf('unreachable', { against, well }, against + well + 1), 'unreachable');
      if (name !== 'unreachable') {
        const verdict = verdictOf(name, { against, well }, against + well + 1);
        assert.notEqual(verdict, 'unreachable', 'not by the word of others');
      }
    }),
    FEW,
  );
});

test('a box is a suspect only by most votes of a quorum, and one more vote against it never makes it better', () => {
  const RANK = { reachable: 0, unknown: 0, doubted: 1, suspect: 2, unreachable: 3 };
  fc.assert(
    fc.property(
      fc.constantFrom('unknown' as const, 'reachable' as const, 'suspect' as const),
      fc.nat(20),
      fc.nat(20),
      fc.nat(20),
      (name, against, well, silent) => {
        const live = against + well + silent + 1;
        const verdict = verdictOf(name, { against, well }, live);
        const allAgainst = against + (name === 'suspect' ? 1 : 0);
        const allWell = well + (name === 'reachable' ? 1 : 0);
        const holds = allAgainst > allWell && 2 * (allAgainst + allWell) > live;
        assert.equal(verdict === 'suspect', holds);
        if (silent > 0) {
          const worse = verdictOf(name, { against: against + 1, well }, live);
          assert.ok(RANK[worse] >= RANK[verdict], `${verdict} -> ${worse}`);
        }
      },
    ),
    FEW,
  );
});

test('fewer than half of the nodes, whatever they say, take no box out at any node', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 9 }),
      fc.nat(4),
      fc.array(fc.constantFrom('suspect' as const, 'unreachable' as const), {
        minLength: 4,
        maxLength: 4,
      }),
      (well, broken, words) => {
        const brokenNodes = words
          .slice(0, Math.min(broken, well - 1))
          .map((name, at) => node(`broken-${at}`, name));
        const wellNodes = Array.from({ length: well }, (_, at) => node(`well-${at}`, 'reachable'));
        const all = [...brokenNodes, ...wellNodes];
        for (const { nodeId, verdicts } of all) {
          const [{ name }] = verdicts;
          if (name === 'unreachable') continue; // hard, and its own
          const panel = panelOf(all, nodeId, 1);
          const [verdict] = judgeTogether(own(name), panel);
          assert.equal(verdict.name, 'reachable', `${nodeId} of ${all.length}`);
        }
      },
    ),
    FEW,
  );
});
