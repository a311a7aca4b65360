import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress } from '#base/address.ts';
import type { PathQualityEntry } from '#control-plane/contract.ts';
import { decidePlay, pathwayOf } from './answer.ts';
import { EXAMPLE_FILES, EXAMPLE_TITLE, exampleWorld } from './example-fleet.ts';
import { aggregateOf, judgePaths, SAMPLES_MIN } from './path-quality.ts';

function path(clusterId: string, bucket: number, samples: number, errors = 0): PathQualityEntry {
  const firstByteMs = Array.from({ length: 16 }, (_, at) => (at === bucket ? samples : 0));
  return { prefix: '10.1.2.0/24', clusterId, firstByteMs, rateKbps: [], errors };
}

test('which clusters an aggregate is demoted from: table', () => {
  const cases: readonly [string, readonly PathQualityEntry[], string][] = [
    ['four times as long', [path('a', 7, 500), path('b', 5, 500)], 'a'],
    ['the same', [path('a', 5, 500), path('b', 5, 500)], ''],
    ['nothing to compare with', [path('a', 9, 500)], ''],
    ['too few samples of it', [path('a', 9, SAMPLES_MIN - 1), path('b', 5, 500)], ''],
    ['too few samples of the other', [path('a', 9, 500), path('b', 5, SAMPLES_MIN - 1)], ''],
    ['as fast, but it fails', [path('a', 5, 400, 100), path('b', 5, 500)], 'a'],
    ['slower, but the other one fails', [path('a', 7, 500), path('b', 5, 300, 200)], 'b'],
    ['a few errors are weather', [path('a', 5, 500, 10), path('b', 5, 500)], ''],
  ];
  for (const [name, entries, expected] of cases) {
    assert.equal((judgePaths(entries).get('10.1.2.0/24') ?? []).join(), expected, name);
  }
});

test('an address belongs to its /24 or /48', () => {
  const of = (text: string): string => aggregateOf(parseAddress(text) ?? new Uint8Array());
  assert.equal(of('10.1.2.3'), '10.1.2.0/24');
  assert.equal(of('2001:db8:1:2::3'), '2001:db8:1::/48');
  assert.equal(of('::ffff:10.1.2.3'), '10.1.2.0/24');
});

test('a demoted home stands behind the next tier, for its aggregate only, and one session in twenty still goes there', () => {
  const world = exampleWorld({
    snapshot: { paths: [path('lyon-1', 8, 500), path('paris-1', 5, 500)] },
  });
  const first = (clientAddress: string, session: string): string => {
    const decision = decidePlay(world, {
      titleId: EXAMPLE_TITLE,
      fileIds: [EXAMPLE_FILES[0]],
      clientAddress,
      session,
    });
    assert.ok(decision.kind === 'play');
    const [best] = decision.files[0].ranking.candidates;
    assert.equal(decision.home, 'lyon-1');
    const isLyon = pathwayOf(best).startsWith('lyon');
    assert.equal(decision.reasons[0], isLyon ? 'home' : 'other');
    return isLyon ? 'lyon' : 'elsewhere';
  };
  let atLyon = 0;
  for (let at = 0; at < 2000; at++) {
    if (first('10.1.2.9', `s${at}`) === 'lyon') atLyon++;
    assert.equal(first('10.1.3.9', `s${at}`), 'lyon');
  }
  assert.ok(atLyon > 60 && atLyon < 140, `${atLyon} of 2000 explore`);
});

test('a path that the exploring sessions find good again is taken back, as is one of which nothing is known any more', () => {
  const other = path('b', 5, 500);
  const demotedAfter = (bad: number, good: number): boolean => {
    const firstByteMs = Array.from({ length: 16 }, (_, at) =>
      at === 8 ? bad : at === 5 ? good : 0,
    );
    return judgePaths([{ ...path('a', 8, 0), firstByteMs }, other]).has('10.1.2.0/24');
  };
  assert.ok(demotedAfter(500, 0), 'a bad hour');
  assert.ok(demotedAfter(400, 60), 'the first good minutes of a twentieth of the sessions');
  assert.ok(!demotedAfter(20, 100), 'the bad hour has nearly left the window');
  assert.ok(!demotedAfter(SAMPLES_MIN - 1, 0), 'too little is known: it is tried with everybody');
});
