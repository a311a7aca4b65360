/**
 * The one shape that nearly all queries have, read in place: one question of class IN, and perhaps an OPT record with a client
 * subnet and a cookie. Nothing is allocated; of a query of any other shape nothing is said, `readQuery` reads it.
 *
 * Shape:      question.read(bytes, from, length) -> whether it has that shape; then the fields say what was asked
 * Units:      places are offsets in `bytes`, lengths in bytes
 * Invariants: (1) what is taken here, `readQuery` reads as a well-formed query that says the same
 *             (2) reading never goes past `from + length`
 *             (3) fields hold until the next call
 * Source:     RFC 1035 4.1, 6891 6.1, 7871 6, 7873 4
 */
import { CLASS_IN, HEADER_BYTES, OPTION, TYPE } from './message.ts';

const NAME_BYTES_MAX = 255;
const LABEL_BYTES_MAX = 63;
const OPT_BYTES = 11; // owner to length
const CLIENT_COOKIE_BYTES = 8;
const WHOLE_COOKIE_BYTES = 24;
const SUBNET_HEAD_BYTES = 4;

/** Bytes of names in lower case; the lengths of labels are below the letters. */
export const LOWER: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 65 && byte <= 90 ? byte + 32 : byte,
);

export class CommonQuestion {
  /** Of the name, with its root. */
  nameBytes = 0;
  type = 0;
  /** Of the name in lower case and the type. */
  hash = 0;
  hasEdns = false;
  payloadMax = 0;
  dnssecOk = false;
  /** 0: no client subnet. */
  family: 0 | 1 | 2 = 0;
  sourceBits = 0;
  /** Where the subnet's address begins: as many octets as its bits need. */
  subnetAt = 0;
  /** 0: no cookie. */
  cookieBytes = 0;
  cookieAt = 0;

  read(bytes: Uint8Array, from: number, length: number): boolean {
    const end = from + length;
    if (length < HEADER_BYTES + 5) return false;
    // A query (QR 0) of operation 0; the other flags are answered or ignored whatever they are.
    if ((bytes[from + 2] & 0xf8) !== 0) return false;
    const isOne = bytes[from + 4] === 0 && bytes[from + 5] === 1;
    const hasRecords =
      (bytes[from + 6] | bytes[from + 7] | bytes[from + 8] | bytes[from + 9] | bytes[from + 10]) !==
      0;
    const additional = bytes[from + 11];
    if (!isOne || hasRecords || additional > 1) return false;
    const nameAt = from + HEADER_BYTES;
    let at = nameAt;
    let hash = 0x811c9dc5;
    for (;;) {
      const label = bytes[at];
      if (label > LABEL_BYTES_MAX || at + label + 5 > end) return false;
      hash = Math.imul(hash ^ label, 0x01000193);
      at++;
      if (label === 0) break;
      for (const stop = at + label; at < stop; at++) {
        hash = Math.imul(hash ^ LOWER[bytes[at]], 0x01000193);
      }
    }
    this.nameBytes = at - nameAt;
    if (this.nameBytes > NAME_BYTES_MAX) return false;
    this.type = (bytes[at] << 8) | bytes[at + 1];
    if (bytes[at + 2] !== 0 || bytes[at + 3] !== CLASS_IN) return false;
    this.hash = Math.imul(hash ^ this.type, 0x01000193);
    this.hasEdns = additional === 1;
    this.family = 0;
    this.sourceBits = 0;
    this.cookieBytes = 0;
    this.payloadMax = 0;
    this.dnssecOk = false;
    at += 4;
    return additional === 0 || this.#readOpt(bytes, at, end);
  }

  #readOpt(bytes: Uint8Array, from: number, end: number): boolean {
    if (from + OPT_BYTES > end || bytes[from] !== 0) return false;
    if (bytes[from + 1] !== 0 || bytes[from + 2] !== TYPE.OPT) return false;
    if (bytes[from + 6] !== 0) return false; // another version
    const optionsEnd = from + OPT_BYTES + ((bytes[from + 9] << 8) | bytes[from + 10]);
    if (optionsEnd > end) return false;
    this.payloadMax = (bytes[from + 3] << 8) | bytes[from + 4];
    this.dnssecOk = (bytes[from + 7] & 0x80) !== 0;
    for (let at = from + OPT_BYTES; at < optionsEnd;) {
      if (at + 4 > optionsEnd) return false;
      const code = (bytes[at] << 8) | bytes[at + 1];
      const length = (bytes[at + 2] << 8) | bytes[at + 3];
      const data = at + 4;
      at = data + length;
      if (at > optionsEnd) return false;
      if (code === OPTION.subnet) {
        if (this.family !== 0 || !this.#readSubnet(bytes, data, length)) return false;
      } else if (code === OPTION.cookie) {
        const isWhole = length === CLIENT_COOKIE_BYTES || length === WHOLE_COOKIE_BYTES;
        if (this.cookieBytes !== 0 || !isWhole) return false;
        this.cookieAt = data;
        this.cookieBytes = length;
      }
    }
    return true;
  }

  #readSubnet(bytes: Uint8Array, at: number, length: number): boolean {
    if (length < SUBNET_HEAD_BYTES || bytes[at] !== 0) return false;
    const family = bytes[at + 1];
    if (family !== 1 && family !== 2) return false;
    const sourceBits = bytes[at + 2];
    const octets = (sourceBits + 7) >> 3;
    if (sourceBits > (family === 1 ? 32 : 128) || bytes[at + 3] !== 0) return false;
    if (length !== SUBNET_HEAD_BYTES + octets) return false;
    const spare = octets * 8 - sourceBits;
    if ((bytes[at + SUBNET_HEAD_BYTES + octets - 1] & ((1 << spare) - 1)) !== 0) return false;
    // ::/8 holds IPv4 addresses in IPv6 clothes: rare, and not for here.
    if (family === 2 && sourceBits > 0 && bytes[at + SUBNET_HEAD_BYTES] === 0) return false;
    this.family = family;
    this.sourceBits = sourceBits;
    this.subnetAt = at + SUBNET_HEAD_BYTES;
    return true;
  }
}

/** As `read` computes it, of a name on the wire in lower case. */
export function hashOf(name: Uint8Array, type: number): number {
  let hash = 0x811c9dc5;
  for (const byte of name) hash = Math.imul(hash ^ byte, 0x01000193);
  return Math.imul(hash ^ type, 0x01000193);
}
