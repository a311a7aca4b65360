/**
 * A request trace in memory, column by column, ids made dense in order of first appearance.
 *
 * Units: sizes in bytes (u32: traces of larger objects are sliced before), seconds as the trace counts them
 */
import { NEVER } from './policy.ts';

export interface Trace {
  readonly name: string;
  readonly requests: number;
  readonly objects: number;
  readonly ids: Int32Array;
  readonly sizes: Uint32Array;
  /** When each request came; absent: a second apart. */
  readonly seconds?: Float64Array;
  readonly bytesRequested: number;
  readonly bytesDistinct: number; // of each object's last size
}

export interface TraceRecord {
  readonly seconds: number;
  readonly idLow: number; // u32
  readonly idHigh: number; // u32
  readonly sizeBytes: number;
}

export class TraceProblem extends Error {
  constructor(where: string, what: string) {
    super(`${where}: ${what}`);
    this.name = 'TraceProblem';
  }
}

/** Collects records; refuses what no simulation could mean, with the place that the reader names. */
export class TraceBuilder {
  readonly #ids = new DenseIds();
  #idOf = new Int32Array(1 << 16);
  #sizeOf = new Uint32Array(1 << 16);
  #secondsOf = new Float64Array(1 << 16);
  #count = 0;
  #lastSeconds = -Infinity;

  add(record: TraceRecord, where: () => string): void {
    const { sizeBytes, seconds } = record;
    if (!Number.isInteger(sizeBytes) || sizeBytes <= 0) {
      throw new TraceProblem(where(), `size ${sizeBytes}: an object has at least 1 byte`);
    }
    if (sizeBytes > 0xffffffff) {
      throw new TraceProblem(
        where(),
        `size ${sizeBytes}: more than 4 GiB; slice such objects first`,
      );
    }
    if (!Number.isFinite(seconds) || seconds < this.#lastSeconds) {
      throw new TraceProblem(
        where(),
        `time ${seconds} is before ${this.#lastSeconds}: sort the trace by time`,
      );
    }
    this.#lastSeconds = seconds;
    if (this.#count === this.#idOf.length) this.#grow();
    this.#idOf[this.#count] = this.#ids.of(record.idLow, record.idHigh);
    this.#sizeOf[this.#count] = sizeBytes;
    this.#secondsOf[this.#count] = seconds;
    this.#count++;
  }

  build(name: string): Trace {
    if (this.#count === 0) throw new TraceProblem(name, 'no request in it');
    const ids = this.#idOf.slice(0, this.#count);
    const sizes = this.#sizeOf.slice(0, this.#count);
    const seconds = this.#secondsOf.slice(0, this.#count);
    const objects = this.#ids.count;
    const sizeOfObject = new Uint32Array(objects);
    let bytesRequested = 0;
    for (let at = 0; at < this.#count; at++) {
      bytesRequested += sizes[at];
      sizeOfObject[ids[at]] = sizes[at];
    }
    const bytesDistinct = sizeOfObject.reduce((sum, size) => sum + size, 0);
    const requests = this.#count;
    return { name, requests, objects, ids, sizes, seconds, bytesRequested, bytesDistinct };
  }

  #grow(): void {
    const idOf = new Int32Array(this.#idOf.length * 2);
    idOf.set(this.#idOf);
    this.#idOf = idOf;
    const sizeOf = new Uint32Array(this.#sizeOf.length * 2);
    sizeOf.set(this.#sizeOf);
    this.#sizeOf = sizeOf;
    const secondsOf = new Float64Array(this.#secondsOf.length * 2);
    secondsOf.set(this.#secondsOf);
    this.#secondsOf = secondsOf;
  }
}

export function secondsOf({ seconds }: Trace): (at: number) => number {
  return seconds === undefined ? (at) => at : (at) => seconds[at];
}

/** For each request the index of the next one for the same object, or NEVER. One pass from the end. */
export function nextRequests(trace: Trace): Int32Array {
  const next = new Int32Array(trace.requests);
  const seenAt = new Int32Array(trace.objects).fill(NEVER);
  for (let at = trace.requests - 1; at >= 0; at--) {
    const id = trace.ids[at];
    next[at] = seenAt[id];
    seenAt[id] = at;
  }
  return next;
}

/** 64-bit ids to 0, 1, 2, …: open addressing over two u32 halves, 12 bytes a slot, at most half full. */
export class DenseIds {
  #slots = 1 << 16;
  #low = new Uint32Array(this.#slots);
  #high = new Uint32Array(this.#slots);
  #dense = new Int32Array(this.#slots).fill(-1);
  count = 0;

  of(low: number, high: number): number {
    let slot = this.#slotOf(low, high);
    for (;;) {
      const dense = this.#dense[slot];
      if (dense === -1) break;
      if (this.#low[slot] === low && this.#high[slot] === high) return dense;
      slot = (slot + 1) & (this.#slots - 1);
    }
    this.#low[slot] = low;
    this.#high[slot] = high;
    this.#dense[slot] = this.count;
    this.count++;
    if (this.count * 2 > this.#slots) this.#grow();
    return this.count - 1;
  }

  #slotOf(low: number, high: number): number {
    let hash = Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1);
    hash ^= hash >>> 15;
    return Math.imul(hash, 0x2c1b3c6d) & (this.#slots - 1);
  }

  #grow(): void {
    const [low, high, dense] = [this.#low, this.#high, this.#dense];
    this.#slots *= 2;
    this.#low = new Uint32Array(this.#slots);
    this.#high = new Uint32Array(this.#slots);
    this.#dense = new Int32Array(this.#slots).fill(-1);
    for (let from = 0; from < dense.length; from++) {
      if (dense[from] === -1) continue;
      let slot = this.#slotOf(low[from], high[from]);
      while (this.#dense[slot] !== -1) slot = (slot + 1) & (this.#slots - 1);
      this.#low[slot] = low[from];
      this.#high[slot] = high[from];
      this.#dense[slot] = dense[from];
    }
  }
}
