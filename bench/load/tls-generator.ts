/**
 * The load generator over TLS 1.3: node:tls connections, bodies decrypted and thrown away.
 *
 * It needs more CPU than the server that it asks (decryption, in a loop that shares its core with nothing): a server's throughput is bounded
 * by it, its CPU per byte is not. That is what TLS rows are read for.
 *
 * Shape:      (LoadSpec) -> LoadReport, as generator.ts; pace, once and any status are not spoken here
 */
import { connect, type TLSSocket } from 'node:tls';
import { seededRandom, type Random } from '#base/random.ts';
import { contentLengthOf, spreadOf, type LoadReport, type LoadSpec } from './generator.ts';

const ERRORS_MAX = 100;
const HEAD_END = Buffer.from('\r\n\r\n');

export async function runTlsLoad(spec: LoadSpec): Promise<LoadReport> {
  return new TlsLoad(spec).run();
}

class TlsLoad {
  readonly #spec: LoadSpec;
  readonly #random: Random;
  readonly #firstBytes: number[] = [];
  readonly #latencies: number[] = [];
  readonly #statuses: Record<string, number> = {};
  #bytes = 0;
  #totalBytes = 0;
  #errors = 0;
  #firstError: string | null = null;
  #countFromMs = 0;
  #endMs = 0;
  #isOver = false;

  constructor(spec: LoadSpec) {
    this.#spec = spec;
    this.#random = seededRandom(spec.seed);
  }

  async run(): Promise<LoadReport> {
    const { connections, warmupMs, durationMs } = this.#spec;
    const sockets = await Promise.all(Array.from({ length: connections }, () => this.#dial()));
    this.#countFromMs = performance.now() + warmupMs;
    this.#endMs = this.#countFromMs + durationMs;
    for (const socket of sockets) this.#drive(socket);
    await new Promise((resolve) => setTimeout(resolve, warmupMs + durationMs));
    this.#isOver = true;
    for (const socket of sockets) socket.destroy();
    return {
      requests: this.#latencies.length,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      durationMs,
      firstByteMs: spreadOf(Float64Array.from(this.#firstBytes)),
      latencyMs: spreadOf(Float64Array.from(this.#latencies)),
      errors: this.#errors,
      firstError: this.#firstError,
      statuses: this.#statuses,
    };
  }

  #dial(): Promise<TLSSocket> {
    const { address, port } = this.#spec;
    return new Promise((resolve, reject) => {
      // Self-signed, made by the bench a moment ago.
      const socket = connect({
        host: address,
        port,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.3',
        ciphers: 'TLS_AES_128_GCM_SHA256',
      });
      socket.once('secureConnect', () => resolve(socket));
      socket.once('error', reject);
    });
  }

  /** One request after the other until the time is over. */
  #drive(socket: TLSSocket): void {
    let head: Buffer | null = null; // null: in the body
    let remaining = 0;
    let bodyBytes = 0;
    let startMs = 0;
    let firstByteMs = 0;
    const ask = (): void => {
      head = Buffer.alloc(0);
      firstByteMs = 0;
      startMs = performance.now();
      socket.write(this.#requestText());
    };
    const completed = (): void => {
      const now = performance.now();
      if (startMs >= this.#countFromMs && now <= this.#endMs) {
        this.#bytes += bodyBytes;
        this.#firstBytes.push(firstByteMs - startMs);
        this.#latencies.push(now - startMs);
      }
      if (now < this.#endMs) ask();
    };
    socket.on('data', (part: Buffer) => {
      if (firstByteMs === 0) firstByteMs = performance.now();
      let body = part;
      if (head !== null) {
        head = Buffer.concat([head, part]);
        const end = head.indexOf(HEAD_END);
        if (end === -1) return;
        const text = head.toString('latin1', 0, end + 4);
        const length = contentLengthOf(text, end);
        if (!text.startsWith('HTTP/1.1 20') || length === null) {
          return this.#broken(socket, text.slice(0, 300));
        }
        bodyBytes = length;
        remaining = length;
        body = head.subarray(end + 4);
        head = null;
      }
      remaining -= body.length;
      this.#totalBytes += body.length;
      if (remaining === 0) completed();
    });
    socket.on('error', (error) => this.#broken(socket, error.message));
    socket.on('close', () => {
      if (!this.#isOver) this.#broken(socket, 'closed');
    });
    ask();
  }

  #broken(socket: TLSSocket, why: string): void {
    this.#errors++;
    this.#firstError ??= why;
    if (this.#errors <= ERRORS_MAX) socket.destroy();
  }

  #requestText(): string {
    const { address, port, targets, fields, rangeBytes, fileBytes, alignBytes } = this.#spec;
    const target = targets[this.#random.below(targets.length)];
    const places = Math.floor((fileBytes - rangeBytes) / alignBytes) + 1;
    const start = this.#random.below(places) * alignBytes;
    const extra = fields.map((line) => `${line}\r\n`).join('');
    return `GET ${target} HTTP/1.1\r\nHost: ${address}:${port}\r\n${extra}Range: bytes=${start}-${start + rangeBytes - 1}\r\n\r\n`;
  }
}
