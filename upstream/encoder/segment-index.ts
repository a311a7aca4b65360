/**
 * Reads the one segment index (sidx) of a single-file CMAF: where each segment lies and how long it plays.
 *
 * Shape:      parseSidx(box bytes, where the box starts in the file, size of the file) -> SegmentIndex | why not
 * Units:      bytes of the file, both ends inclusive; ticks of `timescale`
 * Invariants: (1) segments follow each other without a gap, each inside the file
 *             (2) every segment has bytes and a duration, and starts with a sync sample
 * Source:     ISO/IEC 14496-12 8.16.3
 */
import type { Outcome } from '#base/outcome.ts';

export interface Segment {
  readonly start: number;
  readonly sizeBytes: number;
  readonly durationTicks: number;
}

export interface SegmentIndex {
  readonly timescale: number;
  readonly earliestTicks: number;
  readonly segments: readonly Segment[];
}

const FULL_BOX_BYTES = 12; // size, type, version and flags
const REFERENCE_BYTES = 12;
const SAP_TYPE_MASK = 0x7;

export function parseSidx(
  box: Buffer,
  boxStart: number,
  fileBytes: number,
): Outcome<SegmentIndex, string> {
  if (box.length < FULL_BOX_BYTES || box.toString('latin1', 4, 8) !== 'sidx') {
    return refused('there is no sidx');
  }
  if (box.readUInt32BE(0) !== box.length) return refused('the sidx is not of the size it says');
  const version = box[8];
  if (version > 1) return refused(`the sidx has version ${version}, only 0 and 1 exist`);
  const wideBytes = version === 0 ? 4 : 8;
  const countAt = FULL_BOX_BYTES + 8 + 2 * wideBytes + 2;
  if (box.length < countAt + 2) return refused('the sidx is cut off');
  const timescale = box.readUInt32BE(FULL_BOX_BYTES + 4);
  if (timescale === 0) return refused('the sidx has a timescale of 0');
  const earliest = readWide(box, FULL_BOX_BYTES + 8, wideBytes);
  const firstOffset = readWide(box, FULL_BOX_BYTES + 8 + wideBytes, wideBytes);
  if (earliest === null || firstOffset === null)
    return refused('the sidx holds an impossible offset');
  const count = box.readUInt16BE(countAt);
  if (count === 0) return refused('the sidx names no segment');
  if (box.length !== countAt + 2 + count * REFERENCE_BYTES) {
    return refused(`the sidx names ${count} segments and has another size`);
  }
  const segments: Segment[] = [];
  let start = boxStart + box.length + firstOffset;
  for (let index = 0; index < count; index++) {
    const segment = readReference(box, countAt + 2 + index * REFERENCE_BYTES, start);
    if (typeof segment === 'string') return refused(`segment ${index}: ${segment}`);
    start += segment.sizeBytes;
    if (start > fileBytes) return refused(`segment ${index} ends beyond the file`);
    segments.push(segment);
  }
  return { ok: true, value: { timescale, earliestTicks: earliest, segments } };
}

export function durationSecondsOf(index: SegmentIndex): number {
  return sumTicks(index) / index.timescale;
}

/** Mean bits per second of the media, without the head of the file. */
export function averageBpsOf(index: SegmentIndex): number {
  const bytes = index.segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return Math.max(1, Math.round((bytes * 8 * index.timescale) / sumTicks(index)));
}

/**
 * Highest bits per second of a segment. A last segment of a few frames says nothing about what a player must be able
 * to fetch, so only those of at least half the longest duration count.
 * Source: RFC 8216bis 4.4.6.2 (BANDWIDTH: segments between 0.5 and 1.5 of the target duration)
 */
export function peakBpsOf(index: SegmentIndex): number {
  const longest = Math.max(...index.segments.map(({ durationTicks }) => durationTicks));
  const rates = index.segments
    .filter(({ durationTicks }) => durationTicks * 2 >= longest)
    .map(({ sizeBytes, durationTicks }) => (sizeBytes * 8 * index.timescale) / durationTicks);
  return Math.max(1, Math.ceil(Math.max(...rates)));
}

function sumTicks(index: SegmentIndex): number {
  return index.segments.reduce((sum, { durationTicks }) => sum + durationTicks, 0);
}

function readReference(box: Buffer, at: number, start: number): Segment | string {
  const typeAndSize = box.readUInt32BE(at);
  // The high bit: a reference to another sidx. One index per file is what players and manifests here rely on.
  if (typeAndSize >= 0x80000000) return 'refers to another index';
  const durationTicks = box.readUInt32BE(at + 4);
  const sap = box.readUInt32BE(at + 8);
  if (typeAndSize === 0) return 'has no bytes';
  if (durationTicks === 0) return 'has no duration';
  const startsWithSap = sap >= 0x80000000;
  const sapType = (sap >>> 28) & SAP_TYPE_MASK;
  // ffmpeg leaves the type 0 ("unknown") beside a set flag; 1 and 2 are closed, 3 and above cannot be cut at.
  if (!startsWithSap || sapType > 2) return 'does not start with a frame that decodes by itself';
  return { start, sizeBytes: typeAndSize, durationTicks };
}

function readWide(box: Buffer, at: number, wideBytes: number): number | null {
  if (wideBytes === 4) return box.readUInt32BE(at);
  const value = box.readBigUInt64BE(at);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : null;
}

function refused(why: string): { readonly ok: false; readonly failure: string } {
  return { ok: false, failure: why };
}
