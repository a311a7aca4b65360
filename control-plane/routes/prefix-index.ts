/**
 * Prefixes by name and by what covers them. For policies and comparisons; look-ups by address are steering's.
 *
 * Shape: index.set(prefix, value); index.get(prefix); index.covering(prefix) -> values of shorter prefixes around it, longest first
 */
import { maskBytes, type Prefix } from '#base/address.ts';

export class PrefixIndex<T> {
  readonly #values = new Map<number | string, T>();
  readonly #lengths = { 4: new Map<number, number>(), 6: new Map<number, number>() };

  get size(): number {
    return this.#values.size;
  }

  get(prefix: Prefix): T | undefined {
    return this.#values.get(keyOf(prefix, prefix.length));
  }

  set(prefix: Prefix, value: T): void {
    const key = keyOf(prefix, prefix.length);
    if (!this.#values.has(key)) {
      const lengths = this.#lengths[prefix.family];
      lengths.set(prefix.length, (lengths.get(prefix.length) ?? 0) + 1);
    }
    this.#values.set(key, value);
  }

  /** Of prefixes that hold all of this one and more; the longest first. */
  *covering(prefix: Prefix): Generator<T> {
    for (let length = prefix.length - 1; length >= 0; length--) {
      if (!this.#lengths[prefix.family].has(length)) continue;
      const found = this.#values.get(keyOf(prefix, length));
      if (found !== undefined) yield found;
    }
  }
}

/** A number where it fits one: most of a table is IPv4. */
function keyOf({ family, bytes }: Prefix, length: number): number | string {
  const masked = maskBytes(bytes, length);
  if (family === 6) return `${length}:${Buffer.from(masked).toString('latin1')}`;
  return length * 2 ** 32 + Buffer.from(masked.buffer, masked.byteOffset, 4).readUInt32BE(0);
}
