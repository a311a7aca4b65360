/**
 * Content files of one volume on a real file system.
 *
 * Layout: files/<2 characters of the id>/<fileId>          a whole file
 *         files/<2 characters of the id>/<fileId>.part     one that is being fetched
 *         files/<2 characters of the id>/<fileId>.chunks   its chunk list
 * 64 x 64 directories: 400,000 files are about 100 in each.
 */
import { close, constants, fdatasync, fsync, open, read, write } from 'node:fs';
import { mkdir, readdir, readFile, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { codeOf, failed, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import { chunkListBytesOf, FILE_BYTES_MAX, FILE_ID, type FileId } from '#upstream/contract.ts';
import type { ContentFile, VolumeFiles } from '../store/volume.ts';

const PART = '.part';
const CHUNKS = '.chunks';
const MODE = 0o600; // content is for viewers with tokens, not for whoever has an account on the box

export class DiskFiles implements VolumeFiles {
  readonly #volumeName: string;
  readonly #root: string;
  readonly #madeDirectories = new Set<string>();

  constructor(volumePath: string) {
    this.#volumeName = volumePath;
    this.#root = path.join(volumePath, 'files');
  }

  async create(fileId: FileId): Promise<Outcome<ContentFile>> {
    return this.#trying(`make ${fileId}`, async () => {
      await this.#makeDirectory(fileId);
      await this.#unlinkIfThere(this.#path(fileId));
      await this.#unlinkIfThere(this.#path(fileId, PART));
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
      return { fd: await openAt(this.#path(fileId, PART), flags), isWritable: true };
    });
  }

  async open(fileId: FileId, forWriting: boolean): Promise<Outcome<ContentFile>> {
    const flags = forWriting ? constants.O_RDWR : constants.O_RDONLY;
    for (const suffix of ['', PART]) {
      try {
        return success({
          fd: await openAt(this.#path(fileId, suffix), flags),
          isWritable: forWriting,
        });
      } catch (thrown) {
        if (codeOf(thrown) !== 'ENOENT') return failed(this.#failure(`open ${fileId}`, thrown));
      }
    }
    return failed({
      code: 'file-missing',
      source: 'disk',
      retry: 'another-source',
      detail: `${fileId} is in the catalogue of ${this.#volumeName} but not on the disk`,
    });
  }

  close(file: ContentFile): void {
    close(file.fd, () => {}); // a content file's bytes were synced where they count; nothing is learnt here
  }

  write(file: ContentFile, bytes: Uint8Array, position: number): Promise<Outcome<void>> {
    return new Promise((resolve) => {
      const step = (from: number): void => {
        write(file.fd, bytes, from, bytes.length - from, position + from, (error, wrote) => {
          if (error !== null) resolve(failed(this.#failure('write', error)));
          else if (from + wrote < bytes.length) step(from + wrote);
          else resolve(success(undefined));
        });
      };
      step(0);
    });
  }

  read(file: ContentFile, into: Buffer, position: number): Promise<Outcome<void>> {
    return new Promise((resolve) => {
      const step = (from: number): void => {
        read(file.fd, into, from, into.length - from, position + from, (error, got) => {
          if (error !== null) resolve(failed(this.#failure('read', error)));
          else if (got === 0) resolve(failed(this.#short(position + from)));
          else if (from + got < into.length) step(from + got);
          else resolve(success(undefined));
        });
      };
      step(0);
    });
  }

  sync(file: ContentFile): Promise<Outcome<void>> {
    return new Promise((resolve) => {
      fdatasync(file.fd, (error) =>
        resolve(error === null ? success(undefined) : failed(this.#failure('sync', error))),
      );
    });
  }

  syncName(fileId: FileId): Promise<Outcome<void>> {
    return this.#trying(`sync the directory of ${fileId}`, () =>
      syncDirectory(this.#directory(fileId)),
    );
  }

  finish(fileId: FileId): Promise<Outcome<void>> {
    return this.#trying(`rename ${fileId}`, async () => {
      try {
        await rename(this.#path(fileId, PART), this.#path(fileId));
      } catch (thrown) {
        if (codeOf(thrown) !== 'ENOENT') throw thrown; // it has its name already
      }
    });
  }

  remove(fileId: FileId): Promise<Outcome<void>> {
    return this.#trying(`remove ${fileId}`, async () => {
      for (const suffix of ['', PART, CHUNKS])
        await this.#unlinkIfThere(this.#path(fileId, suffix));
    });
  }

  async *named(): AsyncIterable<FileId> {
    for (const shard of await this.#list('.')) {
      for (const name of await this.#list(shard)) {
        const fileId = name.split('.')[0];
        if (FILE_ID.test(fileId)) yield fileId;
      }
    }
  }

  /** What cannot be listed is left as it is. */
  async #list(directory: string): Promise<readonly string[]> {
    try {
      return await readdir(path.join(this.#root, directory));
    } catch {
      return [];
    }
  }

  writeChunkList(fileId: FileId, encoded: Uint8Array): Promise<Outcome<void>> {
    return this.#trying(`write the chunk list of ${fileId}`, async () => {
      await this.#makeDirectory(fileId);
      const temporary = this.#path(fileId, `${CHUNKS}.new`);
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
      const fd = await openAt(temporary, flags);
      try {
        const written = await this.write({ fd, isWritable: true }, encoded, 0);
        if (!written.ok) throw causeOf(written.failure);
        await callFs((done) => fsync(fd, done));
      } finally {
        close(fd, () => {});
      }
      await rename(temporary, this.#path(fileId, CHUNKS));
      await syncDirectory(this.#directory(fileId));
    });
  }

  async readChunkList(fileId: FileId): Promise<Outcome<Buffer>> {
    try {
      const encoded = await readFile(this.#path(fileId, CHUNKS));
      if (encoded.length <= chunkListBytesOf(FILE_BYTES_MAX)) return success(encoded);
      throw new Error(`${encoded.length} bytes are no chunk list`);
    } catch (thrown) {
      if (codeOf(thrown) !== 'ENOENT') {
        return failed(this.#failure(`read the chunk list of ${fileId}`, thrown));
      }
      return failed({
        code: 'file-missing',
        source: 'disk',
        retry: 'another-source',
        detail: `the chunk list of ${fileId} is not on ${this.#volumeName}`,
      });
    }
  }

  #directory(fileId: FileId): string {
    return path.join(this.#root, fileId.slice(0, 2));
  }

  #path(fileId: FileId, suffix = ''): string {
    return path.join(this.#root, fileId.slice(0, 2), `${fileId}${suffix}`);
  }

  async #makeDirectory(fileId: FileId): Promise<void> {
    const directory = this.#directory(fileId);
    if (this.#madeDirectories.has(directory)) return;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await syncDirectory(this.#root);
    this.#madeDirectories.add(directory);
  }

  async #unlinkIfThere(file: string): Promise<void> {
    try {
      await unlink(file);
    } catch (thrown) {
      if (codeOf(thrown) !== 'ENOENT') throw thrown;
    }
  }

  async #trying<T>(what: string, work: () => Promise<T>): Promise<Outcome<T>> {
    try {
      return success(await work());
    } catch (thrown) {
      return failed(this.#failure(what, thrown));
    }
  }

  #failure(what: string, thrown: unknown): Failure {
    return diskFailure(this.#volumeName, what, thrown);
  }

  #short(position: number): Failure {
    return {
      code: 'file-short',
      source: 'disk',
      retry: 'another-source',
      detail: `a file on ${this.#volumeName} ends before ${position}, where it should have bytes`,
    };
  }
}

/** What the operating system says of a disk, in an operator's words. */
export function diskFailure(volumeName: string, what: string, thrown: unknown): Failure {
  const code = codeOf(thrown);
  const isFull = code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL';
  const advice = isFull
    ? `there is no space left on ${volumeName}: lower its capacityBytes or free the disk`
    : `${volumeName}: cannot ${what}: ${messageOf(thrown)}`;
  return {
    code: isFull ? 'disk-full' : `disk-${code === '' ? 'error' : code.toLowerCase()}`,
    source: 'disk',
    retry: 'never',
    detail: advice,
    cause: thrown,
  };
}

function causeOf(failure: Failure): Error {
  return failure.cause instanceof Error ? failure.cause : new Error(failure.detail);
}

function openAt(file: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(file, flags, MODE, (error, fd) => (error === null ? resolve(fd) : reject(error)));
  });
}

function callFs(
  call: (done: (error: NodeJS.ErrnoException | null) => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error === null ? resolve() : reject(error)));
  });
}

async function syncDirectory(directory: string): Promise<void> {
  const fd = await openAt(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await callFs((done) => fsync(fd, done));
  } finally {
    close(fd, () => {});
  }
}
