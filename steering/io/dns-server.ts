/**
 * The DNS listeners of one thread: UDP, and TCP on the same port.
 *
 * Over TCP queries may be pipelined; answers come in order, length and message in one write. A connection that is
 * idle for 10 s, sends nonsense or does not read its answers is closed; there are at most TCP_CONNECTIONS_MAX.
 *
 * Source: RFC 7766 (TCP), RFC 7828 (keepalive)
 */
import net from 'node:net';
import { parseAddress } from '#base/address.ts';
import type { Clock, Milliseconds } from '#base/clock.ts';
import type { Linux } from '#base/io/linux.ts';
import { messageOf } from '#base/outcome.ts';
import type { World } from '../candidates.ts';
import { TCP_IDLE_MS, type Responder } from '../dns/responder.ts';
import { openDnsSocket, type DnsSocket } from './dns-socket.ts';

export interface DnsServerOptions {
  readonly address: string;
  readonly port: number;
  readonly responder: Responder;
  readonly world: () => World | null;
  readonly clock: Clock;
  readonly onFault: (detail: string) => void;
  readonly sharesPort: boolean; // several threads listen on it
  readonly linux?: Linux | null; // absent: what this machine has; null: the portable socket
}

const TCP_CONNECTIONS_MAX = 1000;
const TCP_BACKLOG_BYTES_MAX = 256 * 1024; // answers that a client has not read
const PORT_TRIES_MAX = 20;

export class DnsServer {
  readonly #options: DnsServerOptions;
  #udp: DnsSocket | null = null;
  #tcp: net.Server | null = null;
  readonly #connections = new Set<net.Socket>();
  #world: World | null = null;
  #wallMs: Milliseconds = 0;
  #monotonicMs: Milliseconds = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
  }

  /** Resolves with the port in use, the same for UDP and TCP; rejects where the address is taken or not ours. */
  async start(): Promise<number> {
    for (let tries = 1; ; tries++) {
      const port = await this.#bindUdp(this.#options.port);
      try {
        await this.#listenTcp(port);
        return port;
      } catch (thrown) {
        await this.stop();
        // A free UDP port may be somebody's TCP port: another one then, unless it was asked for by number.
        if (this.#options.port !== 0 || tries >= PORT_TRIES_MAX) throw thrown;
      }
    }
  }

  async stop(): Promise<void> {
    const udp = this.#udp;
    const tcp = this.#tcp;
    this.#udp = null;
    this.#tcp = null;
    for (const connection of this.#connections) connection.destroy();
    await udp?.close();
    if (tcp?.listening === true) {
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
    }
  }

  async #bindUdp(port: number): Promise<number> {
    const { address, responder, sharesPort, onFault, linux } = this.#options;
    this.#udp = await openDnsSocket(
      {
        address,
        port,
        sharesPort,
        onFault,
        onBatch: () => this.#readClock(),
        respond: (query, queryAt, queryBytes, sender, senderAt, senderBytes, room, roomAt) => {
          try {
            return responder.respondInto(
              this.#world,
              query,
              queryAt,
              queryBytes,
              sender,
              senderAt,
              senderBytes,
              room,
              roomAt,
              this.#wallMs,
              this.#monotonicMs,
            );
          } catch (thrown) {
            this.#lost(thrown, query.subarray(queryAt, queryAt + queryBytes));
            return 0;
          }
        },
      },
      ...(linux === undefined ? [] : [linux]),
    );
    return this.#udp.port;
  }

  async #listenTcp(port: number): Promise<void> {
    const { address, sharesPort } = this.#options;
    const server = net.createServer((connection) => this.#serve(connection));
    server.maxConnections = TCP_CONNECTIONS_MAX;
    this.#tcp = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port, ...(sharesPort ? { reusePort: true } : {}) }, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  }

  #serve(connection: net.Socket): void {
    this.#connections.add(connection);
    connection.on('close', () => this.#connections.delete(connection));
    connection.on('error', () => connection.destroy());
    connection.setTimeout(TCP_IDLE_MS, () => connection.destroy());
    connection.setNoDelay(true);
    const resolver = resolverOf(connection.remoteAddress ?? '');
    if (resolver === null) {
      connection.destroy();
      return;
    }
    let held: Buffer = Buffer.alloc(0);
    connection.on('data', (bytes: Buffer) => {
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
      while (held.length >= 2) {
        const length = held.readUInt16BE(0);
        if (held.length < 2 + length) break;
        const answer = this.#respond(held.subarray(2, 2 + length), resolver);
        held = held.subarray(2 + length);
        if (answer === null || connection.writableLength > TCP_BACKLOG_BYTES_MAX) {
          connection.destroy();
          return;
        }
        const framed = Buffer.allocUnsafe(2 + answer.length);
        framed.writeUInt16BE(answer.length, 0);
        answer.copy(framed, 2);
        connection.write(framed);
      }
    });
  }

  /** Over TCP. */
  #respond(message: Buffer, resolver: Uint8Array): Buffer | null {
    this.#readClock();
    try {
      return this.#options.responder.respond(this.#world, {
        message,
        resolver,
        transport: 'tcp',
        wallMs: this.#wallMs,
        monotonicMs: this.#monotonicMs,
      });
    } catch (thrown) {
      this.#lost(thrown, message);
      return null;
    }
  }

  /** Once per batch: its questions are asked at one time, of one world. */
  #readClock(): void {
    const { clock, world } = this.#options;
    this.#wallMs = clock.wallMs();
    this.#monotonicMs = clock.monotonicMs();
    this.#world = world();
  }

  /** A bug. It is not left to end the process: one packet, sent again and again, would keep the zone down. */
  #lost(thrown: unknown, message: Buffer): void {
    this.#options.onFault(
      `query lost: ${messageOf(thrown)}; message ${message.toString('hex').slice(0, 1024)}`,
    );
  }
}

function resolverOf(address: string): Uint8Array | null {
  const zoneAt = address.indexOf('%'); // a link-local address names its interface
  return parseAddress(zoneAt === -1 ? address : address.slice(0, zoneAt));
}
