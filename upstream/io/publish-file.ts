/**
 * Publishes a video or audio file: probe, encode, take each rendition in, announce.
 *
 * Invariants: (1) the same source under the same recipe is not encoded again while the origin holds what it became
 *             (2) a source that is refused leaves nothing behind
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { systemClock } from '#base/clock.ts';
import { failed, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import { HEAD_BYTES_MAX, inspectCmaf, type CmafFile } from '../encoder/cmaf.ts';
import { encodeCommand, RECIPE, type EncodeOutput } from '../encoder/ffmpeg-command.ts';
import { fileEntryOf, longestSecondsOf } from '../encoder/file-entry.ts';
import { planEncode, type EncodePlan } from '../encoder/ladder.ts';
import type { FileEntry, TitleId } from '../contract.ts';
import { titleIdOf, withoutTwins, type ListingContent, type TitleRecord } from '../listing.ts';
import { probeSource, runEncode, SYSTEM_TOOLS, type EncoderTools } from './ffmpeg.ts';
import {
  announce,
  emptyFile,
  interrupted,
  publishing,
  type Press,
  type PublishProgress,
  type PublishReport,
  type PublishTarget,
} from './publishing.ts';

const FIRST_HEAD_BYTES = 64 * 1024;

export interface PublishFileOptions {
  readonly titleId?: TitleId | undefined;
  readonly name?: string | undefined;
  readonly onProgress?: ((progress: PublishProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly tools?: EncoderTools | undefined;
}

export async function publishFile(
  source: string,
  options: PublishFileOptions,
  target: PublishTarget,
): Promise<Outcome<PublishReport>> {
  const name = (options.name ?? path.parse(source).name).slice(0, 200);
  const titleId = options.titleId ?? titleIdOf(name);
  // The cheap questions first: is it a video, is there a control plane, was it done before.
  const info = await probeSource(source, options.tools ?? SYSTEM_TOOLS, systemClock);
  if (!info.ok) return info;
  return publishing(target, async (press) => {
    const current = await press.catalogue.listing(titleId);
    if (!current.ok) return current;
    const origin = { sha256: await sha256Of(source), recipe: RECIPE };
    const known = await knownEncode(press, titleId, origin);
    const made =
      known ?? (await encodeAndStore(press, source, titleId, planEncode(info.value), options));
    if (!made.ok) return made;
    options.onProgress?.({ step: 'announcing', titleId });
    const { files, durationSeconds, bytesStored } = made.value;
    const wanted = contentOf({ titleId, name, durationSeconds, files });
    return announce(press, wanted, origin, { files, bytesStored });
  });
}

interface Made {
  readonly files: readonly FileEntry[];
  readonly durationSeconds: number;
  readonly bytesStored: number;
}

export function contentOf(title: {
  readonly titleId: TitleId;
  readonly name: string;
  readonly durationSeconds: number;
  readonly files: readonly FileEntry[];
}): ListingContent {
  return {
    titleId: title.titleId,
    kind: 'film',
    name: title.name,
    durationSeconds: title.durationSeconds,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: [...title.files],
  };
}

/** What this very source became under this title, where the origin still holds all of it; null otherwise. */
async function knownEncode(
  press: Press,
  titleId: TitleId,
  source: NonNullable<TitleRecord['source']>,
): Promise<Outcome<Made> | null> {
  const record = await press.store.readRecord(titleId);
  if (record?.source?.sha256 !== source.sha256 || record.source.recipe !== source.recipe) {
    return null;
  }
  const { files, durationSeconds } = record.listing;
  for (const { fileId, sizeBytes } of files) {
    if (!(await press.store.holds(fileId, sizeBytes))) return null;
  }
  return success({ files, durationSeconds, bytesStored: 0 });
}

async function encodeAndStore(
  press: Press,
  source: string,
  titleId: TitleId,
  plan: EncodePlan,
  options: PublishFileOptions,
): Promise<Outcome<Made>> {
  const encoded = await encodeInto(press.run.directory, source, plan, options);
  if (!encoded.ok) return encoded;
  if (options.signal?.aborted === true) return failed(interrupted(titleId));
  options.onProgress?.({ step: 'storing', titleId });
  const files: FileEntry[] = [];
  let bytesStored = 0;
  for (const { file, output, cmaf } of encoded.value) {
    const stored = await press.store.addFile(press.run, file);
    if (stored === null) return failed(emptyFile(titleId));
    if (stored.isNew) bytesStored += stored.sizeBytes;
    const frameRate = plan.video?.frameRate ?? null;
    files.push(fileEntryOf(stored, cmaf, { frameRate, language: output.language }));
  }
  const durationSeconds = longestSecondsOf(encoded.value.map(({ cmaf }) => cmaf));
  return success({ files: withoutTwins(files), durationSeconds, bytesStored });
}

export interface EncodedFile {
  readonly file: string;
  readonly output: EncodeOutput;
  readonly cmaf: CmafFile;
}

/** Encodes into `directory` and reads back what came out: nothing goes on that manifests could not be made from. */
export async function encodeInto(
  directory: string,
  source: string,
  plan: EncodePlan,
  options: Pick<PublishFileOptions, 'onProgress' | 'signal' | 'tools'>,
): Promise<Outcome<readonly EncodedFile[]>> {
  const { args, outputs } = encodeCommand(plan, source, directory);
  const totalSeconds = plan.durationSeconds;
  const onSeconds = (doneSeconds: number): void =>
    options.onProgress?.({ step: 'encoding', doneSeconds, totalSeconds });
  onSeconds(0);
  const run = { source, args, onSeconds, signal: options.signal };
  const ended = await runEncode(run, options.tools ?? SYSTEM_TOOLS, systemClock);
  if (!ended.ok) return ended;
  onSeconds(totalSeconds);
  const files: EncodedFile[] = [];
  for (const output of outputs) {
    const file = path.join(directory, output.name);
    const cmaf = await inspectFile(file);
    if (!cmaf.ok) return cmaf;
    files.push({ file, output, cmaf: cmaf.value });
  }
  return success(files);
}

/** Reads as much of the head as it takes. */
export async function inspectFile(file: string): Promise<Outcome<CmafFile>> {
  const { size } = await stat(file);
  const handle = await open(file, 'r');
  try {
    for (let headBytes = FIRST_HEAD_BYTES; headBytes <= HEAD_BYTES_MAX;) {
      const head = Buffer.alloc(Math.min(headBytes, size));
      await handle.read(head, 0, head.length, 0);
      const verdict = inspectCmaf(head, size);
      if (verdict.kind === 'cmaf') return success(verdict.file);
      if (verdict.kind === 'refused') return failed(notCmaf(file, verdict.why));
      headBytes = verdict.headBytes;
    }
    return failed(notCmaf(file, 'its head is too long'));
  } finally {
    await handle.close();
  }
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(file) as AsyncIterable<Buffer>) hash.update(piece);
  return hash.digest('hex');
}

function notCmaf(file: string, why: string): Failure {
  return {
    code: 'encode-failed',
    source: 'self',
    retry: 'never',
    detail: `ffmpeg wrote ${path.basename(file)}, from which no manifest can be made: ${messageOf(why)}. ffmpeg 5.1 and later are known to work`,
  };
}
