/**
 * SipHash-2-4, 64 bits, on 32-bit halves: BigInt would cost twenty times as much per cookie.
 *
 * Source: J.-P. Aumasson, D. J. Bernstein, SipHash: a fast short-input PRF, 2012
 */

/** `key`: 16 bytes. The result's 8 bytes, little-endian as the paper writes them. */
export function sipHash24(key: Uint8Array, message: Uint8Array): Buffer {
  const state = new Uint32Array(8); // v0..v3, low word first
  const words = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const k0 = [words.getUint32(0, true), words.getUint32(4, true)];
  const k1 = [words.getUint32(8, true), words.getUint32(12, true)];
  state.set([
    k0[0] ^ 0x70736575,
    k0[1] ^ 0x736f6d65,
    k1[0] ^ 0x6e646f6d,
    k1[1] ^ 0x646f7261,
    k0[0] ^ 0x6e657261,
    k0[1] ^ 0x6c796765,
    k1[0] ^ 0x79746573,
    k1[1] ^ 0x74656462,
  ]);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const whole = message.length - (message.length % 8);
  for (let at = 0; at < whole; at += 8) {
    compress(state, view.getUint32(at, true), view.getUint32(at + 4, true));
  }
  const last = new Uint8Array(8);
  last.set(message.subarray(whole));
  last[7] = message.length & 0xff;
  const tail = new DataView(last.buffer);
  compress(state, tail.getUint32(0, true), tail.getUint32(4, true));
  state[4] ^= 0xff;
  for (let round = 0; round < 4; round++) sipRound(state);
  const out = Buffer.alloc(8);
  out.writeUInt32LE((state[0] ^ state[2] ^ state[4] ^ state[6]) >>> 0, 0);
  out.writeUInt32LE((state[1] ^ state[3] ^ state[5] ^ state[7]) >>> 0, 4);
  return out;
}

function compress(state: Uint32Array, low: number, high: number): void {
  state[6] ^= low;
  state[7] ^= high;
  sipRound(state);
  sipRound(state);
  state[0] ^= low;
  state[1] ^= high;
}

function sipRound(v: Uint32Array): void {
  add(v, 0, 2);
  rotate(v, 2, 13);
  xor(v, 2, 0);
  rotate(v, 0, 32);
  add(v, 4, 6);
  rotate(v, 6, 16);
  xor(v, 6, 4);
  add(v, 0, 6);
  rotate(v, 6, 21);
  xor(v, 6, 0);
  add(v, 4, 2);
  rotate(v, 2, 17);
  xor(v, 2, 4);
  rotate(v, 4, 32);
}

function add(v: Uint32Array, to: number, from: number): void {
  const low = v[to] + v[from];
  v[to + 1] = v[to + 1] + v[from + 1] + (low > 0xffffffff ? 1 : 0);
  v[to] = low;
}

function xor(v: Uint32Array, to: number, from: number): void {
  v[to] ^= v[from];
  v[to + 1] ^= v[from + 1];
}

function rotate(v: Uint32Array, at: number, bits: number): void {
  const low = v[at];
  const high = v[at + 1];
  if (bits === 32) {
    v[at] = high;
    v[at + 1] = low;
    return;
  }
  v[at] = (low << bits) | (high >>> (32 - bits));
  v[at + 1] = (high << bits) | (low >>> (32 - bits));
}
