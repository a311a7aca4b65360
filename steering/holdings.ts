/**
 * The set of whole files that one box holds, by ordinal: small, immutable, membership in well under a microsecond.
 *
 * A set is a packed base in shared memory and a small overlay of what changed since: a night's changes of a whole fleet
 * come in without packing a single set anew, and any thread may pack a set while all others go on reading.
 *
 * Elias-Fano coding with byte-aligned low parts: an ordinal is (bucket of 256, low byte). The low bytes lie in
 * order; one bit string holds, bucket after bucket, a 1 per member and then a 0. 400,000 members out of 72 million
 * ordinals take about 0.5 MB, a third of a sorted Uint32Array.
 *
 * Invariants: (1) holds(holdings, ordinal) is true exactly for the ordinals given
 *             (2) `startOf[k]` is the bit position where bucket 64k starts
 *             (3) `added` and `removed` are sorted; no added ordinal is in the base, every removed one is
 * Source:     P. Elias 1974; S. Vigna, Quasi-succinct indices, 2013
 */
export interface OrdinalSet {
  readonly size: number;
  readonly lows: Uint8Array;
  readonly bits: Uint32Array;
  readonly startOf: Uint32Array; // every BUCKETS_PER_SAMPLE buckets: bit position of the bucket's start
  readonly buckets: number;
}

/** What one box holds. */
export interface Holdings {
  readonly version: number;
  readonly base: OrdinalSet;
  readonly added: Uint32Array;
  readonly removed: Uint32Array;
}

const BUCKETS_PER_SAMPLE = 64;
/** An overlay of more than this share of its set, and more than so many, is worth packing. */
const OVERLAY_SHARE_MAX = 1 / 32;
const OVERLAY_MAX = 1024;
const NONE = new Uint32Array(0);

export const NO_ORDINALS: OrdinalSet = ordinalSet([]);
export const NO_HOLDINGS: Holdings = holdingsOf(0, NO_ORDINALS);

export function holdingsOf(version: number, base: OrdinalSet): Holdings {
  return { version, base, added: NONE, removed: NONE };
}

/** Takes `removed` out, then puts `added` in: as the control plane means it. */
export function withChanges(
  { base, added, removed }: Holdings,
  version: number,
  plus: readonly number[],
  minus: readonly number[],
): Holdings {
  if (plus.length + minus.length === 0) return { version, base, added, removed };
  const more = new Set(added);
  const less = new Set(removed);
  for (const ordinal of minus) {
    if (isInSet(base, ordinal)) less.add(ordinal);
    else more.delete(ordinal);
  }
  for (const ordinal of plus) {
    if (isInSet(base, ordinal)) less.delete(ordinal);
    else more.add(ordinal);
  }
  return { version, base, added: sortedOf(more), removed: sortedOf(less) };
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

export function countOf({ base, added, removed }: Holdings): number {
  return base.size + added.length - removed.length;
}

/** All ordinals, in order. */
export function membersOf(holdings: Holdings): Uint32Array {
  const { base, added, removed } = holdings;
  const members = new Uint32Array(countOf(holdings));
  const { lows, bits, buckets } = base;
  let position = 0;
  let from = 0;
  let count = 0;
  let plus = 0;
  let minus = 0;
  for (let bucket = 0; bucket < buckets; bucket++) {
    for (; (bits[position >>> 5] >>> (position & 31)) & 1; position++) {
      const ordinal = ((bucket << 8) | lows[from++]) >>> 0;
      if (removed[minus] === ordinal) {
        minus++;
        continue;
      }
      while (plus < added.length && added[plus] < ordinal) members[count++] = added[plus++];
      members[count++] = ordinal;
    }
    position++;
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
  const buckets = size === 0 ? 0 : (sorted[size - 1] >>> 8) + 1;
  const words = ((size + buckets) >>> 5) + 1;
  const samples = Math.ceil(buckets / BUCKETS_PER_SAMPLE);
  const memory = new SharedArrayBuffer((words + samples) * 4 + size);
  const bits = new Uint32Array(memory, 0, words);
  const startOf = new Uint32Array(memory, words * 4, samples);
  const lows = new Uint8Array(memory, (words + samples) * 4, size);
  let member = 0;
  let position = 0;
  for (let bucket = 0; bucket < buckets; bucket++) {
    if (bucket % BUCKETS_PER_SAMPLE === 0) startOf[bucket / BUCKETS_PER_SAMPLE] = position;
    while (member < size && sorted[member] >>> 8 === bucket) {
      lows[member] = sorted[member]; // the low byte: stores truncate
      bits[position >>> 5] |= 1 << (position & 31);
      position++;
      member++;
    }
    position++; // the zero that ends the bucket
  }
  return { size, lows, bits, startOf, buckets };
}

export function isInSet(set: OrdinalSet, ordinal: number): boolean {
  const bucket = ordinal >>> 8;
  if (bucket >= set.buckets) return false;
  const sample = Math.floor(bucket / BUCKETS_PER_SAMPLE);
  let position = set.startOf[sample];
  let zerosLeft = bucket - sample * BUCKETS_PER_SAMPLE;
  const { bits } = set;
  // Whole words first: count the zeros in what is left of each word.
  while (zerosLeft > 0) {
    const offset = position & 31;
    const zeros = ~bits[position >>> 5] >>> offset;
    const inWord = popCount(zeros);
    if (inWord >= zerosLeft) {
      position += selectBit(zeros, zerosLeft) + 1;
      zerosLeft = 0;
    } else {
      zerosLeft -= inWord;
      position += 32 - offset;
    }
  }
  // Members before this position = position - zeros before it = position - bucket.
  const low = ordinal & 0xff;
  for (let member = position - bucket; (bits[position >>> 5] >>> (position & 31)) & 1; member++) {
    if (set.lows[member] === low) return true;
    position++;
  }
  return false;
}

export function bytesOf({ base, added, removed }: Holdings): number {
  return (
    base.lows.byteLength +
    base.bits.byteLength +
    base.startOf.byteLength +
    added.byteLength +
    removed.byteLength
  );
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
