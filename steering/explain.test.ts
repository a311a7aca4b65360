import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decidePlay, pathwayOf } from './answer.ts';
import { EXAMPLE_FILES, EXAMPLE_TITLE, exampleWorld } from './example-fleet.ts';
import { explainPlay, explanationText } from './explain.ts';

const REQUEST = { titleId: EXAMPLE_TITLE, clientAddress: '10.1.2.3', session: 's1' };

test('an explanation is the decision itself, with every box that was looked at', () => {
  const world = exampleWorld(
    {
      appliances: {
        'lyon-a': { standing: 'draining', reasons: ['operator'] },
        'lyon-b': { egressBps: 5e8 },
      },
      holdings: { 'paris-a': [1] },
    },
    { 'oslo-a': 'unreachable' },
  );
  const explained = explainPlay(world, REQUEST);
  assert.ok(explained.kind === 'explanation');
  const decided = decidePlay(world, REQUEST);
  assert.ok(decided.kind === 'play');
  assert.deepEqual(
    explained.files.map(({ list, reason }) => [list, reason]),
    decided.files.map(({ ranking }) => [ranking.candidates.map(pathwayOf), ranking.reason]),
  );
  assert.deepEqual(explained.covering, [['lyon-1']]);
  assert.deepEqual(explained.epochs, decided.epochs);
  const [{ boxes }] = explained.files;
  const facts = boxes.map(({ applianceId, verdict, rank, holdsFile, tier, isHome, useShare }) => [
    applianceId,
    verdict,
    rank,
    holdsFile,
    tier,
    isHome,
    useShare,
  ]);
  assert.deepEqual(facts, [
    ['lyon-a', 'draining', null, true, 0, true, 0],
    ['lyon-b', 'chosen', 1, true, 0, true, 0.5],
    ['paris-a', 'chosen', 2, false, 1, false, 0],
    ['oslo-a', 'unreachable', null, true, 2, false, 0],
  ]);
});

test('the text says for each box what it was judged by', () => {
  const world = exampleWorld({
    appliances: { 'lyon-a': { standing: 'draining', reasons: ['operator'] } },
  });
  const explained = explainPlay(world, { ...REQUEST, fileIds: [EXAMPLE_FILES[0]] });
  assert.ok(explained.kind === 'explanation');
  const text = explanationText(explained);
  assert.match(text, /at home in lyon-1 \(lyon-1\), country FR/);
  assert.match(text, /: home -> lyon-b, paris-a, oslo-a, origin/);
  assert.match(
    text,
    /lyon-a +draining +tier 0 \(home\), draining \(operator\), probes: unknown, holds the file/,
  );
});

test('what may not be shown is not explained but refused', () => {
  const refused = explainPlay(exampleWorld(), { ...REQUEST, titleId: 'nope' });
  assert.equal(refused.kind, 'refused');
});
