import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FillStatus } from './contract.ts';
import type { FillPreview } from './fill/fill-preview.ts';
import { fillText, previewText } from './fill-commands.ts';

const NOW_MS = 1_800_000_000_000;
const FREE = { bps: null, why: null, limitedBy: null };

function status(given: Partial<FillStatus> = {}): FillStatus {
  return {
    manifestVersion: 7,
    filesWanted: 100,
    filesHeld: 25,
    bytesWanted: 1e9,
    bytesHeld: 3e8,
    active: 4,
    waitingFor: null,
    problem: null,
    etaMs: 90_000,
    turnUp: 'filling',
    demandShare: 0.62,
    byKind: [
      { kind: 'peer', bytes: 2 ** 28, bps: 40e6 },
      { kind: 'tier', bytes: 0, bps: 0 },
      { kind: 'origin', bytes: 2 ** 20, bps: 0 },
    ],
    window: { open: true, closesAtMs: NOW_MS + 3_600_000, opensAtMs: null },
    isAlone: false,
    budget: {
      isPaused: false,
      pausedSinceMs: null,
      limits: { near: FREE, far: { bps: 8e6, why: null, limitedBy: 'hour' } },
      yieldShare: 1,
      month: null,
      hourlyBps: Array.from({ length: 24 }, () => 8e6),
    },
    leftOut: [],
    ...given,
  };
}

const CASES: readonly (readonly [
  what: string,
  given: Partial<FillStatus>,
  says: readonly RegExp[],
  saysNot?: RegExp,
])[] = [
  [
    'a box that is turned up',
    { curve: { day1: 0.7, day3: 0.95, day7: 1, fullAfterDays: 5 } },
    [
      /being turned up, holds 62\.0 % of its planned demand/,
      /manifest 7: 25 of 100 files/,
      /1 min 30 s left at this rate/,
      /its site 256 MiB, now 40 Mbit\/s; other sites 0 B; the origin 1 MiB/,
      /day 1 70\.0 %, day 3 95\.0 %, full after/,
      /8 Mbit\/s beyond the site \(cap of this hour\); no limit within it/,
    ],
    /day 7/,
  ],
  [
    'no manifest',
    { manifestVersion: 0, filesWanted: 0, filesHeld: 0, waitingFor: 'manifest' },
    [/nothing planned yet/, /no manifest yet: it waits for its plan/],
    /complete|100\.0 %/,
  ],
  [
    'a source that lies, and nobody who ranks',
    {
      isAlone: true,
      leftOut: [
        { id: 'box-9', baseUrl: 'http://b', why: 'bad-bytes', forMs: 60_000, corruptChunks: 2 },
      ],
    },
    [/the control plane is gone/, /box-9 \(http:\/\/b\) is left out .*2 chunks did not match/],
  ],
  ['a pause', { waitingFor: 'pause' }, [/waits for its operator: it is paused .*--resume/]],
  [
    'a pause of a moment ago',
    {
      budget: {
        ...status().budget,
        isPaused: true,
        pausedSinceMs: NOW_MS - 2000,
        limits: {
          near: { bps: 0, why: 'pause', limitedBy: 'pause' },
          far: { bps: 0, why: 'pause', limitedBy: 'pause' },
        },
      },
    },
    [/it is paused/, /nothing beyond the site \(paused\); nothing within it \(paused\)/],
    /left at this rate/,
  ],
  ['a fill that just began', { etaMs: null }, [/nothing came in the last seconds/]],
];

for (const [what, given, says, saysNot] of CASES) {
  test(`appliance fill says of ${what} what an operator needs`, () => {
    const text = fillText('box-1', status(given), NOW_MS);
    for (const words of says) assert.match(text, words);
    if (saysNot !== undefined) assert.doesNotMatch(text, saysNot);
  });
}

function preview(given: Partial<FillPreview> = {}): FillPreview {
  const none = { files: 0, bytes: 0 };
  return {
    manifestVersion: 7,
    wanted: { files: 10, bytes: 10e9 },
    held: { files: 4, bytes: 4e9 },
    toFetch: { files: 6, bytes: 6e9 },
    from: {
      peer: { files: 4, bytes: 4e9 },
      tier: none,
      origin: { files: 2, bytes: 2e9 },
      nobody: none,
    },
    notAskedAbout: none,
    leaving: { files: 1, bytes: 1e9 },
    window: { open: true, opensAtMs: null, closesAtMs: NOW_MS + 3_600_000 },
    allowanceBytes: 1e9,
    beyondSiteBytes: 2e9,
    fits: false,
    isCapped: true,
    curve: null,
    ...given,
  };
}

test('a dry run says whether it fits the caps, and why where that cannot be said', () => {
  const text = (given: Partial<FillPreview>): string =>
    previewText('box-1', preview(given), NOW_MS).split('\n').at(-1) ?? '';
  assert.match(
    text({}),
    /does not fit: 1\.9 GiB from beyond the site, the caps let 954 MiB through/,
  );
  assert.match(text({ fits: true }), /fits: the caps let/);
  const unknown = { fits: null, allowanceBytes: null };
  assert.match(text({ ...unknown, isCapped: false }), /no caps in some hours/);
  const closed = { open: false, opensAtMs: NOW_MS + 1, closesAtMs: null };
  assert.match(text({ ...unknown, window: closed }), /the window is closed/);
});
