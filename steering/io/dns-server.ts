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
import type { Clock } from '#base/clock.ts';
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
    const { address, sharesPort, onFault, linux } = this.#options;
    this.#udp = await openDnsSocket(
      {
        address,
        port,
        sharesPort,
        onFault,
        respond: (message, resolver, room) => {
          const answer = this.#respond(message, resolver, 'udp');
          return answer === null ? 0 : answer.copy(room);
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
        const answer = this.#respond(held.subarray(2, 2 + length), resolver, 'tcp');
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

  #respond(message: Buffer, resolver: Uint8Array, transport: 'udp' | 'tcp'): Buffer | null {
    const { responder, world, clock, onFault } = this.#options;
    try {
      return responder.respond(world(), {
        message,
        resolver,
        transport,
        wallMs: clock.wallMs(),
        monotonicMs: clock.monotonicMs(),
      });
    } catch (thrown) {
      // A bug. It is not left to end the process: one packet, sent again and again, would keep the zone down.
      onFault(
        `query lost: ${messageOf(thrown)}; message ${message.toString('hex').slice(0, 1024)}`,
      );
      return null;
    }
  }
}

function resolverOf(address: string): Uint8Array | null {
  const zoneAt = address.indexOf('%'); // a link-local address names its interface
  return parseAddress(zoneAt === -1 ? address : address.slice(0, zoneAt));
}
