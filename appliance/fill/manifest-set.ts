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
  /**
   * Files in the order in which they are fetched: urgent ones, then by the power of two of their forecast, then in an
   * order of this box's own, so that the boxes of a site fetch different files first and the rest from each other.
   */
  readonly order: readonly Wanted[];

  constructor(
    version: number,
    fillDensity: number,
    entries: readonly ManifestEntry[],
    applianceId: string,
  ) {
    this.version = version;
    this.fillDensity = fillDensity;
    this.order = entries
      .map(({ fileId, sizeBytes, titles, density, urgent }) => ({
        wanted: { fileId, sizeBytes, titles, density, isUrgent: urgent === true },
        band: density > 0 ? Math.floor(Math.log2(density)) : -Infinity,
        own: hash32(`${applianceId} ${fileId}`),
      }))
      .sort(compareRanked)
      .map(({ wanted }) => wanted);
    this.files = new Map(this.order.map((file) => [file.fileId, file]));
    this.bytes = this.order.reduce((sum, file) => sum + file.sizeBytes, 0);
  }

  static of(header: ManifestHeader, entries: readonly ManifestEntry[]): ManifestSet {
    return new ManifestSet(header.version, header.fillDensity, entries, header.applianceId);
  }
}

export const NO_MANIFEST = new ManifestSet(0, 0, [], '');

interface Ranked {
  readonly wanted: Wanted;
  readonly band: number;
  readonly own: number;
}

function compareRanked(a: Ranked, b: Ranked): number {
  if (a.wanted.isUrgent !== b.wanted.isUrgent) return a.wanted.isUrgent ? -1 : 1;
  if (a.band !== b.band) return b.band > a.band ? 1 : -1;
  return a.own - b.own || (a.wanted.fileId < b.wanted.fileId ? -1 : 1);
}

/** FNV-1a with a final mix: spreads, proves nothing. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
