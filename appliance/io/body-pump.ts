/**
 * Moves one answer's body into a node:http response: slices of a stored file through pooled buffers, bytes as they are.
 *
 * Invariants: (1) at most one read or write of an answer is under way: a slow client holds one slice, never more
 *             (2) a buffer goes back to the pool only after the write that carries it was called back
 *             (3) `onDone` is called once, after the last read and write: then the file may be closed
 */
import { read } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { codeOf } from '#base/outcome.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import type { Answer, Body, BodyPart, Ending, StoredFile } from '../serve/sender.ts';
import type { HotChunks } from './hot-chunks.ts';

export const SLICE_BYTES = 256 * 1024;

/** Buffers of one size, kept for the next answer. Above `keptMax` they are left to the garbage collector. */
export class SlicePool {
  readonly #free: Buffer[] = [];
  readonly #keptMax: number;

  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(SLICE_BYTES);
  }

  giveBack(slice: Buffer): void {
    if (this.#free.length < this.#keptMax) this.#free.push(slice);
  }
}

export class BodyPump {
  readonly #response: ServerResponse;
  readonly #answer: Answer;
  readonly #hot: HotChunks;
  readonly #pool: SlicePool;
  readonly #onDone: (how: Ending) => void;
  #file: StoredFile | null = null;
  #position = 0;
  #end = 0;
  #slice: Buffer | null = null;
  #sliceAt = 0; // file offset of the slice that is being read
  #chunkNoted = -1; // the chunk whose hit was counted already
  #next: (() => void) | null = null; // what follows the part that is under way
  #cut: Ending | null = null;
  #isDone = false;
  /** For the watch on slow clients: when the write under way began (performance.now), or null; and its size. */
  writeSinceMs: number | null = null;
  writingBytes = 0;
  totalSent = 0;

  constructor(
    response: ServerResponse,
    answer: Answer,
    hot: HotChunks,
    pool: SlicePool,
    onDone: (how: Ending) => void,
  ) {
    this.#response = response;
    this.#answer = answer;
    this.#hot = hot;
    this.#pool = pool;
    this.#onDone = onDone;
  }

  start(body: Body): void {
    if (body.kind !== 'streamed') {
      this.#part(body, () => this.#finish('complete'));
      return;
    }
    const pull = (): void => {
      if (this.#cut !== null) return this.#finish(this.#cut);
      body.next().then(
        (outcome) => {
          if (this.#cut !== null) this.#finish(this.#cut);
          else if (!outcome.ok) this.#finish('failed');
          else if (outcome.value === null) this.#finish('complete');
          else this.#part(outcome.value, pull);
        },
        (bug: unknown) => {
          // A handler never rejects: this is a bug, and it ends the process where nobody can miss it.
          process.nextTick(() => {
            throw bug;
          });
        },
      );
    };
    pull();
  }

  /** The connection is gone, or must go: the pump stops at the next safe point. */
  cut(how: Ending): void {
    this.#cut ??= how;
  }

  /**
   * The socket is closed, and nothing reads from our buffers any more. A write that began while it was being destroyed is
   * kept by node:http for a socket that never comes: nobody would call it back.
   */
  gone(): void {
    this.cut('aborted');
    if (this.writeSinceMs !== null) this.#written(new Error('the socket was closed'));
  }

  #part(part: BodyPart, then: () => void): void {
    this.#next = then;
    if (part.kind === 'bytes') {
      this.#write(part.bytes);
      return;
    }
    this.#file = part.file;
    this.#position = part.offset;
    this.#end = part.offset + part.length;
    this.#chunkNoted = -1;
    this.#step();
  }

  #step(): void {
    if (this.#cut !== null) return this.#finish(this.#cut);
    const file = this.#file;
    if (file === null || this.#position >= this.#end) {
      this.#file = null;
      const next = this.#next;
      this.#next = null;
      next?.();
      return;
    }
    const chunk = Math.floor(this.#position / CHUNK_BYTES);
    const chunkStart = chunk * CHUNK_BYTES;
    const stop = Math.min(this.#end, chunkStart + CHUNK_BYTES);
    if (chunk !== this.#chunkNoted) {
      this.#chunkNoted = chunk;
      const hot = this.#hot.get(file.serial, chunk);
      if (hot !== undefined) {
        this.#write(hot.subarray(this.#position - chunkStart, stop - chunkStart));
        return;
      }
      if (this.#hot.isWorthKeeping(file.serial, chunk)) {
        this.#readWholeChunk(file, chunk, stop);
        return;
      }
    }
    this.#slice = this.#pool.take();
    this.#sliceAt = this.#position;
    this.#readSlice(file, 0, Math.min(stop - this.#position, SLICE_BYTES));
  }

  #readSlice(file: StoredFile, from: number, bytes: number): void {
    read(file.fd, this.#slice!, from, bytes - from, this.#sliceAt + from, (error, got) => {
      if (error !== null || got === 0) {
        file.readFailed(this.#sliceAt + from, error === null ? 'SHORT' : codeOf(error));
        this.#releaseSlice();
        return this.#finish('failed');
      }
      if (this.#cut !== null) {
        this.#releaseSlice();
        return this.#finish(this.#cut);
      }
      if (from + got < bytes) return this.#readSlice(file, from + got, bytes);
      this.#write(this.#slice!.subarray(0, bytes));
    });
  }

  #readWholeChunk(file: StoredFile, chunk: number, stop: number): void {
    const chunkStart = chunk * CHUNK_BYTES;
    const bytes = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, file.sizeBytes - chunkStart));
    // The rest of the chunk may not be here yet (a partial file): then `got` is short and nothing is kept.
    read(file.fd, bytes, 0, bytes.length, chunkStart, (error, got) => {
      if (error !== null || got < stop - chunkStart) {
        file.readFailed(chunkStart, error === null ? 'SHORT' : codeOf(error));
        return this.#finish('failed');
      }
      if (got === bytes.length) this.#hot.put(file.serial, chunk, bytes);
      if (this.#cut !== null) return this.#finish(this.#cut);
      this.#write(bytes.subarray(this.#position - chunkStart, stop - chunkStart));
    });
  }

  /** True where the handler took its answer back: a client that takes nothing is asked about by the watch. */
  get isWithdrawn(): boolean {
    return this.#answer.isWithdrawn();
  }

  #write(bytes: Uint8Array): void {
    if (this.isWithdrawn) this.cut('withdrawn');
    if (this.#cut !== null) {
      this.#releaseSlice();
      return this.#finish(this.#cut);
    }
    this.writingBytes = bytes.length;
    this.writeSinceMs = performance.now();
    this.#response.write(bytes, this.#written);
  }

  readonly #written = (error: Error | null | undefined): void => {
    if (this.#isDone) return;
    this.writeSinceMs = null;
    this.#releaseSlice();
    if (error) return this.#finish(this.#cut ?? 'aborted');
    this.totalSent += this.writingBytes;
    this.#answer.sent(this.writingBytes);
    this.#position += this.writingBytes;
    if (this.#file === null) this.#position = this.#end; // a bytes part is one write
    this.#step();
  };

  #releaseSlice(): void {
    if (this.#slice === null) return;
    this.#pool.giveBack(this.#slice);
    this.#slice = null;
  }

  #finish(how: Ending): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#onDone(how);
  }
}
