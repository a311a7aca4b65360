/**
 * Which chunks of a file are present: one bit each, and how many.
 *
 * Invariants: (1) 0 <= size <= chunkCount, and size is the number of bits set
 *             (2) bits beyond chunkCount are zero
 */
export class ChunkSet {
  readonly chunkCount: number;
  readonly #bits: Uint8Array;
  #size = 0;

  /** `bits` as `toBytes` wrote them; throws RangeError where they are not of this chunk count. */
  constructor(chunkCount: number, bits?: Uint8Array) {
    this.chunkCount = chunkCount;
    const length = Math.ceil(chunkCount / 8);
    if (bits === undefined) {
      this.#bits = new Uint8Array(length);
      return;
    }
    const isTailClear = chunkCount % 8 === 0 || (bits[length - 1] ?? 0) >>> (chunkCount % 8) === 0;
    if (bits.length !== length || !isTailClear) {
      throw new RangeError(`${bits.length} bytes of bits do not fit ${chunkCount} chunks`);
    }
    this.#bits = Uint8Array.from(bits);
    for (const byte of this.#bits) this.#size += bitCount(byte);
  }

  get size(): number {
    return this.#size;
  }

  get isFull(): boolean {
    return this.#size === this.chunkCount;
  }

  has(index: number): boolean {
    return (
      index >= 0 && index < this.chunkCount && (this.#bits[index >>> 3] & (1 << (index & 7))) !== 0
    );
  }

  /** True when it was not there before. */
  add(index: number): boolean {
    if (index < 0 || index >= this.chunkCount || this.has(index)) return false;
    this.#bits[index >>> 3] |= 1 << (index & 7);
    this.#size++;
    return true;
  }

  /** True when it was there before. */
  remove(index: number): boolean {
    if (!this.has(index)) return false;
    this.#bits[index >>> 3] &= ~(1 << (index & 7));
    this.#size--;
    return true;
  }

  addAll(): this {
    for (let index = 0; index < this.chunkCount; index++) this.add(index);
    return this;
  }

  /** The first chunk at or after `from` that is missing, or -1. */
  firstMissing(from = 0): number {
    for (let index = from; index < this.chunkCount; index++) if (!this.has(index)) return index;
    return -1;
  }

  copy(): ChunkSet {
    return new ChunkSet(this.chunkCount, this.#bits);
  }

  toBytes(): Uint8Array {
    return Uint8Array.from(this.#bits);
  }
}

function bitCount(byte: number): number {
  let count = 0;
  for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
}
