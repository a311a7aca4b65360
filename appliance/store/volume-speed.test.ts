import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isSlowDisk,
  noteProbe,
  PROBES_PER_WINDOW,
  UNPROBED,
  type VolumeSpeed,
} from './volume-speed.ts';

function windows(
  speed: VolumeSpeed,
  count: number,
  ms: number,
  siblings: readonly number[],
): VolumeSpeed {
  let next = speed;
  for (let at = 0; at < count * PROBES_PER_WINDOW; at++) next = noteProbe(next, ms, siblings);
  return next;
}

const cases: readonly [
  name: string,
  windows: number,
  ms: number,
  siblings: readonly number[],
  slow: boolean,
][] = [
  ['three windows at 1 s beside siblings at 20 ms: slow', 3, 1000, [20, 25], true],
  ['two such windows: not yet', 2, 1000, [20, 25], false],
  ['all disks slow alike: none is taken out', 5, 1000, [900, 1100], false],
  ['eight times a fast sibling but under 100 ms: fine', 5, 50, [5], false],
  ['alone: nothing to compare with', 5, 5000, [], false],
  ['two siblings, one of them as slow: the faster one counts', 3, 1000, [20, 1000], true],
];
for (const [name, count, ms, siblings, slow] of cases) {
  test(name, () => assert.equal(isSlowDisk(windows(UNPROBED, count, ms, siblings)), slow));
}

test('a good window forgives', () => {
  let speed = windows(UNPROBED, 2, 1000, [20]);
  speed = windows(speed, 1, 20, [20]);
  assert.equal(isSlowDisk(windows(speed, 2, 1000, [20])), false);
});
