/**
 * Reads what a track holds from its sample description: the codec as manifests name it, and its form.
 *
 * Shape:  (bytes, moov) -> Track | why not
 * Source: RFC 6381 3.3, 3.4; ISO/IEC 14496-12 8.5.2, 12.1.3, 12.2.3; 14496-15 5.3.3; 14496-1 7.2.6; 14496-3 1.6.2.1
 */
import type { Outcome } from '#base/outcome.ts';
import { childOf, descendantOf, walkBoxes, type Box } from './boxes.ts';

export type Track =
  | {
      readonly kind: 'video';
      readonly codec: string;
      readonly width: number;
      readonly height: number;
    }
  | {
      readonly kind: 'audio';
      readonly codec: string;
      readonly channels: number;
      readonly sampleRate: number;
    };

const STSD_HEAD_BYTES = 8; // version, flags, entry count
const VISUAL_ENTRY_BYTES = 78;
const AUDIO_ENTRY_BYTES = 28;
const FULL_BOX_BYTES = 4;
// ISO/IEC 14496-1 7.2.2.1
const TAG_ES = 0x03;
const TAG_DECODER_CONFIG = 0x04;
const TAG_DECODER_SPECIFIC = 0x05;
const OBJECT_TYPE_AAC = 0x40;
const DESCRIPTOR_SIZE_BYTES_MAX = 4;
// ISO/IEC 14496-3 table 1.16
const AAC_RATES_HZ = [
  96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350,
];

/** The one track of a single-track file. */
export function readTrack(bytes: Buffer, moov: Box): Outcome<Track, string> {
  const { boxes } = walkBoxes(bytes, moov.bodyStart, Math.min(moov.endExclusive, bytes.length));
  const traks = boxes.filter(({ type }) => type === 'trak');
  if (traks.length !== 1) return refused(`the file has ${traks.length} tracks, not one`);
  const stsd = descendantOf(bytes, traks[0], ['mdia', 'minf', 'stbl', 'stsd']);
  if (stsd === null) return refused('the track has no sample description');
  const avc1 = childOf(bytes, stsd, 'avc1', STSD_HEAD_BYTES);
  if (avc1 !== null) return readVideo(bytes, avc1);
  const mp4a = childOf(bytes, stsd, 'mp4a', STSD_HEAD_BYTES);
  if (mp4a !== null) return readAudio(bytes, mp4a);
  return refused('the track is neither H.264 (avc1) nor AAC (mp4a)');
}

function readVideo(bytes: Buffer, entry: Box): Outcome<Track, string> {
  const avcC = childOf(bytes, entry, 'avcC', VISUAL_ENTRY_BYTES);
  if (avcC === null || avcC.endExclusive - avcC.bodyStart < 4) {
    return refused('the H.264 track has no decoder configuration (avcC)');
  }
  const profile = bytes.toString('hex', avcC.bodyStart + 1, avcC.bodyStart + 4);
  const width = bytes.readUInt16BE(entry.bodyStart + 24);
  const height = bytes.readUInt16BE(entry.bodyStart + 26);
  if (width === 0 || height === 0) return refused('the H.264 track has no size');
  return { ok: true, value: { kind: 'video', codec: `avc1.${profile}`, width, height } };
}

function readAudio(bytes: Buffer, entry: Box): Outcome<Track, string> {
  const esds = childOf(bytes, entry, 'esds', AUDIO_ENTRY_BYTES);
  const specific = esds === null ? null : decoderSpecificOf(bytes, esds);
  if (specific === null) return refused('the AAC track has no decoder configuration (esds)');
  const config = readAudioConfig(specific);
  if (config === null) return refused('the AAC track has a decoder configuration not known here');
  const { objectType, channels, sampleRate } = config;
  const codec = `mp4a.40.${objectType}`;
  return { ok: true, value: { kind: 'audio', codec, channels, sampleRate } };
}

/** The decoder specific info of an AAC stream. */
function decoderSpecificOf(bytes: Buffer, esds: Box): Buffer | null {
  const end = esds.endExclusive;
  const es = descriptorAt(bytes, esds.bodyStart + FULL_BOX_BYTES, end);
  if (es === null || es.tag !== TAG_ES || es.body + 3 > end) return null;
  const flags = bytes[es.body + 2];
  // Optional fields: depends-on stream, URL, OCR stream (7.2.6.5). A URL means the data is elsewhere: not ours.
  if ((flags & 0x40) !== 0) return null;
  const config = descriptorAt(
    bytes,
    es.body + 3 + ((flags & 0x80) === 0 ? 0 : 2) + ((flags & 0x20) === 0 ? 0 : 2),
    end,
  );
  if (config === null || config.tag !== TAG_DECODER_CONFIG || config.body + 13 > end) return null;
  if (bytes[config.body] !== OBJECT_TYPE_AAC) return null;
  const specific = descriptorAt(bytes, config.body + 13, end);
  if (specific === null || specific.tag !== TAG_DECODER_SPECIFIC) return null;
  return bytes.subarray(specific.body, end);
}

/**
 * AudioSpecificConfig: object type (2 is AAC-LC), rate, channels. The sample entry cannot be asked: ffmpeg writes
 * two channels there whatever the stream has. Source: ISO/IEC 14496-3 1.6.2.1
 */
function readAudioConfig(
  bytes: Buffer,
): { readonly objectType: number; readonly channels: number; readonly sampleRate: number } | null {
  let bitAt = 0;
  const bits = (count: number): number => {
    let value = 0;
    for (let left = count; left > 0; left--, bitAt++) {
      value = value * 2 + (((bytes[bitAt >> 3] ?? 0) >> (7 - (bitAt & 7))) & 1);
    }
    return value;
  };
  let objectType = bits(5);
  if (objectType === 31) objectType = 32 + bits(6);
  const rateIndex = bits(4);
  const sampleRate = rateIndex === 15 ? bits(24) : AAC_RATES_HZ[rateIndex];
  const configuration = bits(4);
  const channels = configuration === 7 ? 8 : configuration;
  if (bitAt > bytes.length * 8 || objectType === 0 || channels < 1 || channels > 8) return null;
  return sampleRate === undefined || sampleRate === 0 ? null : { objectType, channels, sampleRate };
}

/** A tag and a size of up to four bytes, seven bits each. */
function descriptorAt(
  bytes: Buffer,
  at: number,
  end: number,
): { readonly tag: number; readonly body: number } | null {
  for (let length = 1; length <= DESCRIPTOR_SIZE_BYTES_MAX; length++) {
    if (at + 1 + length > end) return null;
    if ((bytes[at + length] & 0x80) === 0) return { tag: bytes[at], body: at + 1 + length };
  }
  return null;
}

function refused(why: string): { readonly ok: false; readonly failure: string } {
  return { ok: false, failure: why };
}
