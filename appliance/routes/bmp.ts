/**
 * The messages of a router's monitoring session: bytes as they come -> BMP messages.
 *
 * Shape:      frames.push(bytes) -> messages, whole ones only; the tail of an incomplete one is kept
 * Errors:     throws Malformed: the session cannot be read on and is to be closed
 * Invariants: (1) at most FRAME_BYTES_MAX wait for the rest of a message
 *             (2) how the bytes are cut plays no part
 * Source:     RFC 7854 4
 */
import { formatAddress } from '#base/address.ts';
import {
  BGP_OPEN,
  MESSAGE_HEADER_BYTES,
  openMessage,
  readUpdate,
  type Update,
} from './bgp-update.ts';
import { ByteCursor, Malformed } from './byte-cursor.ts';

/** An extended BGP message (RFC 8654) and its headers. */
export const FRAME_BYTES_MAX = 128 * 1024;
const COMMON_HEADER_BYTES = 6;
const VERSION = 3;
const TYPE = {
  routeMonitoring: 0,
  statistics: 1,
  peerDown: 2,
  peerUp: 3,
  initiation: 4,
  termination: 5,
} as const;
const PEER_FLAG = { ipv6: 0x80, postPolicy: 0x40, twoByteAs: 0x20 } as const;
const CAPABILITY_ADD_PATH = 69;
const PARAMETER_CAPABILITIES = 2;
const INFORMATION_CHARACTERS_MAX = 200;

export interface BmpPeer {
  readonly name: string; // "AS64500 192.0.2.1": what people and policies call it
  readonly as: number;
  readonly rib: 'pre-policy' | 'post-policy';
}

export type BmpMessage =
  | { readonly type: 'initiation'; readonly about: string }
  | { readonly type: 'termination'; readonly reason: string }
  | { readonly type: 'peer-up'; readonly peer: BmpPeer; readonly addsPaths: boolean }
  | { readonly type: 'peer-down'; readonly peer: BmpPeer; readonly reason: number }
  | { readonly type: 'routes'; readonly peer: BmpPeer; readonly update: Update }
  | { readonly type: 'statistics'; readonly peer: BmpPeer }
  | { readonly type: 'other' }; // mirroring, and what later RFCs add

export class BmpFrames {
  #tail: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): readonly BmpMessage[] {
    let data = this.#tail.length === 0 ? bytes : Buffer.concat([this.#tail, bytes]);
    const messages: BmpMessage[] = [];
    while (data.length >= COMMON_HEADER_BYTES) {
      if (data[0] !== VERSION) throw new Malformed(`BMP version ${data[0]}, expected ${VERSION}`);
      const length = data.readUInt32BE(1);
      if (length < COMMON_HEADER_BYTES || length > FRAME_BYTES_MAX) {
        throw new Malformed(`a BMP message of ${length} bytes; ${FRAME_BYTES_MAX} are allowed`);
      }
      if (data.length < length) break;
      messages.push(
        readMessage(data[5], new ByteCursor(data.subarray(COMMON_HEADER_BYTES, length))),
      );
      data = data.subarray(length);
    }
    this.#tail = Buffer.from(data); // a copy: what was read may be large
    return messages;
  }
}

function readMessage(type: number, body: ByteCursor): BmpMessage {
  switch (type) {
    case TYPE.routeMonitoring: {
      const { peer, asBytes } = readPeer(body);
      return { type: 'routes', peer, update: readUpdate(body.rest(), asBytes) };
    }
    case TYPE.statistics:
      return { type: 'statistics', peer: readPeer(body).peer };
    case TYPE.peerDown:
      return { type: 'peer-down', peer: readPeer(body).peer, reason: body.u8() };
    case TYPE.peerUp: {
      const { peer } = readPeer(body);
      body.take(20); // local address and both ports
      const sent = addPathDirections(takeBgpMessage(body));
      const received = addPathDirections(takeBgpMessage(body));
      // Bit 2 of what the neighbour says: it sends several paths; bit 1 of what the router said: it takes them.
      return { type: 'peer-up', peer, addsPaths: (received & 2) !== 0 && (sent & 1) !== 0 };
    }
    case TYPE.initiation:
      return { type: 'initiation', about: readInformation(body) };
    case TYPE.termination:
      return { type: 'termination', reason: readInformation(body) };
    default:
      return { type: 'other' };
  }
}

function readPeer(body: ByteCursor): { peer: BmpPeer; asBytes: 2 | 4 } {
  body.u8(); // peer type: global, RD, local; distinguished below
  const flags = body.u8();
  const distinguisher = body.take(8);
  const address = body.take(16);
  const as = body.u32();
  body.take(12); // BGP id, seconds, microseconds
  const text = formatAddress((flags & PEER_FLAG.ipv6) === 0 ? address.subarray(12) : address);
  const table = distinguisher.every((byte) => byte === 0)
    ? ''
    : ` ${distinguisher.toString('hex')}`;
  return {
    peer: {
      name: `AS${as} ${text}${table}`,
      as,
      rib: (flags & PEER_FLAG.postPolicy) === 0 ? 'pre-policy' : 'post-policy',
    },
    asBytes: (flags & PEER_FLAG.twoByteAs) === 0 ? 4 : 2,
  };
}

/** Takes one BGP message off the front: its own header says how long it is. */
function takeBgpMessage(body: ByteCursor): Buffer {
  const header = body.take(MESSAGE_HEADER_BYTES);
  const length = header.readUInt16BE(16);
  if (length < MESSAGE_HEADER_BYTES) throw new Malformed(`a BGP message of ${length} bytes`);
  return Buffer.concat([header, body.take(length - MESSAGE_HEADER_BYTES)]);
}

/** Both directions of ADD-PATH for IPv4 or IPv6 unicast in an OPEN: 1 takes, 2 sends. */
function addPathDirections(open: Buffer): number {
  const cursor = openMessage(open, BGP_OPEN);
  cursor.take(9); // version, AS, hold time, id
  const parameters = cursor.inner(cursor.u8());
  let directions = 0;
  while (parameters.left > 0) {
    const type = parameters.u8();
    const value = parameters.inner(parameters.u8());
    if (type !== PARAMETER_CAPABILITIES) continue;
    while (value.left > 0) {
      const code = value.u8();
      const capability = value.inner(value.u8());
      while (code === CAPABILITY_ADD_PATH && capability.left > 0) {
        capability.take(3);
        directions |= capability.u8();
      }
    }
  }
  return directions;
}

/** Names, versions and reasons, as text for a log line. */
function readInformation(body: ByteCursor): string {
  const parts: string[] = [];
  while (body.left > 0) {
    const type = body.u16();
    const value = body.take(body.u16());
    const isNumber = value.length === 2 && type === 1;
    parts.push(isNumber ? String(value.readUInt16BE(0)) : value.toString('latin1'));
  }
  return parts
    .join(', ')
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .slice(0, INFORMATION_CHARACTERS_MAX);
}
