/**
 * The set of files that the manifest in use wants here. Swapped whole.
 */
import type { ManifestEntry, ManifestHeader } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import type { WantedFile } from '../store/store.ts';

export interface Wanted extends WantedFile {
  readonly fileId: FileId;
  readonly isUrgent: boolean;
}

export class ManifestSet {
  readonly version: number; // 0: none yet
  readonly fillDensity: number;
  readonly bytes: number;
  readonly files: ReadonlyMap<FileId, Wanted>;
  /** Files in the order in which they are fetched: urgent ones, then by forecast, then by id. */
  readonly order: readonly Wanted[];

  constructor(version: number, fillDensity: number, entries: readonly ManifestEntry[]) {
    this.version = version;
    this.fillDensity = fillDensity;
    this.order = entries
      .map(({ fileId, sizeBytes, titles, density, urgent }) => ({
        fileId,
        sizeBytes,
        titles,
        density,
        isUrgent: urgent === true,
      }))
      .sort(compareWanted);
    this.files = new Map(this.order.map((file) => [file.fileId, file]));
    this.bytes = this.order.reduce((sum, file) => sum + file.sizeBytes, 0);
  }

  static of(header: ManifestHeader, entries: readonly ManifestEntry[]): ManifestSet {
    return new ManifestSet(header.version, header.fillDensity, entries);
  }
}

export const NO_MANIFEST = new ManifestSet(0, 0, []);

function compareWanted(a: Wanted, b: Wanted): number {
  if (a.isUrgent !== b.isUrgent) return a.isUrgent ? -1 : 1;
  if (a.density !== b.density) return b.density - a.density;
  return a.fileId < b.fileId ? -1 : 1;
}
