/**
 * Writes HLS: a multivariant playlist with explicit pathways, and media playlists of byte ranges into one file.
 *
 * Invariants: (1) the content-steering tag stands once; its PATHWAY-ID is that of the first variants
 *             (2) each pathway has the whole ladder and audio groups of its own, under the same STABLE-*-IDs
 *             (3) the byte ranges of a media playlist follow each other and end with the file
 *             (4) nothing from a listing can end an attribute or a line
 * Source:     draft-pantos-hls-rfc8216bis 4.4.4, 4.4.5, 4.4.6; draft-pantos-content-steering
 */
import type { SegmentIndex } from '../encoder/segment-index.ts';
import type { Pathway } from './pathways.ts';
import { audioNames, type StreamFile, type Tracks } from './tracks.ts';

export const HLS_CONTENT_TYPE = 'application/vnd.apple.mpegurl';
const VERSION = 7; // EXT-X-MAP in a media playlist with fragmented MP4

export interface MultivariantInput {
  readonly tracks: Tracks;
  readonly pathways: readonly Pathway[];
  readonly steeringUrl: string;
  readonly playlistUrl: (pathwayId: string, fileId: string) => string;
}

export function multivariantPlaylist(input: MultivariantInput): string {
  const { pathways, steeringUrl, tracks } = input;
  const lines = ['#EXTM3U', `#EXT-X-VERSION:${VERSION}`, '#EXT-X-INDEPENDENT-SEGMENTS'];
  lines.push(
    `#EXT-X-CONTENT-STEERING:${attributes([
      ['SERVER-URI', quoted(steeringUrl)],
      ['PATHWAY-ID', quoted(pathways[0].pathwayId)],
    ])}`,
  );
  for (const { pathwayId } of pathways) {
    if (tracks.video.length > 0) lines.push(...audioGroup(input, pathwayId));
  }
  for (const { pathwayId } of pathways) lines.push(...variants(input, pathwayId));
  return `${lines.join('\n')}\n`;
}

export function mediaPlaylist(file: StreamFile, index: SegmentIndex, url: string): string {
  const secondsOf = (ticks: number): number => ticks / index.timescale;
  const longest = Math.max(...index.segments.map((one) => secondsOf(one.durationTicks)));
  const lines = [
    '#EXTM3U',
    `#EXT-X-VERSION:${VERSION}`,
    // Each duration, rounded, may be this at most.
    `#EXT-X-TARGETDURATION:${Math.max(1, Math.round(longest))}`,
    '#EXT-X-MEDIA-SEQUENCE:0',
    '#EXT-X-PLAYLIST-TYPE:VOD',
    '#EXT-X-INDEPENDENT-SEGMENTS',
    `#EXT-X-MAP:${attributes([
      ['URI', quoted(url)],
      ['BYTERANGE', quoted(`${file.index.initEndInclusive + 1}@0`)],
    ])}`,
  ];
  for (const { start, sizeBytes, durationTicks } of index.segments) {
    lines.push(
      `#EXTINF:${secondsOf(durationTicks).toFixed(5)},`,
      `#EXT-X-BYTERANGE:${sizeBytes}@${start}`,
      url,
    );
  }
  lines.push('#EXT-X-ENDLIST');
  return `${lines.join('\n')}\n`;
}

function audioGroup(
  { playlistUrl, tracks }: MultivariantInput,
  pathwayId: string,
): readonly string[] {
  const names = audioNames(tracks.audio);
  return tracks.audio.map((file, at) => {
    const about: [string, string][] = [
      ['TYPE', 'AUDIO'],
      ['GROUP-ID', quoted(groupOf(pathwayId))],
      ['NAME', quoted(names[at])],
    ];
    if (file.language !== undefined) about.push(['LANGUAGE', quoted(file.language)]);
    about.push(['DEFAULT', at === 0 ? 'YES' : 'NO'], ['AUTOSELECT', 'YES']);
    if (file.channels !== undefined) about.push(['CHANNELS', quoted(String(file.channels))]);
    about.push(
      ['STABLE-RENDITION-ID', quoted(file.fileId)],
      ['URI', quoted(playlistUrl(pathwayId, file.fileId))],
    );
    return `#EXT-X-MEDIA:${attributes(about)}`;
  });
}

/** With pictures, sound is a group beside them; without, each sound track is a variant of its own. */
function variants(input: MultivariantInput, pathwayId: string): readonly string[] {
  const { video, audio } = input.tracks;
  const hasVideo = video.length > 0;
  const beside = hasVideo ? audio : [];
  const audioPeakBps = Math.max(0, ...beside.map(({ peakBps }) => peakBps));
  const audioMeanBps = Math.max(0, ...beside.map(({ bitrateBps }) => bitrateBps));
  return (hasVideo ? video : audio).flatMap((file) => {
    const codecs = [...new Set([file.codec, ...beside.map(({ codec }) => codec)])];
    const about: [string, string][] = [
      ['BANDWIDTH', String(file.peakBps + audioPeakBps)],
      ['AVERAGE-BANDWIDTH', String(file.bitrateBps + audioMeanBps)],
      ['CODECS', quoted(codecs.join(','))],
    ];
    if (file.width !== undefined && file.height !== undefined) {
      about.push(['RESOLUTION', `${file.width}x${file.height}`]);
    }
    if (file.frameRate !== undefined) about.push(['FRAME-RATE', file.frameRate.toFixed(3)]);
    if (beside.length > 0) about.push(['AUDIO', quoted(groupOf(pathwayId))]);
    about.push(['PATHWAY-ID', quoted(pathwayId)], ['STABLE-VARIANT-ID', quoted(file.fileId)]);
    return [`#EXT-X-STREAM-INF:${attributes(about)}`, input.playlistUrl(pathwayId, file.fileId)];
  });
}

function groupOf(pathwayId: string): string {
  return `a-${pathwayId}`;
}

function attributes(list: readonly (readonly [name: string, value: string])[]): string {
  return list.map(([name, value]) => `${name}=${value}`).join(',');
}

/** A quoted string may hold neither a quote nor the end of a line (RFC 8216bis 4.2). */
function quoted(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return `"${text.replaceAll(/["\u0000-\u001f\u007f]/g, ' ')}"`;
}
