/**
 * A request trace made from a footprint descriptor: how many requests come back after how many other bytes, and how large
 * objects are. The trace then has the descriptor's LRU hit ratio at every cache size, and nothing of the original's names.
 *
 * Shape:  (descriptor, sizes, requests, seed) -> Trace
 * Units:  the tables count KB (1,000 bytes), in steps of 200 MB; seconds apart evenly
 * Limits: what comes back is chosen by its place in the LRU order alone, so that recency tells all that there is to know:
 *         a policy that learns popularity has nothing to gain here. Real traffic is between this and a popularity law
 * Source: Sabnis, Sitaraman, "TRAGEN: A Synthetic Trace Generator for Realistic Cache Simulations", IMC 2021
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Trace } from '#fill-planner/fill-planner.ts';
import { seededRandom, type Random } from '#base/random.ts';

const KB = 1000;
const STEP_KB = 200_000;

interface Choice<T> {
  readonly values: readonly T[];
  readonly upTo: Float64Array; // cumulative, the last one 1
}

export interface Footprint {
  readonly requests: number;
  readonly seconds: number;
  readonly newShare: number;
  readonly distanceKb: Choice<number>; // bytes asked for in between, of requests that come back
  readonly sizeKb: Choice<number>; // of objects that are new
  readonly sizeKbMean: number;
}

export function readFootprint(directory: string): Footprint {
  const [header, ...rows] = numbersOf(path.join(directory, 'footprint_desc_all.txt'));
  const byDistance = new Map<number, number>();
  for (const [, distance, share] of rows) {
    byDistance.set(distance, (byDistance.get(distance) ?? 0) + share);
  }
  const bySize = new Map<number, number>();
  let between = 0;
  for (const row of numbersOf(path.join(directory, 'iat_sz_all.txt'))) {
    if (row.length === 1) [between] = row;
    else if (between === -1) bySize.set(row[0], row[1]); // -1: objects that are new
  }
  return {
    requests: header[0],
    seconds: header[3] - header[2],
    newShare: header[4] / header[0],
    distanceKb: choiceOf(byDistance),
    sizeKb: choiceOf(bySize),
    sizeKbMean: header[5] / header[4],
  };
}

export function videoTrace(footprint: Footprint, requests: number, seed: number): Trace {
  const random = seededRandom(seed);
  const ids = new Int32Array(requests);
  const sizes = new Uint32Array(requests);
  const seconds = new Float64Array(requests);
  const sizeOf: number[] = [];
  const order = new RecencyOrder(requests);
  let bytesRequested = 0;
  for (let at = 0; at < requests; at++) {
    let id = -1;
    if (random.next() >= footprint.newShare) {
      // By the number of objects that so many bytes are on average: by bytes, large objects would be found too often.
      const distanceKb = pick(footprint.distanceKb, random) + random.next() * STEP_KB;
      id = order.atDepth(Math.floor(distanceKb / footprint.sizeKbMean));
    }
    if (id === -1) {
      id = sizeOf.length; // also where the trace is not yet as deep as that
      sizeOf.push(Math.max(1, Math.round(pick(footprint.sizeKb, random) * KB)));
    }
    order.touch(id, at);
    ids[at] = id;
    sizes[at] = sizeOf[id];
    seconds[at] = (at * footprint.seconds) / footprint.requests;
    bytesRequested += sizeOf[id];
  }
  const bytesDistinct = sizeOf.reduce((sum, size) => sum + size, 0);
  const objects = sizeOf.length;
  return { name: 'video', requests, objects, ids, sizes, seconds, bytesRequested, bytesDistinct };
}

/** Objects by last request: a Fenwick tree over the requests that counts each object at its latest one. */
class RecencyOrder {
  readonly #tree: Int32Array;
  readonly #idAt: Int32Array;
  readonly #latest: number[] = [];
  readonly #highBit: number;

  constructor(requests: number) {
    this.#tree = new Int32Array(requests + 1);
    this.#idAt = new Int32Array(requests);
    this.#highBit = 2 ** Math.floor(Math.log2(requests));
  }

  /** Ids come in order: a new one is the number of those before. */
  touch(id: number, at: number): void {
    if (id < this.#latest.length) this.#add(this.#latest[id], -1);
    this.#add(at, 1);
    this.#idAt[at] = id;
    this.#latest[id] = at;
  }

  /** The object that `depth` others were asked for after; -1 where there are not so many. */
  atDepth(depth: number): number {
    let left = this.#latest.length - depth; // it is the left-th from the oldest
    if (left <= 0) return -1;
    let position = 0;
    for (let step = this.#highBit; step > 0; step /= 2) {
      const next = position + step;
      if (next < this.#tree.length && this.#tree[next] < left) {
        position = next;
        left -= this.#tree[next];
      }
    }
    return this.#idAt[position];
  }

  #add(at: number, change: number): void {
    for (let node = at + 1; node < this.#tree.length; node += node & -node) {
      this.#tree[node] += change;
    }
  }
}

function choiceOf(weights: ReadonlyMap<number, number>): Choice<number> {
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  const upTo = Float64Array.from(weights.values(), (weight) => (sum += weight) / total);
  return { values: [...weights.keys()], upTo };
}

function pick(choice: Choice<number>, random: Random): number {
  const wanted = random.next();
  let low = 0;
  let high = choice.upTo.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (choice.upTo[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return choice.values[low];
}

function numbersOf(file: string): readonly (readonly number[])[] {
  return readFileSync(file, 'latin1')
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number));
}
