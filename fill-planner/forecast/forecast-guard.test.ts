import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRESH_GUARD, stepGuard } from './forecast-guard.ts';

function kindsOf(wapes: readonly number[]): readonly string[] {
  let state = FRESH_GUARD;
  return wapes.map((wape) => {
    const stepped = stepGuard(state, wape);
    state = stepped.state;
    return stepped.verdict.kind;
  });
}

const USUAL = [0.2, 0.22, 0.19, 0.21, 0.2, 0.23, 0.2, 0.21];

test('usual nights are trusted, a jump is not, and the night after it is trusted again', () => {
  const kinds = kindsOf([...USUAL, 0.6, 0.21]);
  assert.deepEqual(kinds.slice(-3), ['trusted', 'jumped', 'trusted']);
});

test('after three nights of doubt the world is taken to have changed', () => {
  const kinds = kindsOf([...USUAL, 0.6, 0.6, 0.6, 0.6, 0.6]);
  assert.deepEqual(kinds.slice(-5), ['jumped', 'jumped', 'jumped', 'trusted', 'trusted']);
});

test('a score that is no number is a jump', () => {
  assert.equal(kindsOf([...USUAL, Number.NaN]).at(-1), 'jumped');
});

test('before a week of evidence everything is trusted', () => {
  assert.ok(kindsOf([0.2, 0.9, 0.1, 5, 0.2]).every((kind) => kind === 'trusted'));
});

test('a jump names its figures', () => {
  let state = FRESH_GUARD;
  for (const wape of USUAL) state = stepGuard(state, wape).state;
  const { verdict } = stepGuard(state, 0.7);
  assert.equal(verdict.kind, 'jumped');
  assert.ok(verdict.kind === 'jumped' && verdict.wape === 0.7 && verdict.limit < 0.4);
});
