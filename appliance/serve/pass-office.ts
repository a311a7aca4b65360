/**
 * Issues passes for one serving thread, and takes them back.
 *
 * Invariants: (1) a pass holds one reference of its open file until the thread gave it back, or is gone
 *             (2) a file that nobody may get any more is taken back from all threads at once, by one shared word
 *             (3) at most PASSES_PER_THREAD_MAX passes are out, plus those that the thread is about to give back
 */
import type { Hit } from './content-handler.ts';
import { PASSES_PER_THREAD_MAX, type Pass } from './pass.ts';
import { LENT_FILES_MAX, type SharedWords } from './shared-words.ts';
import type { OpenFile } from '../store/open-files.ts';
import type { KnownToken } from './viewer-verdicts.ts';

interface Lent {
  readonly place: number;
  passes: number;
}

/** The files that are lent, to all threads. */
export class LentFiles {
  readonly #words: SharedWords;
  readonly #retain: (file: OpenFile) => void;
  readonly #release: (file: OpenFile) => void;
  readonly #lent = new Map<OpenFile, Lent>();
  readonly #free: number[] = [];
  #places = 0;

  /** `retain` takes one more reference of a file that the caller holds, `release` gives it back. */
  constructor(
    words: SharedWords,
    retain: (file: OpenFile) => void,
    release: (file: OpenFile) => void,
  ) {
    this.#words = words;
    this.#retain = retain;
    this.#release = release;
  }

  get count(): number {
    return this.#lent.size;
  }

  /** The place at which it is lent now; null where there is none left, or nobody may get the file any more. */
  lend(file: OpenFile): number | null {
    if (file.isDetached) return null;
    let lent = this.#lent.get(file);
    if (lent === undefined) {
      const place = this.#free.pop() ?? (this.#places < LENT_FILES_MAX ? this.#places++ : null);
      if (place === null) return null;
      lent = { place, passes: 0 };
      this.#lent.set(file, lent);
      file.onDetached = () => this.#words.takeBack(place);
    }
    lent.passes++;
    this.#retain(file);
    return lent.place;
  }

  givenBack(file: OpenFile): void {
    const lent = this.#lent.get(file);
    if (lent !== undefined && --lent.passes === 0) {
      this.#lent.delete(file);
      file.onDetached = null;
      this.#free.push(lent.place);
    }
    this.#release(file);
  }
}

interface Issued {
  readonly file: OpenFile;
  readonly token: KnownToken;
}

export class PassOffice {
  readonly #files: LentFiles;
  readonly #words: SharedWords;
  readonly #issued = new Map<number, Issued>();
  #lastId = 0;

  constructor(files: LentFiles, words: SharedWords) {
    this.#files = files;
    this.#words = words;
  }

  get count(): number {
    return this.#issued.size;
  }

  /** While the answer to this hit still holds its file. Null: this thread has enough, or the file is not to be had. */
  issue({ token, titleId, file }: Hit): Pass | null {
    if (this.#issued.size >= 2 * PASSES_PER_THREAD_MAX) return null;
    const place = this.#files.lend(file);
    if (place === null) return null;
    const id = ++this.#lastId;
    this.#issued.set(id, { file, token });
    const { entry } = file;
    const { home, reason, keyId, issuer, expiresAtSeconds, notBeforeSeconds } = token.claims;
    return {
      id,
      place,
      generation: this.#words.generation(place),
      epoch: this.#words.epoch,
      fileId: entry.fileId,
      titleId,
      fd: file.fd,
      serial: file.serial,
      sizeBytes: file.sizeBytes,
      storedAtMs: entry.storedAtMs,
      token: {
        home,
        reason,
        keyId,
        issuer,
        expiresAtSeconds,
        notBeforeSeconds,
        firstSeenMs: token.firstSeenMs,
        draw: token.draw,
      },
    };
  }

  /** Whose pass it is; null where it was given back. */
  holder(id: number): KnownToken | null {
    return this.#issued.get(id)?.token ?? null;
  }

  /** An open file that a pass is on. Looked for only where a disk failed. */
  fileOf(serial: number): OpenFile | undefined {
    for (const { file } of this.#issued.values()) if (file.serial === serial) return file;
    return undefined;
  }

  givenBack(ids: Iterable<number>): void {
    for (const id of ids) {
      const issued = this.#issued.get(id);
      if (issued === undefined) continue;
      this.#issued.delete(id);
      this.#files.givenBack(issued.file);
    }
  }

  /** The thread is gone. */
  close(): void {
    this.givenBack([...this.#issued.keys()]);
  }
}
