import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exampleListing } from './io/test-examples.ts';
import { titleLiveness, type LivenessBox, type LivenessCluster } from './liveness.ts';

function box(
  applianceId: string,
  should: readonly number[],
  does: readonly number[],
  answer: string | null = null,
): LivenessBox {
  return {
    applianceId,
    isServing: true,
    should: (ordinal) => should.includes(ordinal),
    does: (ordinal) => does.includes(ordinal),
    answer,
  };
}

const at = '2026-12-24T20:00:00Z';
const film = exampleListing('film', ['a', 'b'], {
  release: { at, countries: ['FR'], priority: 1 },
});

test('a cluster is live when each planned file has its copies; a box that is too full says why not', () => {
  const clusters: LivenessCluster[] = [
    {
      clusterId: 'paris',
      country: 'FR',
      boxes: [box('p1', [0, 1], [0, 1]), box('p2', [0, 1], [0, 1])],
    },
    {
      clusterId: 'lyon',
      country: 'FR',
      boxes: [box('l1', [0, 1], [0, 1]), box('l2', [0], [], 'waits for space')],
    },
    { clusterId: 'lille', country: 'FR', boxes: [box('i1', [], [])] },
    { clusterId: 'rome', country: 'IT', boxes: [box('r1', [], [])] },
  ];
  const liveness = titleLiveness(film, [0, 1], clusters, 2);
  assert.deepEqual(
    liveness.clusters.map(({ clusterId, isLive, filesHeld, filesPlanned }) => [
      clusterId,
      isLive,
      filesHeld,
      filesPlanned,
    ]),
    [
      ['paris', true, 2, 2],
      ['lyon', false, 1, 2],
      ['lille', false, 0, 0],
    ],
    'Rome is not where it is released',
  );
  assert.deepEqual(liveness.clusters[1].boxes, [{ applianceId: 'l2', answer: 'waits for space' }]);
  assert.equal(liveness.isLive, false);
  assert.deepEqual([liveness.clustersLive, liveness.clustersWanted], [1, 3]);
  assert.equal(liveness.releaseAt, at);
});

test('a copy on a box that does not serve is none, and a title for nowhere lacks nothing', () => {
  const away = { ...box('p2', [0], [0]), isServing: false };
  const clusters = [{ clusterId: 'paris', country: 'FR', boxes: [box('p1', [0], [0]), away] }];
  assert.equal(titleLiveness(film, [0], clusters, 2).isLive, false);
  assert.equal(titleLiveness(film, [0], clusters, 1).isLive, true);
  assert.equal(titleLiveness(film, [0], [], 2).liveShare, 1);
});
