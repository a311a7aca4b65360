/**
 * Prefixes as text, read without allocating: a table comes as a million of them.
 *
 * Shape:      readPrefix(text, into) -> true where it is one; the same texts as parsePrefix of base/address.ts accepts
 * Invariants: (1) agrees with parsePrefix on every text that it accepts; what it does not know it hands to parsePrefix
 */
import { parsePrefix } from '#base/address.ts';

export interface PrefixScratch {
  family: 4 | 6;
  readonly bytes: Uint8Array; // 16; of an IPv4 prefix the first 4
  length: number;
}

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;

export function prefixScratch(): PrefixScratch {
  return { family: 4, bytes: new Uint8Array(16), length: 0 };
}

export function readPrefix(text: string, into: PrefixScratch): boolean {
  const slash = text.lastIndexOf('/');
  const digits = text.length - slash - 1;
  if (slash === -1 || digits === 0 || digits > 3) return false;
  let length = 0;
  for (let at = slash + 1; at < text.length; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return false;
    length = length * 10 + digit;
  }
  into.length = length;
  const isPlain = readV4(text, slash, into) || readV6(text, slash, into);
  if (!isPlain) return readSlowly(text, into);
  if (length > (into.family === 4 ? 32 : 128)) return false;
  return isMasked(into);
}

function readV4(text: string, end: number, into: PrefixScratch): boolean {
  let at = 0;
  for (let part = 0; part < 4; part++) {
    let value = 0;
    const start = at;
    for (; at < end; at++) {
      const digit = text.charCodeAt(at) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    // A leading zero may mean octal: left to the slow reader.
    if (at === start || at - start > 3 || value > 255) return false;
    if (at - start > 1 && text.charCodeAt(start) === ZERO) return false;
    into.bytes[part] = value;
    if (part < 3 && text.charCodeAt(at++) !== DOT) return false;
  }
  into.family = 4;
  return at === end;
}

/** Groups of hex digits and at most one "::"; embedded IPv4 and zones are left to the slow reader. */
function readV6(text: string, end: number, into: PrefixScratch): boolean {
  const { bytes } = into;
  bytes.fill(0);
  let filled = 0;
  let gapAt = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gapAt = 0;
    at = 2;
  }
  while (at < end) {
    let value = 0;
    const start = at;
    for (; at < end; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit === -1) break;
      value = (value << 4) | digit;
    }
    if (at === start || at - start > 4 || filled === 16) return false;
    bytes[filled] = value >>> 8;
    bytes[filled + 1] = value & 0xff;
    filled += 2;
    if (at === end) break;
    if (text.charCodeAt(at++) !== COLON || at === end) return false;
    if (text.charCodeAt(at) === COLON) {
      if (gapAt !== -1) return false;
      gapAt = filled;
      at++;
    }
  }
  if (gapAt === -1 ? filled !== 16 : filled > 14) return false;
  if (gapAt !== -1) {
    bytes.copyWithin(16 - (filled - gapAt), gapAt, filled);
    bytes.fill(0, gapAt, 16 - (filled - gapAt));
  }
  into.family = 6;
  // A mapped address is IPv4 to parsePrefix: let it say what such a prefix means.
  return !(bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((b) => b === 0));
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

function isMasked({ bytes, family, length }: PrefixScratch): boolean {
  const size = family === 4 ? 4 : 16;
  let at = length >>> 3;
  if ((length & 7) !== 0 && (bytes[at++] & (0xff >>> (length & 7))) !== 0) return false;
  for (; at < size; at++) if (bytes[at] !== 0) return false;
  return true;
}

function readSlowly(text: string, into: PrefixScratch): boolean {
  const prefix = parsePrefix(text);
  if (prefix === null) return false;
  into.family = prefix.family;
  into.bytes.set(prefix.bytes);
  into.length = prefix.length;
  return true;
}
