/**
 * The sender that runs everywhere: node:http, reads into pooled buffers, hot chunks from memory. The reference for behaviour.
 *
 * Requests of one connection are handled one after the other: pipelining costs a queue entry, not a file handle.
 *
 * With a certificate it speaks TLS 1.3 and 1.2 by node:tls: the same reads, the same limits, a handshake in front. A connection that must
 * be cut is then closed without close_notify, so that a short body is never taken for a whole one there either.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import { Socket, type AddressInfo } from 'node:net';
import { codeOf, failed, success, type Outcome } from '#base/outcome.ts';
import {
  listenFailure,
  type Answer,
  type CutReason,
  type Ending,
  type Handler,
  type ListenAddress,
  type RequestView,
  type Sender,
  type SenderLimits,
  type SenderStats,
} from '../serve/sender.ts';
import { BodyPump, SlicePool } from './body-pump.ts';
import { HotChunks } from './hot-chunks.ts';

const WATCH_PERIOD_MS = 1000;
const BACKLOG = 4096;
const SLICES_KEPT_MAX = 256; // 64 MiB

/** What a browser and OpenSSL agree on first: AES-128-GCM is the cheapest where the CPU has AES, as every server's has. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** PEM texts that belong together (certificate.ts). */
export interface TlsIdentity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

interface Waiting {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** One connection's requests, in order. */
class Connection {
  readonly socket: Socket;
  readonly waiting: Waiting[] = [];
  busy = false;
  pump: BodyPump | null = null;
  isRefused = false;

  constructor(socket: Socket) {
    this.socket = socket;
  }
}

export class PortableSender implements Sender {
  readonly kind = 'portable';
  readonly #handle: Handler;
  readonly #limits: SenderLimits;
  readonly #server: Server | TlsServer;
  readonly #hot: HotChunks;
  readonly #pool = new SlicePool(SLICES_KEPT_MAX);
  readonly #connections = new Map<Socket, Connection>();
  readonly #shakingHands = new Set<Socket>();
  readonly #cut: Record<CutReason, number> = {
    'connections-full': 0,
    'header-limit': 0,
    'slow-client': 0,
    malformed: 0,
  };
  #watch: NodeJS.Timeout | null = null;
  #requests = 0;
  #bytesSent = 0;
  #isClosing = false;
  #isClosed = false;
  #adoptsOnly = false;
  #isAdopting = false;
  #onEmpty: (() => void) | null = null;

  constructor(
    handle: Handler,
    limits: SenderLimits,
    hotChunks: HotChunks,
    tls: TlsIdentity | null = null,
  ) {
    this.#handle = handle;
    this.#limits = limits;
    this.#hot = hotChunks;
    const options = {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.headersTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.max(100, Math.min(1000, limits.headersTimeoutMs / 4)),
      noDelay: true,
    };
    this.#server =
      tls === null
        ? createServer(options)
        : createTlsServer({
            ...options,
            ...contextOf(tls),
            minVersion: 'TLSv1.2',
            ciphers: CIPHERS,
            honorCipherOrder: true,
            handshakeTimeout: limits.headersTimeoutMs,
          });
    this.#server.maxConnections = limits.connectionsMax;
    this.#server.on('drop', () => this.#cut['connections-full']++);
    if (tls === null) this.#server.on('connection', (socket) => this.#connected(socket));
    else this.#onTls(this.#server as TlsServer);
    this.#server.on('request', (request, response) => this.#received(request, response));
    this.#server.on('checkContinue', (request, response) => this.#received(request, response));
    this.#server.on('clientError', (error, socket) =>
      this.#refuse(codeOf(error), socket as Socket),
    );
  }

  /** For connections from now on; those that are open go on under the old one. */
  useIdentity(tls: TlsIdentity): void {
    (this.#server as TlsServer).setSecureContext(contextOf(tls));
  }

  #onTls(server: TlsServer): void {
    server.on('connection', (socket) => {
      this.#shakingHands.add(socket);
      socket.once('close', () => this.#shakingHands.delete(socket));
    });
    server.on('secureConnection', (socket) => this.#connected(socket));
  }

  async listen(at: ListenAddress): Promise<Outcome<ListenAddress>> {
    const outcome = await new Promise<Outcome<ListenAddress>>((resolve) => {
      const onError = (error: Error): void =>
        resolve(failed(listenFailure(at, codeOf(error), error)));
      this.#server.once('error', onError);
      this.#server.listen({ host: at.address, port: at.port, backlog: BACKLOG }, () => {
        this.#server.off('error', onError);
        const bound = this.#server.address() as AddressInfo;
        resolve(success({ address: bound.address, port: bound.port }));
      });
    });
    if (outcome.ok) this.#startWatch();
    return outcome;
  }

  /**
   * For a sender that only adopts: node:http enforces its timeouts only while it listens somewhere. Here that is an abstract
   * unix socket on which every connection is refused.
   */
  async listenForAdopted(): Promise<Outcome<null>> {
    this.#adoptsOnly = true;
    const name = `nightfill-${randomBytes(12).toString('hex')}`;
    const outcome = await new Promise<Outcome<null>>((resolve) => {
      this.#server.once('error', (error) =>
        resolve(failed(listenFailure({ address: `@${name}`, port: 0 }, codeOf(error), error))),
      );
      this.#server.listen({ path: `\0${name}` }, () => resolve(success(null)));
    });
    if (outcome.ok) this.#startWatch();
    return outcome;
  }

  /** Takes over a connection that another sender accepted, with what that one has read of it. `onGone`: it is closed. */
  adopt(fd: number, bytes: Uint8Array, onGone?: () => void): void {
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    if (onGone !== undefined) socket.once('close', onGone);
    if (this.#isClosed) {
      socket.destroy();
      return;
    }
    socket.unshift(bytes);
    this.#isAdopting = true;
    this.#server.emit('connection', socket);
    this.#isAdopting = false;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  stats(): SenderStats {
    return {
      connections: Math.max(this.#connections.size, this.#shakingHands.size),
      requests: this.#requests,
      bytesSent: this.#bytesSent,
      cut: { ...this.#cut },
    };
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    const closed = new Promise<void>((resolve) => {
      if (!this.#server.listening) resolve();
      else this.#server.close(() => resolve());
    });
    this.#server.closeIdleConnections();
    if (this.#connections.size === 0) for (const socket of this.#shakingHands) socket.destroy();
    const grace = setTimeout(() => {
      for (const connection of this.#connections.values()) {
        connection.pump?.cut('closed');
        cutOff(connection.socket);
      }
      for (const socket of this.#shakingHands) socket.destroy();
    }, graceMs);
    await closed;
    // The server counts its own connections only, not those it adopted.
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve;
      });
    }
    clearTimeout(grace);
    this.#isClosed = true;
    if (this.#watch !== null) clearInterval(this.#watch);
  }

  #startWatch(): void {
    this.#watch = setInterval(() => this.#cutSlowClients(), WATCH_PERIOD_MS);
    this.#watch.unref();
  }

  #connected(socket: Socket): void {
    if (this.#adoptsOnly && !this.#isAdopting) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket);
    this.#connections.set(socket, connection);
    socket.once('close', () => {
      connection.pump?.gone();
      this.#connections.delete(socket);
      if (this.#connections.size === 0) this.#onEmpty?.();
    });
  }

  #received(request: IncomingMessage, response: ServerResponse): void {
    const connection = this.#connections.get(request.socket);
    if (connection === undefined) return; // its socket is closed already
    this.#requests++;
    connection.waiting.push({ request, response });
    if (connection.waiting.length >= this.#limits.pipelinedMax) connection.socket.pause();
    if (!connection.busy) this.#handleNext(connection);
  }

  #handleNext(connection: Connection): void {
    const waiting = connection.waiting.shift();
    if (waiting === undefined || connection.socket.destroyed) return;
    if (connection.waiting.length < this.#limits.pipelinedMax && connection.socket.isPaused()) {
      connection.socket.resume();
    }
    connection.busy = true;
    const { request, response } = waiting;
    const answer = this.#handle(viewOf(request));
    if (answer instanceof Promise) {
      answer.then(
        (settled) => this.#send(connection, request, response, settled),
        (bug: unknown) =>
          process.nextTick(() => {
            throw bug;
          }),
      );
    } else {
      this.#send(connection, request, response, answer);
    }
  }

  #send(
    connection: Connection,
    request: IncomingMessage,
    response: ServerResponse,
    answer: Answer,
  ): void {
    if (connection.socket.destroyed) {
      answer.ended('aborted');
      return;
    }
    const fields = [...answer.constant.flat, ...answer.varying];
    if (answer.contentLength !== null) fields.push('Content-Length', String(answer.contentLength));
    // A request body is never read: what may follow on this connection cannot be told from it.
    const hasBody =
      request.headers['transfer-encoding'] !== undefined ||
      (request.headers['content-length'] ?? '0') !== '0';
    if (hasBody || this.#isClosing) fields.push('Connection', 'close');
    response.writeHead(answer.status, fields);
    const body = answer.body;
    if (body === null) {
      this.#end(connection, response, answer, 'complete', hasBody);
      return;
    }
    const pump = new BodyPump(response, answer, this.#hot, this.#pool, (how) => {
      connection.pump = null;
      this.#bytesSent += pump.totalSent;
      const isWhole = pump.totalSent === answer.contentLength;
      this.#end(
        connection,
        response,
        answer,
        how === 'complete' && !isWhole ? 'failed' : how,
        hasBody,
      );
    });
    connection.pump = pump;
    pump.start(body);
  }

  #end(
    connection: Connection,
    response: ServerResponse,
    answer: Answer,
    how: Ending,
    closeAfter: boolean,
  ): void {
    if (how !== 'complete') {
      // After a failed source what was written still arrives: the client continues from there elsewhere.
      if (how === 'failed') connection.socket.destroySoon();
      else cutOff(connection.socket);
      answer.ended(how);
      return;
    }
    response.end(() => {
      if (closeAfter || this.#isClosing) connection.socket.destroySoon();
    });
    answer.ended('complete');
    connection.busy = false;
    if (connection.waiting.length > 0) setImmediate(() => this.#resume(connection));
  }

  #resume(connection: Connection): void {
    if (!connection.busy) this.#handleNext(connection);
  }

  #cutSlowClients(): void {
    const { deliveryGraceMs, deliveryBytesPerSecondMin } = this.#limits;
    const now = performance.now();
    for (const connection of this.#connections.values()) {
      const pump = connection.pump;
      if (pump === null || pump.writeSinceMs === null) continue;
      if (pump.isWithdrawn) {
        pump.cut('withdrawn');
        cutOff(connection.socket);
        continue;
      }
      const longestMs = deliveryGraceMs + (pump.writingBytes / deliveryBytesPerSecondMin) * 1000;
      if (now - pump.writeSinceMs < longestMs) continue;
      this.#cut['slow-client']++;
      pump.cut('slow');
      cutOff(connection.socket);
    }
  }

  #refuse(code: string, socket: Socket): void {
    const connection = this.#connections.get(socket);
    if (connection === undefined && 'encrypted' in socket) {
      // No handshake. The scanners of the Internet are not worth a log line each.
      if (code !== 'ECONNRESET') this.#cut.malformed++;
      socket.destroy();
      return;
    }
    if (connection?.isRefused === true) return; // the parser complains again about what follows
    if (connection !== undefined) connection.isRefused = true;
    const isLarge = code === 'HPE_HEADER_OVERFLOW';
    const isLate = code === 'ERR_HTTP_REQUEST_TIMEOUT';
    if (isLarge || isLate) this.#cut['header-limit']++;
    else if (code !== 'ECONNRESET') this.#cut.malformed++;
    // An answer may be under way on this connection: nothing may be written between its bytes.
    if (connection?.busy === true || !socket.writable) {
      socket.destroy();
      return;
    }
    const status = isLarge
      ? '431 Request Header Fields Too Large'
      : isLate
        ? '408 Request Timeout'
        : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    setTimeout(() => socket.destroy(), 1000).unref(); // a client that goes on sending is not listened to
  }
}

function contextOf(tls: TlsIdentity): { readonly cert: string; readonly key: string } {
  return { cert: tls.certificatePem, key: tls.keyPem };
}

/** A reset; under TLS, where node has none, an end without close_notify in the middle of a body. */
function cutOff(socket: Socket): void {
  if ('encrypted' in socket) socket.destroy();
  else socket.resetAndDestroy();
}

function viewOf(request: IncomingMessage): RequestView {
  const { headers, socket } = request;
  const purpose = headers['nightfill-purpose'];
  const possession = headers['nightfill-possession'];
  return {
    method: request.method ?? '',
    target: request.url ?? '/',
    host: headers.host ?? '',
    range: headers.range,
    ifRange: typeof headers['if-range'] === 'string' ? headers['if-range'] : undefined,
    ifMatch: headers['if-match'],
    ifNoneMatch: headers['if-none-match'],
    authorization: headers.authorization,
    purpose: typeof purpose === 'string' ? purpose : undefined,
    possession: typeof possession === 'string' ? possession : undefined,
    remoteAddress: socket.remoteAddress ?? '',
    secure: 'encrypted' in socket,
  };
}
