/**
 * Volumes as a box has them after years: hundreds of thousands of sparse files with rows in the catalogue, and a manifest
 * that pins them. Made in seconds, so that a restart can be measured at design size.
 *
 * Most files are never read: their names lead to a few sparse files, which costs a tenth of an inode each. `readable` ones
 * have a sparse file of their own and a chunk list that holds, their bytes being zeros.
 */
import { createHash } from 'node:crypto';
import { closeSync, ftruncateSync, linkSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openVolume } from '#appliance/appliance.ts';
import type { SigningKey } from '#base/jws.ts';
import { signCompact } from '#base/jws.ts';
import { DAY_MS, MIB } from '#base/units.ts';
import { JWS_TYPE, type ManifestEntry } from '#control-plane/contract.ts';
import { manifestContent } from '#control-plane/control-plane.ts';
import { CHUNK_BYTES, encodeChunkList, fileIdOf } from '#upstream/contract.ts';

const FILES_PER_TITLE = 1200;
const SIZE_MIB_MIN = 300;
const SIZE_MIB_RANGE = 600; // a mean of 600 chunks a file
const PARTIAL_ONE_IN = 50;
const REACTIVE_ONE_IN = 20;
const ROWS_PER_COMMIT = 5000;
const NAMES_PER_INODE = 50_000; // ext4 allows 65,000

export interface DiskFile {
  readonly fileId: string;
  readonly sizeBytes: number;
  readonly titleId: string;
  readonly volumeAt: number;
  readonly isPinned: boolean;
  readonly chunkList: Buffer | null; // null: nobody reads it
}

export interface FullDisks {
  readonly files: number;
  readonly chunks: number;
  readonly readable: readonly DiskFile[];
  readonly manifest: Buffer;
}

export interface FullDisksOptions {
  readonly volumes: readonly { readonly path: string; readonly capacityBytes: number }[];
  readonly files: number;
  readonly readable: number;
  /** The title whose tokens read the readable ones. */
  readonly titleId: string;
  readonly applianceId: string;
  readonly clusterId: string;
  readonly key: SigningKey; // signs the manifest
  readonly nowMs: number;
}

/** Adds files to volumes that an appliance has opened before, and is not using now. */
export async function fillDisks(options: FullDisksOptions): Promise<FullDisks> {
  const all = Array.from({ length: options.files }, (_, at) => fileAt(at, options));
  for (const [volumeAt, volume] of options.volumes.entries()) {
    const here = all.filter((file) => file.volumeAt === volumeAt);
    makeContent(volume.path, here);
    addRows(volume, here, options.nowMs);
  }
  const entries = all.filter(({ isPinned }) => isPinned).map(entryOf);
  return {
    files: all.length,
    chunks: all.reduce((sum, file) => sum + file.sizeBytes / CHUNK_BYTES, 0),
    readable: all.filter(({ chunkList }) => chunkList !== null),
    manifest: await signedManifest(entries, options),
  };
}

function fileAt(at: number, options: FullDisksOptions): DiskFile {
  const isReadable = at < options.readable;
  // Every readable file is of another size, so that each has its own id.
  const sizeMib = SIZE_MIB_MIN + (isReadable ? at : (at * 7919) % SIZE_MIB_RANGE);
  const chunkList = isReadable ? zeroChunkList(sizeMib) : null;
  return {
    fileId:
      chunkList === null
        ? createHash('sha256').update(`file ${at}`).digest('base64url')
        : fileIdOf(chunkList),
    sizeBytes: sizeMib * MIB,
    titleId: isReadable ? options.titleId : `title-${Math.floor(at / FILES_PER_TITLE)}`,
    volumeAt: at % options.volumes.length,
    isPinned: isReadable || at % REACTIVE_ONE_IN !== 0,
    chunkList,
  };
}

function zeroChunkList(chunks: number): Buffer {
  const hash = createHash('sha256').update(Buffer.alloc(CHUNK_BYTES)).digest();
  const hashes = Buffer.concat(Array.from({ length: chunks }, () => hash));
  return encodeChunkList(chunks * CHUNK_BYTES, hashes);
}

function makeContent(volumePath: string, files: readonly DiskFile[]): void {
  const made = new Set<string>();
  const nameOf = ({ fileId }: DiskFile): string => {
    const directory = path.join(volumePath, 'files', fileId.slice(0, 2));
    if (!made.has(directory)) mkdirSync(directory, { recursive: true, mode: 0o700 });
    made.add(directory);
    return path.join(directory, fileId);
  };
  let shared = '';
  for (const [at, file] of files.filter(({ chunkList }) => chunkList === null).entries()) {
    const name = nameOf(file);
    if (at % NAMES_PER_INODE !== 0) linkSync(shared, name);
    else {
      shared = name;
      makeSparse(name, file.sizeBytes);
    }
  }
  for (const file of files) {
    if (file.chunkList === null) continue;
    makeSparse(nameOf(file), file.sizeBytes);
    writeFileSync(`${nameOf(file)}.chunks`, file.chunkList);
  }
}

function makeSparse(name: string, sizeBytes: number): void {
  const fd = openSync(name, 'wx', 0o600);
  ftruncateSync(fd, sizeBytes);
  closeSync(fd);
}

function addRows(
  spec: { readonly path: string; readonly capacityBytes: number },
  files: readonly DiskFile[],
  nowMs: number,
): void {
  const opened = openVolume(spec);
  if (!opened.ok) throw new Error(opened.failure.detail);
  const { catalogue } = opened.value;
  for (let from = 0; from < files.length; from += ROWS_PER_COMMIT) {
    const rows = files.slice(from, from + ROWS_PER_COMMIT).map((file, k) => ({
      fileId: file.fileId,
      sizeBytes: file.sizeBytes,
      titles: [file.titleId],
      chunks: (from + k) % PARTIAL_ONE_IN === 0 && !file.isPinned ? someChunks(file) : null,
      isPinned: file.isPinned,
      forecastPerDay: file.isPinned ? densityOf(file) : 0,
      heatCount: ((from + k) % 100) / 10,
      heatAtMs: nowMs - ((from + k) % 10) * DAY_MS,
      storedAtMs: nowMs - 30 * DAY_MS,
      from: 'origin',
    }));
    const committed = catalogue.commit(rows.map((row) => ({ kind: 'put', row })));
    if (!committed.ok) throw new Error(committed.failure.detail);
  }
  catalogue.close();
}

/** The first half of them. */
function someChunks(file: DiskFile): Uint8Array {
  const chunks = file.sizeBytes / CHUNK_BYTES;
  return new Uint8Array(Math.ceil(chunks / 8)).fill(0xff, 0, Math.floor(chunks / 16));
}

function densityOf(file: DiskFile): number {
  return (1 + (file.sizeBytes % 97)) / 10;
}

function entryOf(file: DiskFile): ManifestEntry {
  const { fileId, sizeBytes, titleId } = file;
  return { fileId, sizeBytes, titles: [titleId], density: densityOf(file) };
}

async function signedManifest(
  entries: readonly ManifestEntry[],
  options: FullDisksOptions,
): Promise<Buffer> {
  const { body, bodySha256, setDigest } = manifestContent(entries);
  const header = await signCompact(options.key, JWS_TYPE.manifest, {
    applianceId: options.applianceId,
    clusterId: options.clusterId,
    version: 1,
    kind: 'full',
    baseVersion: 0,
    epoch: 1,
    planDate: new Date(options.nowMs).toISOString().slice(0, 10),
    issuedAtMs: options.nowMs,
    entries: entries.length,
    bodySha256,
    setDigest,
    fillDensity: 0,
  });
  return Buffer.concat([Buffer.from(`${header}\n`, 'latin1'), ...body]);
}
