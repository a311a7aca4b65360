/**
 * What the store asks of one volume: a directory of content files, and a catalogue of them on the same disk.
 *
 * These comments are obligations: `io/` implements them on a disk, the power-cut test on a disk that forgets.
 * Every call that touches the disk returns a Failure (source 'disk', the volume named), never an exception.
 */
import type { Outcome } from '#base/outcome.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';

/** One row: what must survive a restart. */
export interface CatalogueRow {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly titles: readonly TitleId[]; // by signed data
  readonly chunks: Uint8Array | null; // bits of the chunks that are present and on the disk; null: all
  readonly isPinned: boolean;
  readonly forecastPerDay: number;
  readonly heatCount: number;
  readonly heatAtMs: number;
  readonly storedAtMs: number;
  readonly from: string; // where its chunks came from last: a peer's id, "origin", "adopted"
}

export type CatalogueChange =
  | { readonly kind: 'put'; readonly row: CatalogueRow }
  | { readonly kind: 'remove'; readonly fileId: FileId };

export interface VolumeCatalogue {
  /** Rows in order of id, at most `limit`, from the first id after `after` on (null: from the start). */
  page(after: FileId | null, limit: number): Outcome<readonly CatalogueRow[]>;
  /** One row, without waiting for anything else; null where there is none, or it cannot be read. */
  row(fileId: FileId): CatalogueRow | null;
  /** All of the changes or none, visible to `page` and `row` at once. After a power cut a tail of commits may be lost, never a middle. */
  commit(changes: readonly CatalogueChange[]): Outcome<void>;
  /** Every commit so far survives a power cut from here on. */
  sync(): Promise<Outcome<void>>;
  close(): void;
}

/** An open content file. `fd` is what a sender reads from. */
export interface ContentFile {
  readonly fd: number;
  readonly isWritable: boolean;
}

/**
 * Content files. A file has a temporary name until it is whole; both names are in one directory.
 * Which of the two exists is no information: a power cut may undo a rename. The catalogue's row alone says what is present.
 */
export interface VolumeFiles {
  /** Makes a new empty file under its temporary name. Whatever had one of its names before is gone. */
  create(fileId: FileId): Promise<Outcome<ContentFile>>;
  /** Opens it under whichever name it has. Failure 'file-missing' where it has none. */
  open(fileId: FileId, forWriting: boolean): Promise<Outcome<ContentFile>>;
  close(file: ContentFile): void;
  write(file: ContentFile, bytes: Uint8Array, position: number): Promise<Outcome<void>>;
  /** Fills `into` from `position`. Failure 'file-short' where the file ends before. */
  read(file: ContentFile, into: Buffer, position: number): Promise<Outcome<void>>;
  /** What was written to the file survives a power cut from here on. Its name may not, before `syncName`. */
  sync(file: ContentFile): Promise<Outcome<void>>;
  /** The names in the file's directory are as they are now, from here on. */
  syncName(fileId: FileId): Promise<Outcome<void>>;
  /** Gives a whole file its own name. */
  finish(fileId: FileId): Promise<Outcome<void>>;
  /** Removes it under every name, its chunk list too. Nothing there is success. */
  remove(fileId: FileId): Promise<Outcome<void>>;
  /** Every id that some name in the directories belongs to, in no order; ids may come twice. */
  named(): AsyncIterable<FileId>;
  /** Keeps the encoded chunk list beside the file: it survives a power cut once this returns. */
  writeChunkList(fileId: FileId, encoded: Uint8Array): Promise<Outcome<void>>;
  readChunkList(fileId: FileId): Promise<Outcome<Buffer>>;
}

export interface Volume {
  readonly name: string; // its path: how an operator knows it
  readonly id: string; // made with the volume: tells a swapped disk
  readonly speed: 'fast' | 'slow';
  readonly capacityBytes: number;
  readonly files: VolumeFiles;
  readonly catalogue: VolumeCatalogue;
}
