/**
 * The synthetic source of the sample title: a picture that moves, counts and beeps, from ffmpeg's own generators.
 *
 * Nothing in it has another owner, and it is small enough to be committed: 24 s, two renditions and a mono sound track.
 */
import type { EncodePlan, Rung } from './ladder.ts';

export const SAMPLE_TITLE_ID = 'sample';
export const SAMPLE_NAME = 'Nightfill sample';
/** All sample files together: what the repository may carry. */
export const SAMPLE_BYTES_MAX = 1024 * 1024;
export const SAMPLE_LADDER: readonly Rung[] = [
  { shortSide: 240, crf: 34, maxBps: 200_000, profile: 'main' },
  { shortSide: 360, crf: 34, maxBps: 400_000, profile: 'high' },
];

const SECONDS = 24;
const FRAME_RATE = 25;
const AUDIO_BPS = 48_000;

/** ffmpeg arguments that write the source to `file`, without loss. `fonts` are optional: without them the name is left out. */
export function sampleSourceArgs(
  file: string,
  fonts: { readonly title: string; readonly clock: string } | null,
): readonly string[] {
  const form = `s=640x360:r=${FRAME_RATE}:d=${SECONDS}`;
  const background = `gradients=${form}:nb_colors=4:c0=0x0b1d3a:c1=0x145c9e:c2=0x2ec4b6:c3=0x0b1d3a:speed=0.012:seed=7`;
  const pattern = `testsrc2=s=288x162:r=${FRAME_RATE}:d=${SECONDS}`;
  const ball = `color=white:s=28x28:r=${FRAME_RATE}:d=${SECONDS},format=rgba,geq=r=255:g=209:b=102:a='255*lt(hypot(X-14\\,Y-14)\\,13)'`;
  const hum = `0.12*sin(2*PI*196*t)*(0.6+0.4*sin(PI*t/2))+0.06*sin(2*PI*294*t)`;
  const beep = `0.2*sin(2*PI*880*t)*lt(mod(t\\,1)\\,0.08)`;
  const sound = `aevalsrc='${hum}+${beep}':s=48000:d=${SECONDS}`;
  const orbit = `x='306+260*cos(PI*t/2)':y='268+52*sin(PI*t/2)':eval=frame`;
  const texts = fonts === null ? '' : `,${textsOf(fonts)}`;
  const graph = `[0][1]overlay=x=176:y=68[a];[a][2]overlay=${orbit}${texts},format=yuv420p[v]`;
  return [
    '-hide_banner',
    '-nostdin',
    '-y',
    ...words('-loglevel error -progress pipe:1'),
    ...[background, pattern, ball, sound].flatMap((input) => ['-f', 'lavfi', '-i', input]),
    '-filter_complex',
    graph,
    ...words('-map [v] -map 3:a -c:v ffv1 -c:a flac -fflags +bitexact -f matroska'),
    file,
  ];
}

/** The plan of the ladder, with a sound track that fits the size. */
export function samplePlan(plan: EncodePlan): EncodePlan {
  return { ...plan, audio: plan.audio.map((track) => ({ ...track, bitrateBps: AUDIO_BPS })) };
}

function textsOf(fonts: { readonly title: string; readonly clock: string }): string {
  const name = `drawtext=fontfile=${fonts.title}:text=Nightfill:fontsize=36:fontcolor=white:x=24:y=20`;
  const clock = `drawtext=fontfile=${fonts.clock}:text='%{pts\\:hms}':fontsize=24:fontcolor=white:x=w-212:y=26`;
  return `${name},${clock}`;
}

function words(text: string): readonly string[] {
  return text.split(' ');
}
