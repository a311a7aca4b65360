/**
 * Builds the tries of a prefix table: prefixes in any order in, leaf-pushed arrays in shared memory out.
 *
 * Invariants: (1) equal covers are one id, so that sibling leaves with equal answers merge
 *             (2) a million nodes allocate nothing each: all state is in growing typed arrays
 */
import { assert } from '#base/outcome.ts';
import type { CoverList, Trie } from './place.ts';

export const ENTRY_BITS = 16;
/** A block is one cache line. */
export const STRIDE = 4;
export const BLOCK = 1 << STRIDE;
export const IS_LEAF = 0x8000_0000;
export const NO_COVER = 0;

/** Interns covers: the same clusters under the same covering prefixes are one id, which is what lets leaves merge. */
export class CoverPool {
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
export class TrieBuilder {
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
