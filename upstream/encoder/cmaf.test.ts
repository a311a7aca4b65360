import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { walkBoxes } from './boxes.ts';
import { HEAD_BYTES_MAX, inspectCmaf, type CmafFile } from './cmaf.ts';
import { averageBpsOf, durationSecondsOf, parseSidx, peakBpsOf } from './segment-index.ts';

const SAMPLE = path.join(import.meta.dirname, '..', 'sample');
const video = readFileSync(path.join(SAMPLE, 'video-640x360-1.mp4'));
const audio = readFileSync(path.join(SAMPLE, 'audio-0.mp4'));

function cmafOf(bytes: Buffer): CmafFile {
  const verdict = inspectCmaf(bytes, bytes.length);
  assert.equal(verdict.kind, 'cmaf');
  assert.ok(verdict.kind === 'cmaf');
  return verdict.file;
}

test('a video file of the sample is read: codec, size, init, index and segments', () => {
  const file = cmafOf(video);
  assert.deepEqual(file.track, { kind: 'video', codec: 'avc1.64001e', width: 640, height: 360 });
  assert.equal(video.toString('latin1', 4, 8), 'ftyp');
  assert.equal(video.toString('latin1', file.sidxStart + 4, file.sidxStart + 8), 'sidx');
  assert.equal(file.index.segments.length, 12);
  assert.ok(Math.abs(durationSecondsOf(file.index) - 24) < 0.01);
  assert.ok(
    file.index.segments.every(
      (segment) => segment.durationTicks * 25 === 50 * file.index.timescale,
    ),
  );
});

test('an audio file of the sample is read: one channel, though its sample entry says two', () => {
  const { track } = cmafOf(audio);
  assert.deepEqual(track, { kind: 'audio', codec: 'mp4a.40.2', channels: 1, sampleRate: 48000 });
});

for (const [name, bytes] of [
  ['video', video],
  ['audio', audio],
] as const) {
  test(`every segment of the ${name} file is one moof and its mdat, and they add up to the file`, () => {
    const { index, sidxEndInclusive } = cmafOf(bytes);
    let at = sidxEndInclusive + 1;
    for (const { start, sizeBytes } of index.segments) {
      assert.equal(start, at);
      const { boxes, problem } = walkBoxes(bytes, start, start + sizeBytes);
      assert.equal(problem, null);
      assert.deepEqual(
        boxes.map(({ type }) => type),
        ['moof', 'mdat'],
      );
      at += sizeBytes;
    }
    assert.equal(at, bytes.length);
  });

  test(`the head of the ${name} file is asked for in steps until it is enough`, () => {
    let head = 1;
    for (let steps = 0; ; steps++) {
      assert.ok(steps < 20);
      const verdict = inspectCmaf(bytes.subarray(0, head), bytes.length);
      if (verdict.kind === 'cmaf') break;
      assert.ok(verdict.kind === 'needs', verdict.kind === 'refused' ? verdict.why : '');
      assert.ok(verdict.headBytes > head);
      head = verdict.headBytes;
    }
    assert.ok(head < 20_000);
  });
}

test('rates come from the index: the mean over all, the peak over full segments only', () => {
  const index = {
    timescale: 1000,
    earliestTicks: 0,
    segments: [
      { start: 0, sizeBytes: 1000, durationTicks: 2000 },
      { start: 1000, sizeBytes: 3000, durationTicks: 2000 },
      { start: 4000, sizeBytes: 900, durationTicks: 100 },
    ],
  };
  assert.equal(averageBpsOf(index), Math.round((4900 * 8) / 4.1));
  assert.equal(peakBpsOf(index), 12_000);
});

/** A sidx by hand: version, its references, and what may be wrong about it. */
function sidxOf(
  version: number,
  references: readonly (readonly [typeAndSize: number, duration: number, sap: number])[],
  wrong: { timescale?: number; firstOffset?: bigint; count?: number; cutBytes?: number } = {},
): Buffer {
  const wide = version === 0 ? 4 : 8;
  const box = Buffer.alloc(12 + 8 + 2 * wide + 4 + references.length * 12);
  box.writeUInt32BE(box.length, 0);
  box.write('sidx', 4, 'latin1');
  box[8] = version;
  box.writeUInt32BE(1, 12);
  box.writeUInt32BE(wrong.timescale ?? 1000, 16);
  const firstOffset = wrong.firstOffset ?? 0n;
  if (version === 0) box.writeUInt32BE(Number(firstOffset), 24);
  else box.writeBigUInt64BE(firstOffset, 28);
  const countAt = 20 + 2 * wide + 2;
  box.writeUInt16BE(wrong.count ?? references.length, countAt);
  for (const [at, [typeAndSize, duration, sap]] of references.entries()) {
    box.writeUInt32BE(typeAndSize, countAt + 2 + at * 12);
    box.writeUInt32BE(duration, countAt + 6 + at * 12);
    box.writeUInt32BE(sap, countAt + 10 + at * 12);
  }
  return box.subarray(0, box.length - (wrong.cutBytes ?? 0));
}

const SAP = 0x90000000;

for (const version of [0, 1]) {
  test(`a sidx of version ${version} is read, with the offset of its first segment`, () => {
    const box = sidxOf(
      version,
      [
        [100, 2000, SAP],
        [50, 1000, SAP],
      ],
      { firstOffset: 7n },
    );
    const index = parseSidx(box, 500, 100_000);
    assert.ok(index.ok);
    const first = 500 + box.length + 7;
    assert.deepEqual(index.value, {
      timescale: 1000,
      earliestTicks: 0,
      segments: [
        { start: first, sizeBytes: 100, durationTicks: 2000 },
        { start: first + 100, sizeBytes: 50, durationTicks: 1000 },
      ],
    });
  });
}

const good = [[100, 2000, SAP]] as const;
const REFUSED: readonly [what: string, box: Buffer, why: RegExp][] = [
  ['of version 2', sidxOf(2, good), /version 2/],
  ['without timescale', sidxOf(1, good, { timescale: 0 }), /timescale/],
  ['without segments', sidxOf(1, []), /no segment/],
  ['with fewer references than it says', sidxOf(1, good, { count: 2 }), /another size/],
  [
    'with more references than it says',
    sidxOf(1, [good[0], good[0]], { count: 1 }),
    /another size/,
  ],
  ['cut off', sidxOf(1, good, { cutBytes: 5 }), /size it says/],
  ['that refers to another index', sidxOf(1, [[0x80000064, 2000, SAP]]), /another index/],
  ['with an empty segment', sidxOf(1, [[0, 2000, SAP]]), /no bytes/],
  ['with a segment of no duration', sidxOf(1, [[100, 0, SAP]]), /no duration/],
  ['with a segment that cannot be started at', sidxOf(1, [[100, 2000, 0]]), /decodes by itself/],
  ['with an open group of pictures', sidxOf(1, [[100, 2000, 0xb0000000]]), /decodes by itself/],
  ['that points beyond the file', sidxOf(1, [[0x7fffffff, 2000, SAP]]), /beyond the file/],
  ['with an absurd offset', sidxOf(1, good, { firstOffset: 2n ** 63n }), /impossible offset/],
  ['that is another box', Buffer.from('000000087374797000000000', 'hex'), /no sidx/],
  ['of no bytes', Buffer.alloc(0), /no sidx/],
];
for (const [what, box, why] of REFUSED) {
  test(`a sidx ${what} is refused`, () => {
    const index = parseSidx(box, 0, 100_000);
    assert.ok(!index.ok);
    assert.match(index.failure, why);
  });
}

test('a file without an index, one that is no MP4 and one that is cut off are refused with the reason', () => {
  const moovOnly = video.subarray(0, cmafOf(video).sidxStart);
  const rest = video.subarray(cmafOf(video).sidxEndInclusive + 1);
  const table: readonly [bytes: Buffer, why: RegExp][] = [
    [Buffer.concat([moovOnly, rest]), /no index/],
    [Buffer.from('this is a text, nothing else'), /longer than what holds it/],
    [Buffer.alloc(64), /says it has 64 bytes|no moov/],
    [video.subarray(0, video.length - 1), /beyond the file|longer than/],
    [Buffer.concat([video, Buffer.from('0000000866726565', 'hex')]), /its index ends at/],
  ];
  for (const [bytes, why] of table) {
    const verdict = inspectCmaf(bytes, bytes.length);
    assert.ok(verdict.kind === 'refused', verdict.kind);
    assert.match(verdict.why, why);
  }
});

/** Never throws, always ends; what it accepts lies inside the file; what it asks for is more, and bounded. */
function checkAnyInput(bytes: Buffer, fileBytes: number): void {
  const verdict = inspectCmaf(bytes, fileBytes);
  if (verdict.kind === 'needs') {
    assert.ok(verdict.headBytes > bytes.length && verdict.headBytes <= HEAD_BYTES_MAX);
  }
  if (verdict.kind !== 'cmaf') return;
  const { initEndInclusive, sidxStart, sidxEndInclusive, index } = verdict.file;
  assert.ok(initEndInclusive < sidxStart && sidxStart < sidxEndInclusive);
  const last = index.segments.at(-1);
  assert.ok(last !== undefined && last.start + last.sizeBytes === fileBytes);
}

test('random bytes never make the parser throw or loop', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(2000), (bytes, more) => {
      checkAnyInput(Buffer.from(bytes), bytes.length + more);
    }),
    { seed: 14496, numRuns: 20_000 },
  );
});

test('random boxes never make the parser throw or loop', () => {
  const type = fc.constantFrom('ftyp', 'moov', 'trak', 'mdia', 'minf', 'stbl', 'stsd', 'avc1', 'avcC', 'mp4a', 'esds', 'sidx', 'moof', 'mdat', 'free'); // prettier-ignore
  const box = fc.letrec<{ box: Buffer }>((tie) => ({
    box: fc
      .tuple(
        type,
        fc.oneof(
          { depthSize: 'small', withCrossShrink: true },
          fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes)),
          fc.array(tie('box'), { maxLength: 3 }).map((boxes) => Buffer.concat(boxes)),
        ),
        fc.constantFrom(0, 0, 0, 0, 1, -8, 1000),
      )
      .map(([name, body, lie]) => {
        const head = Buffer.alloc(8);
        head.writeUInt32BE(Math.max(0, body.length + 8 + lie), 0);
        head.write(name, 4, 'latin1');
        return Buffer.concat([head, body]);
      }),
  })).box;
  fc.assert(
    fc.property(fc.array(box, { maxLength: 5 }), (boxes) => {
      const bytes = Buffer.concat(boxes);
      checkAnyInput(bytes, bytes.length);
    }),
    { seed: 23000, numRuns: 5000 },
  );
});

test('a real head with bytes changed at random is read or refused, never thrown at', () => {
  for (const real of [video, audio]) {
    const headBytes = cmafOf(real).sidxEndInclusive + 1;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(headBytes - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        (changes) => {
          const head = Buffer.from(real.subarray(0, headBytes + 100));
          for (const [at, value] of changes) head[at] = value;
          checkAnyInput(head, real.length);
        },
      ),
      { seed: 8216, numRuns: 10_000 },
    );
  }
});
