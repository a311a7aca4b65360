import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noEvidence, stepEvidence, type EvidenceName, type ProbeResult } from './evidence.ts';

function after(results: readonly ProbeResult[], corroborated = false): EvidenceName {
  let state = noEvidence(0);
  results.forEach((result, at) => {
    state = stepEvidence(state, { kind: 'probe', result, corroborated }, at);
  });
  return state.name;
}

test('what probes prove: table', () => {
  const cases: readonly [readonly ProbeResult[], EvidenceName][] = [
    [[], 'unknown'],
    [['answered'], 'reachable'],
    [['refused'], 'unreachable'],
    [['answered', 'refused'], 'unreachable'],
    [['answered', 'timed-out'], 'reachable'],
    [['answered', 'timed-out', 'timed-out'], 'reachable'],
    [['answered', 'timed-out', 'timed-out', 'timed-out'], 'suspect'],
    [['timed-out', 'timed-out', 'timed-out', 'answered'], 'suspect'],
    [['timed-out', 'timed-out', 'timed-out', 'answered', 'answered'], 'reachable'],
    [['timed-out', 'timed-out', 'timed-out', 'refused'], 'unreachable'],
    [['refused', 'timed-out', 'timed-out', 'timed-out'], 'unreachable'],
    [['timed-out', 'timed-out', 'answered', 'timed-out', 'timed-out'], 'reachable'],
    [['refused', 'answered'], 'unreachable'],
    [['refused', 'answered', 'answered'], 'reachable'],
    [['refused', 'answered', 'timed-out', 'answered'], 'unreachable'],
  ];
  for (const [results, name] of cases) assert.equal(after(results), name, results.join());
});

test('one failed connect is enough where the control plane lost the box too', () => {
  assert.equal(after(['timed-out'], true), 'unreachable');
  assert.equal(after(['answered'], true), 'reachable');
});

test('forgotten evidence is no evidence', () => {
  const dead = stepEvidence(
    noEvidence(0),
    { kind: 'probe', result: 'refused', corroborated: false },
    1,
  );
  assert.equal(stepEvidence(dead, { kind: 'forget' }, 2).name, 'unknown');
});
