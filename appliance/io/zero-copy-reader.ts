/**
 * Reads requests off a connection of the zero-copy sender: as few receives as there are edges, no copy of a head that is whole.
 *
 * Shape:      (connection) -> request: connection.request is the next one | wait | closed | not-plain, with all bytes in
 *             connection.input
 * Invariants: (1) bytes that were received and not understood are in connection.input, in order, and nowhere else
 *             (2) never more than headerBytesMax of a head are waited for
 */
import { EAGAIN, type NativeMemory } from '#base/io/linux-abi.ts';
import type { Linux } from '#base/io/linux.ts';
import { INCOMPLETE, parsePlainRequest } from '../serve/zero-copy-request.ts';
import type { ZeroCopyConnection } from './zero-copy-connection.ts';

const LF = 10;

export type ReadResult = 'request' | 'wait' | 'closed' | 'not-plain';

export class RequestReader {
  readonly #linux: Linux;
  readonly #headerBytesMax: number;
  readonly #input: NativeMemory;

  constructor(linux: Linux, headerBytesMax: number) {
    this.#linux = linux;
    this.#headerBytesMax = headerBytesMax;
    this.#input = linux.memory(Math.max(64 * 1024, 2 * headerBytesMax));
  }

  read(connection: ZeroCopyConnection, nowMs: number): ReadResult {
    const { request } = connection;
    if (connection.input !== null) {
      const { input, inputAt } = connection;
      const length = parsePlainRequest(input, inputAt, input.length, request);
      if (length > 0 && length <= this.#headerBytesMax) {
        connection.inputAt += length;
        if (connection.inputAt === input.length) connection.input = null;
        return 'request';
      }
      if (length !== INCOMPLETE || input.length - inputAt > this.#headerBytesMax) {
        return 'not-plain';
      }
    }
    while (connection.isReadable || connection.isHalfClosed) {
      const result = this.#receive(connection, nowMs);
      if (result !== 'more') return result;
    }
    return 'wait';
  }

  #receive(connection: ZeroCopyConnection, nowMs: number): ReadResult | 'more' {
    const { bytes } = this.#input;
    const rest = connection.input?.subarray(connection.inputAt) ?? null;
    const had = rest?.length ?? 0;
    if (rest !== null) bytes.set(rest, 0);
    const room = bytes.length - had;
    const got = this.#linux.receive(connection.fd, this.#input, had, room, 0);
    if (got === -EAGAIN) {
      connection.isReadable = false;
      return 'wait';
    }
    if (got <= 0) return 'closed';
    if (got < room) connection.isReadable = false; // the next bytes are an edge of their own
    if (had === 0) connection.sinceMs = nowMs;
    const end = had + got;
    // A head that trickles in is looked at once per line, not once per byte.
    const mayBeWhole = had === 0 || bytes.subarray(had, end).includes(LF);
    const length = mayBeWhole ? parsePlainRequest(bytes, 0, end, connection.request) : INCOMPLETE;
    connection.inputAt = 0;
    if (length > 0 && length <= this.#headerBytesMax) {
      connection.input = length < end ? Buffer.from(bytes.subarray(length, end)) : null;
      return 'request';
    }
    connection.input = Buffer.from(bytes.subarray(0, end));
    return length !== INCOMPLETE || end > this.#headerBytesMax ? 'not-plain' : 'more';
  }
}
