/**
 * The catalogue in memory: titles, files, ordinals. Loaded from the store at start, kept in step with it.
 *
 * Decides what to do with a listing that is offered; the store then writes it, and only then it is applied here.
 *
 * Invariants: (1) ordinals are one sequence per epoch: a file keeps its ordinal for ever, none is given twice
 *             (2) a title's version only grows; the same version again must have the same content
 *             (3) `shared` grows when a file that already had an ordinal changed its titles: manifests that
 *                 were expanded before are looked at again
 */
import { createHash } from 'node:crypto';
import type { FileId, TitleId, TitleListing } from '#upstream/contract.ts';

export interface CatalogueTitle {
  readonly listing: TitleListing;
  readonly signed: string;
  readonly takenInAtMs: number;
  readonly contentKey: string;
}

export interface CatalogueFile {
  readonly fileId: FileId;
  readonly ordinal: number;
  readonly sizeBytes: number;
  readonly titles: readonly TitleId[];
}

export type Intake =
  | { readonly verdict: 'take'; readonly newFiles: readonly CatalogueFile[] }
  | { readonly verdict: 'same' }
  | {
      readonly verdict: 'refuse';
      readonly why: 'version-older' | 'version-reused' | 'file-twice' | 'file-size-differs';
      readonly detail: string;
    };

export class Catalogue {
  readonly epoch: number;
  #titles = new Map<TitleId, CatalogueTitle>();
  #files = new Map<FileId, CatalogueFile>();
  #byOrdinal: (CatalogueFile | undefined)[] = [];
  #nextOrdinal = 0;
  #bytes = 0;
  #shared = 0;

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  /** Files as the store has them, before any title. */
  restoreFile(fileId: FileId, ordinal: number, sizeBytes: number): void {
    this.#putFile({ fileId, ordinal, sizeBytes, titles: [] });
    this.#bytes += sizeBytes;
    this.#nextOrdinal = Math.max(this.#nextOrdinal, ordinal + 1);
  }

  /** What to do with a listing. Nothing changes here. */
  decide(listing: TitleListing): Intake {
    const twice = firstRepeated(listing.files.map((file) => file.fileId));
    if (twice !== null) {
      return { verdict: 'refuse', why: 'file-twice', detail: `file ${twice} is listed twice` };
    }
    const present = this.#titles.get(listing.titleId);
    if (present !== undefined) {
      const { version } = present.listing;
      if (listing.version < version) {
        return {
          verdict: 'refuse',
          why: 'version-older',
          detail: `version ${listing.version} is older than ${version}, which is in the catalogue`,
        };
      }
      if (listing.version === version) {
        return present.contentKey === contentKeyOfListing(listing)
          ? { verdict: 'same' }
          : {
              verdict: 'refuse',
              why: 'version-reused',
              detail: `version ${version} is in the catalogue with other content; a change needs a higher version`,
            };
      }
    }
    const newFiles: CatalogueFile[] = [];
    for (const { fileId, sizeBytes } of listing.files) {
      const known = this.#files.get(fileId);
      if (known === undefined) {
        const ordinal = this.#nextOrdinal + newFiles.length;
        newFiles.push({ fileId, ordinal, sizeBytes, titles: [listing.titleId] });
      } else if (known.sizeBytes !== sizeBytes) {
        return {
          verdict: 'refuse',
          why: 'file-size-differs',
          detail: `file ${fileId} has ${known.sizeBytes} bytes, the listing says ${sizeBytes}`,
        };
      }
    }
    return { verdict: 'take', newFiles };
  }

  /** Applies what was decided and stored. */
  apply(title: CatalogueTitle, newFiles: readonly CatalogueFile[]): void {
    for (const file of newFiles) this.restoreFile(file.fileId, file.ordinal, file.sizeBytes);
    const fresh = new Set(newFiles.map((file) => file.fileId));
    const { titleId, files } = title.listing;
    const before = this.#titles.get(titleId)?.listing.files ?? [];
    const now = new Set(files.map((file) => file.fileId));
    for (const { fileId } of before) {
      if (!now.has(fileId))
        this.#retitle(fileId, (titles) => titles.filter((id) => id !== titleId));
    }
    for (const { fileId } of files) {
      const known = this.#files.get(fileId);
      if (known === undefined || known.titles.includes(titleId)) continue;
      if (fresh.has(fileId)) this.#putFile({ ...known, titles: [titleId] });
      else this.#retitle(fileId, (titles) => [...titles, titleId].sort());
    }
    this.#titles.set(titleId, title);
  }

  title(titleId: TitleId): CatalogueTitle | undefined {
    return this.#titles.get(titleId);
  }

  titles(): IterableIterator<CatalogueTitle> {
    return this.#titles.values();
  }

  file(fileId: FileId): CatalogueFile | undefined {
    return this.#files.get(fileId);
  }

  ordinalOf(fileId: FileId): number | undefined {
    return this.#files.get(fileId)?.ordinal;
  }

  fileIdOf(ordinal: number): FileId | undefined {
    return this.#byOrdinal[ordinal]?.fileId;
  }

  sizeOf(fileId: FileId): number {
    return this.#files.get(fileId)?.sizeBytes ?? 0;
  }

  titlesOf(fileId: FileId): readonly TitleId[] {
    return this.#files.get(fileId)?.titles ?? [];
  }

  get shared(): number {
    return this.#shared;
  }

  get counts(): { readonly titles: number; readonly files: number; readonly bytes: number } {
    return { titles: this.#titles.size, files: this.#files.size, bytes: this.#bytes };
  }

  #retitle(fileId: FileId, change: (titles: readonly TitleId[]) => readonly TitleId[]): void {
    const file = this.#files.get(fileId);
    if (file === undefined) return;
    this.#putFile({ ...file, titles: change(file.titles) });
    this.#shared++;
  }

  #putFile(file: CatalogueFile): void {
    this.#files.set(file.fileId, file);
    this.#byOrdinal[file.ordinal] = file;
  }
}

/** The same listing, whatever the order of its keys. */
export function contentKeyOfListing(listing: TitleListing): string {
  return createHash('sha256').update(canonicalJson(listing)).digest('base64url');
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const parts = Object.entries(value)
    .filter(([, entry]) => entry !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry)}`);
  return `{${parts.join(',')}}`;
}

function firstRepeated(ids: readonly string[]): string | null {
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) return id;
    seen.add(id);
  }
  return null;
}
