/**
 * Reads big-endian fields of a message that somebody else wrote: a read beyond the end is a Malformed, never a number.
 */
export class Malformed extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Malformed';
  }
}

export class ByteCursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number {
    return this.take(1)[0];
  }

  u16(): number {
    return this.take(2).readUInt16BE(0);
  }

  u32(): number {
    return this.take(4).readUInt32BE(0);
  }

  /** A view, not a copy. */
  take(count: number): Buffer {
    if (count > this.left) {
      throw new Malformed(`${count} bytes wanted at offset ${this.#at}, ${this.left} are left`);
    }
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  rest(): Buffer {
    return this.take(this.left);
  }

  /** The next `count` bytes as a message of their own. */
  inner(count: number): ByteCursor {
    return new ByteCursor(this.take(count));
  }
}
