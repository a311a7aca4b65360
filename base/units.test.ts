import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from './random.ts';
import { formatBps, formatBytes, formatDuration, parseBytes } from './units.ts';

test('sizes, rates and durations read as a person would write them', () => {
  assert.equal(formatBytes(1536), '1.5 KiB');
  assert.equal(formatBytes(0), '0 B');
  assert.equal(formatBytes(3 * 1024 ** 3), '3 GiB');
  assert.equal(formatBps(2_500_000), '2.5 Mbit/s');
  assert.equal(formatDuration(250), '250 ms');
  assert.equal(formatDuration(61_000), '1 min 1 s');
  assert.equal(formatDuration(7_260_000), '2 h 1 min');
});

test('a size with a unit is read, anything else is not', () => {
  assert.equal(parseBytes('48MiB'), 48 * 1024 * 1024);
  assert.equal(parseBytes('3145729'), 3_145_729);
  assert.equal(parseBytes('1.5 KiB'), 1536);
  for (const text of ['', '-1', '48MB', '1.0001 B', 'x', '1e9'])
    assert.equal(parseBytes(text), null, text);
});

test('one seed gives one sequence, another seed another, both uniform', () => {
  const draw = (seed: number): number[] => {
    const random = seededRandom(seed);
    return Array.from({ length: 20_000 }, () => random.next());
  };
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
  const mean = draw(9).reduce((sum, value) => sum + value, 0) / 20_000;
  assert.ok(Math.abs(mean - 0.5) < 0.01, `mean ${mean}`);
});
