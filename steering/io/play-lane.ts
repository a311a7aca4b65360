/**
 * Play requests beside node:http, which would take as long as all the rest of an answer.
 *
 * A connection begins here. As long as it asks nothing but plain play requests (HTTP/1.1, JSON of known length) they are answered
 * straight off the socket. With the first head that is anything else, or that is not whole in what was read, it goes to
 * node:http with all that was read, and stays there: whatever is unusual, wrong or slow in a head is judged by that parser alone.
 *
 * Shape:      new PlayLane(server, options) before the server listens; lane.close()
 * Invariants: (1) answers leave in the order of the requests, and a request is looked at when the answers before it have been written
 *             (2) of a connection at most one body of BODY_BYTES_MAX and one read are held; while its client does not read, nothing is read
 *             (3) a head that is not plain reaches node:http byte for byte as it came
 * Units:      milliseconds
 * Source:     RFC 9112, 2.1, 6.3, 9.3 (messages, lengths, persistence)
 */
import { STATUS_CODES, type Server } from 'node:http';
import type { Socket } from 'node:net';

/** What a request gets, before it is anybody's framework's. */
export interface PlayReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface PlayLaneOptions {
  readonly path: string;
  readonly bodyBytesMax: number;
  readonly requestTimeoutMs: number; // for a body to come in whole, and for an answer to be taken
  /** `read` gives the body, and throws SyntaxError where it is no JSON. */
  answer(authorization: string | undefined, read: () => unknown): PlayReply | Promise<PlayReply>;
  fail(thrown: unknown): PlayReply;
}

/** How long a connection may ask nothing. Told to the client, who closes it first (RFC 9112, 9.3: or finds its request lost). */
const IDLE_SECONDS = 60;
const IDLE_MS = IDLE_SECONDS * 1000;
const HEAD_BYTES_MAX = 8192;
const HEAD_END = Buffer.from('\r\n\r\n');
const HEADER_LINE = /^([\w-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?[ \t]*$/;

export interface PlainHead {
  readonly bodyBytes: number;
  readonly authorization: string | undefined;
}

/** Null where it is not a plain play request: not ours to answer. `head` without the empty line at its end. */
export function readPlainHead(head: string, path: string, bodyBytesMax: number): PlainHead | null {
  const [first, ...lines] = head.split('\r\n');
  if (first !== `POST ${path} HTTP/1.1`) return null;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const found = HEADER_LINE.exec(line);
    if (found === null) return null;
    const name = found[1].toLowerCase();
    if (headers.has(name)) return null;
    headers.set(name, found[2] ?? '');
  }
  const isPlain =
    headers.has('host') &&
    headers.get('content-type')?.startsWith('application/json') === true &&
    (headers.get('connection') ?? 'keep-alive').toLowerCase() === 'keep-alive' &&
    !['transfer-encoding', 'expect', 'upgrade', 'trailer'].some((name) => headers.has(name));
  const length = headers.get('content-length') ?? '';
  if (!isPlain || !/^[1-9]\d{0,8}$/.test(length) || Number(length) > bodyBytesMax) return null;
  return { bodyBytes: Number(length), authorization: headers.get('authorization') };
}

/** Every connection of a server begins in its lane, and is node:http's from its first other request on. */
export class PlayLane {
  readonly #connections = new Set<Connection>();

  constructor(server: Server, options: PlayLaneOptions) {
    const adopters = server.listeners('connection');
    server.removeAllListeners('connection');
    const handOver = (socket: Socket): void => {
      for (const adopt of adopters) adopt.call(server, socket);
    };
    server.on('connection', (socket: Socket) => {
      const connection = new Connection(socket, options, handOver);
      this.#connections.add(connection);
      connection.onGone = () => void this.#connections.delete(connection);
    });
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

class Connection {
  onGone: () => void = () => undefined;
  readonly #socket: Socket;
  readonly #options: PlayLaneOptions;
  readonly #giveAway: (socket: Socket) => void;
  #unread: Buffer | null = null; // came in while an answer was made, or the beginning of a body
  #isWaiting = false; // for an answer, or for the client to take one
  #bodySinceMs: number | null = null;
  #isEnded = false;
  #isHandedOver = false;
  #timeoutMs = 0;
  /** Of a connection nearly all heads are the same: what the last one said. */
  #lastText = '';
  #lastHead: PlainHead | null = null;
  /** What the socket is listened to with for as long as it is the lane's. */
  readonly #listeners: readonly (readonly [event: string, listener: (bytes: Buffer) => void])[] = [
    ['data', (bytes) => this.#onData(bytes)],
    ['end', () => this.#onEnd()],
    ['timeout', () => this.destroy()],
    ['error', () => this.destroy()],
    ['close', () => this.onGone()],
    ['drain', () => this.#goOn()],
  ];

  constructor(socket: Socket, options: PlayLaneOptions, handOver: (socket: Socket) => void) {
    this.#socket = socket;
    this.#options = options;
    this.#giveAway = handOver;
    socket.setNoDelay(true);
    this.#allow(IDLE_MS);
    for (const [event, listener] of this.#listeners) socket.on(event, listener);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Until something is read or written; whatever is, begins it again. */
  #allow(ms: number): void {
    if (ms !== this.#timeoutMs) this.#socket.setTimeout(ms);
    this.#timeoutMs = ms;
  }

  #onEnd(): void {
    this.#isEnded = true;
    if (!this.#isWaiting) this.#socket.end();
  }

  #onData(bytes: Buffer): void {
    this.#unread = this.#unread === null ? bytes : Buffer.concat([this.#unread, bytes]);
    if (!this.#isWaiting) this.#answerAll();
  }

  #answerAll(): void {
    while (this.#unread !== null && !this.#isWaiting && !this.#socket.destroyed) {
      if (!this.#answerOne(this.#unread)) return;
    }
  }

  /** False where there is nothing to be done until more comes in, or ever. */
  #answerOne(bytes: Buffer): boolean {
    const headEnd = bytes.indexOf(HEAD_END);
    const head =
      headEnd === -1 || headEnd > HEAD_BYTES_MAX
        ? null
        : this.#read(bytes.toString('latin1', 0, headEnd));
    if (head === null) {
      this.#handOver(bytes);
      return false;
    }
    const bodyStart = headEnd + HEAD_END.length;
    const end = bodyStart + head.bodyBytes;
    if (bytes.length < end) {
      this.#awaitBody();
      return false;
    }
    this.#bodySinceMs = null;
    this.#unread = bytes.length === end ? null : bytes.subarray(end);
    const read = (): unknown => JSON.parse(bytes.toString('utf8', bodyStart, end));
    let reply: PlayReply | Promise<PlayReply>;
    try {
      reply = this.#options.answer(head.authorization, read);
    } catch (thrown) {
      reply = this.#options.fail(thrown); // a bug, or a signature that failed: 500, as the framework answers it
    }
    if (!(reply instanceof Promise)) {
      this.#write(reply);
      return true;
    }
    this.#wait();
    reply
      .catch((thrown: unknown) => this.#options.fail(thrown))
      .then(
        (later) => {
          if (this.#write(later)) this.#goOn();
        },
        () => this.destroy(),
      );
    return false;
  }

  #read(text: string): PlainHead | null {
    if (text !== this.#lastText) {
      const { path, bodyBytesMax } = this.#options;
      this.#lastHead = readPlainHead(text, path, bodyBytesMax);
      this.#lastText = text;
    }
    return this.#lastHead;
  }

  /** A body that trickles in has as long as any other: then the connection ends. */
  #awaitBody(): void {
    const nowMs = performance.now();
    this.#bodySinceMs ??= nowMs;
    const leftMs = this.#bodySinceMs + this.#options.requestTimeoutMs - nowMs;
    if (leftMs <= 0) this.#socket.destroy();
    else this.#allow(leftMs);
  }

  #wait(): void {
    this.#isWaiting = true;
    this.#socket.pause();
  }

  #goOn(): void {
    this.#isWaiting = false;
    this.#answerAll();
    if (this.#isWaiting || this.#isHandedOver || this.#socket.destroyed) return;
    if (this.#isEnded) this.#socket.end();
    else this.#socket.resume();
  }

  /** Whether the client has room for more. */
  #write({ status, headers, body }: PlayReply): boolean {
    if (this.#socket.destroyed) return false;
    const length = Buffer.byteLength(body);
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
    for (const name in headers) head += `${name}: ${headers[name]}\r\n`;
    head += `content-length: ${length}\r\ndate: ${httpDate()}\r\nconnection: keep-alive\r\nkeep-alive: timeout=${IDLE_SECONDS}\r\n\r\n`;
    // Nearly always all ASCII: then its bytes are copied, not encoded. Text is what the collector is quickest with.
    const hasRoom = this.#socket.write(head + body, length === body.length ? 'latin1' : 'utf8');
    if (!hasRoom) this.#wait();
    this.#allow(hasRoom ? IDLE_MS : this.#options.requestTimeoutMs);
    return hasRoom;
  }

  #handOver(bytes: Buffer): void {
    const socket = this.#socket;
    // Behind an answer that was waited for, the other side may have ended meanwhile: nothing can be put back before an end.
    if (this.#isEnded) return;
    this.#isHandedOver = true;
    for (const [event, listener] of this.#listeners) socket.off(event, listener);
    socket.setTimeout(0);
    this.onGone();
    socket.unshift(bytes);
    this.#giveAway(socket);
    socket.resume();
  }
}

let date = { second: 0, text: '' };

function httpDate(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== date.second) date = { second, text: new Date(second * 1000).toUTCString() };
  return date.text;
}
