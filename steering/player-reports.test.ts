import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decidePlay, pathwayOf } from './answer.ts';
import { createWorld } from './candidates.ts';
import { EXAMPLE_AT_MS, EXAMPLE_TITLE, exampleSnapshot } from './example-fleet.ts';
import { createFleet } from './fleet.ts';
import { LoadLedger } from './load.ts';
import { DEMOTING_SESSIONS, PER_BLOCK_MAX, ReportBook, WINDOW_MS } from './player-reports.ts';

test('a session counts once, a block of clients a few times', () => {
  const book = new ReportBook();
  const take = (session: string, block: string): string =>
    book.take({ applianceId: 'a', session, block }, 0);
  assert.equal(take('s', '10.0.0.0/24'), 'counted');
  assert.equal(take('s', '10.0.0.0/24'), 'again');
  for (let at = 1; at < PER_BLOCK_MAX; at++) assert.equal(take(`s${at}`, '10.0.0.0/24'), 'counted');
  assert.equal(take('another', '10.0.0.0/24'), 'block-full');
  assert.equal(take('another', '10.0.1.0/24'), 'counted');
});

test('many sessions of many blocks demote a box for a minute; many of one block never do', () => {
  const crowd = (blocks: number): ReportBook => {
    const book = new ReportBook();
    for (let at = 0; at < 4 * DEMOTING_SESSIONS; at++) {
      book.take({ applianceId: 'a', session: `s${at}`, block: `10.0.${at % blocks}.0/24` }, 0);
    }
    return book;
  };
  assert.deepEqual(crowd(4).demoted(0), []);
  assert.deepEqual(crowd(20).demoted(0), ['a']);
  assert.deepEqual(crowd(20).demoted(WINDOW_MS), []);
});

test('a demoted box stands behind its peers and before everybody else, and is never left out', () => {
  const fleet = createFleet(exampleSnapshot());
  const frame = new LoadLedger(1, EXAMPLE_AT_MS).freeze(fleet, [], EXAMPLE_AT_MS);
  const index = fleet.indexOf.get('lyon-a') ?? -1;
  const world = createWorld(fleet, { ...frame, demoted: [index] });
  for (let at = 0; at < 50; at++) {
    const decision = decidePlay(world, {
      titleId: EXAMPLE_TITLE,
      clientAddress: '10.1.2.3',
      session: `s${at}`,
    });
    assert.ok(decision.kind === 'play');
    assert.deepEqual(decision.files[0].ranking.candidates.map(pathwayOf), [
      'lyon-b',
      'lyon-a',
      'paris-a',
      'origin',
    ]);
  }
});
