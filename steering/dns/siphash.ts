/**
 * SipHash-2-4, 64 bits, on 32-bit halves: BigInt would cost twenty times as much per cookie.
 *
 * Invariants: (1) sipHashInto allocates nothing
 * Source:     J.-P. Aumasson, D. J. Bernstein, SipHash: a fast short-input PRF, 2012
 */

/** `key`: 16 bytes. The result's 8 bytes, little-endian as the paper writes them. */
export function sipHash24(key: Uint8Array, message: Uint8Array): Buffer {
  const out = Buffer.alloc(8);
  sipHashInto(sipKey(key), message, message.length, out, 0);
  return out;
}

/** A key of 16 bytes as the words that sipHashInto wants. */
export function sipKey(key: Uint8Array): Int32Array {
  const words = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return Int32Array.from([0, 4, 8, 12], (at) => words.getInt32(at, true));
}

/**
 * The hash of the first `length` bytes of `message`, written to `out` from `outAt` on.
 *
 * v0 to v3 are pairs of 32-bit words in local variables, the rounds written out once: phases 0 to `blocks` take a word
 * of the message in (2 rounds each), the one after them finishes (4 rounds).
 */
export function sipHashInto(
  key: Int32Array,
  message: Uint8Array,
  length: number,
  out: Uint8Array,
  outAt: number,
): void {
  let v0l = key[0] ^ 0x70736575;
  let v0h = key[1] ^ 0x736f6d65;
  let v1l = key[2] ^ 0x6e646f6d;
  let v1h = key[3] ^ 0x646f7261;
  let v2l = key[0] ^ 0x6e657261;
  let v2h = key[1] ^ 0x6c796765;
  let v3l = key[2] ^ 0x79746573;
  let v3h = key[3] ^ 0x74656462;
  const blocks = length >>> 3;
  for (let phase = 0; phase <= blocks + 1; phase++) {
    const isLast = phase > blocks;
    let low = 0;
    let high = 0;
    if (isLast) v2l ^= 0xff;
    else {
      low = wordAt(message, phase * 8, length);
      high = wordAt(message, phase * 8 + 4, length);
      if (phase === blocks) high |= length << 24;
    }
    v3l ^= low;
    v3h ^= high;
    for (let round = isLast ? 4 : 2; round > 0; round--) {
      let sum = (v0l + v1l) | 0;
      v0h = (v0h + v1h + (sum >>> 0 < v0l >>> 0 ? 1 : 0)) | 0;
      v0l = sum;
      let kept = v1l;
      v1l = ((kept << 13) | (v1h >>> 19)) ^ v0l;
      v1h = ((v1h << 13) | (kept >>> 19)) ^ v0h;
      kept = v0l;
      v0l = v0h;
      v0h = kept;
      sum = (v2l + v3l) | 0;
      v2h = (v2h + v3h + (sum >>> 0 < v2l >>> 0 ? 1 : 0)) | 0;
      v2l = sum;
      kept = v3l;
      v3l = ((kept << 16) | (v3h >>> 16)) ^ v2l;
      v3h = ((v3h << 16) | (kept >>> 16)) ^ v2h;
      sum = (v0l + v3l) | 0;
      v0h = (v0h + v3h + (sum >>> 0 < v0l >>> 0 ? 1 : 0)) | 0;
      v0l = sum;
      kept = v3l;
      v3l = ((kept << 21) | (v3h >>> 11)) ^ v0l;
      v3h = ((v3h << 21) | (kept >>> 11)) ^ v0h;
      sum = (v2l + v1l) | 0;
      v2h = (v2h + v1h + (sum >>> 0 < v2l >>> 0 ? 1 : 0)) | 0;
      v2l = sum;
      kept = v1l;
      v1l = ((kept << 17) | (v1h >>> 15)) ^ v2l;
      v1h = ((v1h << 17) | (kept >>> 15)) ^ v2h;
      kept = v2l;
      v2l = v2h;
      v2h = kept;
    }
    v0l ^= low;
    v0h ^= high;
  }
  writeWord(out, outAt, v0l ^ v1l ^ v2l ^ v3l);
  writeWord(out, outAt + 4, v0h ^ v1h ^ v2h ^ v3h);
}

/** Little-endian; 0 for what lies behind `length`. */
function wordAt(bytes: Uint8Array, at: number, length: number): number {
  if (at + 4 <= length) {
    return bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
  }
  let word = 0;
  for (let byte = at; byte < length; byte++) word |= bytes[byte] << ((byte - at) * 8);
  return word;
}

function writeWord(out: Uint8Array, at: number, word: number): void {
  out[at] = word;
  out[at + 1] = word >>> 8;
  out[at + 2] = word >>> 16;
  out[at + 3] = word >>> 24;
}
