/**
 * IP addresses and prefixes, IPv4 and IPv6, as the wire and the operator write them.
 *
 * An IPv4-mapped IPv6 address (::ffff:192.0.2.1) is the IPv4 address it carries.
 */
import ipaddr from 'ipaddr.js';

export type AddressFamily = 4 | 6;

export interface Prefix {
  readonly family: AddressFamily;
  readonly bytes: Uint8Array; // 4 or 16, bits beyond `length` are zero
  readonly length: number;
}

/** "192.0.2.1" -> its 4 or 16 bytes; null where the text is no address. */
export function parseAddress(text: string): Uint8Array | null {
  const plain = parseDotted(text);
  if (plain !== null) return plain;
  if (!ipaddr.isValid(text) || (!text.includes(':') && !/^\d+\.\d+\.\d+\.\d+$/.test(text))) {
    return null;
  }
  return Uint8Array.from(ipaddr.process(text).toByteArray());
}

/** Four plain decimal numbers: nearly every address, and many a second. Null for every other way to write one. */
function parseDotted(text: string): Uint8Array | null {
  const bytes = new Uint8Array(4);
  let part = 0;
  let value = -1;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 46) {
      if (value === -1 || part === 3) return null;
      bytes[part++] = value;
      value = -1;
    } else {
      // A number with a leading zero is octal to some: it takes the long way.
      if (code < 48 || code > 57 || value === 0) return null;
      value = (value === -1 ? 0 : value * 10) + code - 48;
      if (value > 255) return null;
    }
  }
  if (part !== 3 || value === -1) return null;
  bytes[3] = value;
  return bytes;
}

export function formatAddress(bytes: Uint8Array): string {
  return ipaddr.fromByteArray([...bytes]).toString();
}

/** "192.0.2.0/24" -> Prefix; null where the text is none, or has bits set beyond its length. */
export function parsePrefix(text: string): Prefix | null {
  const slash = text.lastIndexOf('/');
  if (slash === -1) return null;
  const bytes = parseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (bytes === null || !/^\d{1,3}$/.test(lengthText)) return null;
  const length = Number(lengthText);
  if (length > bytes.length * 8) return null;
  const masked = maskBytes(bytes, length);
  if (masked.some((byte, at) => byte !== bytes[at])) return null;
  return { family: bytes.length === 4 ? 4 : 6, bytes, length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.bytes)}/${prefix.length}`;
}

/** The same bytes with every bit beyond `length` cleared. */
export function maskBytes(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, at) => {
    const bitsKept = Math.min(8, Math.max(0, length - at * 8));
    return byte & (0xff << (8 - bitsKept));
  });
}

/** True for 127.0.0.0/8 and ::1: what a listener without authentication may bind to. */
export function isLoopback(text: string): boolean {
  const bytes = parseAddress(text);
  if (bytes === null) return text === 'localhost';
  if (bytes.length === 4) return bytes[0] === 127;
  return bytes.every((byte, at) => byte === (at === 15 ? 1 : 0));
}
