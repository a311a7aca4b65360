/**
 * Says in a listing's words what an encoded file is.
 */
import type { FileEntry } from '../contract.ts';
import type { CmafFile } from './cmaf.ts';
import { averageBpsOf, durationSecondsOf, peakBpsOf } from './segment-index.ts';
import { framesPerSecondOf, type FrameRate } from './source.ts';

export function fileEntryOf(
  stored: { readonly fileId: string; readonly sizeBytes: number },
  file: CmafFile,
  about: { readonly frameRate: FrameRate | null; readonly language: string | null },
): FileEntry {
  const { track, index, initEndInclusive, sidxStart, sidxEndInclusive } = file;
  const rates = { bitrateBps: averageBpsOf(index), peakBps: peakBpsOf(index) };
  const common = {
    fileId: stored.fileId,
    sizeBytes: stored.sizeBytes,
    codec: track.codec,
    ...rates,
    protection: 'none' as const,
    index: { initEndInclusive, sidxStart, sidxEndInclusive },
  };
  if (track.kind === 'video') {
    const { width, height } = track;
    const frameRate =
      about.frameRate === null
        ? {}
        : { frameRate: Math.round(framesPerSecondOf(about.frameRate) * 1000) / 1000 };
    return { ...common, kind: 'video', width, height, ...frameRate };
  }
  const { channels, sampleRate } = track;
  const language = about.language === null ? {} : { language: about.language };
  return { ...common, kind: 'audio', channels, sampleRate, ...language };
}

/** Milliseconds are exact enough, and the same on every machine. */
export function longestSecondsOf(files: readonly CmafFile[]): number {
  const seconds = files.map(({ index }) => durationSecondsOf(index));
  return Math.round(Math.max(0, ...seconds) * 1000) / 1000;
}
