/**
 * What both manifest writers need to know of a playable title: its renditions, each with the segments of its one file.
 */
import type { PlayUrl } from '#steering/contract.ts';
import type { FileEntry } from '../contract.ts';
import type { SegmentIndex } from '../encoder/segment-index.ts';

export interface Rendition {
  readonly file: FileEntry;
  readonly index: SegmentIndex;
}

export interface Presentation {
  readonly titleId: string;
  readonly durationSeconds: number;
  readonly video: readonly Rendition[]; // rising bitrate
  readonly audio: readonly Rendition[];
}

/** Ranked URLs of one file; `pathways` of a presentation are those that every file has. */
export interface RankedFile {
  readonly fileId: string;
  readonly urls: readonly PlayUrl[];
}

/**
 * The pathways that every file can be played from, in the order of the first file: a player that moves to a pathway
 * needs all of its renditions there. At least one (the origin stands in every list).
 */
export function commonPathways(files: readonly RankedFile[], most: number): readonly string[] {
  if (files.length === 0) return [];
  const inAll = (pathwayId: string): boolean =>
    files.every((file) => file.urls.some((url) => url.pathwayId === pathwayId));
  const common = files[0].urls.map((url) => url.pathwayId).filter(inAll);
  // The last place is the origin's: it stays, however long the list.
  return common.length <= most ? common : [...common.slice(0, most - 1), common[common.length - 1]];
}

export function durationSecondsOf(index: SegmentIndex): number {
  const ticks = index.segments.reduce((sum, segment) => sum + segment.durationTicks, 0);
  return ticks / index.timescale;
}
