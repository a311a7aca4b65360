/**
 * The DNS listener over UDP: datagrams in, answers out.
 */
import { createSocket, type Socket } from 'node:dgram';
import { parseAddress } from '#base/address.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import type { World } from '../candidates.ts';
import type { Responder } from '../dns/responder.ts';

export interface DnsServerOptions {
  readonly address: string;
  readonly port: number;
  readonly responder: Responder;
  readonly world: () => World | null;
  readonly log: Logger;
}

const SEND_BUFFER_BYTES = 4 * 1024 * 1024; // bursts: thousands of answers of up to 1,232 bytes

export class DnsServer {
  readonly #options: DnsServerOptions;
  readonly #socket: Socket;
  #faults = 0;

  constructor(options: DnsServerOptions) {
    this.#options = options;
    this.#socket = createSocket({
      type: options.address.includes(':') ? 'udp6' : 'udp4',
      recvBufferSize: SEND_BUFFER_BYTES,
      sendBufferSize: SEND_BUFFER_BYTES,
    });
  }

  /** Resolves with the port in use; rejects where the address is taken or not ours. */
  async start(): Promise<number> {
    const { address, port, log } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#socket.bind({ address, port, exclusive: true }, () => {
        this.#socket.removeListener('error', reject);
        resolve();
      });
    });
    this.#socket.on('error', (error) => log.error({ detail: error.message }, 'DNS socket'));
    this.#socket.on('message', (message, from) => this.#take(message, from.address, from.port));
    return this.#socket.address().port;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(resolve));
  }

  #take(message: Buffer, address: string, port: number): void {
    const { responder, world, log } = this.#options;
    const zoneAt = address.indexOf('%'); // a link-local address names its interface
    const from = parseAddress(zoneAt === -1 ? address : address.slice(0, zoneAt));
    if (from === null) return;
    let answer: Buffer | null;
    try {
      answer = responder.respond(world(), message, from, 'udp');
    } catch (thrown) {
      // A bug. It is not left to end the process: one packet, sent again and again, would keep the zone down.
      this.#faults++;
      if (this.#faults <= 10) {
        const detail = messageOf(thrown);
        log.error({ event: 'dns-bug', detail, message: message.toString('hex') }, 'DNS query lost');
      }
      return;
    }
    // The answer lies in a shared buffer and send() may read it later: it gets its own copy.
    if (answer !== null) this.#socket.send(Buffer.from(answer), port, address);
  }
}
