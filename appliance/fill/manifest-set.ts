/**
 * The set of files that the manifest in use wants here. Swapped whole.
 */
import type { ManifestEntry, ManifestHeader } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import type { WantedFile } from '../store/wanted-files.ts';

const FILES_PER_PIECE = 5000; // between two turns of the event loop: some 10 ms
const INDEX_MAX = 2 ** 21; // above MANIFEST_ENTRIES_MAX; 32 + 21 bits are exact in a double

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

  private constructor(version: number, fillDensity: number, ranked: RankedFiles) {
    this.version = version;
    this.fillDensity = fillDensity;
    this.order = ranked.order;
    this.files = ranked.files;
    this.bytes = ranked.bytes;
  }

  static empty(): ManifestSet {
    return new ManifestSet(0, 0, { order: [], files: new Map(), bytes: 0 });
  }

  /** The set with these files first and urgent, whether it names them or not; the same one where there are none. */
  withUrgent(urgent: readonly Omit<Wanted, 'isUrgent'>[]): ManifestSet {
    if (urgent.length === 0) return this;
    const first = urgent.map((file): Wanted => ({ ...file, isUrgent: true }));
    const named = new Set(first.map(({ fileId }) => fileId));
    const order = [...first, ...this.order.filter(({ fileId }) => !named.has(fileId))];
    const files = new Map(order.map((wanted) => [wanted.fileId, wanted]));
    const bytes = order.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return new ManifestSet(this.version, this.fillDensity, { order, files, bytes });
  }

  /** The set without the files that `isOut` names; the same one where it names none. */
  without(isOut: (wanted: Wanted) => boolean): ManifestSet {
    const order = this.order.filter((wanted) => !isOut(wanted));
    if (order.length === this.order.length) return this;
    const files = new Map(order.map((wanted) => [wanted.fileId, wanted]));
    const bytes = order.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return new ManifestSet(this.version, this.fillDensity, { order, files, bytes });
  }

  /** In pieces: with 400,000 entries it takes a second, in which viewers are served. */
  static async of(header: ManifestHeader, entries: readonly ManifestEntry[]): Promise<ManifestSet> {
    const pieces = rank(entries, header.applianceId);
    for (;;) {
      const piece = pieces.next();
      if (piece.done === true)
        return new ManifestSet(header.version, header.fillDensity, piece.value);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

export const NO_MANIFEST = ManifestSet.empty();

interface RankedFiles {
  readonly order: readonly Wanted[];
  readonly files: ReadonlyMap<FileId, Wanted>;
  readonly bytes: number;
}

/** Files that are wanted alike, and this box's own number of each. */
interface Band {
  readonly isUrgent: boolean;
  readonly band: number;
  readonly files: Wanted[];
  readonly own: number[];
}

function* rank(
  entries: readonly ManifestEntry[],
  applianceId: string,
): Generator<undefined, RankedFiles> {
  const bands = new Map<string, Band>();
  for (const [at, { fileId, sizeBytes, titles, density, urgent }] of entries.entries()) {
    if (at % FILES_PER_PIECE === FILES_PER_PIECE - 1) yield;
    const isUrgent = urgent === true;
    const band = bandOf(density);
    const key = `${isUrgent} ${band}`;
    let found = bands.get(key);
    if (found === undefined) bands.set(key, (found = { isUrgent, band, files: [], own: [] }));
    found.files.push({ fileId, sizeBytes, titles, density, isUrgent });
    found.own.push(hash32(`${applianceId} ${fileId}`));
  }
  const order: Wanted[] = [];
  const files = new Map<FileId, Wanted>();
  let bytes = 0;
  for (const band of [...bands.values()].sort(compareBands)) {
    yield;
    for (const at of sortedByOwn(band.own)) {
      const wanted = band.files[at];
      order.push(wanted);
      files.set(wanted.fileId, wanted);
      bytes += wanted.sizeBytes;
      if (order.length % FILES_PER_PIECE === 0) yield;
    }
  }
  return { order, files, bytes };
}

function compareBands(a: Band, b: Band): number {
  if (a.isUrgent !== b.isUrgent) return a.isUrgent ? -1 : 1;
  return b.band > a.band ? 1 : -1;
}

/** Indexes in order of `own`, equal ones as they came: number and index in one double, which sorts without a comparator. */
function sortedByOwn(own: readonly number[]): number[] {
  const keys = Float64Array.from(own, (number, at) => number * INDEX_MAX + at).sort();
  return Array.from(keys, (key) => key % INDEX_MAX);
}

/** The power of two of a forecast: files of one band are wanted alike. */
export function bandOf(density: number): number {
  return density > 0 ? Math.floor(Math.log2(density)) : -Infinity;
}

/** FNV-1a with a final mix: spreads, proves nothing. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
