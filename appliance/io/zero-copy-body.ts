/**
 * Moves an answer's bytes from the page cache into a socket: the head by one write, stored parts by sendfile.
 *
 * Shape:      begin(connection, answer, head), then push(connection, budget) until COMPLETE
 * Invariants: (1) `sent` is told of every body byte that the kernel took, once
 *             (2) one push takes at most `budget` bytes of a file: then it is the next connection's turn
 *             (3) a corked socket is uncorked when its part is complete
 */
import { getSystemErrorName } from 'node:util';
import {
  EAGAIN,
  EINTR,
  IPPROTO_TCP,
  MSG_MORE,
  TCP_CORK,
  type NativeMemory,
} from '#base/io/linux-abi.ts';
import type { Linux } from '#base/io/linux.ts';
import type { Answer, BodyPart, StoredFile } from '../serve/sender.ts';
import type { ColdReader, ColdSlice } from './zero-copy-cold.ts';
import type { ZeroCopyConnection } from './zero-copy-connection.ts';

/**
 * Bodies from here on are corked: their parts leave in full segments (25 % of CPU at 4 MiB). A shorter one is one sendfile behind a
 * head that waits for it (MSG_MORE), and a cork only costs: 1 MiB to 256 clients took 13 % less CPU without.
 */
const CORKED_BYTES_MIN = 2 * 1024 * 1024;
const OUTPUT_BYTES = 256 * 1024;

/**
 * complete: all that was given is in the kernel. blocked: the client must take some first. spent: another connection's turn.
 * cold: the next bytes are not in memory. gone: the client. failed: the disk.
 */
export type Pushed = 'complete' | 'blocked' | 'spent' | 'cold' | 'gone' | 'failed';

/** EPIPE, ENETDOWN to ECONNRESET, ENOTCONN to EHOSTUNREACH: the socket's. Any other error of sendfile is the file's. */
const SOCKET_ERRORS = new Set([32, 100, 101, 102, 103, 104, 107, 108, 110, 111, 112, 113]);

export class BodyMover {
  readonly #linux: Linux;
  readonly #cold: ColdReader;
  readonly #output: NativeMemory;

  constructor(linux: Linux, cold: ColdReader) {
    this.#linux = linux;
    this.#cold = cold;
    this.#output = linux.memory(OUTPUT_BYTES);
  }

  /** Sends the head and makes the body ready to be pushed. False where the client is gone. */
  begin(connection: ZeroCopyConnection, answer: Answer, head: string): boolean {
    const body = answer.body;
    connection.bodySent = 0;
    connection.stream = body?.kind === 'streamed' ? body : null;
    const isMoreToCome = body !== null && body.kind !== 'streamed';
    if (isMoreToCome) this.part(connection, body);
    const length = this.#output.bytes.write(head, 0, 'latin1');
    const flags = isMoreToCome ? MSG_MORE : 0;
    const sent = this.#linux.send(connection.fd, this.#output, 0, length, flags);
    if (sent === length) return true;
    if (sent < 0 && sent !== -EAGAIN) return false;
    // Rare: earlier answers fill the socket of a client that does not read.
    connection.head = Buffer.from(this.#output.bytes.subarray(Math.max(0, sent), length));
    return true;
  }

  /** The next part of the body. */
  part(connection: ZeroCopyConnection, part: BodyPart): void {
    if (part.kind === 'bytes') {
      connection.bytes = part.bytes;
      connection.bytesAt = 0;
      return;
    }
    connection.file = part.file;
    connection.position = part.offset;
    connection.end = part.offset + part.length;
    if (part.length >= CORKED_BYTES_MIN) {
      connection.isCorked = true;
      this.#linux.setOption(connection.fd, IPPROTO_TCP, TCP_CORK, 1);
    }
  }

  push(connection: ZeroCopyConnection, budget: number, nowMs: number): Pushed {
    if (connection.head !== null) {
      const pushed = this.#pushHead(connection, connection.head);
      if (pushed !== 'complete') return pushed;
    }
    if (connection.bytes !== null) {
      const pushed = this.#pushBytes(connection, connection.bytes);
      if (pushed !== 'complete') return pushed;
    }
    if (connection.file !== null) {
      const pushed = this.#pushFile(connection, connection.file, budget, nowMs);
      if (pushed !== 'complete') return pushed;
      if (connection.isCorked) {
        connection.isCorked = false;
        this.#linux.setOption(connection.fd, IPPROTO_TCP, TCP_CORK, 0);
      }
    }
    return 'complete';
  }

  #pushHead(connection: ZeroCopyConnection, head: Uint8Array): Pushed {
    this.#output.bytes.set(head, 0);
    const sent = this.#linux.send(connection.fd, this.#output, 0, head.length, 0);
    if (sent < 0) return sent === -EAGAIN ? 'blocked' : 'gone';
    connection.head = sent === head.length ? null : head.subarray(sent);
    return sent === head.length ? 'complete' : 'blocked';
  }

  #pushBytes(connection: ZeroCopyConnection, bytes: Uint8Array): Pushed {
    while (connection.bytesAt < bytes.length) {
      const start = connection.bytesAt;
      const length = Math.min(bytes.length - start, OUTPUT_BYTES);
      this.#output.bytes.set(bytes.subarray(start, start + length), 0);
      const flags = start + length < bytes.length ? MSG_MORE : 0;
      const sent = this.#linux.send(connection.fd, this.#output, 0, length, flags);
      if (sent < 0) return sent === -EAGAIN ? 'blocked' : 'gone';
      connection.bytesAt += sent;
      this.#took(connection, sent);
      if (sent < length) return 'blocked';
    }
    connection.bytes = null;
    return 'complete';
  }

  #pushFile(
    connection: ZeroCopyConnection,
    file: StoredFile,
    budget: number,
    nowMs: number,
  ): Pushed {
    let left = budget;
    while (connection.position < connection.end) {
      if (connection.cold !== null) {
        const pushed = this.#pushCold(connection, connection.cold);
        if (pushed !== 'complete') return pushed;
        continue;
      }
      if (left <= 0) return 'spent';
      const wanted = this.#cold.residentBytes(
        file,
        connection.position,
        Math.min(connection.end - connection.position, left),
        nowMs,
      );
      if (wanted === 0) return 'cold';
      const sent = this.#linux.sendfile(connection.fd, file.fd, connection.position, wanted);
      if (sent > 0) {
        connection.position += sent;
        left -= sent;
        this.#took(connection, sent);
        // Less than asked: the socket is full, or the file's next page cannot be had; the watch tries again.
        if (sent < wanted) return 'blocked';
      } else if (sent === -EAGAIN) {
        return 'blocked';
      } else if (sent !== -EINTR) {
        if (SOCKET_ERRORS.has(-sent)) return 'gone';
        file.readFailed(connection.position, sent === 0 ? 'SHORT' : getSystemErrorName(sent));
        return 'failed';
      }
    }
    connection.file = null;
    return 'complete';
  }

  /** Bytes of the file that were read into memory. */
  #pushCold(connection: ZeroCopyConnection, slice: ColdSlice): Pushed {
    const length = slice.end - slice.start;
    const sent = this.#linux.send(connection.fd, slice.memory, slice.start, length, 0);
    if (sent < 0) return sent === -EAGAIN ? 'blocked' : 'gone';
    slice.start += sent;
    connection.position += sent;
    this.#took(connection, sent);
    if (slice.start < slice.end) return 'blocked';
    connection.cold = null;
    this.#cold.giveBack(slice);
    return 'complete';
  }

  #took(connection: ZeroCopyConnection, bytes: number): void {
    connection.bodySent += bytes;
    connection.answer?.sent(bytes);
  }
}
