/**
 * Writes a static DASH manifest: each file one Representation with its own index, each box one service location.
 *
 * Invariants: (1) a Representation's URL is a box's base followed by the fileId
 *             (2) the index and initialization ranges are those of the listing, which were read from the file
 * Source:     ISO/IEC 23009-1 5.3, 8.3 (on-demand profile); ETSI TS 103 998 (ContentSteering)
 */
import { escaped } from '#base/markup.ts';
import type { Pathway } from './pathways.ts';
import type { StreamFile, Tracks } from './tracks.ts';

export const DASH_CONTENT_TYPE = 'application/dash+xml';

export interface MpdInput {
  readonly durationSeconds: number;
  readonly tracks: Tracks;
  readonly pathways: readonly Pathway[];
  readonly steeringUrl: string;
}

export function mediaPresentation(input: MpdInput): string {
  const { durationSeconds, pathways, steeringUrl, tracks } = input;
  const first = pathways[0].pathwayId;
  const sets: (readonly StreamFile[])[] = [];
  if (tracks.video.length > 0) sets.push(tracks.video);
  // One set per sound track: they are alternatives by language, not by rate.
  sets.push(...tracks.audio.map((file) => [file]));
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static" mediaPresentationDuration="PT${durationSeconds}S" minBufferTime="PT2S">`,
    // The order below was asked of steering a moment ago, and a player whose very first question fails never asks again.
    `  <ContentSteering defaultServiceLocation="${escaped(first)}" queryBeforeStart="false">${escaped(steeringUrl)}</ContentSteering>`,
    ...pathways.map(
      ({ baseUrl, pathwayId }) =>
        `  <BaseURL serviceLocation="${escaped(pathwayId)}">${escaped(baseUrl)}</BaseURL>`,
    ),
    '  <Period id="0" start="PT0S">',
    ...sets.flatMap((files, id) => adaptationSet(files, id)),
    '  </Period>',
    '</MPD>',
  ];
  return `${lines.join('\n')}\n`;
}

function adaptationSet(files: readonly StreamFile[], id: number): readonly string[] {
  const { kind, language } = files[0];
  const lang = language === undefined ? '' : ` lang="${escaped(language)}"`;
  return [
    `    <AdaptationSet id="${id}" contentType="${kind}" mimeType="${kind}/mp4"${lang} subsegmentAlignment="true" subsegmentStartsWithSAP="1">`,
    ...files.flatMap(representation),
    '    </AdaptationSet>',
  ];
}

function representation(file: StreamFile): readonly string[] {
  const { initEndInclusive, sidxEndInclusive, sidxStart } = file.index;
  const form = [
    ['id', file.fileId],
    ['codecs', file.codec],
    ['bandwidth', String(file.peakBps)],
    ['width', file.width],
    ['height', file.height],
    ['frameRate', file.frameRate === undefined ? undefined : frameRateText(file.frameRate)],
    ['audioSamplingRate', file.kind === 'audio' ? file.sampleRate : undefined],
  ]
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}="${escaped(String(value))}"`)
    .join('');
  const channels =
    file.kind === 'audio' && file.channels !== undefined
      ? [
          `        <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="${file.channels}"/>`,
        ]
      : [];
  return [
    `      <Representation${form}>`,
    ...channels,
    `        <BaseURL>${escaped(file.fileId)}</BaseURL>`,
    `        <SegmentBase indexRange="${sidxStart}-${sidxEndInclusive}" indexRangeExact="true">`,
    `          <Initialization range="0-${initEndInclusive}"/>`,
    '        </SegmentBase>',
    '      </Representation>',
  ];
}

/** DASH writes a rate as a whole number or a fraction of two: 29.97 is 30000/1001. */
function frameRateText(rate: number): string {
  if (Number.isInteger(rate)) return String(rate);
  const ntsc = Math.round(rate * 1.001);
  return Math.abs((ntsc * 1000) / 1001 - rate) < 0.001
    ? `${ntsc * 1000}/1001`
    : `${Math.round(rate * 1000)}/1000`;
}
