/**
 * The body of an answer that is partly or wholly not here: parts from the disk and chunks from flights, in order.
 *
 * Invariants: (1) the parts join to exactly [start, endInclusive]
 *             (2) the open file it holds is given back once, by `close`
 */
import { failed, success, type Outcome } from '#base/outcome.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import type { BodyPart, StreamedBody } from '../serve/sender.ts';
import type { OpenFile } from '../store/open-files.ts';
import type { Store } from '../store/store.ts';
import { presentUntil, type MissedFile, type MissPath } from './miss-path.ts';

export class MissBody implements StreamedBody {
  readonly kind = 'streamed';
  readonly #store: Store;
  readonly #path: MissPath;
  readonly #missed: MissedFile;
  readonly #endInclusive: number;
  #position: number;
  #first: BodyPart | null = null;
  #file: OpenFile | null = null;
  #isClosed = false;

  constructor(
    store: Store,
    path: MissPath,
    missed: MissedFile,
    start: number,
    endInclusive: number,
  ) {
    this.#store = store;
    this.#path = path;
    this.#missed = missed;
    this.#position = start;
    this.#endInclusive = endInclusive;
  }

  /** Waits for the first part: only then is it known whether the answer is a 206 or a 404. */
  async open(): Promise<Outcome<void>> {
    const part = await this.next();
    if (!part.ok) {
      this.close();
      return part;
    }
    this.#first = part.value;
    return success(undefined);
  }

  async next(): Promise<Outcome<BodyPart | null>> {
    const first = this.#first;
    if (first !== null) {
      this.#first = null;
      return success(first);
    }
    if (this.#isClosed || this.#position > this.#endInclusive) return success(null);
    const index = Math.floor(this.#position / CHUNK_BYTES);
    const stored = await this.#stored(index);
    return stored === null ? this.#fetched(index) : success(stored);
  }

  close(): void {
    this.#isClosed = true;
    if (this.#file !== null) this.#store.release(this.#file);
    this.#file = null;
  }

  async #stored(index: number): Promise<BodyPart | null> {
    const entry = this.#store.find(this.#missed.fileId);
    if (entry === undefined || !entry.has(index)) return null;
    if (this.#file === null || this.#file.entry !== entry || this.#file.serial !== entry.serial) {
      const leased = await this.#store.lease(entry);
      if (!leased.ok) return null; // the disk failed: the sources may have it
      if (this.#isClosed) {
        this.#store.release(leased.value);
        return null;
      }
      if (this.#file !== null) this.#store.release(this.#file);
      this.#file = leased.value;
      if (leased.value.serial !== entry.serial || !entry.has(index)) return null;
    }
    const last = Math.floor(this.#endInclusive / CHUNK_BYTES);
    const end = Math.min(
      this.#endInclusive,
      (presentUntil(entry, index, last) + 1) * CHUNK_BYTES - 1,
    );
    const part: BodyPart = {
      kind: 'stored',
      file: this.#file,
      offset: this.#position,
      length: end + 1 - this.#position,
    };
    this.#position = end + 1;
    return part;
  }

  async #fetched(index: number): Promise<Outcome<BodyPart | null>> {
    if (this.#isClosed) return failed(closedFailure);
    const last = Math.floor(this.#endInclusive / CHUNK_BYTES);
    const file = await this.#path.file(this.#missed);
    if (!file.ok) return file;
    const chunk = await this.#path.chunk(this.#missed, file.value, index, last);
    if (!chunk.ok) return chunk;
    this.#path.readAhead(this.#missed, file.value, index + 1, last);
    const chunkStart = index * CHUNK_BYTES;
    const end = Math.min(this.#endInclusive, chunkStart + chunk.value.bytes.length - 1);
    const bytes = chunk.value.bytes.subarray(this.#position - chunkStart, end + 1 - chunkStart);
    this.#position = end + 1;
    return success({ kind: 'bytes', bytes });
  }
}

const closedFailure = {
  code: 'closed',
  source: 'self',
  retry: 'never',
  detail: 'the answer was closed',
} as const;
