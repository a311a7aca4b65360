/**
 * For tests: the bytes that a router sends to whoever monitors it.
 */
const PEER_HEADER_BYTES = 42;

export interface ExamplePeer {
  readonly as: number;
  readonly address: string; // IPv4
  readonly isPostPolicy?: boolean;
}

export interface ExampleUpdate {
  readonly announced?: readonly string[]; // IPv4, as "203.0.113.0/24"
  readonly withdrawn?: readonly string[];
  readonly announced6?: readonly (readonly [hex: string, length: number])[]; // the prefix's octets
  readonly asPath?: readonly number[];
  readonly med?: number;
}

export const EXAMPLE_PEER: ExamplePeer = { as: 64_500, address: '127.0.0.1' };

/** Captured from gobgpd 3.10: 203.0.113.0/24, path 64500 64511, MED 50. */
export const CAPTURED_ROUTE = Buffer.from(
  '030000007100000000000000000000000000000000000000000000007f0000010000fbf47f0000016b00882000000000' +
    'ffffffffffffffffffffffffffffffff004102000000264001010040020a02020000fbf40000fbff400304c0000201' +
    '80040400000032c00804fbf4006418cb0071',
  'hex',
);
/** The same session: 2001:db8:100::/40, path 64500. */
export const CAPTURED_ROUTE_V6 = Buffer.from(
  '030000007200000000000000000000000000000000000000000000007f0000010000fbf47f0000016b00882000000000' +
    'ffffffffffffffffffffffffffffffff0042020000002b4001010040020602010000fbf4800e1b0002011020010db8' +
    '000000000000000000000001002820010db801',
  'hex',
);
export const CAPTURED_INITIATION = Buffer.from(
  '03000000190400020005476f42475000010006332e31302e30',
  'hex',
);

export function bmpRoutes(peer: ExamplePeer, update: ExampleUpdate): Buffer {
  return bmpMessage(0, Buffer.concat([peerHeader(peer), bgpUpdate(update)]));
}

export function bmpPeerUp(peer: ExamplePeer, addPath = false): Buffer {
  const open = bgpOpen(peer.as, addPath);
  return bmpMessage(3, Buffer.concat([peerHeader(peer), Buffer.alloc(20), open, open]));
}

export function bmpPeerDown(peer: ExamplePeer): Buffer {
  return bmpMessage(2, Buffer.concat([peerHeader(peer), Buffer.from([4])]));
}

function bmpMessage(type: number, body: Buffer): Buffer {
  const header = Buffer.from([3, 0, 0, 0, 0, type]);
  header.writeUInt32BE(body.length + header.length, 1);
  return Buffer.concat([header, body]);
}

function peerHeader({ as, address, isPostPolicy }: ExamplePeer): Buffer {
  const header = Buffer.alloc(PEER_HEADER_BYTES);
  header[1] = isPostPolicy === true ? 0x40 : 0;
  Buffer.from(address.split('.').map(Number)).copy(header, 22);
  header.writeUInt32BE(as, 26);
  return header;
}

export function bgpUpdate(update: ExampleUpdate): Buffer {
  const withdrawn = Buffer.concat((update.withdrawn ?? []).map(nlri));
  const announced = Buffer.concat((update.announced ?? []).map(nlri));
  const announced6 = update.announced6 ?? [];
  const attributes: Buffer[] = [];
  if (announced.length + announced6.length > 0) {
    const path = update.asPath ?? [EXAMPLE_PEER.as];
    const numbers = Buffer.alloc(path.length * 4);
    path.forEach((as, at) => numbers.writeUInt32BE(as, at * 4));
    attributes.push(Buffer.from([0x40, 1, 1, 0]));
    attributes.push(
      Buffer.concat([Buffer.from([0x40, 2, 2 + numbers.length, 2, path.length]), numbers]),
    );
    attributes.push(Buffer.from([0x40, 3, 4, 192, 0, 2, 1]));
    const med = Buffer.from([0x80, 4, 4, 0, 0, 0, 0]);
    med.writeUInt32BE(update.med ?? 0, 3);
    attributes.push(med);
  }
  if (announced6.length > 0) {
    const prefixes = announced6.map(([hex, length]) =>
      Buffer.concat([Buffer.from([length]), Buffer.from(hex, 'hex')]),
    );
    const value = Buffer.concat([Buffer.from([0, 2, 1, 16]), Buffer.alloc(17), ...prefixes]);
    attributes.push(Buffer.concat([Buffer.from([0x80, 14, value.length]), value]));
  }
  const all = Buffer.concat(attributes);
  const lengths = [Buffer.alloc(2), Buffer.alloc(2)];
  lengths[0].writeUInt16BE(withdrawn.length);
  lengths[1].writeUInt16BE(all.length);
  return bgpMessage(2, Buffer.concat([lengths[0], withdrawn, lengths[1], all, announced]));
}

function bgpOpen(as: number, addPath: boolean): Buffer {
  const capability = addPath ? [69, 4, 0, 1, 1, 3] : [65, 4, 0, 0, as >>> 8, as & 255];
  const body = [4, as >>> 8, as & 255, 0, 90, 127, 0, 0, 1];
  return bgpMessage(
    1,
    Buffer.from([...body, capability.length + 2, 2, capability.length, ...capability]),
  );
}

function bgpMessage(type: number, body: Buffer): Buffer {
  const header = Buffer.alloc(19, 0xff);
  header.writeUInt16BE(19 + body.length, 16);
  header[18] = type;
  return Buffer.concat([header, body]);
}

function nlri(text: string): Buffer {
  const [address, length] = text.split('/');
  const octets = address.split('.').map(Number);
  return Buffer.from([Number(length), ...octets.slice(0, Math.ceil(Number(length) / 8))]);
}
