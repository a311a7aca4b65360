/**
 * Reads the head of a single-file CMAF: everything that manifests and listings say about it.
 *
 * Shape:      inspectCmaf(first bytes of the file, size of the file) -> CmafFile | needs more bytes | why it is none
 * Units:      byte offsets, both ends inclusive
 * Invariants: (1) `needs` always asks for more than was given, and never for more than HEAD_BYTES_MAX
 *             (2) the segments begin right after the index and end at the end of the file
 */
import { walkBoxes, type Box } from './boxes.ts';
import { readTrack, type Track } from './codec.ts';
import { parseSidx, type SegmentIndex } from './segment-index.ts';

/** ftyp, moov and sidx of a long film are some 100 KiB: 65,535 segments are the most that one sidx names. */
export const HEAD_BYTES_MAX = 2 * 1024 * 1024;

export interface CmafFile {
  readonly initEndInclusive: number;
  readonly sidxStart: number;
  readonly sidxEndInclusive: number;
  readonly track: Track;
  readonly index: SegmentIndex;
}

export type CmafVerdict =
  | { readonly kind: 'cmaf'; readonly file: CmafFile }
  | { readonly kind: 'needs'; readonly headBytes: number }
  | { readonly kind: 'refused'; readonly why: string };

export function inspectCmaf(head: Buffer, fileBytes: number): CmafVerdict {
  const { boxes, problem } = walkBoxes(head, 0, fileBytes);
  const moov = boxes.find(({ type }) => type === 'moov');
  const sidx = boxes.find(({ type }) => type === 'sidx');
  if (sidx === undefined || moov === undefined) {
    return missing(boxes, problem, head, fileBytes);
  }
  if (boxes[0].type !== 'ftyp') return refused('it does not begin with ftyp');
  if (moov.start > sidx.start) return refused('its sidx comes before its moov');
  const endExclusive = Math.max(moov.endExclusive, sidx.endExclusive);
  if (endExclusive > head.length) return needs(endExclusive, head, fileBytes);
  const track = readTrack(head, moov);
  if (!track.ok) return refused(track.failure);
  const sidxBytes = head.subarray(sidx.start, sidx.endExclusive);
  const index = parseSidx(sidxBytes, sidx.start, fileBytes);
  if (!index.ok) return refused(index.failure);
  const last = index.value.segments[index.value.segments.length - 1];
  if (last.start + last.sizeBytes !== fileBytes) {
    return refused(`its index ends at byte ${last.start + last.sizeBytes} of ${fileBytes}`);
  }
  if (index.value.segments[0].start !== sidx.endExclusive) {
    return refused('its first segment does not follow its index');
  }
  return {
    kind: 'cmaf',
    file: {
      initEndInclusive: moov.endExclusive - 1,
      sidxStart: sidx.start,
      sidxEndInclusive: sidx.endExclusive - 1,
      track: track.value,
      index: index.value,
    },
  };
}

function missing(
  boxes: readonly Box[],
  problem: string | null,
  head: Buffer,
  fileBytes: number,
): CmafVerdict {
  if (boxes.some(({ type }) => type === 'moof' || type === 'mdat')) {
    return refused('it has no index (sidx) before its media: was the global_sidx flag left out?');
  }
  const end = boxes.at(-1)?.endExclusive ?? 0;
  // The next box head lies beyond what was read; or it was cut off, which more bytes mend.
  if (head.length < fileBytes && end + 16 > head.length) return needs(end + 16, head, fileBytes);
  return refused(problem ?? 'it has no moov and sidx');
}

function needs(headBytes: number, head: Buffer, fileBytes: number): CmafVerdict {
  const wanted = Math.min(Math.max(headBytes, head.length * 2), fileBytes, HEAD_BYTES_MAX);
  if (headBytes > HEAD_BYTES_MAX || wanted <= head.length) {
    return refused(`its moov and sidx are not within its first ${HEAD_BYTES_MAX} bytes`);
  }
  return { kind: 'needs', headBytes: wanted };
}

function refused(why: string): CmafVerdict {
  return { kind: 'refused', why };
}
