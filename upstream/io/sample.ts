/**
 * The committed sample title: publishes it on a machine without ffmpeg, and makes it again on one that has it.
 *
 * sample/sample.json names the files and holds the listing; the bytes are checked against their ids as they are stored.
 */
import { createReadStream, existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Type, type Static } from 'typebox';
import { systemClock } from '#base/clock.ts';
import { checker } from '#base/config.ts';
import { failed, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import { formatBytes } from '#base/units.ts';
import { ChunkHasher } from '../chunk-hasher.ts';
import { FileEntrySchema, type FileEntry } from '../contract.ts';
import { fileEntryOf, longestSecondsOf } from '../encoder/file-entry.ts';
import { planEncode } from '../encoder/ladder.ts';
import {
  SAMPLE_BYTES_MAX,
  SAMPLE_LADDER,
  SAMPLE_NAME,
  SAMPLE_TITLE_ID,
  samplePlan,
  sampleSourceArgs,
} from '../encoder/sample-source.ts';
import { probeSource, runEncode, SYSTEM_TOOLS } from './ffmpeg.ts';
import { contentOf, encodeInto } from './publish-file.ts';
import {
  announce,
  publishing,
  type OpaqueOptions,
  type PublishProgress,
  type PublishReport,
  type PublishTarget,
} from './publishing.ts';

export const SAMPLE_DIRECTORY = path.join(import.meta.dirname, '..', 'sample');
const INDEX_NAME = 'sample.json';
/** Debian's fonts-dejavu-core. */
const FONTS = {
  title: '/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf',
  clock: '/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf',
};

const SampleSchema = Type.Object({
  durationSeconds: Type.Number({ minimum: 0 }),
  files: Type.Array(
    Type.Object({ name: Type.String({ pattern: '^[a-z0-9-]+\\.mp4$' }), entry: FileEntrySchema }),
    { minItems: 1, maxItems: 16 },
  ),
});
type Sample = Static<typeof SampleSchema>;
const checkSample = checker(SampleSchema);

export async function publishSample(
  options: OpaqueOptions,
  target: PublishTarget,
): Promise<Outcome<PublishReport>> {
  const sample = await readSample();
  if (!sample.ok) return sample;
  const titleId = options.titleId ?? SAMPLE_TITLE_ID;
  return publishing(target, async (press) => {
    const current = await press.catalogue.listing(titleId);
    if (!current.ok) return current;
    options.onProgress?.({ step: 'storing', titleId });
    let bytesStored = 0;
    for (const { name, entry } of sample.value.files) {
      const temporary = path.join(press.run.directory, name);
      await copyFile(path.join(SAMPLE_DIRECTORY, name), temporary);
      const fileId = await fileIdOfFile(temporary);
      if (fileId !== entry.fileId)
        return failed(damaged(name, 'its bytes are not those of its id'));
      const stored = await press.store.addFile(press.run, temporary);
      if (stored?.isNew === true) bytesStored += stored.sizeBytes;
    }
    options.onProgress?.({ step: 'announcing', titleId });
    const files = sample.value.files.map(({ entry }) => entry);
    const { durationSeconds } = sample.value;
    const wanted = contentOf({
      titleId,
      name: options.name ?? SAMPLE_NAME,
      durationSeconds,
      files,
    });
    return announce(press, wanted, null, { files, bytesStored });
  });
}

/** Writes the sample's files and its index into `directory`. The same ffmpeg and fonts give the same bytes. */
export async function makeSample(
  directory: string,
  onProgress: (progress: PublishProgress) => void,
  signal?: AbortSignal,
): Promise<Outcome<Sample>> {
  const workDir = await mkdtemp(path.join(tmpdir(), 'nightfill-sample-'));
  try {
    return await makeSampleIn(workDir, directory, onProgress, signal);
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

async function makeSampleIn(
  workDir: string,
  directory: string,
  onProgress: (progress: PublishProgress) => void,
  signal: AbortSignal | undefined,
): Promise<Outcome<Sample>> {
  const source = path.join(workDir, 'source.mkv');
  const fonts = existsSync(FONTS.title) && existsSync(FONTS.clock) ? FONTS : null;
  const args = sampleSourceArgs(source, fonts);
  const run = { source, args, onSeconds: () => {}, signal };
  const made = await runEncode(run, SYSTEM_TOOLS, systemClock);
  if (!made.ok) return made;
  const info = await probeSource(source, SYSTEM_TOOLS, systemClock);
  if (!info.ok) return info;
  const plan = samplePlan(planEncode(info.value, SAMPLE_LADDER));
  const encoded = await encodeInto(workDir, source, plan, { onProgress, signal });
  if (!encoded.ok) return encoded;
  await mkdir(directory, { recursive: true });
  const files: Sample['files'] = [];
  for (const { file, output, cmaf } of encoded.value) {
    const bytes = await readFile(file);
    const hasher = new ChunkHasher();
    hasher.update(bytes);
    const hashed = hasher.finish();
    if (hashed === null) return failed(damaged(output.name, 'it is empty'));
    const about = { frameRate: plan.video?.frameRate ?? null, language: output.language };
    const entry: FileEntry = fileEntryOf(hashed, cmaf, about);
    files.push({ name: output.name, entry });
    await copyFile(file, path.join(directory, output.name));
  }
  const totalBytes = files.reduce((sum, { entry }) => sum + entry.sizeBytes, 0);
  if (totalBytes > SAMPLE_BYTES_MAX) {
    return failed(damaged('the sample', `${formatBytes(totalBytes)} is more than it may have`));
  }
  const durationSeconds = longestSecondsOf(encoded.value.map(({ cmaf }) => cmaf));
  const sample: Sample = { durationSeconds, files };
  await writeFile(path.join(directory, INDEX_NAME), `${JSON.stringify(sample, null, 2)}\n`);
  return success(sample);
}

async function readSample(): Promise<Outcome<Sample>> {
  try {
    const text = await readFile(path.join(SAMPLE_DIRECTORY, INDEX_NAME), 'utf8');
    const checked = checkSample(JSON.parse(text));
    if (checked.ok) return success(checked.value);
    return failed(damaged(INDEX_NAME, checked.failure.slice(0, 3).join('; ')));
  } catch (thrown) {
    return failed(damaged(INDEX_NAME, messageOf(thrown)));
  }
}

async function fileIdOfFile(file: string): Promise<string | null> {
  const hasher = new ChunkHasher();
  for await (const piece of createReadStream(file) as AsyncIterable<Buffer>) hasher.update(piece);
  return hasher.finish()?.fileId ?? null;
}

function damaged(what: string, why: string): Failure {
  return {
    code: 'sample-damaged',
    source: 'disk',
    retry: 'never',
    detail: `the sample title cannot be used: ${what}: ${why}. Restore ${SAMPLE_DIRECTORY}, or make it again with "nightfill publish --make-sample ${SAMPLE_DIRECTORY}"`,
  };
}
