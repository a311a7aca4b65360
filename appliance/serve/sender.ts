/**
 * The line between deciding one request and moving its bytes.
 *
 * A sender owns sockets: it parses a request into a RequestView, asks the handler for an Answer, and moves the
 * answer's bytes. The handler owns meaning: who may have what, and which bytes. Neither knows the other's insides, so
 * that a request is answered alike by every sender (`io/sender-contract.ts` runs on each of them).
 *
 * Shape:      RequestView -> handler -> Answer (at once, or as a promise) -> sender -> sent(bytes)*, ended(how)
 * Invariants: (1) `ended` is called exactly once for every Answer that the handler returned, whatever happens
 *             (2) the sum of `sent` is never more than the body bytes that the kernel took (a write that was cut short
 *                 may be left out), and never more than contentLength
 *             (3) `ended('complete')` only when the sum is the whole body
 *             (4) answers leave in the order of their requests (RFC 9112 9.3.2)
 *             (5) a body that cannot be finished cuts the connection: a client never takes a short body for a whole one
 *             (6) nothing is allocated per chunk of a stored body
 *             (7) once isWithdrawn says true no further byte is given to the kernel (by a thread that is not the handler's: a moment
 *                 later), and the connection is reset within a few seconds, also where the client takes nothing
 */
import type { Failure, Outcome } from '#base/outcome.ts';

/**
 * What a decision may look at. Read it before the handler's promise settles, and keep none of it: a sender may use the
 * object again for the connection's next request.
 */
export interface RequestView {
  readonly method: string; // as received, upper case for the known ones
  readonly target: string; // origin-form: path and query, as received
  readonly host: string; // Host field, '' where absent (HTTP/1.0)
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly ifMatch: string | undefined;
  readonly ifNoneMatch: string | undefined;
  readonly authorization: string | undefined;
  readonly purpose: string | undefined; // PURPOSE_HEADER: why a box fetches under its grant
  readonly possession: string | undefined; // POSSESSION_HEADER: that it holds the grant's key
  readonly remoteAddress: string;
  readonly secure: boolean; // TLS
}

/**
 * Header fields that many answers share, in both forms that senders want: made once per kind of answer or per file.
 * Never Date, Content-Length, Connection or Transfer-Encoding: those are the sender's.
 */
export class FieldSet {
  readonly flat: readonly string[]; // name, value, name, value, ...
  readonly text: string; // "name: value\r\n" lines, latin1

  constructor(flat: readonly string[]) {
    this.flat = flat;
    this.text = fieldText(flat);
  }
}

export const NO_FIELDS = new FieldSet([]);

/** "name: value\r\n" for each pair. */
export function fieldText(flat: readonly string[]): string {
  let text = '';
  for (let at = 0; at < flat.length; at += 2) text += `${flat[at]}: ${flat[at + 1]}\r\n`;
  return text;
}

/** A file that is open for reading for as long as an answer on it lives (until `ended`). */
export interface StoredFile {
  readonly fd: number;
  readonly serial: number; // names this file in this process, never used again for another one: a key for caches
  readonly sizeBytes: number;
  /** The disk broke its promise at `offset` (an errno word, or 'SHORT' where the file ended early). The volume hears of it. */
  readFailed(offset: number, code: string): void;
}

/** `length` bytes of a stored file from `offset` on; every one of them is present and was verified. */
export interface StoredBody {
  readonly kind: 'stored';
  readonly file: StoredFile;
  readonly offset: number;
  readonly length: number;
}

/** Bytes in memory: a small document, or a chunk that just came in. Nobody changes them any more. */
export interface BytesBody {
  readonly kind: 'bytes';
  readonly bytes: Uint8Array;
}

export type BodyPart = StoredBody | BytesBody;

/**
 * Bytes that are partly not here yet. The sender asks for one part at a time, when it has room for it.
 * `null`: the body is complete. A Failure: no source has the rest, the connection is cut.
 */
export interface StreamedBody {
  readonly kind: 'streamed';
  next(): Promise<Outcome<BodyPart | null>>;
}

export type Body = BodyPart | StreamedBody;

/**
 * complete: the kernel took every byte. aborted: the client went away. slow: the client took less than the least delivery
 * rate and was cut. failed: the disk or the sources could not give the rest. withdrawn: the handler said so. closed: this
 * box stopped.
 */
export type Ending = 'complete' | 'aborted' | 'slow' | 'failed' | 'withdrawn' | 'closed';

export interface Answer {
  readonly status: number;
  readonly constant: FieldSet;
  readonly varying: readonly string[]; // name, value, ...: this answer's own fields
  readonly contentLength: number | null; // null: no such field (204, 304)
  readonly body: Body | null; // null: head only (HEAD, 204, 304)
  /** Asked before each further part of the body is given to the kernel. True: it may not be sent any more (a denial). */
  isWithdrawn(): boolean;
  /** Body bytes that the kernel took; called as they go, so that a long answer is not counted at its end only. */
  sent(bytes: number): void;
  ended(how: Ending): void;
}

/** Decides one request. It never throws and never rejects: what is refused is an Answer too. */
export type Handler = (request: RequestView) => Answer | Promise<Answer>;

/** What a sender does not wait for, hold, or read beyond. Each has its default and reason in config.ts. */
export interface SenderLimits {
  readonly headerBytesMax: number; // request line and fields together; more: 431, closed
  readonly headersTimeoutMs: number; // from the first byte of a request to the end of its fields
  readonly keepAliveTimeoutMs: number; // between two requests
  readonly connectionsMax: number; // above it a new connection is reset at once, never left in the backlog
  readonly pipelinedMax: number; // requests read ahead on one connection before it is read no further
  readonly deliveryBytesPerSecondMin: number; // a client that takes less for deliveryGraceMs is cut
  readonly deliveryGraceMs: number;
}

export interface SenderStats {
  readonly connections: number; // open now
  readonly requests: number; // since start
  readonly bytesSent: number; // body bytes since start
  readonly cut: Readonly<Record<CutReason, number>>;
}

export type CutReason = 'connections-full' | 'header-limit' | 'slow-client' | 'malformed';

/** `address` is an IP address of this machine, `port` 0 takes a free one. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

export interface Sender {
  readonly kind: 'portable' | 'zero-copy';
  /** Binds and serves. A Failure says which address and what to do about it. */
  listen(at: ListenAddress): Promise<Outcome<ListenAddress>>;
  stats(): SenderStats;
  /** Accepts nothing more, lets running answers go on for `graceMs`, then resets what is left. */
  close(graceMs: number): Promise<void>;
}

/** A Failure to bind, in an operator's words. */
export function listenFailure(at: ListenAddress, code: string, cause: unknown): Failure {
  const where = `${at.address} port ${at.port}`;
  const why =
    code === 'EADDRINUSE'
      ? `${where} is in use by another process: stop it, or choose another "listen" in the configuration`
      : code === 'EADDRNOTAVAIL'
        ? `${at.address} is no address of this machine: add it to an interface, or choose another "listen"`
        : code === 'EACCES'
          ? `${where} needs a privilege (ports below 1024: CAP_NET_BIND_SERVICE)`
          : `cannot listen on ${where} (${code})`;
  return { code: 'listen-failed', source: 'self', retry: 'never', detail: why, cause };
}
