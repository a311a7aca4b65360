/**
 * The origin's directory: whole files by id, their chunk lists, and what belongs to each title.
 *
 *   format                      "1"
 *   files/<fileId>              the bytes
 *   files/<fileId>.chunks       the chunk list (contract.ts)
 *   titles/<titleId>.json       TitleRecord: which files belong to the title
 *   titles/<titleId>.listing    the listing as the control plane signed it
 *   tmp/<pid>-<started>-<n>/    what a publish is working on
 *
 * Invariants: (1) a name in files/ or titles/ is whole and on disk before it is seen: written in tmp/, fsync, rename, fsync of the directory
 *             (2) where files/<fileId> exists, so does its chunk list
 *             (3) whatever ends a publish, it leaves nothing but its directory in tmp/, which a later publish removes
 */
import { mkdirSync, readFileSync } from 'node:fs';
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  type FileHandle,
} from 'node:fs/promises';
import path from 'node:path';
import { openStateDir } from '#base/io/state-dir.ts';
import { codeOf } from '#base/outcome.ts';
import { ChunkHasher, type HashedFile } from '../chunk-hasher.ts';
import type { FileId, TitleId } from '../contract.ts';
import { checkTitleRecord, type TitleRecord } from '../listing.ts';

export const ORIGIN_FORMAT = '1';
const READ_BYTES = 1024 * 1024;

export interface StoredFile {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly isNew: boolean; // false: the origin held it already
}

/** A publish's own corner of tmp/. Close it in any case: what is left in it goes. */
export interface PublishRun {
  readonly directory: string;
  close(): Promise<void>;
}

export class OriginStore {
  readonly directory: string;
  #runs = 0;
  #temporaries = 0;

  /** Opens (or makes) the directory. Throws StateDirProblem where another format wrote it. */
  constructor(directory: string) {
    this.directory = directory;
    openStateDir(directory, ORIGIN_FORMAT);
    for (const part of ['files', 'titles', 'tmp']) {
      mkdirSync(path.join(directory, part), { recursive: true, mode: 0o700 });
    }
  }

  filePath(fileId: FileId): string {
    return path.join(this.directory, 'files', fileId);
  }

  chunkListPath(fileId: FileId): string {
    return `${this.filePath(fileId)}.chunks`;
  }

  recordPath(titleId: TitleId): string {
    return path.join(this.directory, 'titles', `${titleId}.json`);
  }

  listingPath(titleId: TitleId): string {
    return path.join(this.directory, 'titles', `${titleId}.listing`);
  }

  /** Starts a publish: first what dead publishes left is removed. */
  async beginRun(): Promise<PublishRun> {
    await this.#removeLeftovers();
    const name = `${process.pid}-${startOf(process.pid) ?? 'x'}-${this.#runs++}`;
    const directory = path.join(this.directory, 'tmp', name);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return { directory, close: () => rm(directory, { recursive: true, force: true }) };
  }

  /** Takes in a finished file of the same file system (it is moved): hashes it, makes it durable, gives it its name. */
  async addFile(run: PublishRun, temporary: string): Promise<StoredFile | null> {
    const handle = await open(temporary, 'r+');
    try {
      const hasher = new ChunkHasher();
      const buffer = Buffer.allocUnsafe(READ_BYTES);
      for (;;) {
        const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, null);
        if (bytesRead === 0) break;
        hasher.update(buffer.subarray(0, bytesRead));
      }
      const hashed = hasher.finish();
      if (hashed === null) return null;
      await handle.sync();
      return await this.#place(run, temporary, hashed);
    } finally {
      await handle.close();
    }
  }

  /** Takes in bytes as they are made. */
  async addBytes(run: PublishRun, pieces: Iterable<Uint8Array>): Promise<StoredFile | null> {
    const temporary = this.#temporaryIn(run);
    const handle = await open(temporary, 'wx');
    try {
      const hasher = new ChunkHasher();
      for (const piece of pieces) {
        hasher.update(piece);
        await writeAll(handle, piece);
      }
      const hashed = hasher.finish();
      if (hashed === null) return null;
      await handle.sync();
      return await this.#place(run, temporary, hashed);
    } finally {
      await handle.close();
    }
  }

  /** True where the file and its chunk list are there, of the right size. */
  async holds(fileId: FileId, sizeBytes: number): Promise<boolean> {
    return (
      (await sizeOf(this.filePath(fileId))) === sizeBytes &&
      (await sizeOf(this.chunkListPath(fileId))) !== null
    );
  }

  /** Null where the title is unknown here. Throws where its record cannot be read. */
  async readRecord(titleId: TitleId): Promise<TitleRecord | null> {
    const text = await readOrNull(this.recordPath(titleId));
    if (text === null) return null;
    const checked = checkTitleRecord(JSON.parse(text));
    if (!checked.ok) throw new Error(`${this.recordPath(titleId)}: ${checked.failure.join('; ')}`);
    return checked.value;
  }

  async writeRecord(run: PublishRun, record: TitleRecord): Promise<void> {
    const { titleId } = record.listing;
    await this.#writeWhole(run, this.recordPath(titleId), JSON.stringify(record));
  }

  readListing(titleId: TitleId): Promise<string | null> {
    return readOrNull(this.listingPath(titleId));
  }

  async writeListing(run: PublishRun, titleId: TitleId, signed: string): Promise<void> {
    await this.#writeWhole(run, this.listingPath(titleId), signed);
  }

  async #place(run: PublishRun, temporary: string, hashed: HashedFile): Promise<StoredFile> {
    const { fileId, sizeBytes, encodedChunkList } = hashed;
    if (await this.holds(fileId, sizeBytes)) {
      await rm(temporary);
      return { fileId, sizeBytes, isNew: false };
    }
    // The list first: invariant 2.
    const list = await this.#writeTemporary(run, encodedChunkList);
    await rename(list, this.chunkListPath(fileId));
    await rename(temporary, this.filePath(fileId));
    await syncDirectory(path.join(this.directory, 'files'));
    return { fileId, sizeBytes, isNew: true };
  }

  async #writeWhole(run: PublishRun, target: string, text: string): Promise<void> {
    if ((await readOrNull(target)) === text) return;
    const temporary = await this.#writeTemporary(run, Buffer.from(text));
    await rename(temporary, target);
    await syncDirectory(path.dirname(target));
  }

  async #writeTemporary(run: PublishRun, bytes: Uint8Array): Promise<string> {
    const temporary = this.#temporaryIn(run);
    const handle = await open(temporary, 'wx');
    try {
      await writeAll(handle, bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return temporary;
  }

  #temporaryIn(run: PublishRun): string {
    return path.join(run.directory, `part-${this.#temporaries++}`);
  }

  async #removeLeftovers(): Promise<void> {
    const parent = path.join(this.directory, 'tmp');
    for (const name of await readdir(parent)) {
      const match = /^(\d+)-(\d+|x)-\d+$/.exec(name);
      if (match !== null && isAlive(Number(match[1]), match[2])) continue;
      await rm(path.join(parent, name), { recursive: true, force: true });
    }
  }
}

/** A process number alone is given out again; with the time it started at it is one process. */
function isAlive(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if (codeOf(thrown) === 'ESRCH') return false;
  }
  const now = startOf(pid);
  return now === null || started === 'x' || now === started;
}

/** When a process started, in clock ticks since boot; null where the system does not tell. Source: proc(5), field 22 */
function startOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the program's name in parentheses and may hold anything, so count from its end.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at);
    at += bytesWritten;
  }
}

async function sizeOf(file: string): Promise<number | null> {
  try {
    return (await stat(file)).size;
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return null;
    throw thrown;
  }
}

async function readOrNull(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return null;
    throw thrown;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
