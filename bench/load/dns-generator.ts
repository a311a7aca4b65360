/**
 * DNS queries from many addresses, each with a client subnet of its own: what the resolvers of many networks send.
 *
 * A process of its own: one DnsLoadSpec as JSON in the first argument, one DnsLoadReport as JSON on stdout. It spins; pin it to a core.
 *
 *   socket (one source address each) --burst of queries--> server --answers, all or after LOST_MS--> the next socket's turn
 *
 * dnsperf has one source address and one client subnet a process, which a server with response rate limiting rightly
 * takes for a flood; hence this one. Its own ceiling (an echo in place of a server) is in bench/README.md.
 */
import { parseAddress } from '#base/address.ts';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { SO_RCVBUF, SOL_SOCKET } from '#base/io/linux-abi.ts';
import type { MessageBatch } from '#base/io/message-batch.ts';
import { seededRandom } from '#base/random.ts';

export interface DnsLoadSpec {
  readonly address: string;
  readonly port: number;
  readonly name: string;
  readonly sources: number; // 127.90.x.y
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly burst: number; // queries of a socket at a time
  readonly underWay: number; // sockets at a time
  readonly seed: number;
  readonly subnetBits: number; // subnets are 11.a.b.0/24 with so many random bits
}

export interface DnsLoadReport {
  readonly qps: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly answered: number;
  readonly lost: number;
  readonly bad: number; // no answer in it, an error, or cut
}

const LOST_MS = 100;
const QUERY_BYTES_MAX = 512;
const HISTOGRAM_STEP_US = 10;
const HISTOGRAM_STEPS = 20_000; // 200 ms

interface Client {
  readonly fd: number;
  readonly batch: MessageBatch;
  sentAtMs: number;
  waiting: number;
  id: number;
}

class DnsLoad {
  readonly #spec: DnsLoadSpec;
  readonly #linux = required();
  readonly #query: Buffer;
  readonly #subnetAt: number;
  readonly #random;
  readonly #clients: readonly Client[];
  readonly #histogram = new Uint32Array(HISTOGRAM_STEPS);
  #next = 0;
  #isCounting = false;
  #answered = 0;
  #lost = 0;
  #bad = 0;

  constructor(spec: DnsLoadSpec) {
    this.#spec = spec;
    this.#random = seededRandom(spec.seed);
    const { bytes, subnetAt } = queryFor(spec.name);
    this.#query = bytes;
    this.#subnetAt = subnetAt;
    this.#clients = Array.from({ length: spec.sources }, (_, at) => this.#open(at));
  }

  run(): DnsLoadReport {
    const { seconds, underWay, warmUpSeconds } = this.#spec;
    const startMs = performance.now();
    const countFromMs = startMs + warmUpSeconds * 1000;
    const endMs = countFromMs + seconds * 1000;
    const active = Array.from({ length: underWay }, () => this.#turn());
    for (let nowMs = startMs; nowMs < endMs; nowMs = performance.now()) {
      this.#isCounting = nowMs >= countFromMs;
      for (let at = 0; at < active.length; at++) {
        if (this.#isDone(active[at])) active[at] = this.#turn();
      }
    }
    return {
      qps: Math.round(this.#answered / seconds),
      p50Ms: this.#quantileMs(0.5),
      p99Ms: this.#quantileMs(0.99),
      answered: this.#answered,
      lost: this.#lost,
      bad: this.#bad,
    };
  }

  #open(at: number): Client {
    const { address, burst, port } = this.#spec;
    const linux = this.#linux;
    const fd = linux.udpSocket(address);
    linux.setOption(fd, SOL_SOCKET, SO_RCVBUF, 1024 * 1024);
    const source = `127.90.${at % 256}.${1 + Math.floor(at / 256)}`;
    const bound = linux.bind(fd, { address: source, port: 0 });
    if (bound < 0) throw new Error(`cannot bind ${source}: errno ${-bound}`);
    const batch = linux.messageBatch(burst, QUERY_BYTES_MAX);
    const server = parseAddress(address);
    if (server === null) throw new Error(`${address} is no address`);
    for (let slot = 0; slot < burst; slot++) batch.setPeer(slot, server, port);
    return { fd, batch, sentAtMs: 0, waiting: 0, id: 0 };
  }

  /** The next socket sends its burst. */
  #turn(): Client {
    const client = this.#clients[this.#next];
    this.#next = (this.#next + 1) % this.#clients.length;
    const { batch } = client;
    while (this.#linux.receiveBatch(client.fd, batch) > 0); // what came too late
    for (let slot = 0; slot < this.#spec.burst; slot++) {
      const room = batch.room(slot);
      this.#query.copy(room);
      client.id = (client.id + 1) & 0xffff;
      room.writeUInt16BE(client.id, 0);
      const subnet = this.#random.below(2 ** this.#spec.subnetBits);
      room.writeUInt16BE(subnet & 0xffff, this.#subnetAt + 1);
      batch.answer(slot, this.#query.length);
    }
    client.sentAtMs = performance.now();
    client.waiting = Math.max(0, this.#linux.sendBatch(client.fd, batch));
    return client;
  }

  #isDone(client: Client): boolean {
    const count = this.#linux.receiveBatch(client.fd, client.batch);
    const nowMs = performance.now();
    if (count > 0) {
      const step = Math.floor(((nowMs - client.sentAtMs) * 1000) / HISTOGRAM_STEP_US);
      for (let at = 0; at < count; at++) {
        if (!this.#isCounting) continue;
        const message = client.batch.received(at);
        const isGood =
          message !== null && (message[3] & 0xf) === 0 && message[7] > 0 && (message[2] & 2) === 0;
        if (!isGood) this.#bad++;
        this.#answered++;
        this.#histogram[Math.min(HISTOGRAM_STEPS - 1, step)]++;
      }
      client.waiting -= count;
    }
    if (client.waiting <= 0) return true;
    if (nowMs - client.sentAtMs < LOST_MS) return false;
    if (this.#isCounting) this.#lost += client.waiting;
    return true;
  }

  #quantileMs(share: number): number {
    let left = this.#answered * share;
    for (let step = 0; step < HISTOGRAM_STEPS; step++) {
      left -= this.#histogram[step];
      if (left <= 0) return ((step + 1) * HISTOGRAM_STEP_US) / 1000;
    }
    return (HISTOGRAM_STEPS * HISTOGRAM_STEP_US) / 1000;
  }
}

function required() {
  const linux = loadLinux();
  if (linux === null)
    throw new Error(`the load generator needs Linux and node:ffi: ${whyNoLinux()}`);
  return linux;
}

/** An A question with EDNS0 and a client subnet of 24 bits. */
function queryFor(name: string): { bytes: Buffer; subnetAt: number } {
  const labels = name
    .split('.')
    .map((label) => Buffer.from([label.length, ...Buffer.from(label, 'latin1')]));
  const head = Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
  const question = Buffer.concat([...labels, Buffer.from([0, 0, 1, 0, 1])]);
  const option = [0, 8, 0, 7, 0, 1, 24, 0, 11, 0, 0];
  const opt = Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, option.length, ...option]);
  const bytes = Buffer.concat([head, question, opt]);
  return { bytes, subnetAt: bytes.length - 3 };
}

if (import.meta.main) {
  const spec = JSON.parse(process.argv[2] ?? 'null') as DnsLoadSpec | null;
  if (spec === null)
    throw new Error('usage: node bench/load/dns-generator.ts SPEC (see DnsLoadSpec)');
  process.stdout.write(`${JSON.stringify(new DnsLoad(spec).run())}\n`);
}
