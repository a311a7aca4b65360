import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { languageOf, readProbe } from './source.ts';

const format = { format_name: 'mov,mp4,m4a', duration: '30.5' };
const video = (more: object = {}): object => ({
  index: 0,
  codec_type: 'video',
  codec_name: 'h264',
  width: 854,
  height: 480,
  r_frame_rate: '24/1',
  avg_frame_rate: '24/1',
  ...more,
});
const audio = (more: object = {}): object => ({
  index: 1,
  codec_type: 'audio',
  channels: 2,
  tags: { language: 'eng' },
  ...more,
});

function videoOf(more: object) {
  const info = readProbe({ streams: [video(more)], format });
  assert.ok(info.ok && info.value.video !== null);
  return info.value.video;
}

test('video and audio of an ordinary file are found', () => {
  const info = readProbe({ streams: [video(), audio()], format });
  assert.ok(info.ok);
  assert.equal(info.value.durationSeconds, 30.5);
  assert.deepEqual(info.value.audio, [{ streamIndex: 1, channels: 2, language: 'en' }]);
  assert.deepEqual(info.value.video, {
    streamIndex: 0,
    displayWidth: 854,
    displayHeight: 480,
    frameRate: { numerator: 24, denominator: 1 },
    isInterlaced: false,
  });
});

test('a picture lying on its side is counted as it is shown', () => {
  for (const rotation of [90, -90, 270]) {
    const { displayWidth, displayHeight } = videoOf({ side_data_list: [{ rotation }] });
    assert.deepEqual([displayWidth, displayHeight], [480, 854]);
  }
  assert.equal(videoOf({ side_data_list: [{ rotation: 180 }] }).displayWidth, 854);
});

test('pixels that are not square are counted as they are shown', () => {
  const { displayWidth, displayHeight } = videoOf({ width: 720, height: 576, sample_aspect_ratio: '16:11' }); // prettier-ignore
  assert.deepEqual([displayWidth, displayHeight], [1047, 576]);
  assert.equal(videoOf({ sample_aspect_ratio: '0:1' }).displayWidth, 854);
});

test('the frame rate is the nominal one where that is believable, halved above 60', () => {
  const rate = (r: string, avg: string): string => {
    const { numerator, denominator } = videoOf({ r_frame_rate: r, avg_frame_rate: avg }).frameRate;
    return `${numerator}/${denominator}`;
  };
  assert.equal(rate('30000/1001', '30000/1001'), '30000/1001');
  assert.equal(rate('90000/1', '25/1'), '25/1');
  assert.equal(rate('120/1', '29/1'), '29/1');
  assert.equal(rate('120/1', '120/1'), '120/2');
  assert.equal(rate('0/0', '0/0'), '25/1');
});

test('audio without pictures is a source; cover art is no video', () => {
  const cover = video({ disposition: { attached_pic: 1 } });
  const info = readProbe({ streams: [cover, audio({ channels: 6 })], format });
  assert.ok(info.ok);
  assert.equal(info.value.video, null);
  assert.equal(info.value.audio[0].channels, 2);
});

const REFUSED: readonly [what: string, probe: unknown, why: RegExp][] = [
  ['nothing inside', { format }, /neither video nor audio/],
  ['subtitles only', { streams: [{ index: 0, codec_type: 'subtitle' }], format }, /neither/],
  ['cover art only', { streams: [video({ disposition: { attached_pic: 1 } })], format }, /neither/],
  ['no duration', { streams: [video()], format: { format_name: 'avi' } }, /no duration/],
  ['a PNG', { streams: [video()], format: { format_name: 'png_pipe' } }, /picture/],
  [
    'a JPEG',
    { streams: [video()], format: { format_name: 'image2', duration: '0.04' } },
    /picture/,
  ],
  ['no size', { streams: [video({ width: 0 })], format }, /0x480/],
  ['a vast size', { streams: [video({ width: 20_000 })], format }, /20000x480/],
  ['not ffprobe', { streams: 'x' }, /not known here/],
  ['nothing', null, /not known here/],
];
for (const [what, probe, why] of REFUSED) {
  test(`a source with ${what} is refused with the reason`, () => {
    const info = readProbe(probe);
    assert.ok(!info.ok);
    assert.match(info.failure, why);
  });
}

test('any JSON is a source or refused, never thrown at', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (json) => {
      assert.equal(typeof readProbe(json).ok, 'boolean');
      assert.equal(typeof readProbe({ streams: [json], format }).ok, 'boolean');
    }),
    { seed: 3, numRuns: 2000 },
  );
});

test('languages are written as BCP 47 writes them', () => {
  assert.equal(languageOf('eng'), 'en');
  assert.equal(languageOf('pt-br'), 'pt-BR');
  assert.equal(languageOf('und'), null);
  assert.equal(languageOf('not a language'), null);
});
