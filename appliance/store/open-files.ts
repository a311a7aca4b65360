/**
 * Open content files, counted by who uses them; idle ones are kept open, up to a limit.
 *
 * Invariants: (1) a file with a reference is never closed
 *             (2) a file that was detached is closed with its last reference and never handed out again
 *             (3) one entry has at most one attached open file; opening is coalesced
 */
import type { Outcome } from '#base/outcome.ts';
import type { StoredFile } from '../serve/sender.ts';
import type { StoredEntry } from './entry.ts';
import type { ContentFile, VolumeFiles } from './volume.ts';

export class OpenFile implements StoredFile {
  readonly fd: number;
  readonly serial: number;
  readonly sizeBytes: number;
  readonly entry: StoredEntry;
  readonly content: ContentFile;
  references = 0;
  isDetached = false;
  /** Called once, when nobody may get this file any more: whoever lent it on takes it back. */
  onDetached: (() => void) | null = null;
  readonly #onReadFailed: (entry: StoredEntry, offset: number, code: string) => void;

  constructor(
    entry: StoredEntry,
    content: ContentFile,
    onReadFailed: (entry: StoredEntry, offset: number, code: string) => void,
  ) {
    this.entry = entry;
    this.content = content;
    this.fd = content.fd;
    this.serial = entry.serial;
    this.sizeBytes = entry.sizeBytes;
    this.#onReadFailed = onReadFailed;
  }

  readFailed(offset: number, code: string): void {
    this.#onReadFailed(this.entry, offset, code);
  }
}

export class OpenFiles {
  readonly #attached = new Map<StoredEntry, OpenFile>();
  readonly #idle = new Map<OpenFile, true>(); // in order of last use
  readonly #opening = new Map<StoredEntry, Promise<Outcome<OpenFile>>>();
  readonly #idleMax: number;
  readonly #filesOf: (entry: StoredEntry) => VolumeFiles;
  readonly #onReadFailed: (entry: StoredEntry, offset: number, code: string) => void;

  constructor(
    idleMax: number,
    filesOf: (entry: StoredEntry) => VolumeFiles,
    onReadFailed: (entry: StoredEntry, offset: number, code: string) => void,
  ) {
    this.#idleMax = idleMax;
    this.#filesOf = filesOf;
    this.#onReadFailed = onReadFailed;
  }

  get count(): number {
    return this.#attached.size;
  }

  /** The file if it is open already, with one more reference. The way of the hot path: no promise. */
  peek(entry: StoredEntry, forWriting = false): OpenFile | null {
    const file = this.#attached.get(entry);
    if (file === undefined || (forWriting && !file.content.isWritable)) return null;
    if (file.references++ === 0) this.#idle.delete(file);
    return file;
  }

  async take(entry: StoredEntry, forWriting = false): Promise<Outcome<OpenFile>> {
    for (;;) {
      const open = this.peek(entry, forWriting);
      if (open !== null) return { ok: true, value: open };
      const underWay = this.#opening.get(entry);
      if (underWay !== undefined) {
        const outcome = await underWay;
        if (!outcome.ok) return outcome;
        continue; // it may be open for reading only, or closed again
      }
      if (this.#attached.has(entry)) this.detach(entry); // open for reading, wanted for writing
      const opening = this.#open(entry, forWriting || !entry.isWhole);
      this.#opening.set(entry, opening);
      const outcome = await opening;
      this.#opening.delete(entry);
      if (!outcome.ok) return outcome;
    }
  }

  /** Makes a file that was just created known, with one reference. */
  attach(entry: StoredEntry, content: ContentFile): OpenFile {
    const file = new OpenFile(entry, content, this.#onReadFailed);
    file.references = 1;
    this.#attached.set(entry, file);
    return file;
  }

  /** One more reference of a file that the caller holds. */
  retain(file: OpenFile): void {
    file.references++;
  }

  release(file: OpenFile): void {
    if (--file.references > 0) return;
    if (file.isDetached) {
      this.#filesOf(file.entry).close(file.content);
      return;
    }
    this.#idle.set(file, true);
    this.#closeIdle(this.#idleMax);
  }

  /** Nobody gets this file any more; it is closed when its last user is done. */
  detach(entry: StoredEntry): void {
    const file = this.#attached.get(entry);
    if (file === undefined) return;
    this.#attached.delete(entry);
    file.isDetached = true;
    file.onDetached?.();
    this.#idle.delete(file);
    if (file.references === 0) this.#filesOf(entry).close(file.content);
  }

  closeAll(): void {
    for (const entry of this.#attached.keys()) this.detach(entry);
  }

  async #open(entry: StoredEntry, forWriting: boolean): Promise<Outcome<OpenFile>> {
    const serial = entry.serial;
    const outcome = await this.#filesOf(entry).open(entry.fileId, forWriting);
    if (!outcome.ok) return outcome;
    const file = new OpenFile(entry, outcome.value, this.#onReadFailed);
    if (entry.isGone || entry.serial !== serial || this.#attached.has(entry)) {
      // The world changed while it was opened: it is closed, and whoever wanted it looks again.
      this.#filesOf(entry).close(outcome.value);
      if (entry.isGone) {
        return {
          ok: false,
          failure: {
            code: 'file-left',
            source: 'self',
            retry: 'never',
            detail: `${entry.fileId} left the store`,
          },
        };
      }
      return { ok: true, value: file };
    }
    this.#attached.set(entry, file);
    this.#idle.set(file, true);
    this.#closeIdle(Math.max(1, this.#idleMax));
    return { ok: true, value: file };
  }

  #closeIdle(keep: number): void {
    for (const file of this.#idle.keys()) {
      if (this.#idle.size <= keep) return;
      this.#idle.delete(file);
      this.#attached.delete(file.entry);
      file.isDetached = true;
      this.#filesOf(file.entry).close(file.content);
    }
  }
}
