/**
 * Reads what ffprobe says about a source, and decides whether there is something to encode.
 *
 * Shape: (ffprobe's JSON) -> SourceInfo | why it is no video or audio
 * Units: display sizes in pixels: rotation and pixel shape are already applied
 */
import { Type } from 'typebox';
import { checker } from '#base/config.ts';
import type { Outcome } from '#base/outcome.ts';

export interface VideoSource {
  readonly streamIndex: number;
  readonly displayWidth: number;
  readonly displayHeight: number;
  readonly frameRate: FrameRate;
  readonly isInterlaced: boolean;
}

export interface AudioSource {
  readonly streamIndex: number;
  readonly channels: number;
  readonly language: string | null; // BCP 47
}

/** A rational number, as 30000/1001 has no exact decimal form. */
export interface FrameRate {
  readonly numerator: number;
  readonly denominator: number;
}

export interface SourceInfo {
  readonly durationSeconds: number;
  readonly video: VideoSource | null;
  readonly audio: readonly AudioSource[];
}

export const AUDIO_TRACKS_MAX = 4;
const SOURCE_SIDE_MAX = 16_384;
const FRAME_RATE_MAX = 60; // above it every second frame is left out
const FRAME_RATE_FALLBACK: FrameRate = { numerator: 25, denominator: 1 };
const FRAME_RATE_SANE_MAX = 1000; // a container's time base passed off as a rate

/** ffmpeg reads pictures, and even plain text, as video of one frame. */
const STILL_FORMATS = /^(image2|tty|[a-z0-9]+_pipe)$/;

const ProbeSchema = Type.Object({
  streams: Type.Optional(
    Type.Array(
      Type.Object({
        index: Type.Integer({ minimum: 0 }),
        codec_type: Type.Optional(Type.String()),
        codec_name: Type.Optional(Type.String()),
        width: Type.Optional(Type.Integer()),
        height: Type.Optional(Type.Integer()),
        sample_aspect_ratio: Type.Optional(Type.String()),
        r_frame_rate: Type.Optional(Type.String()),
        avg_frame_rate: Type.Optional(Type.String()),
        field_order: Type.Optional(Type.String()),
        channels: Type.Optional(Type.Integer()),
        duration: Type.Optional(Type.String()),
        disposition: Type.Optional(Type.Record(Type.String(), Type.Integer())),
        tags: Type.Optional(Type.Record(Type.String(), Type.String())),
        side_data_list: Type.Optional(
          Type.Array(Type.Object({ rotation: Type.Optional(Type.Number()) })),
        ),
      }),
    ),
  ),
  format: Type.Optional(
    Type.Object({
      format_name: Type.Optional(Type.String()),
      duration: Type.Optional(Type.String()),
    }),
  ),
});
const checkProbe = checker(ProbeSchema);
type ProbeStream = NonNullable<
  Extract<ReturnType<typeof checkProbe>, { ok: true }>['value']['streams']
>[number];

export function readProbe(json: unknown): Outcome<SourceInfo, string> {
  const checked = checkProbe(json);
  if (!checked.ok)
    return { ok: false, failure: 'ffprobe answered in a form that is not known here' };
  const { streams = [], format } = checked.value;
  const formatName = format?.format_name ?? 'unknown';
  // Cover art is a video stream of one picture to ffmpeg; to a viewer it is not.
  const moving = streams.filter(
    (stream) => stream.codec_type === 'video' && stream.disposition?.['attached_pic'] !== 1,
  );
  const sounding = streams.filter(
    ({ codec_type, channels }) => codec_type === 'audio' && (channels ?? 0) > 0,
  );
  const durationSeconds = durationOf([format, ...moving, ...sounding]);
  if (moving.length === 0 && sounding.length === 0) {
    return { ok: false, failure: `it holds neither video nor audio (format ${formatName})` };
  }
  if (STILL_FORMATS.test(formatName)) {
    return { ok: false, failure: `it is a picture or a text, nothing that plays (${formatName})` };
  }
  if (durationSeconds === null) {
    return { ok: false, failure: `it has no duration: it may be damaged (format ${formatName})` };
  }
  const video = moving.length === 0 ? null : readVideo(moving[0]);
  if (typeof video === 'string') return { ok: false, failure: video };
  const audio = sounding.slice(0, AUDIO_TRACKS_MAX).map((stream) => ({
    streamIndex: stream.index,
    channels: Math.min(stream.channels ?? 2, 2),
    language: languageOf(stream.tags?.['language']),
  }));
  return { ok: true, value: { durationSeconds, video, audio } };
}

/** "eng" (ISO 639-2, as containers carry it) -> "en"; null where nothing is said. */
export function languageOf(tag: string | undefined): string | null {
  if (tag === undefined || tag === '' || tag === 'und') return null;
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? null;
  } catch {
    return null;
  }
}

export function framesPerSecondOf(rate: FrameRate): number {
  return rate.numerator / rate.denominator;
}

function readVideo(stream: ProbeStream): VideoSource | string {
  const { width = 0, height = 0 } = stream;
  if (width < 2 || height < 2 || width > SOURCE_SIDE_MAX || height > SOURCE_SIDE_MAX) {
    return `its pictures are ${width}x${height}; from 2x2 to ${SOURCE_SIDE_MAX}x${SOURCE_SIDE_MAX} can be encoded`;
  }
  const pixel = readRatio(stream.sample_aspect_ratio, ':');
  const pixelShape = pixel === null ? 1 : pixel.numerator / pixel.denominator;
  const shown = { width: Math.max(2, Math.round(width * pixelShape)), height };
  const rotation = stream.side_data_list?.find((data) => data.rotation !== undefined)?.rotation;
  const isOnItsSide = Math.abs(Math.round((rotation ?? 0) / 90)) % 2 === 1;
  return {
    streamIndex: stream.index,
    displayWidth: isOnItsSide ? shown.height : shown.width,
    displayHeight: isOnItsSide ? shown.width : shown.height,
    frameRate: readFrameRate(stream),
    isInterlaced: ['tt', 'bb', 'tb', 'bt'].includes(stream.field_order ?? ''),
  };
}

/** The nominal rate where it is one, else the mean; at most FRAME_RATE_MAX. */
function readFrameRate(stream: ProbeStream): FrameRate {
  const candidates = [readRatio(stream.r_frame_rate, '/'), readRatio(stream.avg_frame_rate, '/')];
  const mean = candidates[1];
  const rate = candidates.find((candidate) => {
    if (candidate === null) return false;
    const perSecond = framesPerSecondOf(candidate);
    // A nominal rate far above the mean belongs to a recording of varying rate: its mean says more.
    const isOfMean = mean === null || perSecond <= 2 * framesPerSecondOf(mean);
    return perSecond >= 1 && perSecond <= FRAME_RATE_SANE_MAX && isOfMean;
  });
  let { numerator, denominator } = rate ?? FRAME_RATE_FALLBACK;
  while (numerator / denominator > FRAME_RATE_MAX) denominator *= 2;
  return { numerator, denominator };
}

function readRatio(text: string | undefined, separator: string): FrameRate | null {
  const [numerator, denominator] = (text ?? '').split(separator).map(Number);
  if (!Number.isSafeInteger(numerator) || !Number.isSafeInteger(denominator)) return null;
  return numerator > 0 && denominator > 0 ? { numerator, denominator } : null;
}

function durationOf(
  parts: readonly ({ readonly duration?: string | undefined } | undefined)[],
): number | null {
  for (const part of parts) {
    const seconds = Number(part?.duration ?? NaN);
    if (Number.isFinite(seconds) && seconds > 0) return seconds;
  }
  return null;
}
