/**
 * A disk in memory that loses power: what was not synced is forgotten, torn or kept, by chance, in any combination.
 *
 *   write            kept | lost | torn (a prefix of it), each write by itself
 *   name operations  create, rename, unlink of one directory: each kept or lost by itself, in order
 *   catalogue        a prefix of its commits, at least what was synced
 *   rot              bytes that were good go bad, when the test says so
 *
 * Meaner than file systems are: they lose names in order, most of them. Bytes are kept by reference, so that a
 * thousand cuts are cheap; nobody changes a chunk once it was verified.
 */
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import type { FileId } from '#upstream/contract.ts';
import type {
  CatalogueChange,
  CatalogueRow,
  ContentFile,
  Volume,
  VolumeCatalogue,
  VolumeFiles,
} from './volume.ts';

interface Write {
  readonly position: number;
  readonly bytes: Uint8Array;
  readonly length: number; // less than bytes.length where the write was torn
}

class Inode {
  durable: Write[] = [];
  pending: Write[] = [];
  document: Uint8Array | null = null; // a chunk list
}

type NameOperation = (names: Map<string, Inode>) => void;

class Directory {
  durable = new Map<string, Inode>();
  pending: NameOperation[] = [];

  /** As a running system sees it. */
  now(): Map<string, Inode> {
    const names = new Map(this.durable);
    for (const operation of this.pending) operation(names);
    return names;
  }

  sync(operations: number): void {
    for (const operation of this.pending.splice(0, operations)) operation(this.durable);
  }
}

interface OpenInode extends ContentFile {
  readonly inode: Inode;
}

export class PowerCutDisk {
  readonly #random: Random;
  readonly #directories = new Map<string, Directory>();
  #commits: (readonly CatalogueChange[])[] = [];
  #syncedCommits = 0;
  #operationsLeft = Infinity;
  #isOff = false;

  constructor(random: Random) {
    this.#random = random;
  }

  get isOff(): boolean {
    return this.#isOff;
  }

  /** The power goes at the n-th operation from now: whoever waits for it, or asks later, waits for ever. */
  cutAfter(operations: number): void {
    this.#operationsLeft = operations;
  }

  /** Power comes back: what was not safe meets its chance. */
  restore(): void {
    for (const directory of this.#directories.values()) {
      const kept = directory.pending.filter(() => this.#random.next() < 0.5);
      directory.pending = kept;
      directory.sync(kept.length);
      for (const inode of directory.durable.values()) {
        for (const write of inode.pending) {
          const dice = this.#random.next();
          if (dice < 0.4) inode.durable.push(write);
          else if (dice < 0.7) {
            inode.durable.push({ ...write, length: this.#random.below(write.bytes.length) });
          }
        }
        inode.pending = [];
      }
    }
    const maybe = this.#commits.length - this.#syncedCommits;
    this.#commits.length = this.#syncedCommits + this.#random.below(maybe + 1);
    this.#syncedCommits = this.#commits.length;
    this.#operationsLeft = Infinity;
    this.#isOff = false;
  }

  volume(capacityBytes: number): Volume {
    return {
      name: 'power-cut',
      id: 'power-cut',
      speed: 'fast',
      capacityBytes,
      files: new CutFiles(this),
      catalogue: new CutCatalogue(this),
    };
  }

  /**
   * The bytes of a file at `position` go bad, as a sector does. What is returned takes it back: for damage that nobody had
   * noticed when the power went, which no order of writes can help against.
   */
  rot(fileId: FileId, position: number, length: number): (() => void) | null {
    const names = this.directory(fileId).now();
    const inode = names.get(fileId) ?? names.get(`${fileId}.part`);
    if (inode === undefined) return null;
    const bad: Write = { position, bytes: Buffer.alloc(length, 0xbd), length };
    inode.durable.push(...inode.pending.splice(0), bad);
    return () => {
      inode.durable = inode.durable.filter((write) => write !== bad);
    };
  }

  // ---------------------------------------------------------------- for the two below

  directory(fileId: FileId): Directory {
    const name = fileId.slice(0, 1); // few directories: names of several files are lost together
    let directory = this.#directories.get(name);
    if (directory === undefined) {
      directory = new Directory();
      this.#directories.set(name, directory);
    }
    return directory;
  }

  names(): readonly FileId[] {
    return [...this.#directories.values()].flatMap((directory) =>
      [...directory.now().keys()].map((name) => name.split('.')[0]),
    );
  }

  /** One operation; after it a moment passes, in which the power may go. */
  async operate<T>(work: () => T): Promise<T> {
    this.spend();
    if (this.#isOff) return new Promise(() => {});
    const result = work();
    await Promise.resolve();
    if (this.#isOff) return new Promise(() => {});
    return result;
  }

  spend(): void {
    if (this.#operationsLeft-- <= 0) this.#isOff = true;
  }

  commit(changes: readonly CatalogueChange[]): void {
    this.spend();
    if (!this.#isOff) this.#commits.push(changes);
  }

  syncCommits(upTo: number): void {
    this.#syncedCommits = Math.max(this.#syncedCommits, upTo);
  }

  get commits(): readonly (readonly CatalogueChange[])[] {
    return this.#commits;
  }
}

class CutCatalogue implements VolumeCatalogue {
  readonly #disk: PowerCutDisk;

  constructor(disk: PowerCutDisk) {
    this.#disk = disk;
  }

  page(after: FileId | null, limit: number): Outcome<readonly CatalogueRow[]> {
    const rows = [...this.#rows().values()].filter((row) => after === null || row.fileId > after);
    return success(rows.sort((a, b) => (a.fileId < b.fileId ? -1 : 1)).slice(0, limit));
  }

  row(fileId: FileId): CatalogueRow | null {
    return this.#rows().get(fileId) ?? null;
  }

  #rows(): Map<FileId, CatalogueRow> {
    const rows = new Map<FileId, CatalogueRow>();
    for (const changes of this.#disk.commits) {
      for (const change of changes) {
        if (change.kind === 'put') rows.set(change.row.fileId, change.row);
        else rows.delete(change.fileId);
      }
    }
    return rows;
  }

  commit(changes: readonly CatalogueChange[]): Outcome<void> {
    this.#disk.commit(changes);
    return success(undefined);
  }

  sync(): Promise<Outcome<void>> {
    const upTo = this.#disk.commits.length;
    return this.#disk.operate(() => {
      this.#disk.syncCommits(upTo);
      return success(undefined);
    });
  }

  close(): void {}
}

class CutFiles implements VolumeFiles {
  readonly #disk: PowerCutDisk;

  constructor(disk: PowerCutDisk) {
    this.#disk = disk;
  }

  async create(fileId: FileId): Promise<Outcome<ContentFile>> {
    await this.#name(fileId, (names) => names.delete(fileId));
    await this.#name(fileId, (names) => names.delete(`${fileId}.part`));
    const inode = new Inode();
    await this.#name(fileId, (names) => names.set(`${fileId}.part`, inode));
    return success({ fd: -1, isWritable: true, inode } satisfies OpenInode);
  }

  open(fileId: FileId, forWriting: boolean): Promise<Outcome<ContentFile>> {
    return this.#disk.operate<Outcome<ContentFile>>(() => {
      const names = this.#disk.directory(fileId).now();
      const inode = names.get(fileId) ?? names.get(`${fileId}.part`);
      if (inode === undefined) return failed(missing(fileId));
      return success({ fd: -1, isWritable: forWriting, inode } satisfies OpenInode);
    });
  }

  close(): void {}

  write(file: ContentFile, bytes: Uint8Array, position: number): Promise<Outcome<void>> {
    return this.#disk.operate(() => {
      inodeOf(file).pending.push({ position, bytes, length: bytes.length });
      return success(undefined);
    });
  }

  read(file: ContentFile, into: Buffer, position: number): Promise<Outcome<void>> {
    return this.#disk.operate(() => {
      const { durable, pending } = inodeOf(file);
      into.fill(0);
      for (const write of [...durable, ...pending]) {
        // Chunks are written whole, so that a read sees one position's writes only.
        if (write.position === position) into.set(write.bytes.subarray(0, write.length), 0);
      }
      return success(undefined);
    });
  }

  async sync(file: ContentFile): Promise<Outcome<void>> {
    const inode = inodeOf(file);
    const writes = inode.pending.length; // what comes in while it syncs is not part of it
    return this.#disk.operate(() => {
      inode.durable.push(...inode.pending.splice(0, writes));
      return success(undefined);
    });
  }

  async syncName(fileId: FileId): Promise<Outcome<void>> {
    const directory = this.#disk.directory(fileId);
    const operations = directory.pending.length;
    return this.#disk.operate(() => {
      directory.sync(operations);
      return success(undefined);
    });
  }

  async finish(fileId: FileId): Promise<Outcome<void>> {
    await this.#name(fileId, (names) => {
      const inode = names.get(`${fileId}.part`);
      if (inode === undefined) return;
      names.delete(`${fileId}.part`);
      names.set(fileId, inode);
    });
    return success(undefined);
  }

  async remove(fileId: FileId): Promise<Outcome<void>> {
    for (const suffix of ['', '.part', '.chunks']) {
      await this.#name(fileId, (names) => names.delete(`${fileId}${suffix}`));
    }
    return success(undefined);
  }

  async writeChunkList(fileId: FileId, encoded: Uint8Array): Promise<Outcome<void>> {
    const inode = new Inode();
    inode.document = encoded;
    await this.#name(fileId, (names) => names.set(`${fileId}.chunks`, inode));
    return this.syncName(fileId);
  }

  readChunkList(fileId: FileId): Promise<Outcome<Buffer>> {
    return this.#disk.operate<Outcome<Buffer>>(() => {
      const document = this.#disk.directory(fileId).now().get(`${fileId}.chunks`)?.document;
      return document == null ? failed(missing(fileId)) : success(Buffer.from(document));
    });
  }

  async *named(): AsyncIterable<FileId> {
    yield* this.#disk.names();
  }

  #name(fileId: FileId, operation: NameOperation): Promise<void> {
    return this.#disk.operate(() => {
      this.#disk.directory(fileId).pending.push(operation);
    });
  }
}

function inodeOf(file: ContentFile): Inode {
  return (file as OpenInode).inode;
}

function missing(fileId: FileId): Failure {
  return {
    code: 'file-missing',
    source: 'disk',
    retry: 'another-source',
    detail: `${fileId} is not there`,
  };
}
