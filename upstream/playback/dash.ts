/**
 * Writes a static DASH MPD: SegmentBase with the file's own sidx, one BaseURL per pathway, content steering.
 *
 * Invariants: (1) the default service location is the first BaseURL's
 *             (2) every Representation's URL is relative to each BaseURL, so that a player may move between them (and clone by HOST)
 * Source:     ISO/IEC 23009-1 5.3; ETSI TS 103 998 (content steering)
 */
import { durationSecondsOf, type Presentation, type Rendition } from './presentation.ts';

const MIN_BUFFER_SECONDS = 2;

export interface MpdInput {
  readonly presentation: Presentation;
  /** Best first: where the title's directory lives on each pathway, token included, ending in "/". */
  readonly pathways: readonly { readonly pathwayId: string; readonly directoryUrl: string }[];
  readonly steeringUri: string;
}

export function mpd(input: MpdInput): string {
  const { presentation, pathways } = input;
  const duration = `PT${presentation.durationSeconds.toFixed(3)}S`;
  const sets = [
    ...adaptationSet('video', presentation.video, 1),
    ...presentation.audio.flatMap((rendition, at) => adaptationSet('audio', [rendition], at + 2)),
  ];
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" ' +
      `type="static" mediaPresentationDuration="${duration}" minBufferTime="PT${MIN_BUFFER_SECONDS}S">`,
    ...(pathways.length < 2
      ? []
      : [
          `  <ContentSteering defaultServiceLocation="${escaped(pathways[0].pathwayId)}" ` +
            `queryBeforeStart="false">${escaped(input.steeringUri)}</ContentSteering>`,
        ]),
    ...pathways.map(
      ({ pathwayId, directoryUrl }) =>
        `  <BaseURL serviceLocation="${escaped(pathwayId)}">${escaped(directoryUrl)}</BaseURL>`,
    ),
    `  <Period id="0" start="PT0S" duration="${duration}">`,
    ...sets,
    '  </Period>',
    '</MPD>',
    '',
  ].join('\n');
}

function adaptationSet(
  kind: 'video' | 'audio',
  renditions: readonly Rendition[],
  id: number,
): readonly string[] {
  if (renditions.length === 0) return [];
  const { language } = renditions[0].file;
  const lang = language === undefined ? '' : ` lang="${escaped(language)}"`;
  return [
    `    <AdaptationSet id="${id}" contentType="${kind}" mimeType="${kind}/mp4"${lang} ` +
      'segmentAlignment="true" subsegmentAlignment="true" subsegmentStartsWithSAP="1">',
    ...renditions.flatMap((rendition) => representation(kind, rendition)),
    '    </AdaptationSet>',
  ];
}

function representation(kind: 'video' | 'audio', { file, index }: Rendition): readonly string[] {
  if (file.index === undefined) throw new RangeError(`file ${file.fileId} has no index`);
  const { initEndInclusive, sidxStart, sidxEndInclusive } = file.index;
  const bandwidth = file.bitrateBps ?? Math.round((file.sizeBytes * 8) / durationSecondsOf(index));
  const attributes = [
    ['id', file.fileId],
    ['bandwidth', String(bandwidth)],
    ['codecs', file.codec],
    ...(kind === 'video'
      ? [
          ['width', file.width],
          ['height', file.height],
          ['frameRate', file.frameRate],
        ]
      : [['audioSamplingRate', file.sampleRate]]),
  ]
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}="${escaped(String(value))}"`)
    .join(' ');
  const channels =
    kind === 'audio' && file.channels !== undefined
      ? [
          '        <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" ' +
            `value="${file.channels}"/>`,
        ]
      : [];
  return [
    `      <Representation ${attributes}>`,
    ...channels,
    `        <BaseURL>${file.fileId}</BaseURL>`,
    `        <SegmentBase timescale="${index.timescale}" indexRange="${sidxStart}-${sidxEndInclusive}" indexRangeExact="true">`,
    `          <Initialization range="0-${initEndInclusive}"/>`,
    '        </SegmentBase>',
    '      </Representation>',
  ];
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
