/**
 * The set of whole files that one box holds, by ordinal: small, immutable, membership in well under a microsecond.
 *
 * A set is a packed base in shared memory and a small overlay of what changed since: a night's changes of a whole fleet
 * come in without packing a single set anew, and any thread may pack a set while all others go on reading.
 *
 * Elias-Fano coding with byte-aligned low parts, in blocks: an ordinal is (bucket of 256, low byte), a block BLOCK_BUCKETS
 * buckets. A block begins with a bit string that holds, bucket after bucket, a 1 per member and then a 0; the low bytes of its
 * members stand at its end, the first one last. So a look-up touches one word that says where the block is, and the block:
 * among thousands of sets both are far away. 400,000 members out of 72 million ordinals take about 0.5 MB, a third of a
 * sorted Uint32Array.
 *
 * Invariants: (1) holds(holdings, ordinal) is true exactly for the ordinals given
 *             (2) block k is the words from `words[k]` to `words[k + 1]`; its bits and its low bytes do not overlap
 *             (3) `added` and `removed` are sorted; no added ordinal is in the base, every removed one is
 * Source:     P. Elias 1974; S. Vigna, Quasi-succinct indices, 2013
 */
export interface OrdinalSet {
  readonly size: number;
  readonly words: Uint32Array; // where each block begins, and the end; then the blocks
  readonly blocks: number;
}

/** What one box holds. */
export interface Holdings {
  readonly version: number;
  readonly base: OrdinalSet;
  readonly added: Uint32Array;
  readonly removed: Uint32Array;
}

const BLOCK_BUCKETS = 64;
const BLOCK_ORDINALS = BLOCK_BUCKETS * 256;
/** An overlay of more than this share of its set, and more than so many, is worth packing. */
const OVERLAY_SHARE_MAX = 1 / 32;
const OVERLAY_MAX = 1024;
const NONE = new Uint32Array(0);

export const NO_ORDINALS: OrdinalSet = ordinalSet([]);
export const NO_HOLDINGS: Holdings = holdingsOf(0, NO_ORDINALS);

export function holdingsOf(version: number, base: OrdinalSet): Holdings {
  return { version, base, added: NONE, removed: NONE };
}

/**
 * Takes `removed` out, then puts `added` in: as the control plane means it. Lists are sorted first: the base is then looked
 * into from its beginning to its end, and what was laid over it is merged in one pass.
 */
export function withChanges(
  { base, added, removed }: Holdings,
  version: number,
  plus: readonly number[],
  minus: readonly number[],
): Holdings {
  if (plus.length + minus.length === 0) return { version, base, added, removed };
  const out = split(base, minus);
  const come = split(base, plus);
  return {
    version,
    base,
    added: union(without(added, out.others), come.others),
    removed: without(union(removed, out.members), come.members),
  };
}

/** Ordinals in order, those of the set and those that are not. */
function split(
  set: OrdinalSet,
  ordinals: readonly number[],
): { readonly members: Uint32Array; readonly others: Uint32Array } {
  const sorted = Uint32Array.from(ordinals).sort();
  const others = new Uint32Array(sorted.length);
  let members = 0;
  let left = 0;
  for (const ordinal of sorted) {
    if (isInSet(set, ordinal)) sorted[members++] = ordinal;
    else others[left++] = ordinal;
  }
  return { members: sorted.subarray(0, members), others: others.subarray(0, left) };
}

/** Of two lists in order, without repetition. */
function union(a: Uint32Array, b: Uint32Array): Uint32Array {
  const out = new Uint32Array(a.length + b.length);
  let count = 0;
  for (let left = 0, right = 0; left < a.length || right < b.length;) {
    const isLeft = right === b.length || (left < a.length && a[left] <= b[right]);
    const next = isLeft ? a[left++] : b[right++];
    if (count === 0 || out[count - 1] !== next) out[count++] = next;
  }
  return count === out.length ? out : out.slice(0, count);
}

/** `a` but for what is in `b`; both in order. */
function without(a: Uint32Array, b: Uint32Array): Uint32Array {
  if (a.length === 0 || b.length === 0) return a;
  const out = new Uint32Array(a.length);
  let count = 0;
  let right = 0;
  for (const one of a) {
    while (right < b.length && b[right] < one) right++;
    if (right === b.length || b[right] !== one) out[count++] = one;
  }
  return count === out.length ? out : out.slice(0, count);
}

export function isWorthPacking({ base, added, removed }: Holdings): boolean {
  return added.length + removed.length > Math.max(OVERLAY_MAX, base.size * OVERLAY_SHARE_MAX);
}

/** The same ordinals in one packed set. Costs milliseconds for a large one. */
export function packed(holdings: Holdings): OrdinalSet {
  return ordinalSet(membersOf(holdings));
}

/** `now`, laid over `base`, which somebody packed from `before` meanwhile. */
export function rebased(before: Holdings, base: OrdinalSet, now: Holdings): Holdings {
  if (now.added === before.added && now.removed === before.removed) {
    return holdingsOf(now.version, base);
  }
  const more = new Set<number>();
  const less = new Set<number>();
  for (const list of [before.added, before.removed, now.added, now.removed]) {
    for (const ordinal of list) {
      const isIn = isInSet(base, ordinal);
      const belongs = holds(now, ordinal);
      if (belongs && !isIn) more.add(ordinal);
      else if (!belongs && isIn) less.add(ordinal);
    }
  }
  return { version: now.version, base, added: sortedOf(more), removed: sortedOf(less) };
}

export function holds({ base, added, removed }: Holdings, ordinal: number): boolean {
  if (added.length > 0 && isInSorted(added, ordinal)) return true;
  return isInSet(base, ordinal) && !(removed.length > 0 && isInSorted(removed, ordinal));
}

/**
 * Those of several boxes that hold a file; the very list where all do. Each set is far away in memory, and its parts are found one by
 * way of the other: first the same part of all is read, so that they come in at once. Two and a half times as fast as one after another.
 */
export function holdersAmong<T extends { readonly holdings: Holdings }>(
  boxes: readonly T[],
  ordinal: number,
): readonly T[] {
  bringIn(boxes, ordinal);
  let lacking = 0;
  while (lacking < boxes.length && holds(boxes[lacking].holdings, ordinal)) lacking++;
  if (lacking === boxes.length) return boxes;
  const holders = boxes.slice(0, lacking);
  for (let at = lacking + 1; at < boxes.length; at++) {
    if (holds(boxes[at].holdings, ordinal)) holders.push(boxes[at]);
  }
  return holders;
}

/**
 * Marks the files, from a place on, that a box holds where it lacks the file at that place, or the other way round. The ordinals of a
 * title lie side by side: what is near in the set is read once for all of them.
 */
export function markUnlike(
  holdings: Holdings,
  files: readonly { readonly ordinal: number }[],
  place: number,
  unlike: Uint8Array,
): void {
  const { base, added, removed } = holdings;
  const isHeld = holds(holdings, files[place].ordinal);
  let read = -1;
  for (let at = place + 1; at < files.length; at++) {
    const { ordinal } = files[at];
    const bucket = ordinal >>> 8;
    if (bucket !== read) {
      readBucket(base, bucket);
      read = bucket;
    }
    let isIn = ((bucketBits[(ordinal >>> 5) & 7] >>> (ordinal & 31)) & 1) === 1;
    if (isIn) isIn = removed.length === 0 || !isInSorted(removed, ordinal);
    else isIn = added.length > 0 && isInSorted(added, ordinal);
    if (isIn !== isHeld) unlike[at] = 1;
  }
}

const TOGETHER_MAX = 32;
const starts = new Uint32Array(TOGETHER_MAX + 1);

function bringIn(boxes: readonly { readonly holdings: Holdings }[], ordinal: number): void {
  const block = Math.floor(ordinal / BLOCK_ORDINALS);
  const count = Math.min(boxes.length, TOGETHER_MAX);
  for (let at = 0; at < count; at++) {
    const { base } = boxes[at].holdings;
    starts[at] = block < base.blocks ? base.words[block] : 0;
  }
  let all = 0;
  for (let at = 0; at < count; at++) all ^= boxes[at].holdings.base.words[starts[at]];
  starts[count] = all; // kept, or nobody would have to read them
}

export function countOf({ base, added, removed }: Holdings): number {
  return base.size + added.length - removed.length;
}

/** All ordinals, in order. */
export function membersOf(holdings: Holdings): Uint32Array {
  const { base, added, removed } = holdings;
  const members = new Uint32Array(countOf(holdings));
  const { words, blocks } = base;
  let count = 0;
  let plus = 0;
  let minus = 0;
  for (let block = 0; block < blocks; block++) {
    const start = words[block];
    let low = words[block + 1] * 4;
    let position = 0;
    for (let bucket = 0; bucket < BLOCK_BUCKETS; bucket++, position++) {
      for (; (words[start + (position >>> 5)] >>> (position & 31)) & 1; position++) {
        const ordinal = block * BLOCK_ORDINALS + bucket * 256 + byteAt(words, --low);
        if (removed[minus] === ordinal) {
          minus++;
          continue;
        }
        while (plus < added.length && added[plus] < ordinal) members[count++] = added[plus++];
        members[count++] = ordinal;
      }
    }
  }
  while (plus < added.length) members[count++] = added[plus++];
  return members;
}

function sortedOf(ordinals: ReadonlySet<number>): Uint32Array {
  return Uint32Array.from(ordinals).sort();
}

function isInSorted(list: Uint32Array, wanted: number): boolean {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return list[low] === wanted;
}

function isSorted(list: Uint32Array): boolean {
  for (let at = 1; at < list.length; at++) if (list[at - 1] >= list[at]) return false;
  return true;
}

export function ordinalSet(ordinals: readonly number[] | Uint32Array): OrdinalSet {
  const sorted = Uint32Array.from(ordinals);
  if (!isSorted(sorted)) sorted.sort();
  let size = 0;
  for (let at = 0; at < sorted.length; at++) {
    if (at === 0 || sorted[at] !== sorted[at - 1]) sorted[size++] = sorted[at];
  }
  const blocks = size === 0 ? 0 : Math.floor(sorted[size - 1] / BLOCK_ORDINALS) + 1;
  const starts = startsOf(sorted.subarray(0, size), blocks);
  const memory = new SharedArrayBuffer(starts[blocks] * 4);
  const words = new Uint32Array(memory);
  words.set(starts);
  let member = 0;
  for (let block = 0; block < blocks; block++) {
    const firstBit = words[block] * 32;
    let low = words[block + 1] * 4;
    for (let at = 0; member < size; at++, member++) {
      const inBlock = sorted[member] - block * BLOCK_ORDINALS;
      if (inBlock >= BLOCK_ORDINALS) break;
      const bit = firstBit + at + (inBlock >>> 8);
      words[Math.floor(bit / 32)] |= 1 << (bit & 31);
      low--;
      words[low >>> 2] |= (inBlock & 0xff) << ((low & 3) * 8);
    }
  }
  return { size, words, blocks };
}

/** Where each block begins, and the end of the last, in words: each has a bit and a byte a member, and a bit a bucket. */
function startsOf(sorted: Uint32Array, blocks: number): Uint32Array {
  const starts = new Uint32Array(blocks + 1);
  starts[0] = blocks + 1;
  let member = 0;
  for (let block = 0; block < blocks; block++) {
    const first = member;
    const end = (block + 1) * BLOCK_ORDINALS;
    while (member < sorted.length && sorted[member] < end) member++;
    const count = member - first;
    starts[block + 1] =
      starts[block] + Math.ceil((Math.ceil((count + BLOCK_BUCKETS) / 8) + count) / 4);
  }
  return starts;
}

export function isInSet(set: OrdinalSet, ordinal: number): boolean {
  const { words } = set;
  const block = Math.floor(ordinal / BLOCK_ORDINALS);
  if (block >= set.blocks) return false;
  const start = words[block];
  const bucket = (ordinal >>> 8) & (BLOCK_BUCKETS - 1);
  let position = positionOf(words, start, bucket);
  // Members before this position = position - zeros before it.
  let low = words[block + 1] * 4 - (position - bucket);
  const wanted = ordinal & 0xff;
  while ((words[start + (position >>> 5)] >>> (position & 31)) & 1) {
    if (byteAt(words, --low) === wanted) return true;
    position++;
  }
  return false;
}

/** Where a bucket begins among the bits of its block. */
function positionOf(words: Uint32Array, start: number, bucket: number): number {
  let position = 0;
  let zerosLeft = bucket;
  // Whole words first: count the zeros in what is left of each word.
  while (zerosLeft > 0) {
    const offset = position & 31;
    const zeros = ~words[start + (position >>> 5)] >>> offset;
    const inWord = popCount(zeros);
    if (inWord >= zerosLeft) return position + selectBit(zeros, zerosLeft) + 1;
    zerosLeft -= inWord;
    position += 32 - offset;
  }
  return position;
}

const bucketBits = new Uint32Array(8);

/** All 256 ordinals of a bucket, a bit each. */
function readBucket({ words, blocks }: OrdinalSet, bucketOfAll: number): void {
  bucketBits.fill(0);
  const block = Math.floor(bucketOfAll / BLOCK_BUCKETS);
  if (block >= blocks) return;
  const start = words[block];
  const bucket = bucketOfAll & (BLOCK_BUCKETS - 1);
  let position = positionOf(words, start, bucket);
  let low = words[block + 1] * 4 - (position - bucket);
  for (; (words[start + (position >>> 5)] >>> (position & 31)) & 1; position++) {
    const member = byteAt(words, --low);
    bucketBits[member >>> 5] |= 1 << (member & 31);
  }
}

function byteAt(words: Uint32Array, at: number): number {
  return (words[at >>> 2] >>> ((at & 3) * 8)) & 0xff;
}

export function bytesOf({ base, added, removed }: Holdings): number {
  return base.words.byteLength + added.byteLength + removed.byteLength;
}

function popCount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Position of the `nth` (from 1) set bit, counted from the low end. */
function selectBit(word: number, nth: number): number {
  let rest = word;
  for (let at = 1; at < nth; at++) rest &= rest - 1;
  return 31 - Math.clz32(rest & -rest);
}
