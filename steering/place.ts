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
import {
  BLOCK,
  CoverPool,
  ENTRY_BITS,
  IS_LEAF,
  NO_COVER,
  STRIDE,
  TrieBuilder,
} from './trie-builder.ts';

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
    : lookUpV6(table, bytes, 0);
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

/** The same for an IPv6 address whose 16 bytes begin at `from`; IPv4-mapped ones are the caller's to unwrap. */
export function lookUpV6(table: PrefixTable, bytes: Uint8Array, from: number): number {
  const { entry, blocks } = table.v6;
  let word = entry[(bytes[from] << 8) | bytes[from + 1]];
  for (let at = from + (ENTRY_BITS >>> 3); word < IS_LEAF; at++) {
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
  const trie = bytes.length === 4 ? table.v4 : table.v6;
  const packed = lookUpPacked(trie, bytes, 0, bytes.length, sourceBits - mappedBits);
  return { cover: packedCover(packed), scopeBits: packedScope(packed) + mappedBits };
}

/** The same for a block whose `size` bytes begin at `from`, in one number: nothing is allocated. */
export function lookUpPacked(
  { child, value, shallowest }: Trie,
  bytes: Uint8Array,
  from: number,
  size: number,
  sourceBits: number,
): number {
  let node = 0;
  for (let depth = 0; depth <= sourceBits; depth++) {
    const next = child[node];
    if (next === 0) return value[node] * SCOPES + depth;
    if (depth === sourceBits) break;
    node = next + ((bytes[from + (depth >>> 3)] >>> (7 - (depth & 7))) & 1);
  }
  const bitsMax = Math.max(sourceBits, size === 4 ? SCOPE_BITS_MAX_V4 : SCOPE_BITS_MAX_V6);
  return value[node] * SCOPES + Math.min(sourceBits + shallowest[node], bitsMax);
}

const SCOPES = 256; // a scope is at most 128

export function packedCover(packed: number): number {
  return Math.floor(packed / SCOPES);
}

export function packedScope(packed: number): number {
  return packed % SCOPES;
}

/** 16 bytes ::ffff:a.b.c.d -> 4 bytes; everything else as it is. */
export function unmapped(address: Uint8Array): Uint8Array {
  return address.length === 16 && isMapped(address) ? address.subarray(12) : address;
}

export function isMapped(bytes: Uint8Array, from = 0): boolean {
  for (let at = from; at < from + 10; at++) if (bytes[at] !== 0) return false;
  return bytes[from + 10] === 0xff && bytes[from + 11] === 0xff;
}
