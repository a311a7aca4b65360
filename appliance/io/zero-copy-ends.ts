/**
 * How connections of the zero-copy sender end: closed, lingering for a client to read its last answer, cut by a reset, handed over.
 *
 * Invariants: (1) a descriptor is out of the epoll set before it is closed, and its connection forgets it
 *             (2) whoever is cut is reset: a short body is never taken for a whole one
 *             (3) an answer whose file the disk still reads for ends after that read
 */
import { EAGAIN, MSG_TRUNC, SO_LINGER, SOL_SOCKET, type NativeMemory } from '#base/io/linux-abi.ts';
import type { Linux } from '#base/io/linux.ts';
import type { Ending } from '../serve/sender.ts';
import { REQUEST_TIMEOUT_TEXT } from '../serve/zero-copy-head.ts';
import type { ColdReader } from './zero-copy-cold.ts';
import type { ConnectionTable, ZeroCopyConnection } from './zero-copy-connection.ts';

const DISCARD_BYTES = 64 * 1024;
const DISCARDS_MAX = 16; // a client that goes on sending is not listened to

export class ConnectionEnds {
  readonly #linux: Linux;
  readonly #cold: ColdReader;
  readonly #table: ConnectionTable;
  readonly #onClosed: () => void;
  readonly #onForgotten: () => void;
  readonly #scratch: NativeMemory;
  #epoll = -1;

  /** `onClosed`: a descriptor was closed here; `onForgotten`: a connection is not this sender's any more, closed or handed over. */
  constructor(
    linux: Linux,
    cold: ColdReader,
    table: ConnectionTable,
    onClosed: () => void,
    onForgotten: () => void,
  ) {
    this.#linux = linux;
    this.#cold = cold;
    this.#table = table;
    this.#onClosed = onClosed;
    this.#onForgotten = onForgotten;
    this.#scratch = linux.memory(DISCARD_BYTES);
  }

  /** The set that its connections are in. */
  use(epoll: number): void {
    this.#epoll = epoll;
  }

  /** 408: it was not asked in time. */
  timeOut(connection: ZeroCopyConnection, nowMs: number): void {
    const length = this.#scratch.bytes.write(REQUEST_TIMEOUT_TEXT, 0, 'latin1');
    this.#linux.send(connection.fd, this.#scratch, 0, length, 0);
    this.linger(connection, nowMs);
  }

  /** The client may still read; what it sends is thrown away. close() with unread bytes would reset under its answer. */
  linger(connection: ZeroCopyConnection, nowMs: number): void {
    connection.phase = 'lingering';
    connection.sinceMs = nowMs;
    connection.input = null;
    this.#linux.shutdownWrite(connection.fd);
    this.discard(connection);
  }

  discard(connection: ZeroCopyConnection): void {
    const memory = this.#scratch;
    for (let taken = 0; taken < DISCARDS_MAX; taken++) {
      const got = this.#linux.receive(connection.fd, memory, 0, DISCARD_BYTES, MSG_TRUNC);
      if (got === -EAGAIN) return;
      if (got <= 0) return this.close(connection);
    }
    this.close(connection);
  }

  /** Cuts a connection. */
  drop(connection: ZeroCopyConnection, how: Ending): void {
    if (connection.fd < 0) return;
    this.#linux.setOption(connection.fd, SOL_SOCKET, SO_LINGER, 0);
    const { answer } = connection;
    if (connection.phase === 'reading') {
      // The disk still reads for it: the file may be closed only after that.
      connection.droppedAs = how;
      this.close(connection);
      return;
    }
    connection.answer = null;
    this.close(connection);
    answer?.ended(how);
  }

  close(connection: ZeroCopyConnection): void {
    if (connection.fd < 0) return;
    this.#linux.epollDelete(this.#epoll, connection.fd);
    this.#linux.close(connection.fd);
    this.#onClosed();
    this.#forget(connection);
  }

  /** Its descriptor is somebody else's from now on. */
  letGo(connection: ZeroCopyConnection): number {
    const { fd } = connection;
    this.#linux.epollDelete(this.#epoll, fd);
    this.#forget(connection);
    return fd;
  }

  #forget(connection: ZeroCopyConnection): void {
    connection.fd = -1;
    connection.phase = 'idle';
    connection.input = null;
    connection.head = null;
    connection.bytes = null;
    connection.file = null;
    connection.stream = null;
    if (connection.cold !== null) this.#cold.giveBack(connection.cold);
    connection.cold = null;
    this.#table.remove(connection);
    this.#onForgotten();
  }
}
