import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { Malformed } from './byte-cursor.ts';
import { readMrt } from './mrt.ts';

const PATH_4 = '4001010040020a02020000fbf40000fbff800404000000 32'.replaceAll(' ', ''); // 64500 64511, MED 50
const PATH_2 = '4001010040020602 02fbf4fbff'.replaceAll(' ', '');

function record(type: number, subtype: number, body: Buffer, length = body.length): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(type, 4);
  header.writeUInt16BE(subtype, 6);
  header.writeUInt32BE(length, 8);
  return Buffer.concat([header, body]);
}

/** prefix, length, status, time, peer 192.0.2.1, AS 64500, attributes. */
function entry(address: string, length: number): Buffer {
  const attributes = Buffer.from(PATH_2, 'hex');
  return Buffer.concat([
    Buffer.from(address.split('.').map(Number)),
    Buffer.from([length, 1, 0, 0, 0, 0, 192, 0, 2, 1, 0xfb, 0xf4, 0, attributes.length]),
    attributes,
  ]);
}

const PEERS = record(
  13,
  1,
  Buffer.from(
    '7f00000800046973703400020200000001c00002010000fbf40300000002' +
      '20010db8000000000000000000000001' +
      '0000fbf5',
    'hex',
  ),
);

function rib(subtype: number, nlriHex: string, peer: number, attributes = PATH_4): Buffer {
  const length = (attributes.length / 2).toString(16).padStart(4, '0');
  return record(
    13,
    subtype,
    Buffer.from(`00000001${nlriHex}0001000${peer}00000000${length}${attributes}`, 'hex'),
  );
}

test('TABLE_DUMP_V2: both families, peers by their index, path and MED', () => {
  const routes = [
    ...readMrt(
      Buffer.concat([
        PEERS,
        rib(2, '18cb0071', 0),
        record(16, 4, Buffer.alloc(3)),
        rib(4, '2820010db801', 1),
      ]),
    ),
  ];
  assert.deepEqual(routes, [
    {
      originAs: 64_511,
      asPathLength: 2,
      origin: 0,
      med: 50,
      prefix: '203.0.113.0/24',
      peer: 'AS64500 192.0.2.1',
    },
    {
      originAs: 64_511,
      asPathLength: 2,
      origin: 0,
      med: 50,
      prefix: '2001:db8:100::/40',
      peer: 'AS64501 2001:db8::1',
    },
  ]);
});

test('TABLE_DUMP as the RFC has it: one entry a record', () => {
  const one = record(12, 1, Buffer.concat([Buffer.alloc(4), entry('3.0.0.0', 8)]));
  const routes = [...readMrt(Buffer.concat([one, one]))];
  assert.deepEqual(
    routes.map(({ prefix, originAs }) => [prefix, originAs]),
    [
      ['3.0.0.0/8', 64_511],
      ['3.0.0.0/8', 64_511],
    ],
  );
});

test('TABLE_DUMP as it was written in 2000: many entries a record, its length without view and sequence', () => {
  const entries = Buffer.concat([entry('3.0.0.0', 8), entry('4.0.0.0', 8), entry('4.16.0.0', 12)]);
  const old = record(12, 1, Buffer.concat([Buffer.alloc(4), entries]), entries.length);
  const routes = [...readMrt(Buffer.concat([old, old]))];
  assert.deepEqual(
    routes.map(({ prefix }) => prefix),
    ['3.0.0.0/8', '4.0.0.0/8', '4.16.0.0/12', '3.0.0.0/8', '4.0.0.0/8', '4.16.0.0/12'],
  );
});

test('what is no dump is refused with its place: 5,000 mutations, seed 2', () => {
  const good = Buffer.concat([
    PEERS,
    rib(2, '18cb0071', 0),
    rib(4, '2820010db801', 1),
    record(12, 1, Buffer.concat([Buffer.alloc(4), entry('3.0.0.0', 8)])),
  ]);
  assert.throws(
    () => [...readMrt(good.subarray(0, good.length - 3))],
    /no MRT record at offset 1\d\d: /,
  );
  const random = seededRandom(2);
  let refused = 0;
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(good);
    bytes[random.below(bytes.length)] = random.below(256);
    try {
      assert.ok([...readMrt(bytes)].length <= 4);
    } catch (thrown) {
      assert.ok(thrown instanceof Malformed, `round ${round}: ${String(thrown)}`);
      refused++;
    }
  }
  assert.ok(refused > 300, `${refused} of 5,000 were refused`);
});
