/**
 * A router's table as collectors write it to files: each route of a dump, IPv4 and IPv6.
 *
 * Shape:      for (const route of readMrt(bytes)) ...
 * Errors:     throws Malformed with the offset of the record that cannot be read
 * Invariants: (1) other record types are passed over
 * Source:     RFC 6396 4.2 (TABLE_DUMP), 4.3 (TABLE_DUMP_V2). Collectors of the year 2000 put many entries into one
 *             TABLE_DUMP record, and a length without the view and sequence in front of them: both are read.
 */
import { formatAddress, formatPrefix, maskBytes } from '#base/address.ts';
import { readAttributes, readNlri, type PathAttributes } from './bgp-update.ts';
import { ByteCursor, Malformed } from './byte-cursor.ts';

const HEADER_BYTES = 12;
const TYPE = { tableDump: 12, tableDumpV2: 13 } as const;
const V2 = { peers: 1, ipv4: 2, ipv6: 4 } as const;
const VIEW_AND_SEQUENCE_BYTES = 4;
const RECORD_BYTES_MAX = 16 * 1024 * 1024;

export interface MrtRoute extends PathAttributes {
  readonly prefix: string;
  readonly peer: string; // "AS64500 192.0.2.1"
}

export function* readMrt(bytes: Buffer): Generator<MrtRoute> {
  let peers: readonly string[] = [];
  for (let at = 0; at < bytes.length;) {
    try {
      const header = new ByteCursor(bytes.subarray(at, at + HEADER_BYTES));
      header.u32(); // when
      const type = header.u16();
      const subtype = header.u16();
      const length = header.u32();
      if (length > RECORD_BYTES_MAX) throw new Malformed(`a record of ${length} bytes`);
      const start = at + HEADER_BYTES;
      let end = start + length;
      if (type === TYPE.tableDump) {
        const routes: MrtRoute[] = [];
        end = start + readTableDump(bytes, start, length, subtype === 1 ? 4 : 6, routes);
        yield* routes;
      } else if (type === TYPE.tableDumpV2) {
        const body = new ByteCursor(bytes.subarray(start, end));
        if (subtype === V2.peers) peers = readPeers(body);
        else if (subtype === V2.ipv4) yield* readRib(body, 4, peers);
        else if (subtype === V2.ipv6) yield* readRib(body, 6, peers);
      }
      at = end;
    } catch (thrown) {
      if (!(thrown instanceof Malformed)) throw thrown;
      throw new Malformed(`no MRT record at offset ${at}: ${thrown.message}`);
    }
  }
}

/** Reads the entries of one record; how many bytes its body really has. */
function readTableDump(
  bytes: Buffer,
  start: number,
  length: number,
  family: 4 | 6,
  into: MrtRoute[],
): number {
  const whole = new ByteCursor(bytes.subarray(start, start + length + VIEW_AND_SEQUENCE_BYTES));
  const offered = whole.left;
  whole.take(VIEW_AND_SEQUENCE_BYTES);
  into.push(readEntry(whole, family));
  const taken = (): number => offered - whole.left;
  if (taken() === length) return length; // as the RFC has it: one entry
  while (taken() < length + VIEW_AND_SEQUENCE_BYTES) into.push(readEntry(whole, family));
  return taken();
}

function readEntry(cursor: ByteCursor, family: 4 | 6): MrtRoute {
  const size = family === 4 ? 4 : 16;
  const address = cursor.take(size);
  const length = cursor.u8();
  if (length > size * 8) throw new Malformed(`an IPv${family} prefix of ${length} bits`);
  cursor.take(5); // status, since when
  const peerAddress = formatAddress(cursor.take(size));
  const peerAs = cursor.u16();
  const attributes = readAttributes(cursor.take(cursor.u16()), 2, false);
  const prefix = formatPrefix({
    family,
    bytes: maskBytes(Uint8Array.from(address), length),
    length,
  });
  return { ...pathOf(attributes), prefix, peer: `AS${peerAs} ${peerAddress}` };
}

function readPeers(body: ByteCursor): readonly string[] {
  body.u32(); // collector
  body.take(body.u16()); // view name
  return Array.from({ length: body.u16() }, () => {
    const type = body.u8();
    body.u32(); // BGP id
    const address = formatAddress(body.take((type & 1) === 0 ? 4 : 16));
    const as = (type & 2) === 0 ? body.u16() : body.u32();
    return `AS${as} ${address}`;
  });
}

function* readRib(body: ByteCursor, family: 4 | 6, peers: readonly string[]): Generator<MrtRoute> {
  body.u32(); // sequence
  const prefix = readNlri(body, family);
  for (let entries = body.u16(); entries > 0; entries--) {
    const peer = peers[body.u16()];
    if (peer === undefined) throw new Malformed('an entry of a peer that is in no index');
    body.u32(); // since when
    const attributes = readAttributes(body.take(body.u16()), 4, false);
    yield { ...pathOf(attributes), prefix, peer };
  }
}

function pathOf({ originAs, asPathLength, origin, med }: PathAttributes): PathAttributes {
  return { originAs, asPathLength, origin, med };
}
