/**
 * One connection of the zero-copy sender: what was read and not yet understood, and what is left to be sent.
 *
 *            head read               answer                     part gone, stream: next
 *   idle ---------------> deciding ---------> sending <-------------------------------> pulling
 *    ^  \                                      |   ^ \--- pages not in memory ---> reading
 *    |   \--- not plain ---> (node:http)       |   '------------- bytes are here -----'
 *    '------------------ body complete --------'
 *    idle, sending --- 408, or this box stops ---> lingering ---> closed;  any --- cut, gone ---> closed
 *
 * Invariants: (1) `fd` is -1 once closed or handed over, and is never kept anywhere else across turns
 *             (2) `answer` is set from the handler's answer to its `ended`
 *             (3) in `reading` the file may not be closed: `ended` waits for the read
 */
import type { Answer, Ending, StoredFile, StreamedBody } from '../serve/sender.ts';
import { PlainRequest } from '../serve/zero-copy-request.ts';
import type { ColdSlice } from './zero-copy-cold.ts';

export type Phase = 'idle' | 'deciding' | 'sending' | 'pulling' | 'reading' | 'lingering';

export class ZeroCopyConnection {
  fd: number;
  readonly slot: number;
  readonly generation: number;
  readonly request: PlainRequest;
  phase: Phase = 'idle';
  /** The kernel may hold bytes of the client that were not read. Edge-triggered: nobody says it twice. */
  isReadable = true;
  isHalfClosed = false; // the client sends no more; it may still read
  isBlocked = false; // the kernel takes no more until the client does
  isQueued = false;
  isCorked = false;
  hadRequest = false;

  input: Buffer | null = null; // read and not yet understood, from inputAt on
  inputAt = 0;

  answer: Answer | null = null;
  head: Uint8Array | null = null; // what the kernel did not take of the head
  bytes: Uint8Array | null = null; // a part of the body that is in memory, from bytesAt on
  bytesAt = 0;
  file: StoredFile | null = null; // a part of the body that is on disk, from position to end
  position = 0;
  end = 0;
  cold: ColdSlice | null = null; // bytes of the file from position on, read because they were not in memory
  droppedAs: Ending | null = null; // how it was cut while the disk was read for it
  stream: StreamedBody | null = null;
  bodySent = 0;

  sinceMs: number; // of the phase idle (or of the first byte of a head) or lingering
  windowSinceMs = 0; // of the delivery that is judged next
  windowBytes = 0; // bodySent when it began

  constructor(fd: number, slot: number, generation: number, remoteAddress: string, nowMs: number) {
    this.fd = fd;
    this.slot = slot;
    this.generation = generation;
    this.request = new PlainRequest(remoteAddress);
    this.sinceMs = nowMs;
  }
}

/** The open connections, by the slot that epoll events carry. */
export class ConnectionTable {
  readonly #slots: (ZeroCopyConnection | null)[] = [];
  readonly #free: number[] = [];
  #generation = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(fd: number, remoteAddress: string, nowMs: number): ZeroCopyConnection {
    const slot = this.#free.pop() ?? this.#slots.push(null) - 1;
    this.#generation = (this.#generation + 1) | 0;
    const connection = new ZeroCopyConnection(fd, slot, this.#generation, remoteAddress, nowMs);
    this.#slots[slot] = connection;
    this.#count++;
    return connection;
  }

  /** Null for an event of a connection that is gone. */
  find(slot: number, generation: number): ZeroCopyConnection | null {
    const connection = this.#slots[slot];
    return connection?.generation === generation ? connection : null;
  }

  remove(connection: ZeroCopyConnection): void {
    this.#slots[connection.slot] = null;
    this.#free.push(connection.slot);
    this.#count--;
  }

  /** Safe while connections are removed. */
  *all(): Generator<ZeroCopyConnection> {
    for (const connection of this.#slots) if (connection !== null) yield connection;
  }
}
