/**
 * Writes the ffmpeg command line of an encode, and reads its progress.
 *
 * One process decodes once and writes every rendition, each a single fragmented MP4 with one index of its segments
 * (+global_sidx): from that index both manifests are made. The same source and plan give the same bytes: nothing
 * of the time, the machine or the source's tags is written, and each picture is encoded by one thread.
 */
import type { AudioRendition, EncodePlan, VideoRendition } from './ladder.ts';

/** Part of what a source is remembered by: change it with anything that changes the bytes. */
export const RECIPE = 'nightfill-ladder-2';

// +negative_cts_offsets: the first picture is shown at 0, as the index says; +skip_trailer: the last segment ends the file.
const MUXER_FLAGS =
  '+empty_moov+default_base_moof+dash+global_sidx+negative_cts_offsets+skip_trailer';
/** x264 under a rate limit looks at how far its other threads are: with four, one encode in 45 had other bytes on a busy machine. */
const ENCODER_THREADS = 1;
const SEGMENT_MICROSECONDS = 2_000_000;
const AUDIO_RATE_HZ = 48_000;

const CLEAN_OUTPUT = flagsOf({ '-map_metadata': -1, '-map_chapters': -1, '-fflags': '+bitexact' });

export interface EncodeOutput {
  readonly name: string; // of the file, within the working directory
  readonly kind: 'video' | 'audio';
  readonly language: string | null;
}

export interface EncodeCommand {
  readonly args: readonly string[];
  readonly outputs: readonly EncodeOutput[];
}

/** `workDir` is where the outputs go. Video renditions come first, then audio. */
export function encodeCommand(plan: EncodePlan, source: string, workDir: string): EncodeCommand {
  const args = ['-hide_banner', '-nostdin', '-y', '-loglevel', 'error'];
  args.push('-progress', 'pipe:1', '-stats_period', '0.5', ...sourceArgs(source));
  const outputs: EncodeOutput[] = [];
  const add = (output: EncodeOutput, encoding: readonly string[]): void => {
    outputs.push(output);
    args.push(...encoding, ...CLEAN_OUTPUT, '-f', 'mp4', `${workDir}/${output.name}`);
  };
  if (plan.video !== null) {
    args.push('-filter_complex', filterGraph(plan.video));
    for (const [index, rendition] of plan.video.renditions.entries()) {
      const name = `video-${rendition.width}x${rendition.height}-${index}.mp4`;
      const output: EncodeOutput = { name, kind: 'video', language: null };
      add(output, videoArgs(rendition, index, plan.video.framesPerSegment));
    }
  }
  for (const [index, rendition] of plan.audio.entries()) {
    const { language } = rendition.source;
    add({ name: `audio-${index}.mp4`, kind: 'audio', language }, audioArgs(rendition));
  }
  return { args, outputs };
}

/** One line of `-progress`: microseconds of output done, or null. */
export function progressSeconds(line: string): number | null {
  const match = /^out_time_us=(\d+)$/.exec(line);
  return match === null ? null : Number(match[1]) / 1e6;
}

/** A name is a file whatever it begins with, and what it holds may not send ffmpeg elsewhere (a playlist could). */
export function sourceArgs(source: string): readonly string[] {
  return ['-protocol_whitelist', 'file,crypto,data', '-i', `file:${source}`];
}

function filterGraph(video: NonNullable<EncodePlan['video']>): string {
  const { numerator, denominator } = video.frameRate;
  const count = video.renditions.length;
  const labels = video.renditions.map((_, index) => `[s${index}]`).join('');
  const deinterlace = video.isInterlaced ? 'bwdif=mode=send_frame,' : '';
  const head = `[0:${video.streamIndex}]${deinterlace}fps=${numerator}/${denominator}:start_time=0,split=${count}${labels}`;
  const scales = video.renditions.map(
    ({ width, height }, index) =>
      `[s${index}]scale=${width}:${height}:flags=lanczos,setsar=1,format=yuv420p[v${index}]`,
  );
  return [head, ...scales].join(';');
}

function videoArgs(
  { crf, maxBps, profile }: VideoRendition,
  index: number,
  framesPerSegment: number,
): readonly string[] {
  return flagsOf({
    '-map': `[v${index}]`,
    '-c:v': 'libx264',
    '-preset': 'fast',
    '-profile:v': profile,
    '-crf': crf,
    '-maxrate': maxBps,
    '-bufsize': 2 * maxBps,
    // A keyframe every framesPerSegment frames and nowhere else, in every rendition; no frame refers across it.
    '-g': framesPerSegment,
    '-keyint_min': framesPerSegment,
    '-sc_threshold': 0,
    '-flags:v': '+cgop+bitexact',
    '-threads': ENCODER_THREADS,
    '-movflags': `+frag_keyframe${MUXER_FLAGS}+negative_cts_offsets`,
  });
}

function audioArgs({ source, bitrateBps }: AudioRendition): readonly string[] {
  return flagsOf({
    '-map': `0:${source.streamIndex}`,
    // Sound that begins after the picture begins with silence: both files start at 0.
    '-af': 'aresample=async=1:first_pts=0',
    '-c:a': 'aac',
    '-b:a': bitrateBps,
    '-ac': source.channels,
    '-ar': AUDIO_RATE_HZ,
    '-flags:a': '+bitexact',
    // Every audio frame is a keyframe: fragments are cut by time, as long as the video's. Without negative offsets the
    // encoder's priming stays in front, 21 ms of silence, and the index agrees with the samples.
    '-frag_duration': SEGMENT_MICROSECONDS,
    '-movflags': MUXER_FLAGS,
  });
}

function flagsOf(flags: Readonly<Record<string, string | number>>): readonly string[] {
  return Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)]);
}
