import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { Malformed } from './byte-cursor.ts';
import { readAttributes } from './bgp-update.ts';
import { BmpFrames, FRAME_BYTES_MAX, type BmpMessage } from './bmp.ts';
import {
  bmpPeerDown,
  bmpPeerUp,
  bmpRoutes,
  CAPTURED_INITIATION,
  CAPTURED_ROUTE,
  CAPTURED_ROUTE_V6,
  EXAMPLE_PEER,
} from './example-bmp.ts';

const SESSION = Buffer.concat([
  CAPTURED_INITIATION,
  bmpPeerUp(EXAMPLE_PEER),
  CAPTURED_ROUTE,
  CAPTURED_ROUTE_V6,
  bmpRoutes(EXAMPLE_PEER, {}),
  bmpPeerDown(EXAMPLE_PEER),
]);

test('what gobgpd sent is read: name, peer, both families, path, MED, End-of-RIB', () => {
  const messages = new BmpFrames().push(SESSION);
  assert.deepEqual(
    messages.map(({ type }) => type),
    ['initiation', 'peer-up', 'routes', 'routes', 'routes', 'peer-down'],
  );
  assert.deepEqual(messages[0], { type: 'initiation', about: 'GoBGP, 3.10.0' });
  const [, , v4, v6, end] = messages as (BmpMessage & { type: 'routes' })[];
  assert.deepEqual(v4.peer, { name: 'AS64500 127.0.0.1', as: 64_500, rib: 'pre-policy' });
  assert.deepEqual(v4.update.announced, ['203.0.113.0/24']);
  const { originAs, asPathLength, origin, med } = v4.update.attributes;
  assert.deepEqual([originAs, asPathLength, origin, med], [64_511, 2, 0, 50]);
  assert.deepEqual(v6.update.announced, ['2001:db8:100::/40']);
  assert.equal(end.update.endOfRib, 4);
});

test('how the bytes are cut plays no part', () => {
  const whole = new BmpFrames().push(SESSION);
  const random = seededRandom(7);
  for (let round = 0; round < 50; round++) {
    const frames = new BmpFrames();
    const messages: BmpMessage[] = [];
    for (let at = 0; at < SESSION.length;) {
      const size = 1 + random.below(90);
      messages.push(...frames.push(SESSION.subarray(at, at + size)));
      at += size;
    }
    assert.deepEqual(messages, whole);
  }
});

test('a message larger than any router sends, or of another version, ends the session', () => {
  const large = Buffer.from([3, 0, 0, 0, 0, 0]);
  large.writeUInt32BE(FRAME_BYTES_MAX + 1, 1);
  assert.throws(() => new BmpFrames().push(large), /131072 are allowed/);
  assert.throws(() => new BmpFrames().push(Buffer.from([2, 0, 0, 0, 6, 0])), /BMP version 2/);
});

test('a session that negotiated ADD-PATH says so', () => {
  const [without] = new BmpFrames().push(bmpPeerUp(EXAMPLE_PEER));
  const [withPaths] = new BmpFrames().push(bmpPeerUp(EXAMPLE_PEER, true));
  assert.deepEqual(
    [without, withPaths].map((message) => message.type === 'peer-up' && message.addsPaths),
    [false, true],
  );
});

test('a path of 2-byte numbers takes the real ones from AS4_PATH', () => {
  const path = Buffer.from('40020602025ba0fc00', 'hex'); // 23456 64512, as a speaker of 4 bytes is seen by one of 2
  const as4 = Buffer.from('c01106020100030d40', 'hex'); // 200000
  const { originAs, asPathLength } = readAttributes(Buffer.concat([path, as4]), 2);
  assert.deepEqual([originAs, asPathLength], [200_000, 2]);
});

test('a path that ends in a set has no origin anybody could name; the set counts as one', () => {
  const bytes = Buffer.from('40021002010000fbf401020000000100000002', 'hex');
  const { originAs, asPathLength } = readAttributes(bytes, 4);
  assert.deepEqual([originAs, asPathLength], [null, 2]);
});

test('no bytes make the reader do anything but read or refuse: 20,000 mutations, seed 11', () => {
  const random = seededRandom(11);
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(SESSION);
    for (let change = random.below(4); change >= 0; change--) {
      bytes[random.below(bytes.length)] = random.below(256);
    }
    try {
      const messages = new BmpFrames().push(bytes.subarray(0, 1 + random.below(bytes.length)));
      assert.ok(messages.length <= 6);
    } catch (thrown) {
      assert.ok(thrown instanceof Malformed, `round ${round}: ${String(thrown)}`);
      refused++;
    }
  }
  assert.ok(refused > 1000, `${refused} of 20,000 were refused`);
});
