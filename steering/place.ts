/**
 * Where a client is: an address -> the clusters whose prefixes cover it, most specific first.
 *
 * One binary trie per address family in typed arrays, leaf-pushed, sibling leaves with equal answers merged. So the
 * depth of the leaf that an address falls into is the shortest prefix within which every client gets the same answer:
 * what DNS needs as the scope of a client-subnet answer.
 *
 * Shape:      buildPrefixTable(entries) -> table; lookUp(table, address) -> cover id; coverOf(table, id) -> tiers of clusters
 * Units:      lengths and scopes in bits from the left
 * Invariants: (1) lookUp gives the same clusters as scanning all prefixes for those that cover the address, by falling length
 *             (2) leaves never overlap and together cover the whole address space
 *             (3) no leaf can be one bit shorter without changing somebody's answer
 *             (4) an IPv4-mapped IPv6 address is the IPv4 address that it carries
 * Source:     RFC 7871 7.2.1 (scopes must not overlap), RFC 4291 2.5.5.2
 */
import type { Prefix } from '#base/address.ts';
import { assert } from '#base/outcome.ts';

/** Clusters (by index) that cover an address: most specific prefix first; clusters of one prefix by rank, equals together. */
export type Cover = readonly (readonly number[])[];

export interface PrefixEntry {
  readonly prefix: Pick<Prefix, 'family' | 'bytes' | 'length'>;
  readonly cluster: number;
  /** Among clusters of one prefix the smaller rank comes first; equal ones are one tier. Absent: 0, an operator's word. */
  readonly rank?: number;
}

export interface PrefixTable {
  readonly v4: Trie;
  readonly v6: Trie;
  readonly covers: CoverList;
  readonly prefixes: number;
}

/** Cover n is `clusters[n]` before cover `outer[n]`. Cover 0 is empty: no prefix covers the address. */
export interface CoverList {
  readonly outer: Uint32Array;
  readonly clusters: Int32Array; // a cluster, or -1 - (index into sets) where several share a prefix
  readonly sets: readonly (readonly number[])[];
}

/** `child[n]` is the first of two neighbouring nodes, 0 for a leaf. Node 0 is the root. */
export interface Trie {
  readonly child: Uint32Array;
  readonly value: Uint32Array; // cover id; of an inner node: of the longest prefix that covers all of it
  readonly shallowest: Uint8Array; // levels down to the nearest leaf, 0 for a leaf
  /** The same leaves for look-ups without a scope, few steps apart: a word is IS_LEAF | cover, or a block of BLOCK words. */
  readonly entry: Uint32Array; // by the first ENTRY_BITS bits
  readonly blocks: Uint32Array; // by STRIDE further bits each
}

export interface ScopedCover {
  readonly cover: number;
  readonly scopeBits: number;
}

const ENTRY_BITS = 16;
/** A block is one cache line. */
const STRIDE = 4;
const BLOCK = 1 << STRIDE;
const IS_LEAF = 0x8000_0000;
const NO_COVER = 0;
/** How much a resolver is ever asked to tell: privacy, and what large resolvers send. */
const SCOPE_BITS_MAX_V4 = 24;
const SCOPE_BITS_MAX_V6 = 56;

export function buildPrefixTable(entries: Iterable<PrefixEntry>): PrefixTable {
  const covers = new CoverPool();
  const v4 = new TrieBuilder(covers);
  const v6 = new TrieBuilder(covers);
  let prefixes = 0;
  for (const { prefix, cluster, rank = 0 } of entries) {
    const { family, bytes, length } = prefix;
    if (family === 4) v4.insert(bytes, length, cluster, rank);
    else if (length >= 96 && isMapped(bytes)) {
      v4.insert(bytes.subarray(12), length - 96, cluster, rank);
    } else v6.insert(bytes, length, cluster, rank);
    prefixes++;
  }
  return { v4: v4.finish(), v6: v6.finish(), covers: covers.finish(), prefixes };
}

/** The home cluster of a cover: the first of its most specific prefix; null where no prefix covers the client. */
export function homeOf({ covers }: PrefixTable, cover: number): number | null {
  if (cover === NO_COVER) return null;
  const code = covers.clusters[cover];
  return code >= 0 ? code : covers.sets[-1 - code][0];
}

/** All clusters of a cover; each stands in its most specific tier only. */
export function coverOf({ covers }: PrefixTable, cover: number): Cover {
  const tiers: number[][] = [];
  const seen = new Set<number>();
  for (let at = cover; at !== NO_COVER; at = covers.outer[at]) {
    const code = covers.clusters[at];
    const tier = (code >= 0 ? [code] : covers.sets[-1 - code]).filter((one) => !seen.has(one));
    for (const cluster of tier) seen.add(cluster);
    if (tier.length > 0) tiers.push(tier);
  }
  return tiers;
}

/** The cover of one address (4 or 16 bytes). */
export function lookUp(table: PrefixTable, address: Uint8Array): number {
  const bytes = unmapped(address);
  return bytes.length === 4
    ? lookUpV4(table, ((bytes[0] << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]) >>> 0)
    : lookUpV6(table, bytes);
}

/** The same for an IPv4 address as a number. */
export function lookUpV4(table: PrefixTable, address: number): number {
  const { entry, blocks } = table.v4;
  let word = entry[address >>> (32 - ENTRY_BITS)];
  for (let shift = 32 - ENTRY_BITS - STRIDE; word < IS_LEAF; shift -= STRIDE) {
    word = blocks[(word << STRIDE) | ((address >>> shift) & (BLOCK - 1))];
  }
  return word & ~IS_LEAF;
}

function lookUpV6(table: PrefixTable, bytes: Uint8Array): number {
  const { entry, blocks } = table.v6;
  let word = entry[(bytes[0] << 8) | bytes[1]];
  for (let at = ENTRY_BITS >>> 3; word < IS_LEAF; at++) {
    word = blocks[(word << STRIDE) | (bytes[at] >>> 4)];
    if (word >= IS_LEAF) break;
    word = blocks[(word << STRIDE) | (bytes[at] & 15)];
  }
  return word & ~IS_LEAF;
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

/** Interns covers: the same clusters under the same covering prefixes are one id, which is what lets leaves merge. */
class CoverPool {
  #outer = new Uint32Array(1024);
  #clusters = new Int32Array(1024);
  #count = 1;
  readonly #sets: (readonly number[])[] = [];
  readonly #setIds = new Map<string, number>();
  readonly #known = new Map<number, number>();

  /** The code of several clusters that share one prefix. */
  codeOf(clusters: readonly number[]): number {
    const name = clusters.join();
    let id = this.#setIds.get(name);
    if (id === undefined) {
      id = this.#sets.length;
      this.#sets.push(clusters);
      this.#setIds.set(name, id);
    }
    return -1 - id;
  }

  /** The cover of a more specific prefix of `code` inside `outer`. */
  extend(outer: number, code: number): number {
    // A more specific prefix of the very same clusters changes nobody's answer.
    if (outer !== NO_COVER && this.#clusters[outer] === code) return outer;
    const key = outer * 2 ** 22 + (code + 2 ** 21);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const id = this.#count++;
    if (id >= this.#outer.length) {
      this.#outer = grown(this.#outer, Uint32Array);
      this.#clusters = grown(this.#clusters, Int32Array);
    }
    this.#outer[id] = outer;
    this.#clusters[id] = code;
    this.#known.set(key, id);
    return id;
  }

  finish(): CoverList {
    const outer = new Uint32Array(new SharedArrayBuffer(this.#count * 4));
    const clusters = new Int32Array(new SharedArrayBuffer(this.#count * 4));
    outer.set(this.#outer.subarray(0, this.#count));
    clusters.set(this.#clusters.subarray(0, this.#count));
    return { outer, clusters, sets: this.#sets };
  }
}

interface Owner {
  readonly cluster: number;
  readonly rank: number;
}

/** Collects prefixes in a plain binary trie, then writes the leaf-pushed one. */
class TrieBuilder {
  readonly #covers: CoverPool;
  #children = new Uint32Array(2048); // left at 2n, right at 2n + 1; 0: none
  #owner = new Int32Array(1024); // cluster + 1; 0: no prefix ends here; below 0: -1 - (index into #shared)
  #rank = new Uint32Array(1024); // of a single owner, by its place in #ranks
  readonly #ranks: number[] = [0]; // few: ranks are path lengths
  readonly #rankIds = new Map<number, number>([[0, 0]]);
  #nodes = 1;
  readonly #entry = new Uint32Array(1 << ENTRY_BITS); // plain nodes at that depth: most insertions start there
  readonly #shared: Owner[][] = []; // clusters that share a prefix: rare
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

  insert(bytes: Uint8Array, length: number, cluster: number, rank: number): void {
    assert(length <= 128 && cluster < 2 ** 21, 'a prefix of an address, a cluster of the fleet');
    const entryAt = (bytes[0] << 8) | bytes[1];
    let node = 0;
    let depth = 0;
    if (length >= ENTRY_BITS) {
      node = this.#entry[entryAt];
      if (node === 0) {
        node = this.#descend(0, bytes, 0, ENTRY_BITS);
        this.#entry[entryAt] = node;
      }
      depth = ENTRY_BITS;
    }
    this.#own(this.#descend(node, bytes, depth, length), cluster, rank);
  }

  #descend(from: number, bytes: Uint8Array, start: number, end: number): number {
    let node = from;
    for (let depth = start; depth < end; depth++) {
      const slot = node * 2 + ((bytes[depth >>> 3] >>> (7 - (depth & 7))) & 1);
      let next = this.#children[slot];
      if (next === 0) {
        next = this.#nodes++;
        if (next >= this.#owner.length) this.#growPlain();
        this.#children[slot] = next;
      }
      node = next;
    }
    return node;
  }

  #own(node: number, cluster: number, rank: number): void {
    const owner = this.#owner[node];
    if (owner === 0) {
      this.#owner[node] = cluster + 1;
      if (rank !== 0) this.#rank[node] = this.#rankId(rank);
      return;
    }
    const owners =
      owner > 0
        ? [{ cluster: owner - 1, rank: this.#ranks[this.#rank[node]] }]
        : this.#shared[-1 - owner].filter(
            (other) => other.cluster !== cluster || other.rank <= rank,
          );
    if (!owners.some((other) => other.cluster === cluster && other.rank <= rank)) {
      if (owner > 0 && owners[0].cluster === cluster) owners.pop();
      owners.push({ cluster, rank });
    }
    this.#setOwners(node, owner, owners);
  }

  #setOwners(node: number, before: number, owners: Owner[]): void {
    owners.sort((a, b) => a.rank - b.rank || a.cluster - b.cluster);
    if (before < 0) {
      this.#shared[-1 - before] = owners;
    } else if (owners.length === 1) {
      this.#rank[node] = this.#rankId(owners[0].rank);
    } else {
      this.#owner[node] = -1 - this.#shared.length;
      this.#shared.push(owners);
    }
  }

  #rankId(rank: number): number {
    let id = this.#rankIds.get(rank);
    if (id === undefined) {
      id = this.#ranks.length;
      this.#ranks.push(rank);
      this.#rankIds.set(rank, id);
    }
    return id;
  }

  finish(): Trie {
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
    return { child, value, shallowest, ...strided(child, value) };
  }

  /** Writes everything below `node` and leaves what the node itself became in the #out fields. Depth is at most 128. */
  #emit(node: number, inherited: number): void {
    const owner = this.#owner[node];
    const own = this.#coverAt(owner, inherited);
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

  /** The cover of a prefix: of several owners the worst rank stands nearest to what lies around it. */
  #coverAt(owner: number, inherited: number): number {
    if (owner === 0) return inherited;
    if (owner > 0) return this.#covers.extend(inherited, owner - 1);
    const owners = this.#shared[-1 - owner];
    let cover = inherited;
    for (let end = owners.length; end > 0;) {
      let start = end - 1;
      while (start > 0 && owners[start - 1].rank === owners[start].rank) start--;
      const clusters = owners.slice(start, end).map(({ cluster }) => cluster);
      const code = clusters.length === 1 ? clusters[0] : this.#covers.codeOf(clusters);
      cover = this.#covers.extend(cover, code);
      end = start;
    }
    return cover;
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
    this.#rank = grown(this.#rank, Uint32Array);
  }

  #growWritten(): void {
    this.#child = grown(this.#child, Uint32Array);
    this.#value = grown(this.#value, Uint32Array);
    this.#shallowest = grown(this.#shallowest, Uint8Array);
  }
}

/** The same trie, STRIDE bits a step. */
function strided(
  child: Uint32Array,
  value: Uint32Array,
): { entry: Uint32Array; blocks: Uint32Array } {
  let blocks = new Uint32Array(BLOCK * 256);
  let count = 0;
  const wordOf = (from: number, bits: number, levels: number): number => {
    let node = from;
    for (let shift = levels - 1; shift >= 0 && child[node] !== 0; shift--) {
      node = child[node] + ((bits >>> shift) & 1);
    }
    return child[node] === 0 ? (IS_LEAF | value[node]) >>> 0 : blockOf(node);
  };
  const blockOf = (node: number): number => {
    const block = count++;
    if ((block + 1) * BLOCK > blocks.length) blocks = grown(blocks, Uint32Array);
    for (let bits = 0; bits < BLOCK; bits++) {
      // Not in one expression: the array may be another one once the word is known.
      const word = wordOf(node, bits, STRIDE);
      blocks[block * BLOCK + bits] = word;
    }
    return block;
  };
  const entry = new Uint32Array(new SharedArrayBuffer(4 << ENTRY_BITS));
  for (let bits = 0; bits < entry.length; bits++) entry[bits] = wordOf(0, bits, ENTRY_BITS);
  const shared = new Uint32Array(new SharedArrayBuffer(count * BLOCK * 4));
  shared.set(blocks.subarray(0, count * BLOCK));
  return { entry, blocks: shared };
}

function grown<A extends Uint32Array | Int32Array | Uint8Array>(
  old: A,
  Kind: new (length: number) => A,
): A {
  const bigger = new Kind(old.length * 2);
  bigger.set(old);
  return bigger;
}
