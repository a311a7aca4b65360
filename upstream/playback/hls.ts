/**
 * Writes HLS playlists: one multivariant playlist with explicit pathways, one media playlist per (pathway, file).
 *
 * Invariants: (1) every pathway carries the whole ladder with the same STABLE-VARIANT-IDs, and an audio group of its own
 *             (2) the content-steering tag stands once, and its PATHWAY-ID is the first pathway
 *             (3) the byte ranges of a media playlist are the init section, then every segment, none missing, none twice
 * Source:     draft-pantos-hls-rfc8216bis-22 4.4.4-4.4.6; RFC 8216 4.3.2.2, 4.3.2.5
 */
import { durationSecondsOf, type Presentation, type Rendition } from './presentation.ts';

const VERSION = 7; // EXT-X-MAP in fMP4 media playlists

export interface MultivariantInput {
  readonly presentation: Presentation;
  readonly pathways: readonly string[]; // best first, at least one
  readonly steeringUri: string;
  /** Absolute URL of the media playlist of one file on one pathway. */
  readonly mediaPlaylistUrl: (pathwayId: string, fileId: string) => string;
}

export function multivariantPlaylist(input: MultivariantInput): string {
  const { presentation, pathways } = input;
  const lines = [
    '#EXTM3U',
    `#EXT-X-VERSION:${VERSION}`,
    '#EXT-X-INDEPENDENT-SEGMENTS',
    // A single pathway leaves nothing to steer to, and players expect two.
    ...(pathways.length < 2
      ? []
      : [
          `#EXT-X-CONTENT-STEERING:${attributes([
            ['SERVER-URI', quoted(input.steeringUri)],
            ['PATHWAY-ID', quoted(pathways[0])],
          ])}`,
        ]),
  ];
  for (const pathwayId of pathways) {
    for (const [rank, rendition] of presentation.audio.entries()) {
      lines.push(audioTag(input, pathwayId, rendition, rank === 0));
    }
    // With no video an audio file is a variant of its own.
    const isAudioOnly = presentation.video.length === 0;
    for (const variant of isAudioOnly ? presentation.audio : presentation.video) {
      lines.push(variantTag(presentation, pathwayId, variant, isAudioOnly));
      lines.push(input.mediaPlaylistUrl(pathwayId, variant.file.fileId));
    }
  }
  return `${lines.join('\n')}\n`;
}

/** `url` is the file's own signed URL on one appliance: absolute, so that a player asks that box and no other. */
export function mediaPlaylist(rendition: Rendition, url: string): string {
  const { file, index } = rendition;
  if (file.index === undefined) throw new RangeError(`file ${file.fileId} has no index`);
  const durations = index.segments.map((segment) => segment.durationTicks / index.timescale);
  const lines = [
    '#EXTM3U',
    `#EXT-X-VERSION:${VERSION}`,
    `#EXT-X-TARGETDURATION:${Math.max(1, Math.round(Math.max(...durations)))}`,
    '#EXT-X-MEDIA-SEQUENCE:0',
    '#EXT-X-PLAYLIST-TYPE:VOD',
    `#EXT-X-MAP:${attributes([
      ['URI', quoted(url)],
      ['BYTERANGE', quoted(`${file.index.initEndInclusive + 1}@0`)],
    ])}`,
  ];
  index.segments.forEach((segment, at) => {
    lines.push(`#EXTINF:${durations[at].toFixed(5)},`);
    lines.push(`#EXT-X-BYTERANGE:${segment.sizeBytes}@${segment.start}`);
    lines.push(url);
  });
  lines.push('#EXT-X-ENDLIST');
  return `${lines.join('\n')}\n`;
}

function audioTag(
  input: MultivariantInput,
  pathwayId: string,
  { file }: Rendition,
  isDefault: boolean,
): string {
  const language = file.language ?? 'und';
  return `#EXT-X-MEDIA:${attributes([
    ['TYPE', 'AUDIO'],
    ['GROUP-ID', quoted(groupOf(pathwayId))],
    ['NAME', quoted(language)],
    ['LANGUAGE', quoted(language)],
    ['DEFAULT', isDefault ? 'YES' : 'NO'],
    ['AUTOSELECT', 'YES'],
    ...(file.channels === undefined ? [] : [pair('CHANNELS', quoted(String(file.channels)))]),
    ['STABLE-RENDITION-ID', quoted(file.fileId)],
    ['URI', quoted(input.mediaPlaylistUrl(pathwayId, file.fileId))],
  ])}`;
}

function variantTag(
  presentation: Presentation,
  pathwayId: string,
  { file, index }: Rendition,
  isAudioOnly: boolean,
): string {
  const audio = isAudioOnly ? [] : presentation.audio;
  const average = averageBpsOf(file, index) + highest(audio, averageBpsOfRendition);
  const peak = peakBpsOf(file, index) + highest(audio, peakBpsOfRendition);
  const codecs = [file.codec, ...audio.map((one) => one.file.codec)].filter(
    (codec, at, all) => codec !== undefined && all.indexOf(codec) === at,
  );
  return `#EXT-X-STREAM-INF:${attributes([
    ['BANDWIDTH', String(Math.max(peak, average))],
    ['AVERAGE-BANDWIDTH', String(average)],
    ...(codecs.length === 0 ? [] : [pair('CODECS', quoted(codecs.join(',')))]),
    ...(file.width === undefined || file.height === undefined
      ? []
      : [pair('RESOLUTION', `${file.width}x${file.height}`)]),
    ...(file.frameRate === undefined ? [] : [pair('FRAME-RATE', file.frameRate.toFixed(3))]),
    ...(audio.length === 0 ? [] : [pair('AUDIO', quoted(groupOf(pathwayId)))]),
    ['PATHWAY-ID', quoted(pathwayId)],
    ['STABLE-VARIANT-ID', quoted(file.fileId)],
  ])}`;
}

function averageBpsOfRendition({ file, index }: Rendition): number {
  return averageBpsOf(file, index);
}

function peakBpsOfRendition({ file, index }: Rendition): number {
  return peakBpsOf(file, index);
}

function averageBpsOf(file: Rendition['file'], index: Rendition['index']): number {
  return file.bitrateBps ?? Math.round((file.sizeBytes * 8) / durationSecondsOf(index));
}

function peakBpsOf(file: Rendition['file'], index: Rendition['index']): number {
  if (file.peakBps !== undefined) return file.peakBps;
  const rates = index.segments.map(
    (segment) => (segment.sizeBytes * 8 * index.timescale) / segment.durationTicks,
  );
  return Math.round(Math.max(...rates));
}

function highest(renditions: readonly Rendition[], rateOf: (one: Rendition) => number): number {
  return renditions.reduce((most, one) => Math.max(most, rateOf(one)), 0);
}

function groupOf(pathwayId: string): string {
  return `audio-${pathwayId}`;
}

function pair(name: string, value: string): readonly [string, string] {
  return [name, value];
}

function attributes(pairs: readonly (readonly [name: string, value: string])[]): string {
  return pairs.map(([name, value]) => `${name}=${value}`).join(',');
}

/** A quoted-string holds no quote and no line break (RFC 8216 4.2); names of ours hold neither, others' are cleaned. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\r\n]/g, ' ')}"`;
}
