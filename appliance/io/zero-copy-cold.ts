/**
 * Reads for the zero-copy sender what is not in the page cache: sendfile on such pages would block every connection of the process.
 *
 * First time: O_DIRECT into pooled, aligned memory, past the page cache, then a plain write. Second time: into the page cache, from which
 * sendfile takes it; it is hot from then on. Both are waited for in libuv's thread pool (UV_THREADPOOL_SIZE threads).
 *
 * Invariants: (1) at most BUFFERS_MAX buffers of BUFFER_BYTES; further reads wait in line
 *             (2) a buffer is given back once: by whoever got the slice, or here where there is none
 *             (3) a second descriptor for O_DIRECT is kept open for DIRECT_IDLE_MS_MAX after its last read at most
 *             (4) at most ANSWERS_PER_TURN reads are answered in one turn: a disk answers many at once, and hot requests do not wait for all
 *             (5) a kernel or a file system without cachestat, O_DIRECT or huge pages only loses the advantage
 */
import { close, constants, openSync, read } from 'node:fs';
import { codeOf } from '#base/outcome.ts';
import { HUGE_PAGE_BYTES, type NativeMemory } from '#base/io/linux-abi.ts';
import type { Linux } from '#base/io/linux.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import type { StoredFile } from '../serve/sender.ts';
import { ChunkHistory } from '../serve/zero-copy-admission.ts';

const PAGE_BYTES = 4096;
const SLICE_BYTES = CHUNK_BYTES;
const BUFFER_BYTES = SLICE_BYTES + 2 * PAGE_BYTES; // a read begins and ends on pages
/** Buffers lie on huge pages, several on one piece of memory: measured 1.5 GB/s against 1.2 on pages of 4 KiB. */
const ARENA_BYTES = 4 * HUGE_PAGE_BYTES;
const BUFFERS_PER_ARENA = Math.floor(ARENA_BYTES / BUFFER_BYTES);
const ARENAS_MAX = 13;
export const BUFFERS_MAX = ARENAS_MAX * BUFFERS_PER_ARENA; // 91: 130 MiB
/** Answers that are handed over in one turn of the event loop, 1 MiB to be written each: then the others have theirs. */
const ANSWERS_PER_TURN = 2;
/** Reads into the page cache that are begun at once: more would have this thread wait for the disk's queue. */
const READ_AHEADS_MAX = 32;
const DIRECT_FILES_MAX = 512;
const DIRECT_IDLE_MS_MAX = 2000; // an evicted file's space is not held longer

/** BUFFER_BYTES of `memory` from `at` on. */
interface PooledBuffer {
  readonly memory: NativeMemory;
  readonly at: number;
}

/** Bytes of a file in pooled memory: [start, end) of `memory`. */
export interface ColdSlice {
  readonly buffer: PooledBuffer;
  readonly memory: NativeMemory;
  start: number;
  readonly end: number;
}

/** No slice: the bytes are in the page cache now. */
export type ColdResult =
  | { readonly ok: true; readonly slice: ColdSlice | null }
  | { readonly ok: false; readonly offset: number; readonly code: string };

interface DirectFile {
  readonly fd: number; // -1: this file system has no O_DIRECT
  users: number;
  usedAtMs: number;
}

interface ColdRead {
  readonly file: StoredFile;
  readonly offset: number;
  readonly length: number;
  readonly done: (result: ColdResult) => void;
}

export class ColdReader {
  readonly #linux: Linux;
  readonly #history = new ChunkHistory();
  readonly #free: PooledBuffer[] = [];
  readonly #waiting: ColdRead[] = [];
  readonly #direct = new Map<number, DirectFile>(); // by serial, in order of opening
  #arenas = 0;
  #readAheads = 0;
  readonly #answers: (() => void)[] = []; // of finished reads, for later turns
  #answeredNow = 0; // in this turn
  #isTurnWatched = false;
  readsDirect = 0; // past the page cache
  readsCached = 0; // into it
  readsCopied = 0; // through it, where neither could be had

  constructor(linux: Linux) {
    this.#linux = linux;
  }

  /** How many bytes from `offset` on, up to `length`, sendfile may send without a disk: 0 where the first page is missing. */
  residentBytes(file: StoredFile, offset: number, length: number, nowMs: number): number {
    const end = offset + length;
    for (let at = offset; at < end;) {
      const chunk = Math.floor(at / CHUNK_BYTES);
      const stop = Math.min(end, (chunk + 1) * CHUNK_BYTES);
      if (!this.#isChunkResident(file, chunk, nowMs) && !this.#isResident(file.fd, at, stop)) {
        return at - offset;
      }
      at = stop;
    }
    return length;
  }

  /** Reads up to SLICE_BYTES from `offset` on. `done` is called once, in a turn of its own. */
  read(file: StoredFile, offset: number, length: number, done: ColdRead['done']): void {
    const wanted: ColdRead = { file, offset, length: Math.min(length, SLICE_BYTES), done };
    const buffer = this.#take();
    if (buffer === null) this.#waiting.push(wanted);
    else this.#start(wanted, buffer);
  }

  giveBack(slice: ColdSlice | null): void {
    if (slice !== null) this.#freed(slice.buffer);
  }

  /** True while reads wait for a buffer: clients that do not take theirs should lose it. */
  get isShort(): boolean {
    return this.#waiting.length > 0;
  }

  /** Closes the second descriptors that nobody used lately. */
  closeIdle(nowMs: number): void {
    for (const [serial, direct] of this.#direct) {
      if (direct.users > 0 || nowMs - direct.usedAtMs < DIRECT_IDLE_MS_MAX) continue;
      this.#direct.delete(serial);
      if (direct.fd >= 0) close(direct.fd, () => {});
    }
  }

  #isChunkResident(file: StoredFile, chunk: number, nowMs: number): boolean {
    if (this.#history.wasResident(file.serial, chunk, nowMs)) return true;
    const start = chunk * CHUNK_BYTES;
    if (!this.#isResident(file.fd, start, Math.min(start + CHUNK_BYTES, file.sizeBytes)))
      return false;
    this.#history.foundResident(file.serial, chunk, nowMs);
    return true;
  }

  #isResident(fd: number, start: number, end: number): boolean {
    const from = start - (start % PAGE_BYTES);
    const resident = this.#linux.residentPages(fd, from, end - from);
    // Where the kernel does not say, it is taken for hot: sendfile waits for the disk.
    return resident < 0 || resident >= Math.ceil((end - from) / PAGE_BYTES);
  }

  #take(): PooledBuffer | null {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    if (this.#arenas >= ARENAS_MAX) return null;
    this.#arenas++;
    const memory = this.#linux.memory(ARENA_BYTES + HUGE_PAGE_BYTES);
    this.#linux.preferHugePages(memory);
    for (let index = 0; index < BUFFERS_PER_ARENA; index++) {
      this.#free.push({ memory, at: memory.hugePagesAt + index * BUFFER_BYTES });
    }
    return this.#free.pop()!;
  }

  #freed(buffer: PooledBuffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else this.#start(next, buffer);
  }

  #start(wanted: ColdRead, buffer: PooledBuffer): void {
    const { file, offset, length } = wanted;
    if (this.#history.isSecondHit(file.serial, offset, offset + length)) {
      if (this.#readAheads < READ_AHEADS_MAX) this.#intoCache(wanted, buffer);
      else this.#intoBuffer(wanted, buffer, null);
    } else {
      this.#intoBuffer(wanted, buffer, this.#openDirect(file));
    }
  }

  /** Has the kernel read it, waits for the last byte in the pool: one read from the disk, no copy. */
  #intoCache(wanted: ColdRead, buffer: PooledBuffer): void {
    const { file, offset, length, done } = wanted;
    const { memory, at } = buffer;
    this.#readAheads++;
    this.#linux.readAhead(file.fd, offset, length);
    read(file.fd, memory.bytes, at, 1, offset + length - 1, (error, got) => {
      this.#readAheads--;
      if (error !== null || got === 0 || !this.#isResident(file.fd, offset, offset + length)) {
        // It cannot be read, or did not stay: read piece by piece, which also says what is wrong and where.
        this.#intoBuffer(wanted, buffer, null);
        return;
      }
      this.readsCached++;
      this.#freed(buffer);
      this.#answer(() => done({ ok: true, slice: null }));
    });
  }

  #intoBuffer(wanted: ColdRead, buffer: PooledBuffer, direct: DirectFile | null): void {
    const { file, offset, length, done } = wanted;
    const { memory, at } = buffer;
    const lead = offset % PAGE_BYTES;
    const bytes = Math.ceil((lead + length) / PAGE_BYTES) * PAGE_BYTES;
    if (direct === null) this.readsCopied++;
    else this.readsDirect++;
    const finish = (error: Error | null, got: number): void => {
      if (direct !== null) {
        direct.users--;
        direct.usedAtMs = performance.now();
      }
      const end = Math.min(got, lead + length);
      if (error === null && end > lead) {
        const slice = { buffer, memory, start: at + lead, end: at + end };
        this.#answer(() => done({ ok: true, slice }));
        return;
      }
      this.#freed(buffer);
      const code = error === null ? 'SHORT' : codeOf(error);
      this.#answer(() => done({ ok: false, offset, code }));
    };
    const fd = direct === null ? file.fd : direct.fd;
    read(fd, memory.bytes, at, bytes, offset - lead, finish);
  }

  #answer(answer: () => void): void {
    if (this.#answeredNow < ANSWERS_PER_TURN && this.#answers.length === 0) {
      this.#answeredNow++;
      answer();
    } else {
      this.#answers.push(answer);
    }
    this.#watchTurn();
  }

  /** An immediate runs when the turn has polled: what came in meanwhile goes before the next answers. */
  #watchTurn(): void {
    if (this.#isTurnWatched) return;
    this.#isTurnWatched = true;
    setImmediate(() => {
      this.#isTurnWatched = false;
      this.#answeredNow = 0;
      while (this.#answeredNow < ANSWERS_PER_TURN) {
        const answer = this.#answers.shift();
        if (answer === undefined) return;
        this.#answeredNow++;
        answer();
      }
      this.#watchTurn();
    });
  }

  /** Another description of the same file, for O_DIRECT. Null where that is not to be had. */
  #openDirect(file: StoredFile): DirectFile | null {
    let direct = this.#direct.get(file.serial);
    if (direct === undefined) {
      if (this.#direct.size >= DIRECT_FILES_MAX) return null;
      direct = { fd: openDirect(file.fd), users: 0, usedAtMs: 0 };
      this.#direct.set(file.serial, direct);
    }
    if (direct.fd < 0) {
      direct.usedAtMs = performance.now();
      return null;
    }
    direct.users++;
    return direct;
  }
}

function openDirect(fd: number): number {
  try {
    // Not its path: the file may have been unlinked while answers on it run.
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_DIRECT);
  } catch {
    return -1;
  }
}
