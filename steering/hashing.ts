/**
 * Small, fast, seedless hashes: what rendezvous compares. Not for anything that an enemy may choose.
 */

/** FNV-1a, 32 bits, with a final mix: ids are short and alike. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return mix32(hash);
}

/** A bijection of 32 bits that spreads every input bit (murmur3's finaliser). */
export function mix32(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
