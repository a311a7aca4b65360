/**
 * Where a client is: an address -> the clusters whose prefixes cover it, most specific first.
 *
 * One binary trie per address family in typed arrays, leaf-pushed, sibling leaves with equal answers merged. So the
 * depth of the leaf that an address falls into is the shortest prefix within which every client gets the same answer:
 * what DNS needs as the scope of a client-subnet answer.
 *
 * Shape:      buildPrefixTable(entries) -> table; lookUp(table, address) -> cover id; table.covers[id] -> tiers of clusters
 * Units:      lengths and scopes in bits from the left
 * Invariants: (1) lookUp gives the same clusters as scanning all prefixes for those that cover the address, by falling length
 *             (2) leaves never overlap and together cover the whole address space
 *             (3) no leaf can be one bit shorter without changing somebody's answer
 *             (4) an IPv4-mapped IPv6 address is the IPv4 address that it carries
 * Source:     RFC 7871 7.2.1 (scopes must not overlap), RFC 4291 2.5.5.2
 */
import type { Prefix } from '#base/address.ts';
import { assert } from '#base/outcome.ts';

/** Clusters (by index) that cover an address: most specific prefix first, clusters of the same prefix together. */
export type Cover = readonly (readonly number[])[];

export interface PrefixEntry {
  readonly prefix: Prefix;
  readonly cluster: number;
}

export interface PrefixTable {
  readonly v4: Trie;
  readonly v6: Trie;
  readonly covers: readonly Cover[]; // covers[0] is empty: no prefix covers the address
  readonly prefixes: number;
}

/** `child[n]` is the first of two neighbouring nodes, 0 for a leaf. Node 0 is the root. */
export interface Trie {
  readonly child: Uint32Array;
  readonly value: Uint32Array; // cover id; of an inner node: of the longest prefix that covers all of it
  readonly shallowest: Uint8Array; // levels down to the nearest leaf, 0 for a leaf
}

export interface ScopedCover {
  readonly cover: number;
  readonly scopeBits: number;
}

const NO_COVER = 0;
/** How much a resolver is ever asked to tell: privacy, and what large resolvers send. */
const SCOPE_BITS_MAX_V4 = 24;
const SCOPE_BITS_MAX_V6 = 56;

export function buildPrefixTable(entries: Iterable<PrefixEntry>): PrefixTable {
  const covers = new CoverPool();
  const v4 = new TrieBuilder(covers);
  const v6 = new TrieBuilder(covers);
  let prefixes = 0;
  for (const { prefix, cluster } of entries) {
    const asV4 = mappedPrefix(prefix);
    (asV4.family === 4 ? v4 : v6).insert(asV4.bytes, asV4.length, cluster);
    prefixes++;
  }
  return { v4: v4.finish(), v6: v6.finish(), covers: covers.list, prefixes };
}

/** The cover of one address (4 or 16 bytes). */
export function lookUp(table: PrefixTable, address: Uint8Array): number {
  const bytes = unmapped(address);
  const { child, value } = bytes.length === 4 ? table.v4 : table.v6;
  let node = 0;
  if (bytes.length === 4) {
    const key = ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0;
    for (let shift = 31; ; shift--) {
      const next = child[node];
      if (next === 0) return value[node];
      node = next + ((key >>> shift) & 1);
    }
  }
  for (let depth = 0; ; depth++) {
    const next = child[node];
    if (next === 0) return value[node];
    node = next + ((bytes[depth >>> 3] >>> (7 - (depth & 7))) & 1);
  }
}

/**
 * The cover of a block of clients (the first `sourceBits` of the address) and the scope of that answer.
 *
 * Where the block is wider than the table distinguishes, the answer is that of the longest prefix that covers the
 * whole block, and the scope says how many bits would tell more, never more than /24 or /56.
 */
export function lookUpScoped(
  table: PrefixTable,
  address: Uint8Array,
  sourceBits: number,
): ScopedCover {
  const bytes = unmapped(address);
  const mappedBits = address.length - bytes.length === 12 ? 96 : 0;
  if (mappedBits > sourceBits) return { cover: NO_COVER, scopeBits: sourceBits };
  const { child, value, shallowest } = bytes.length === 4 ? table.v4 : table.v6;
  const bits = sourceBits - mappedBits;
  let node = 0;
  for (let depth = 0; depth <= bits; depth++) {
    const next = child[node];
    if (next === 0) return { cover: value[node], scopeBits: depth + mappedBits };
    if (depth === bits) break;
    node = next + ((bytes[depth >>> 3] >>> (7 - (depth & 7))) & 1);
  }
  const bitsMax = Math.max(bits, bytes.length === 4 ? SCOPE_BITS_MAX_V4 : SCOPE_BITS_MAX_V6);
  return {
    cover: value[node],
    scopeBits: Math.min(bits + shallowest[node], bitsMax) + mappedBits,
  };
}

/** 16 bytes ::ffff:a.b.c.d -> 4 bytes; everything else as it is. */
export function unmapped(address: Uint8Array): Uint8Array {
  return address.length === 16 && isMapped(address) ? address.subarray(12) : address;
}

function isMapped(bytes: Uint8Array): boolean {
  for (let at = 0; at < 10; at++) if (bytes[at] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

function mappedPrefix(prefix: Prefix): Prefix {
  if (prefix.family === 4 || prefix.length < 96 || !isMapped(prefix.bytes)) return prefix;
  return { family: 4, bytes: prefix.bytes.subarray(12), length: prefix.length - 96 };
}

/** Interns covers: the same clusters under the same covering prefixes are one id, which is what lets leaves merge. */
class CoverPool {
  readonly list: Cover[] = [[]];
  readonly #extended = new Map<string, number>();

  /** The cover of a more specific prefix of `clusters` inside `outer`. */
  extend(outer: number, clusters: readonly number[]): number {
    const key = `${outer}:${clusters.join(',')}`;
    const known = this.#extended.get(key);
    if (known !== undefined) return known;
    const rest = this.list[outer];
    // A more specific prefix of the very same clusters changes nobody's answer.
    const id = rest.length > 0 && sameClusters(rest[0], clusters) ? outer : this.list.length;
    if (id === this.list.length) {
      const mine = new Set(clusters);
      const outerTiers = rest
        .map((tier) => tier.filter((cluster) => !mine.has(cluster)))
        .filter((tier) => tier.length > 0);
      this.list.push([clusters, ...outerTiers]);
    }
    this.#extended.set(key, id);
    return id;
  }
}

function sameClusters(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((cluster, at) => cluster === b[at]);
}

/** Collects prefixes in a plain binary trie, then writes the leaf-pushed one. */
class TrieBuilder {
  readonly #covers: CoverPool;
  #children = new Uint32Array(2048); // left at 2n, right at 2n + 1; 0: none
  #owner = new Int32Array(1024); // index into #clusterSets, 0: no prefix ends here
  #nodes = 1;
  readonly #clusterSets: number[][] = [[]];
  #child = new Uint32Array(1024);
  #value = new Uint32Array(1024);
  #shallowest = new Uint8Array(1024);
  #written = 1;
  // What the last call of #emit made of its node: kept in fields so that a million nodes allocate nothing.
  #outChild = 0;
  #outValue = 0;
  #outShallowest = 0;

  constructor(covers: CoverPool) {
    this.#covers = covers;
  }

  insert(bytes: Uint8Array, length: number, cluster: number): void {
    assert(length <= bytes.length * 8, 'a prefix is no longer than its address');
    let node = 0;
    for (let depth = 0; depth < length; depth++) {
      const slot = node * 2 + ((bytes[depth >>> 3] >>> (7 - (depth & 7))) & 1);
      let next = this.#children[slot];
      if (next === 0) {
        next = this.#nodes++;
        if (next >= this.#owner.length) this.#growPlain();
        this.#children[slot] = next;
      }
      node = next;
    }
    if (this.#owner[node] === 0) {
      this.#owner[node] = this.#clusterSets.length;
      this.#clusterSets.push([cluster]);
      return;
    }
    const clusters = this.#clusterSets[this.#owner[node]];
    if (!clusters.includes(cluster)) clusters.push(cluster);
  }

  finish(): Trie {
    for (const clusters of this.#clusterSets) clusters.sort((a, b) => a - b);
    this.#emit(0, NO_COVER);
    this.#write(0);
    // In memory that threads share: a table of a million prefixes is built once.
    const nodes = this.#written;
    const child = new Uint32Array(new SharedArrayBuffer(nodes * 4));
    const value = new Uint32Array(new SharedArrayBuffer(nodes * 4));
    const shallowest = new Uint8Array(new SharedArrayBuffer(nodes));
    child.set(this.#child.subarray(0, nodes));
    value.set(this.#value.subarray(0, nodes));
    shallowest.set(this.#shallowest.subarray(0, nodes));
    return { child, value, shallowest };
  }

  /** Writes everything below `node` and leaves what the node itself became in the #out fields. Depth is at most 128. */
  #emit(node: number, inherited: number): void {
    const owner = this.#owner[node];
    const own = owner === 0 ? inherited : this.#covers.extend(inherited, this.#clusterSets[owner]);
    const left = this.#children[node * 2];
    const right = this.#children[node * 2 + 1];
    if (left === 0 && right === 0) {
      this.#setOut(0, own, 0);
      return;
    }
    this.#emitChild(left, own);
    const leftChild = this.#outChild;
    const leftValue = this.#outValue;
    const leftShallowest = this.#outShallowest;
    this.#emitChild(right, own);
    if (leftChild === 0 && this.#outChild === 0 && leftValue === this.#outValue) {
      this.#setOut(0, leftValue, 0);
      return;
    }
    const pair = this.#written;
    this.#written += 2;
    if (this.#written > this.#child.length) this.#growWritten();
    const shallowest = Math.min(leftShallowest, this.#outShallowest) + 1;
    this.#write(pair + 1);
    this.#setOut(leftChild, leftValue, leftShallowest);
    this.#write(pair);
    this.#setOut(pair, own, shallowest);
  }

  #emitChild(node: number, inherited: number): void {
    if (node === 0) this.#setOut(0, inherited, 0);
    else this.#emit(node, inherited);
  }

  #setOut(child: number, value: number, shallowest: number): void {
    this.#outChild = child;
    this.#outValue = value;
    this.#outShallowest = shallowest;
  }

  #write(at: number): void {
    this.#child[at] = this.#outChild;
    this.#value[at] = this.#outValue;
    this.#shallowest[at] = this.#outShallowest;
  }

  #growPlain(): void {
    this.#children = grown(this.#children, Uint32Array);
    this.#owner = grown(this.#owner, Int32Array);
  }

  #growWritten(): void {
    this.#child = grown(this.#child, Uint32Array);
    this.#value = grown(this.#value, Uint32Array);
    this.#shallowest = grown(this.#shallowest, Uint8Array);
  }
}

function grown<A extends Uint32Array | Int32Array | Uint8Array>(
  old: A,
  Kind: new (length: number) => A,
): A {
  const bigger = new Kind(old.length * 2);
  bigger.set(old);
  return bigger;
}
