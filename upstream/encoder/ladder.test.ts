import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { encodeCommand, progressSeconds } from './ffmpeg-command.ts';
import { planEncode } from './ladder.ts';
import type { SourceInfo } from './source.ts';

function sourceOf(displayWidth: number, displayHeight: number, numerator = 25): SourceInfo {
  return {
    durationSeconds: 10,
    video: {
      streamIndex: 0,
      displayWidth,
      displayHeight,
      frameRate: { numerator, denominator: 1 },
      isInterlaced: false,
    },
    audio: [{ streamIndex: 1, channels: 2, language: 'en' }],
  };
}

const sizesOf = (width: number, height: number): readonly string[] =>
  planEncode(sourceOf(width, height)).video!.renditions.map((one) => `${one.width}x${one.height}`);

test('the ladder ends at the source’s own height', () => {
  assert.deepEqual(sizesOf(1920, 1080), ['426x240', '640x360', '854x480', '1280x720']);
  assert.deepEqual(sizesOf(854, 480), ['428x240', '640x360', '854x480']);
  assert.deepEqual(sizesOf(640, 480), ['320x240', '480x360', '640x480']);
  assert.deepEqual(sizesOf(500, 300), ['400x240']);
});

test('a source below the ladder keeps its size, made even', () => {
  assert.deepEqual(sizesOf(161, 91), ['162x92']);
  assert.deepEqual(sizesOf(16, 9), ['16x16']);
});

test('a portrait picture is measured by its width', () => {
  assert.deepEqual(sizesOf(1080, 1920), ['240x426', '360x640', '480x854', '720x1280']);
});

test('any source gives even sides, no more than the source’s and one pixel, in one shape', () => {
  const side = fc.integer({ min: 2, max: 16_384 });
  fc.assert(
    fc.property(side, side, (width, height) => {
      const { renditions } = planEncode(sourceOf(width, height)).video!;
      assert.ok(renditions.length >= 1);
      for (const one of renditions) {
        assert.ok(one.width % 2 === 0 && one.height % 2 === 0);
        assert.ok(one.width <= Math.max(width + 1, 16) && one.height <= Math.max(height + 1, 16));
        assert.ok(Math.max(one.width, one.height) <= 4096);
      }
    }),
    { seed: 264 },
  );
});

test('keyframes are two seconds apart in every rendition, at whatever rate', () => {
  for (const [rate, frames] of [
    [24, 48],
    [25, 50],
    [60, 120],
    [1, 2],
  ]) {
    const plan = planEncode(sourceOf(1280, 720, rate));
    assert.equal(plan.video?.framesPerSegment, frames);
    const { args } = encodeCommand(plan, 'in.mp4', '/films');
    const values = args.flatMap((arg, at) => (arg === '-g' ? [args[at + 1]] : []));
    assert.deepEqual(values, [String(frames), String(frames), String(frames), String(frames)]);
  }
});

test('the command names every output once, video first, and takes no address for a file', () => {
  const { args, outputs } = encodeCommand(planEncode(sourceOf(854, 480)), '-x.mp4', '/films');
  assert.deepEqual(
    outputs.map(({ kind }) => kind),
    ['video', 'video', 'video', 'audio'],
  );
  for (const { name } of outputs) assert.ok(args.includes(`/films/${name}`));
  assert.ok(args.includes('file:-x.mp4'));
  assert.equal(args[args.indexOf('-protocol_whitelist') + 1], 'file,crypto,data');
});

test('sources without sound and without pictures are encoded as what they are', () => {
  const silent = planEncode({ ...sourceOf(854, 480), audio: [] });
  assert.ok(encodeCommand(silent, 'a', '/w').outputs.every(({ kind }) => kind === 'video'));
  const sound = encodeCommand(planEncode({ ...sourceOf(2, 2), video: null }), 'a', '/w');
  assert.deepEqual(sound.outputs, [{ name: 'audio-0.mp4', kind: 'audio', language: 'en' }]);
  assert.ok(!sound.args.includes('-filter_complex'));
});

test('progress lines are read', () => {
  assert.equal(progressSeconds('out_time_us=1500000'), 1.5);
  assert.equal(progressSeconds('out_time_us=N/A'), null);
  assert.equal(progressSeconds('frame=12'), null);
});
