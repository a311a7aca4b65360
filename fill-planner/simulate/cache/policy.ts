/**
 * What a cache policy is to the simulator: one call per request.
 *
 * Ids are dense (0 .. objects-1), so a policy keeps its state in flat typed arrays: no Map, no object per entry.
 * A policy is one small file in policies/; `POLICIES` in catalogue.ts is the list that the command line knows.
 *
 * Invariants: (1) bytesHeld <= capacityBytes after every request
 *             (2) an object larger than the capacity is never admitted and always a miss
 */
export interface CachePolicy {
  /** One request for `id` of `sizeBytes`, the `at`-th of the trace. True on a hit. */
  request(id: number, sizeBytes: number, at: number): boolean;
  bytesHeld(): number;
}

export interface PolicyInput {
  readonly objects: number;
  readonly capacityBytes: number;
  /** For offline policies: index of the next request for the same object, or NEVER. */
  readonly nextAt: () => Int32Array;
  /** When a request of the trace came, in seconds. */
  readonly secondsAt: (at: number) => number;
}

export const NEVER = 0x7fffffff;

export type PolicyFactory = (input: PolicyInput) => CachePolicy;

/** Bytes per object of the node array below. */
export const NODE_BYTES = 16;
const STRIDE = 4;
const PREV = 0;
const NEXT = 1;
const SIZE = 2;
const TAG = 3;
const NONE = -1;

/**
 * Doubly linked lists over dense ids in one interleaved Int32Array: [prev, next, size, tag] per object.
 *
 * One cache line holds four objects' links, which is what makes 10 M requests a second possible; one array per field
 * costs half of that. An object is in at most one list. `tag` is the policy's own (list number, counter, 0 = absent).
 */
export class ObjectLists {
  readonly nodes: Int32Array;
  readonly #heads: Int32Array;
  readonly #tails: Int32Array;

  constructor(objects: number, lists: number) {
    this.nodes = new Int32Array(objects * STRIDE);
    this.#heads = new Int32Array(lists).fill(NONE);
    this.#tails = new Int32Array(lists).fill(NONE);
  }

  head(list: number): number {
    return this.#heads[list];
  }

  /** The oldest member, or -1. */
  tail(list: number): number {
    return this.#tails[list];
  }

  /** The neighbour towards the head, or -1. */
  newer(id: number): number {
    return this.nodes[id * STRIDE + PREV];
  }

  size(id: number): number {
    return this.nodes[id * STRIDE + SIZE] >>> 0;
  }

  tag(id: number): number {
    return this.nodes[id * STRIDE + TAG];
  }

  setTag(id: number, tag: number): void {
    this.nodes[id * STRIDE + TAG] = tag;
  }

  setSize(id: number, sizeBytes: number): void {
    this.nodes[id * STRIDE + SIZE] = sizeBytes;
  }

  pushHead(list: number, id: number): void {
    const { nodes } = this;
    const at = id * STRIDE;
    const head = this.#heads[list];
    nodes[at + PREV] = NONE;
    nodes[at + NEXT] = head;
    if (head === NONE) this.#tails[list] = id;
    else nodes[head * STRIDE + PREV] = id;
    this.#heads[list] = id;
  }

  remove(list: number, id: number): void {
    const { nodes } = this;
    const at = id * STRIDE;
    const prev = nodes[at + PREV];
    const next = nodes[at + NEXT];
    if (prev === NONE) this.#heads[list] = next;
    else nodes[prev * STRIDE + NEXT] = next;
    if (next === NONE) this.#tails[list] = prev;
    else nodes[next * STRIDE + PREV] = prev;
  }

  moveToHead(list: number, id: number): void {
    if (this.#heads[list] === id) return;
    this.remove(list, id);
    this.pushHead(list, id);
  }
}
