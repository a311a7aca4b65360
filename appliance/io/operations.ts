/**
 * What an operator may ask of a running box beside drain: why a file is or is not here, reading everything back, taking
 * over a pre-seeded disk.
 */
import { open, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from '#base/log.ts';
import { codeOf, messageOf } from '#base/outcome.ts';
import {
  CHUNK_BYTES,
  decodeChunkList,
  FILE_ID,
  type ChunkList,
  type FileId,
} from '#upstream/contract.ts';
import type { ManifestSet } from '../fill/manifest-set.ts';
import { viewsPerDay } from '../store/heat.ts';
import type { Store } from '../store/store.ts';
import { verifyChunk } from '../store/verified-chunk.ts';

/** Why a file is or is not here. Shape: facts for a person, in the order in which they are asked. */
export function explainFile(
  store: Store,
  manifest: ManifestSet,
  fileId: FileId,
  nowMs: number,
): unknown {
  if (!FILE_ID.test(fileId))
    return { problem: `${fileId} is no file id: 43 characters of base64url` };
  const wanted = manifest.files.get(fileId);
  const entry = store.find(fileId);
  const plan =
    wanted === undefined
      ? `manifest ${manifest.version} does not want it`
      : `manifest ${manifest.version} wants it: ${wanted.density} views a day forecast, place ${manifest.order.indexOf(wanted) + 1} of ${manifest.order.length} in the fill`;
  if (entry === undefined) {
    const why =
      wanted === undefined
        ? 'not planned, and no viewer has asked for it often enough for it to be kept, or it left for room'
        : 'planned, and not fetched yet: see fill in status';
    return { fileId, here: 'no', why, plan };
  }
  const { volume } = store.volumeOf(entry);
  return {
    fileId,
    here: entry.isWhole ? 'whole' : `${entry.presentBytes} of ${entry.sizeBytes} bytes`,
    why: entry.isPinned
      ? 'the manifest wants it here'
      : 'kept for viewers; leaves when room is needed',
    plan,
    volume: volume.name,
    titles: entry.titles,
    from: entry.from,
    storedAt: new Date(entry.storedAtMs).toISOString(),
    servedSinceStart: { bytes: entry.servedBytes, answers: entry.servedAnswers },
    viewsLately: Number(entry.heat.count.toFixed(3)), // discounted: a day-old view counts half
    viewsPerDay: Number(viewsPerDay(entry.heat, entry.forecastPerDay, nowMs).toFixed(3)),
  };
}

export interface Adoption {
  readonly filesSeen: number;
  readonly filesWhole: number;
  readonly chunksTaken: number;
  readonly chunksBad: number;
  readonly problems: readonly string[];
}

const PROBLEMS_MAX = 20;
/** Chunks of one file that are read, hashed and written at once, 1 MiB of memory each. */
const ADOPTED_AT_ONCE = 8;

/**
 * Takes files from a directory of `<fileId>` and `<fileId>.chunks`: each chunk is checked before it counts, what is
 * here already is skipped, so that an adoption that was interrupted is simply asked for again.
 */
export async function adoptDirectory(
  store: Store,
  manifest: ManifestSet,
  directory: string,
  log: Logger,
): Promise<Adoption> {
  let filesSeen = 0;
  let filesWhole = 0;
  let chunksTaken = 0;
  let chunksBad = 0;
  const problems: string[] = [];
  const note = (problem: string): void => {
    if (problems.length < PROBLEMS_MAX) problems.push(problem);
  };
  let names: readonly string[];
  try {
    names = await readdir(directory);
  } catch (thrown) {
    names = [];
    note(`${directory} cannot be read: ${messageOf(thrown)}`);
  }
  for (const fileId of names.filter((name) => FILE_ID.test(name))) {
    filesSeen++;
    try {
      const taken = await adoptFile(store, manifest, directory, fileId);
      chunksTaken += taken.good;
      chunksBad += taken.bad;
      if (taken.bad > 0)
        note(`${fileId}: ${taken.bad} chunks do not match their hashes and were left out`);
    } catch (thrown) {
      note(`${fileId}: ${codeOf(thrown)} ${messageOf(thrown)}`);
    }
  }
  await store.flush();
  for (const name of names) if (store.find(name)?.isWhole === true) filesWhole++;
  log.info(
    { event: 'adopted', directory, filesSeen, filesWhole, chunksTaken, chunksBad },
    'adopted',
  );
  return { filesSeen, filesWhole, chunksTaken, chunksBad, problems };
}

async function adoptFile(
  store: Store,
  manifest: ManifestSet,
  directory: string,
  fileId: FileId,
): Promise<{ readonly good: number; readonly bad: number }> {
  const encoded = await readFile(path.join(directory, `${fileId}.chunks`));
  const list = decodeChunkList(encoded, fileId);
  if (!list.ok) throw new Error(`its chunk list is ${list.failure}`);
  const wanted = manifest.files.get(fileId);
  const begun = await store.begin({
    fileId,
    sizeBytes: list.value.sizeBytes,
    titles: wanted?.titles ?? [],
    isPinned: wanted !== undefined,
    forecastPerDay: wanted?.density ?? 0,
    chunkList: encoded,
    from: 'adopted',
  });
  if (!begun.ok) throw new Error(begun.failure.detail);
  const file = await open(path.join(directory, fileId), 'r');
  try {
    let good = 0;
    let bad = 0;
    let next = 0;
    let problem: string | null = null; // the first: nobody begins another chunk after it
    const worker = async (): Promise<void> => {
      while (problem === null && next < list.value.chunkCount) {
        const index = next++;
        if (begun.value.has(index)) continue;
        const bytes = await readChunk(file, list.value, index);
        const chunk = await verifyChunk(list.value, index, bytes);
        if (chunk === null) {
          bad++;
          continue;
        }
        const wrote = await store.writeChunk(begun.value, chunk, 'adopted');
        if (wrote.ok) good++;
        else problem ??= wrote.failure.detail;
      }
    };
    // All of them are waited for, also where one fails: the file is closed after its last read.
    const ends = await Promise.allSettled(Array.from({ length: ADOPTED_AT_ONCE }, worker));
    const thrown = ends.find((end) => end.status === 'rejected');
    if (thrown !== undefined) throw thrown.reason;
    if (problem !== null) throw new Error(problem);
    return { good, bad };
  } finally {
    await file.close();
  }
}

/** What is shorter than it should be does not match its hash, and is found out by that. */
async function readChunk(
  file: Awaited<ReturnType<typeof open>>,
  list: ChunkList,
  index: number,
): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.min(CHUNK_BYTES, list.sizeBytes - index * CHUNK_BYTES));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(
      bytes,
      filled,
      bytes.length - filled,
      index * CHUNK_BYTES + filled,
    );
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes;
}
