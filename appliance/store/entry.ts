/**
 * One file of the in-memory catalogue.
 *
 * States: partial (some chunks are readable) and whole (`readable` is null). Of a partial file:
 *   readable  written, verified; a viewer may have it. A power cut may take it back
 *   durable   on the disk for good, and in the volume's catalogue; a subset of readable
 */
import {
  chunkCountOf,
  chunkLengthOf,
  CHUNK_BYTES,
  type FileId,
  type TitleId,
} from '#upstream/contract.ts';
import { ChunkSet } from './chunk-set.ts';
import { COLD, type Heat } from './heat.ts';
import type { CatalogueRow } from './volume.ts';

let lastSerial = 0;

export class StoredEntry {
  readonly fileId: FileId;
  readonly sizeBytes: number;
  readonly chunkCount: number;
  readonly volumeAt: number; // index of its volume
  /** Renewed when a chunk of it turns out bad: nothing remembered under the old one may be served. */
  serial = ++lastSerial;
  titles: readonly TitleId[];
  readable: ChunkSet | null;
  durable: ChunkSet | null;
  presentBytes: number;
  isPinned: boolean;
  forecastPerDay: number;
  heat: Heat = COLD;
  storedAtMs: number;
  from: string;
  /** What viewers took of it since this process began; heat is what is kept. */
  servedBytes = 0;
  servedAnswers = 0;
  /** It left the catalogue: no more chunks are taken, what is open may still be read. */
  isGone = false;
  /** Its name in the directory survives a power cut. */
  isNameSafe: boolean;

  constructor(
    volumeAt: number,
    init: Pick<
      CatalogueRow,
      'fileId' | 'sizeBytes' | 'titles' | 'isPinned' | 'forecastPerDay' | 'storedAtMs' | 'from'
    >,
    chunks: ChunkSet | null,
    isNameSafe: boolean,
  ) {
    this.volumeAt = volumeAt;
    this.fileId = init.fileId;
    this.sizeBytes = init.sizeBytes;
    this.chunkCount = chunkCountOf(init.sizeBytes);
    this.titles = init.titles;
    this.isPinned = init.isPinned;
    this.forecastPerDay = init.forecastPerDay;
    this.storedAtMs = init.storedAtMs;
    this.from = init.from;
    this.isNameSafe = isNameSafe;
    const isWhole = chunks === null || chunks.isFull;
    this.readable = isWhole ? null : chunks.copy();
    this.durable = isWhole ? null : chunks.copy();
    this.presentBytes = isWhole ? this.sizeBytes : 0;
    if (!isWhole) {
      for (let at = 0; at < this.chunkCount; at++) {
        if (chunks.has(at)) this.presentBytes += this.chunkBytes(at);
      }
    }
  }

  static fromRow(volumeAt: number, row: CatalogueRow): StoredEntry {
    const chunks =
      row.chunks === null ? null : new ChunkSet(chunkCountOf(row.sizeBytes), row.chunks);
    const entry = new StoredEntry(volumeAt, row, chunks, true);
    entry.heat = { count: row.heatCount, atMs: row.heatAtMs };
    return entry;
  }

  get isWhole(): boolean {
    return this.readable === null;
  }

  has(index: number): boolean {
    return this.readable === null ? index < this.chunkCount : this.readable.has(index);
  }

  chunkBytes(index: number): number {
    return chunkLengthOf({ sizeBytes: this.sizeBytes, chunkBytes: CHUNK_BYTES }, index);
  }

  /** Room that it takes: a planned file all of it from the start, so that a fill never runs out halfway. */
  get footprintBytes(): number {
    return this.isPinned ? this.sizeBytes : this.presentBytes;
  }

  renewSerial(): void {
    this.serial = ++lastSerial;
  }

  toRow(): CatalogueRow {
    return {
      fileId: this.fileId,
      sizeBytes: this.sizeBytes,
      titles: this.titles,
      chunks: this.durable === null ? null : this.durable.toBytes(),
      isPinned: this.isPinned,
      forecastPerDay: this.forecastPerDay,
      heatCount: this.heat.count,
      heatAtMs: this.heat.atMs,
      storedAtMs: this.storedAtMs,
      from: this.from,
    };
  }
}
