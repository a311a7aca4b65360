import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkReportOf, type CheckFigures } from './check-report.ts';

const GOOD: CheckFigures = {
  bytes: 1000,
  bytesExpected: 1000,
  bytesVerified: 1000,
  originServeBytes: 100,
  originFillBytes: 300,
  distinctFillBytes: 290,
  fillSourceBytes: { peer: 10, tier: 0, origin: 300 },
  pullThroughBytes: 50,
  filesLeftOut: 2,
  killedAppliance: 'paris-1',
  receivedWhenKilled: 65_536,
  brokenResponses: 1,
  failoverMsMax: 12.4,
  steeringExcludedMs: 250.2,
};

test('a run in which everything held is ok, with offload and net offload as the glossary defines them', () => {
  const report = checkReportOf(GOOD);
  assert.equal(report.ok, true);
  assert.deepEqual(report.failures, []);
  assert.equal(report.offloadPercent, 90);
  assert.equal(report.netOffloadPercent, 60);
});

const bad: readonly [title: string, change: Partial<CheckFigures>, sentence: RegExp][] = [
  ['a byte missing', { bytes: 999 }, /received 999 of 1000/],
  ['a byte that no hash vouches for', { bytesVerified: 999 }, /1 bytes did not match/],
  ['a catalogue that fits everywhere', { filesLeftOut: 0 }, /pull-through was not shown/],
  [
    'every box filled by the origin',
    { distinctFillBytes: 150 },
    /filled 300 bytes from the origin, of files of 150/,
  ],
  ['nothing fetched on demand', { pullThroughBytes: 0 }, /fetched anything on demand/],
  ['a kill before 64 KiB', { receivedWhenKilled: 65_535 }, /only 65535 bytes/],
  ['a kill that broke nothing', { brokenResponses: 0 }, /cut no response off/],
  ['a dead box in steering’s answers', { steeringExcludedMs: null }, /still names paris-1/],
];
for (const [title, change, sentence] of bad) {
  test(`a run with ${title} is not ok and says why`, () => {
    const report = checkReportOf({ ...GOOD, ...change });
    assert.equal(report.ok, false);
    assert.match(report.failures.join('\n'), sentence);
  });
}
