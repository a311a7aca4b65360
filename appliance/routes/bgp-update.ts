/**
 * What one BGP UPDATE announces and withdraws, IPv4 and IPv6 unicast; and the path attributes of an MRT entry.
 *
 * Shape:      readUpdate(PDU, asBytes) -> update; readAttributes(bytes, asBytes) -> attributes
 * Errors:     throws Malformed for what RFC 4271 does not allow; families that steer nobody are passed over
 * Invariants: (1) every prefix has no bit set beyond its length
 *             (2) a PDU of n bytes gives at most n prefixes
 * Source:     RFC 4271 4.3, RFC 4760 (MP_REACH, MP_UNREACH), RFC 6793 (4-byte AS), RFC 4724 2 (End-of-RIB)
 */
import { formatPrefix, maskBytes } from '#base/address.ts';
import { ByteCursor, Malformed } from './byte-cursor.ts';

export const MESSAGE_HEADER_BYTES = 19;
export const BGP_UPDATE = 2;
export const BGP_OPEN = 1;
const ATTRIBUTE = {
  origin: 1,
  asPath: 2,
  med: 4,
  mpReach: 14,
  mpUnreach: 15,
  as4Path: 17,
} as const;
const FLAG_EXTENDED = 0x10;
const SEGMENT = { set: 1, sequence: 2 } as const;
const SAFI_UNICAST = 1;
const ORIGIN_MAX = 2; // igp 0, egp 1, incomplete 2

/** What steering ranks by, of one route. */
export interface PathAttributes {
  readonly originAs: number | null; // null: the path ends in a set, so nobody can say who originates it
  readonly asPathLength: number; // a set counts as one (RFC 4271 9.1.2.2)
  readonly origin: number;
  readonly med: number; // 0 where absent
}

export interface Attributes extends PathAttributes {
  readonly announced: readonly string[]; // MP_REACH
  readonly withdrawn: readonly string[]; // MP_UNREACH
  readonly endOfRib: 6 | null;
}

export interface Update {
  readonly announced: readonly string[]; // canonical prefixes
  readonly withdrawn: readonly string[];
  readonly attributes: PathAttributes;
  readonly endOfRib: 4 | 6 | null; // the family whose initial dump is complete
}

/** A whole BGP message, its 19-byte header included. `asBytes`: 2 or 4 per AS number in AS_PATH. */
export function readUpdate(message: Buffer, asBytes: 2 | 4): Update {
  const cursor = openMessage(message, BGP_UPDATE);
  const withdrawn = readPrefixes(cursor.inner(cursor.u16()), 4);
  const attributesLength = cursor.u16();
  const attributes = readAttributes(cursor.take(attributesLength), asBytes);
  const announced = readPrefixes(cursor, 4);
  const isEmpty = withdrawn.length + attributesLength + announced.length === 0;
  return {
    announced: [...announced, ...attributes.announced],
    withdrawn: [...withdrawn, ...attributes.withdrawn],
    attributes,
    endOfRib: isEmpty ? 4 : attributes.endOfRib,
  };
}

/** Checks marker, length and type; what follows the header. */
export function openMessage(message: Buffer, type: number): ByteCursor {
  const cursor = new ByteCursor(message);
  if (!cursor.take(16).every((byte) => byte === 0xff)) throw new Malformed('no BGP marker');
  const length = cursor.u16();
  if (length !== message.length) {
    throw new Malformed(`a BGP message says ${length} bytes and has ${message.length}`);
  }
  const actual = cursor.u8();
  if (actual !== type) throw new Malformed(`BGP message type ${actual}, expected ${type}`);
  return cursor;
}

/** `prefixes`: whether MP_REACH and MP_UNREACH are read; in a dump they hold next hops only. */
export function readAttributes(bytes: Buffer, asBytes: 2 | 4, prefixes = true): Attributes {
  const cursor = new ByteCursor(bytes);
  let path = NO_PATH;
  let as4Path: AsPath | null = null;
  let origin = ORIGIN_MAX;
  let med = 0;
  let announced: readonly string[] = [];
  let withdrawn: readonly string[] = [];
  let endOfRib: 6 | null = null;
  while (cursor.left > 0) {
    const flags = cursor.u8();
    const type = cursor.u8();
    const value = cursor.inner((flags & FLAG_EXTENDED) === 0 ? cursor.u8() : cursor.u16());
    switch (type) {
      case ATTRIBUTE.origin:
        origin = value.u8();
        if (origin > ORIGIN_MAX) throw new Malformed(`ORIGIN ${origin}`);
        break;
      case ATTRIBUTE.asPath:
        path = readPath(value, asBytes);
        break;
      case ATTRIBUTE.as4Path:
        as4Path = readPath(value, 4);
        break;
      case ATTRIBUTE.med:
        med = value.u32();
        break;
      case ATTRIBUTE.mpReach:
        if (prefixes) announced = readMpReach(value);
        break;
      case ATTRIBUTE.mpUnreach: {
        if (!prefixes) break;
        const unreach = readMpUnreach(value);
        withdrawn = unreach.prefixes;
        if (unreach.isEndOfRib) endOfRib = 6;
      }
    }
  }
  const merged = asBytes === 2 && as4Path !== null ? mergePaths(path, as4Path) : path;
  return { ...merged, origin, med, announced, withdrawn, endOfRib };
}

interface AsPath {
  readonly originAs: number | null;
  readonly asPathLength: number;
}

const NO_PATH: AsPath = { originAs: null, asPathLength: 0 };

function readPath(cursor: ByteCursor, asBytes: 2 | 4): AsPath {
  let originAs: number | null = null;
  let asPathLength = 0;
  while (cursor.left > 0) {
    const segment = cursor.u8();
    const count = cursor.u8();
    const numbers = cursor.take(count * asBytes);
    if (count === 0) continue;
    // Confederation segments (3, 4) are of the neighbour's inside: they count for nothing (RFC 5065 5.3).
    if (segment === SEGMENT.sequence) {
      asPathLength += count;
      originAs =
        asBytes === 2 ? numbers.readUInt16BE(count * 2 - 2) : numbers.readUInt32BE(count * 4 - 4);
    } else if (segment === SEGMENT.set) {
      asPathLength += 1;
      originAs = null;
    }
  }
  return { originAs, asPathLength };
}

/** RFC 6793 4.2.3: the 4-byte path holds the last numbers; an older path that is shorter wins. */
function mergePaths(path: AsPath, as4Path: AsPath): AsPath {
  if (as4Path.asPathLength > path.asPathLength) return path;
  return { originAs: as4Path.originAs, asPathLength: path.asPathLength };
}

function readMpReach(cursor: ByteCursor): readonly string[] {
  const family = cursor.u16();
  const safi = cursor.u8();
  cursor.take(cursor.u8()); // next hop: nobody forwards by it here
  cursor.u8(); // reserved
  return safi === SAFI_UNICAST && isFamily(family) ? readPrefixes(cursor, FAMILIES[family]) : [];
}

function readMpUnreach(cursor: ByteCursor): { prefixes: readonly string[]; isEndOfRib: boolean } {
  const family = cursor.u16();
  const safi = cursor.u8();
  if (safi !== SAFI_UNICAST || !isFamily(family)) return { prefixes: [], isEndOfRib: false };
  const isEndOfRib = cursor.left === 0 && FAMILIES[family] === 6;
  return { prefixes: readPrefixes(cursor, FAMILIES[family]), isEndOfRib };
}

const FAMILIES = { 1: 4, 2: 6 } as const; // AFI -> what people call it

function isFamily(family: number): family is 1 | 2 {
  return family === 1 || family === 2;
}

function readPrefixes(cursor: ByteCursor, family: 4 | 6): readonly string[] {
  const prefixes: string[] = [];
  while (cursor.left > 0) prefixes.push(readNlri(cursor, family));
  return prefixes;
}

/** One prefix as the wire has it: its length in bits, then as many octets as that takes. */
export function readNlri(cursor: ByteCursor, family: 4 | 6): string {
  const length = cursor.u8();
  const size = family === 4 ? 4 : 16;
  if (length > size * 8) throw new Malformed(`an IPv${family} prefix of ${length} bits`);
  const bytes = new Uint8Array(size);
  bytes.set(cursor.take((length + 7) >>> 3));
  // Bits beyond the length may be anything on the wire (RFC 4271 4.3).
  return formatPrefix({ family, bytes: maskBytes(bytes, length), length });
}
