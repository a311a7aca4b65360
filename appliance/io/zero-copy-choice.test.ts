import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadLinux } from '#base/io/linux.ts';
import { NO_FIELDS, type Answer } from '../serve/sender.ts';
import { HotChunks } from './hot-chunks.ts';
import { chooseSender, listenersOf, type MakePool, type SenderWish } from './zero-copy-choice.ts';
import { ZeroCopySender } from './zero-copy-sender.ts';

const LIMITS = {
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 10_000,
  connectionsMax: 10,
  pipelinedMax: 16,
  deliveryBytesPerSecondMin: 1024,
  deliveryGraceMs: 10_000,
};
const nothing = (): Answer => ({
  status: 204,
  constant: NO_FIELDS,
  varying: [],
  contentLength: null,
  body: null,
  isWithdrawn: () => false,
  sent: () => {},
  ended: () => {},
});
const choose = (wish: SenderWish) => chooseSender(wish, nothing, LIMITS, new HotChunks(0));

test('portable is portable everywhere', () => {
  const chosen = choose('portable');
  assert.ok(chosen.ok && chosen.value.kind === 'portable');
});

test('auto takes zero-copy where its calls are to be had, else portable; asked by name it says why not', () => {
  const isHere = loadLinux() !== null;
  const auto = choose('auto');
  assert.ok(auto.ok && auto.value.kind === (isHere ? 'zero-copy' : 'portable'));
  const byName = choose('zero-copy');
  if (isHere) assert.ok(byName.ok && byName.value.kind === 'zero-copy');
  else assert.match(byName.ok ? '' : byName.failure.detail, /"auto" or "portable"/);
});

test('listeners are as many as the operator says, or as the cores; a pool is made only for more than one', () => {
  assert.equal(listenersOf('auto', 16), 16);
  assert.equal(listenersOf(4, 16), 4);
  let made = 0;
  const makePool: MakePool = (listeners, linux, portable) => {
    made = listeners;
    return new ZeroCopySender(nothing, LIMITS, linux, portable);
  };
  const one = chooseSender('auto', nothing, LIMITS, new HotChunks(0), 1, makePool);
  assert.ok(one.ok && made === 0);
  const four = chooseSender('auto', nothing, LIMITS, new HotChunks(0), 4, makePool);
  assert.ok(four.ok && made === (loadLinux() === null ? 0 : 4));
});
