/**
 * Decides which renditions a source becomes.
 *
 * Invariants: (1) never larger than the source; at least one rendition
 *             (2) sides are even (4:2:0 needs it), the shape is the source's to within a pixel
 *             (3) all renditions share frame rate and keyframes: a player may switch at any segment
 */
import { framesPerSecondOf, type AudioSource, type FrameRate, type SourceInfo } from './source.ts';

export interface Rung {
  readonly shortSide: number; // height of a landscape picture, width of a portrait one
  readonly crf: number;
  readonly maxBps: number;
  readonly profile: 'main' | 'high';
}

/** Rate factors and ceilings for animation and film at 24-30 frames per second; a ceiling keeps hard scenes fetchable. */
export const LADDER: readonly Rung[] = [
  { shortSide: 240, crf: 25, maxBps: 400_000, profile: 'main' },
  { shortSide: 360, crf: 24, maxBps: 800_000, profile: 'main' },
  { shortSide: 480, crf: 23, maxBps: 1_500_000, profile: 'high' },
  { shortSide: 720, crf: 23, maxBps: 3_000_000, profile: 'high' },
];

export const SEGMENT_SECONDS = 2;
const AUDIO_STEREO_BPS = 128_000;
const AUDIO_MONO_BPS = 64_000;
const SIDE_MIN = 16; // below it libx264 refuses
const LONG_SIDE_MAX = 4096; // a very long strip is made narrower instead

export interface VideoRendition {
  readonly width: number;
  readonly height: number;
  readonly crf: number;
  readonly maxBps: number;
  readonly profile: 'main' | 'high';
}

export interface AudioRendition {
  readonly source: AudioSource;
  readonly bitrateBps: number;
}

export interface EncodePlan {
  readonly durationSeconds: number;
  readonly video: {
    readonly streamIndex: number;
    readonly frameRate: FrameRate;
    readonly framesPerSegment: number;
    readonly isInterlaced: boolean;
    readonly renditions: readonly VideoRendition[];
  } | null;
  readonly audio: readonly AudioRendition[];
}

export function planEncode(source: SourceInfo, ladder: readonly Rung[] = LADDER): EncodePlan {
  return {
    durationSeconds: source.durationSeconds,
    video: source.video === null ? null : planVideo(source.video, ladder),
    audio: source.audio.map((audio) => ({
      source: audio,
      bitrateBps: audio.channels === 1 ? AUDIO_MONO_BPS : AUDIO_STEREO_BPS,
    })),
  };
}

function planVideo(
  video: NonNullable<SourceInfo['video']>,
  ladder: readonly Rung[],
): EncodePlan['video'] {
  const { displayWidth, displayHeight, frameRate, streamIndex, isInterlaced } = video;
  const shortSide = Math.min(displayWidth, displayHeight);
  const fitting = ladder.filter((rung) => rung.shortSide <= shortSide);
  // A source smaller than the lowest rung keeps its size.
  const rungs = fitting.length > 0 ? fitting : [{ ...ladder[0], shortSide }];
  const renditions = rungs.map(({ shortSide: target, crf, maxBps, profile }) => {
    const scale = Math.min(
      target / shortSide,
      LONG_SIDE_MAX / Math.max(displayWidth, displayHeight),
    );
    return {
      width: evenSide(displayWidth * scale),
      height: evenSide(displayHeight * scale),
      crf,
      maxBps,
      profile,
    };
  });
  const framesPerSegment = Math.max(1, Math.round(framesPerSecondOf(frameRate) * SEGMENT_SECONDS));
  return { streamIndex, frameRate, framesPerSegment, isInterlaced, renditions };
}

function evenSide(side: number): number {
  return Math.max(SIDE_MIN, 2 * Math.round(side / 2));
}
