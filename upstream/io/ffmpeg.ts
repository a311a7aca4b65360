/**
 * Runs ffprobe and ffmpeg.
 *
 * Errors:     Failures: `ffmpeg-missing` with the fix, `not-a-video` with ffprobe's own words, `encode-failed` with ffmpeg's,
 *             `interrupted`
 * Invariants: when a call returns, its process has ended
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { Clock } from '#base/clock.ts';
import { codeOf, failed, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import { MINUTE_MS } from '#base/units.ts';
import { progressSeconds, sourceArgs } from '../encoder/ffmpeg-command.ts';
import { readProbe, type SourceInfo } from '../encoder/source.ts';

const PROBE_MS_MAX = MINUTE_MS;
/** An encode that gets no further for so long never will. */
const STALLED_MS_MAX = 10 * MINUTE_MS;
const PROBE_ANSWER_BYTES_MAX = 4 * 1024 * 1024;
const SETPRIV = '/usr/bin/setpriv';
const NO_SUCH_COMMAND_STATUS = 127; // as a shell says it, and setpriv
const WORDS_BYTES_MAX = 2000; // of what ffmpeg complains about

export interface EncoderTools {
  readonly ffmpeg: string;
  readonly ffprobe: string;
}

export const SYSTEM_TOOLS: EncoderTools = { ffmpeg: 'ffmpeg', ffprobe: 'ffprobe' };

/** What a file holds. */
export async function probeSource(
  source: string,
  tools: EncoderTools,
  clock: Clock,
): Promise<Outcome<SourceInfo>> {
  const missing = await fileProblem(source);
  if (missing !== null) return failed(notAVideo(source, missing));
  const args = ['-v', 'error', '-of', 'json', '-show_streams', '-show_format'];
  const child = spawn(tools.ffprobe, [...args, ...sourceArgs(source)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const answer: Buffer[] = [];
  let answerBytes = 0;
  child.stdout.on('data', (bytes: Buffer) => {
    answerBytes += bytes.length;
    if (answerBytes <= PROBE_ANSWER_BYTES_MAX) answer.push(bytes);
  });
  const timer = clock.after(PROBE_MS_MAX, () => child.kill('SIGKILL'));
  const ended = await endOf(child);
  timer.cancel();
  if (ended.kind === 'not-started') return failed(notStarted(tools.ffprobe, ended.thrown));
  if (ended.status !== 0) return failed(notAVideo(source, ended.words || 'ffprobe gave no reason'));
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(answer).toString('utf8'));
  } catch {
    return failed(notAVideo(source, 'ffprobe answered with something that is no JSON'));
  }
  const info = readProbe(json);
  return info.ok ? success(info.value) : failed(notAVideo(source, info.failure));
}

export interface EncodeRun {
  readonly source: string;
  readonly args: readonly string[];
  readonly onSeconds: (doneSeconds: number) => void;
  readonly signal: AbortSignal | undefined;
}

/** Runs one encode to its end. Interrupted, it leaves half files, which the caller's run directory takes with it. */
export async function runEncode(
  run: EncodeRun,
  tools: EncoderTools,
  clock: Clock,
): Promise<Outcome<null>> {
  const [command, ...args] = boundToUs([tools.ffmpeg, ...run.args]);
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let stalled = false;
  let furthestSeconds = -1;
  const giveUp = (): void => {
    stalled = true;
    child.kill('SIGKILL');
  };
  let timer = clock.after(STALLED_MS_MAX, giveUp);
  const onAbort = (): void => void child.kill('SIGKILL');
  run.signal?.addEventListener('abort', onAbort, { once: true });
  if (run.signal?.aborted === true) onAbort();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const seconds = progressSeconds(line);
    if (seconds === null || seconds <= furthestSeconds) return;
    furthestSeconds = seconds;
    timer.cancel();
    timer = clock.after(STALLED_MS_MAX, giveUp);
    run.onSeconds(seconds);
  });
  const ended = await endOf(child);
  timer.cancel();
  run.signal?.removeEventListener('abort', onAbort);
  if (ended.kind === 'not-started') return failed(notStarted(tools.ffmpeg, ended.thrown));
  if (run.signal?.aborted === true) {
    return failed(encodeFailure('interrupted', `encoding ${run.source} was interrupted`));
  }
  if (ended.status === 0) return success(null);
  if (ended.status === NO_SUCH_COMMAND_STATUS) return failed(notStarted(tools.ffmpeg, null));
  const words = stalled
    ? `it got no further than ${furthestSeconds.toFixed(1)} s`
    : ended.words || `ffmpeg ended with ${ended.status ?? ended.signal}`;
  return failed(encodeFailure('encode-failed', `ffmpeg could not encode ${run.source}: ${words}`));
}

/**
 * A publish that is killed takes its encoder with it: the kernel sends the signal when the parent is gone.
 * Where there is no setpriv (it is in Debian's util-linux) an encoder without a parent works on to its own end.
 */
function boundToUs(command: readonly [string, ...string[]]): readonly [string, ...string[]] {
  return existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', ...command] : command;
}

type Ended =
  | { readonly kind: 'not-started'; readonly thrown: unknown }
  | {
      readonly kind: 'ended';
      readonly status: number | null;
      readonly signal: string | null;
      readonly words: string; // the end of its stderr
    };

function endOf(child: ChildProcess): Promise<Ended> {
  let words = '';
  child.stderr?.on('data', (bytes: Buffer) => {
    words = (words + bytes.toString('utf8')).slice(-WORDS_BYTES_MAX);
  });
  return new Promise((resolve) => {
    child.once('error', (thrown) => {
      if (child.pid === undefined) resolve({ kind: 'not-started', thrown });
    });
    child.once('close', (status, signal) => {
      resolve({ kind: 'ended', status, signal, words: words.trim() });
    });
  });
}

async function fileProblem(source: string): Promise<string | null> {
  try {
    const found = await stat(source);
    if (!found.isFile()) return 'it is no regular file';
    return found.size === 0 ? 'it is empty' : null;
  } catch (thrown) {
    return codeOf(thrown) === 'ENOENT' ? 'there is no such file' : messageOf(thrown);
  }
}

function notAVideo(source: string, why: string): Failure {
  const words = why
    .replaceAll(`file:${source}`, source)
    .replaceAll(/ @ 0x[0-9a-f]+\]/g, ']')
    .replaceAll(/\s*\n\s*/g, '; ');
  return {
    code: 'not-a-video',
    source: 'self',
    retry: 'never',
    detail: `${source} cannot be published as a video: ${words}. Nothing was stored`,
  };
}

function notStarted(tool: string, thrown: unknown): Failure {
  const isMissing = thrown === null || codeOf(thrown) === 'ENOENT';
  return {
    code: isMissing ? 'ffmpeg-missing' : 'ffmpeg-failed',
    source: 'self',
    retry: 'never',
    detail: isMissing
      ? `${tool} is not installed: run "apt-get install ffmpeg" (Debian, Ubuntu). Without it, "nightfill publish --opaque" works, and so does the sample`
      : `${tool} could not be started: ${messageOf(thrown)}`,
    cause: thrown,
  };
}

function encodeFailure(code: string, detail: string): Failure {
  return { code, source: 'self', retry: 'never', detail: `${detail}. Nothing was announced` };
}
