/**
 * Asks a server for ranges over N keep-alive connections, as fast as it answers, and throws the bodies away inside the kernel.
 *
 * Why not wrk: it reads 8 KiB at a time and becomes the bottleneck. recv with MSG_TRUNC copies nothing; bytes are checked in a separate, slower run.
 *
 * Shape:      (LoadSpec) -> LoadReport; one blocking epoll loop, meant for a process of its own on a core of its own
 * Units:      times in milliseconds; firstByte and latency count from the request's send
 * Errors:     a connection that breaks or an unexpected status is counted and reopened; above ERRORS_MAX the run ends
 * Invariants: (1) one request is under way per connection
 *             (2) only requests that began after the warm-up and ended before the end are counted
 */
import { readFileSync } from 'node:fs';
import {
  EAGAIN,
  EINPROGRESS,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  IPPROTO_TCP,
  MSG_TRUNC,
  TCP_NODELAY,
} from '#base/io/linux-abi.ts';
import { loadLinux, whyNoLinux, type Linux } from '#base/io/linux.ts';
import { seededRandom, type Random } from '#base/random.ts';
import { percentileOf } from './ratio.ts';

export interface LoadSpec {
  readonly address: string;
  readonly port: number;
  /** Request targets; each request takes one at random. */
  readonly targets: readonly string[];
  /** Further field lines, each "Name: value". */
  readonly fields: readonly string[];
  readonly connections: number;
  /** Bytes of each range; 0 asks for the whole file. */
  readonly rangeBytes: number;
  readonly fileBytes: number;
  /** Range starts are multiples of this: a player's segments, or a disk's pages. */
  readonly alignBytes: number;
  /** Each place of the file once before any comes again, in a scattered order that begins at this one; absent: at random. */
  readonly walkFrom?: number;
  readonly warmupMs: number;
  readonly durationMs: number;
  readonly seed: number;
  /** Requests of one connection are at least this far apart; 0: the next follows at once. */
  readonly paceMs: number;
  /** Further targets, one a line: more than fit on a command line. */
  readonly targetsFile?: string;
  /** Each target once, in their order, and the run ends with the last one; absent: at random until the time is over. */
  readonly isOnce?: boolean;
  /** TLS 1.3: a generator of its own (tls-generator.ts). */
  readonly isTls?: boolean;
  /** Refusals are answers too: counted by status, not as errors. */
  readonly isAnyStatus?: boolean;
}

export interface LoadReport {
  readonly requests: number;
  readonly bytes: number; // body bytes of the counted requests
  readonly totalBytes: number; // every body byte that arrived, warm-up and unfinished answers included
  readonly durationMs: number;
  readonly firstByteMs: Spread;
  readonly latencyMs: Spread;
  readonly errors: number;
  readonly firstError: string | null;
  readonly statuses: Readonly<Record<string, number>>; // of the answers that were complete
}

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const HEAD_BYTES_MAX = 8192;
const BODY_BYTES_PER_CALL = 8 * 1024 * 1024;
const SAMPLES_MAX = 4_000_000;
const ERRORS_MAX = 100;
const EVENTS_PER_WAIT = 512;

class Connection {
  fd = -1;
  slot = 0;
  isConnecting = true;
  isIdle = true; // between two requests
  isInHead = false;
  headHave = 0;
  remaining = 0;
  bodyBytes = 0;
  status = '';
  startMs = 0;
  firstByteMs = 0;
  dueMs = 0;
  readonly head = Buffer.alloc(HEAD_BYTES_MAX);
}

export function runLoad(spec: LoadSpec): LoadReport {
  const linux = loadLinux();
  if (linux === null) throw new Error(`the load generator needs native calls: ${whyNoLinux()}`);
  return new Load(spec, linux).run();
}

class Load {
  readonly #spec: LoadSpec;
  readonly #linux: Linux;
  readonly #random: Random;
  readonly #epoll: number;
  readonly #connections: Connection[] = [];
  readonly #discard;
  readonly #scratch;
  readonly #prefixes: readonly string[];
  readonly #suffix: string;
  readonly #firstBytes = new Float64Array(SAMPLES_MAX);
  readonly #latencies = new Float64Array(SAMPLES_MAX);
  #samples = 0;
  #requests = 0;
  #bytes = 0;
  #totalBytes = 0;
  #errors = 0;
  #firstError: string | null = null;
  #countFromMs = 0;
  #endMs = 0;
  #waitingForPace = 0;
  #asked = 0;
  #answered = 0;
  #walked = 0;
  readonly #statuses: Record<string, number> = {};

  constructor(spec: LoadSpec, linux: Linux) {
    this.#spec = spec;
    this.#linux = linux;
    this.#random = seededRandom(spec.seed);
    this.#epoll = linux.epollCreate();
    this.#discard = linux.memory(BODY_BYTES_PER_CALL);
    this.#scratch = linux.memory(64 * 1024);
    const host = spec.address.includes(':') ? `[${spec.address}]` : spec.address;
    const extra = spec.fields.map((line) => `${line}\r\n`).join('');
    const more = spec.targetsFile === undefined ? '' : readFileSync(spec.targetsFile, 'latin1');
    const targets = [...spec.targets, ...more.split('\n').filter((line) => line !== '')];
    this.#prefixes = targets.map(
      (target) => `GET ${target} HTTP/1.1\r\nHost: ${host}:${spec.port}\r\n${extra}`,
    );
    this.#suffix = '\r\n';
  }

  run(): LoadReport {
    const { connections, warmupMs, durationMs } = this.#spec;
    for (let slot = 0; slot < connections; slot++) {
      const connection = new Connection();
      connection.slot = slot;
      this.#connections.push(connection);
      this.#open(connection);
    }
    this.#countFromMs = performance.now() + warmupMs;
    this.#endMs = this.#countFromMs + durationMs;
    const events = this.#linux.epollEvents(EVENTS_PER_WAIT);
    for (;;) {
      const now = performance.now();
      if (now >= this.#endMs || this.#errors > ERRORS_MAX) break;
      if (this.#spec.isOnce === true && this.#answered >= this.#prefixes.length) break;
      const waitMs = this.#waitingForPace > 0 ? 1 : Math.ceil(this.#endMs - now);
      const count = this.#linux.epollWait(this.#epoll, events, waitMs);
      for (let at = 0; at < count; at++) this.#ready(this.#connections[events.slot(at)]);
      if (this.#waitingForPace > 0) this.#sendDue();
    }
    for (const connection of this.#connections) this.#linux.close(connection.fd);
    this.#linux.close(this.#epoll);
    return this.#report();
  }

  #open(connection: Connection): void {
    const { address, port } = this.#spec;
    connection.fd = this.#linux.tcpSocket(address);
    connection.isConnecting = true;
    connection.isIdle = true;
    connection.isInHead = false;
    connection.remaining = 0;
    if (connection.fd < 0) throw new Error(`no socket: errno ${-connection.fd}`);
    this.#linux.setOption(connection.fd, IPPROTO_TCP, TCP_NODELAY, 1);
    const result = this.#linux.connect(connection.fd, { address, port });
    if (result < 0 && result !== -EINPROGRESS) throw new Error(`connect: errno ${-result}`);
    const mask = EPOLLIN | EPOLLOUT | EPOLLET;
    this.#linux.epollAdd(this.#epoll, connection.fd, mask, connection.slot, 0);
  }

  #ready(connection: Connection): void {
    if (connection.isConnecting) {
      connection.isConnecting = false;
      this.#request(connection);
    }
    for (;;) {
      if (connection.isIdle) return;
      if (connection.isInHead ? !this.#readHead(connection) : !this.#readBody(connection)) return;
    }
  }

  /** False where there is nothing more to do before the next event. */
  #readHead(connection: Connection): boolean {
    const room = HEAD_BYTES_MAX - connection.headHave;
    const got = this.#linux.receive(connection.fd, this.#scratch, 0, room, 0);
    if (got === -EAGAIN) return false;
    if (got <= 0) return this.#broken(connection, `receive: ${got === 0 ? 'closed' : -got}`);
    if (connection.headHave === 0) connection.firstByteMs = performance.now();
    this.#scratch.bytes.copy(connection.head, connection.headHave, 0, got);
    connection.headHave += got;
    const text = connection.head.toString('latin1', 0, connection.headHave);
    const end = text.indexOf('\r\n\r\n');
    if (end === -1) {
      if (connection.headHave < HEAD_BYTES_MAX) return true;
      return this.#broken(connection, `a head of more than ${HEAD_BYTES_MAX} bytes`);
    }
    const length = contentLengthOf(text, end);
    connection.status = text.slice('HTTP/1.1 '.length, 'HTTP/1.1 '.length + 3);
    const isWanted = this.#spec.rangeBytes === 0 || length === this.#spec.rangeBytes;
    const isGood =
      this.#spec.isAnyStatus === true || (connection.status.startsWith('20') && isWanted);
    if (!isGood || length === null || !text.startsWith('HTTP/1.1 ')) {
      return this.#broken(connection, text.slice(0, Math.min(end, 300)));
    }
    connection.isInHead = false;
    connection.bodyBytes = length;
    connection.remaining = length - (connection.headHave - end - 4);
    this.#totalBytes += connection.headHave - end - 4;
    if (connection.remaining === 0) this.#completed(connection);
    return true;
  }

  #readBody(connection: Connection): boolean {
    const wanted = Math.min(connection.remaining, BODY_BYTES_PER_CALL);
    const got = this.#linux.receive(connection.fd, this.#discard, 0, wanted, MSG_TRUNC);
    if (got === -EAGAIN) return false;
    if (got <= 0) return this.#broken(connection, `body: ${got === 0 ? 'closed' : -got}`);
    connection.remaining -= got;
    this.#totalBytes += got;
    if (connection.remaining === 0) this.#completed(connection);
    return true;
  }

  #completed(connection: Connection): void {
    const now = performance.now();
    this.#answered++;
    this.#statuses[connection.status] = (this.#statuses[connection.status] ?? 0) + 1;
    if (connection.startMs >= this.#countFromMs && now <= this.#endMs) {
      this.#requests++;
      this.#bytes += connection.bodyBytes;
      if (this.#samples < SAMPLES_MAX) {
        this.#firstBytes[this.#samples] = connection.firstByteMs - connection.startMs;
        this.#latencies[this.#samples] = now - connection.startMs;
        this.#samples++;
      }
    }
    if (this.#spec.paceMs === 0) {
      this.#request(connection);
      return;
    }
    connection.isIdle = true;
    connection.dueMs = Math.max(now, connection.startMs + this.#spec.paceMs);
    this.#waitingForPace++;
  }

  #sendDue(): void {
    const now = performance.now();
    for (const connection of this.#connections) {
      if (!connection.isIdle || connection.isConnecting || connection.dueMs > now) continue;
      this.#waitingForPace--;
      this.#request(connection);
      this.#ready(connection);
    }
  }

  #request(connection: Connection): void {
    const { rangeBytes, fileBytes, alignBytes } = this.#spec;
    const isOnce = this.#spec.isOnce === true;
    if (isOnce && this.#asked >= this.#prefixes.length) {
      connection.isIdle = true;
      return;
    }
    const at = isOnce ? this.#asked++ : this.#random.below(this.#prefixes.length);
    const prefix = this.#prefixes[at];
    let text = prefix;
    if (rangeBytes > 0) {
      const places = Math.floor((fileBytes - rangeBytes) / alignBytes) + 1;
      const start = this.#place(places) * alignBytes;
      text += `Range: bytes=${start}-${start + rangeBytes - 1}\r\n`;
    }
    const length = this.#scratch.bytes.write(text + this.#suffix, 0, 'latin1');
    connection.isIdle = false;
    connection.isInHead = true;
    connection.headHave = 0;
    connection.startMs = performance.now();
    const sent = this.#linux.send(connection.fd, this.#scratch, 0, length, 0);
    if (sent !== length) this.#broken(connection, `send: ${sent}`);
  }

  #place(places: number): number {
    const { walkFrom } = this.#spec;
    if (walkFrom === undefined) return this.#random.below(places);
    return scatteredPlace(walkFrom + this.#walked++, places);
  }

  #broken(connection: Connection, why: string): false {
    this.#errors++;
    this.#firstError ??= why;
    this.#linux.close(connection.fd);
    this.#open(connection);
    return false;
  }

  #report(): LoadReport {
    return {
      requests: this.#requests,
      bytes: this.#bytes,
      totalBytes: this.#totalBytes,
      durationMs:
        this.#spec.isOnce === true ? performance.now() - this.#countFromMs : this.#spec.durationMs,
      firstByteMs: spreadOf(this.#firstBytes.subarray(0, this.#samples)),
      latencyMs: spreadOf(this.#latencies.subarray(0, this.#samples)),
      errors: this.#errors,
      firstError: this.#firstError,
      statuses: this.#statuses,
    };
  }
}

/** The `at`-th of `places` in an order that visits each once and seldom two neighbours in a row: no readahead helps. */
export function scatteredPlace(at: number, places: number): number {
  // Near the golden section of `places`, and without a common divisor: steps of it meet every place.
  let step = Math.max(1, Math.floor(places * 0.618));
  while (divisorOf(step, places) !== 1) step--;
  return (at * step) % places;
}

function divisorOf(a: number, b: number): number {
  return b === 0 ? a : divisorOf(b, a % b);
}

export function contentLengthOf(head: string, end: number): number | null {
  const match = /\r\ncontent-length: *(\d{1,15})\r\n/i.exec(head.slice(0, end + 2));
  return match === null ? null : Number(match[1]);
}

export function spreadOf(samples: Float64Array): Spread {
  samples.sort();
  return {
    p50: percentileOf(samples, 0.5),
    p99: percentileOf(samples, 0.99),
    max: samples.length === 0 ? 0 : samples[samples.length - 1],
  };
}
