/**
 * For tests: a MaxMind database of a few IPv4 networks, made in memory.
 *
 * Source: the MaxMind DB file format 2.0: a binary tree of 24-bit records, 16 zero bytes, data, a marker, metadata
 */
import { parsePrefix } from '#base/address.ts';

const TYPE = { string: 2, map: 7, uint16: 5, uint32: 6, uint64: 9, array: 11 } as const;
const MARKER = Buffer.from('abcdef4d61784d696e642e636f6d', 'hex');

type Node = [Node | string | null, Node | string | null];

export function exampleCountries(networks: Readonly<Record<string, string>>): Buffer {
  const root: Node = [null, null];
  for (const [text, country] of Object.entries(networks)) insert(root, text, country);
  const nodes: Node[] = [];
  const number = (node: Node): void => {
    nodes.push(node);
    for (const child of node) if (Array.isArray(child)) number(child);
  };
  number(root);
  const data: Buffer[] = [];
  const offsets = new Map<string, number>();
  for (const country of new Set(Object.values(networks))) {
    offsets.set(
      country,
      data.reduce((sum, part) => sum + part.length, 0),
    );
    data.push(map({ country: map({ iso_code: text(country) }) }));
  }
  const tree = Buffer.alloc(nodes.length * 6);
  nodes.forEach((node, at) => {
    node.forEach((child, side) => {
      const value = Array.isArray(child)
        ? nodes.indexOf(child)
        : child === null
          ? nodes.length
          : nodes.length + 16 + (offsets.get(child) ?? 0);
      tree.writeUIntBE(value, at * 6 + side * 3, 3);
    });
  });
  const metadata = map({
    binary_format_major_version: number16(2),
    binary_format_minor_version: number16(0),
    build_epoch: Buffer.from([4, TYPE.uint64 - 7, 0, 0, 0, 1]),
    database_type: text('Test-Country'),
    description: map({ en: text('a test') }),
    ip_version: number16(4),
    languages: Buffer.from([0, TYPE.array - 7]),
    node_count: number32(nodes.length),
    record_size: number16(24),
  });
  return Buffer.concat([tree, Buffer.alloc(16), ...data, MARKER, metadata]);
}

function insert(root: Node, prefixText: string, country: string): void {
  const prefix = parsePrefix(prefixText);
  if (prefix === null) throw new Error(`${prefixText} is no prefix`);
  let node = root;
  for (let bit = 0; bit < prefix.length; bit++) {
    const side = (prefix.bytes[bit >>> 3] >>> (7 - (bit & 7))) & 1;
    if (bit === prefix.length - 1) {
      node[side] = country;
      return;
    }
    const next = node[side];
    const child: Node = Array.isArray(next) ? next : [null, null];
    node[side] = child;
    node = child;
  }
}

function text(value: string): Buffer {
  return Buffer.from([(TYPE.string << 5) | value.length, ...Buffer.from(value)]);
}

function number16(value: number): Buffer {
  return Buffer.from([(TYPE.uint16 << 5) | 2, value >>> 8, value & 255]);
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes[0] = (TYPE.uint32 << 5) | 4;
  bytes.writeUInt32BE(value, 1);
  return bytes;
}

function map(entries: Readonly<Record<string, Buffer>>): Buffer {
  const parts = Object.entries(entries).flatMap(([name, value]) => [text(name), value]);
  return Buffer.concat([Buffer.from([(TYPE.map << 5) | Object.keys(entries).length]), ...parts]);
}
