import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { seededRandom } from '#base/random.ts';
import type { FillSource } from '#control-plane/contract.ts';
import { SourceBook } from './source-book.ts';

const FILE_ID = 'A'.repeat(43);
const PEER: FillSource = { kind: 'peer', id: 'box-2', baseUrl: 'http://127.0.0.2:80', delayMs: 0 };
const ORIGIN: FillSource = {
  kind: 'origin',
  id: 'origin',
  baseUrl: 'http://127.0.0.3:80',
  delayMs: 15_000,
};

function bookOver(clock: SimulatedClock): SourceBook {
  return new SourceBook({
    applianceId: 'box-1',
    clock,
    random: seededRandom(1),
    remembered: [],
    remember: () => {},
    ask: ({ fileIds }) =>
      Promise.resolve({
        ok: true,
        value: {
          version: 1,
          files: fileIds.map((fileId) => ({ fileId, titles: ['title'], sources: [PEER, ORIGIN] })),
        },
      }),
  });
}

test('fill waits for a delayed source, from its first question on', async () => {
  const clock = new SimulatedClock();
  const book = bookOver(clock);
  assert.deepEqual((await book.ranking(FILE_ID, 'fill')).sources, [PEER]);
  clock.advance(15_000);
  assert.deepEqual((await book.ranking(FILE_ID, 'fill')).sources, [PEER], 'not on old knowledge');
  await book.prefetch([FILE_ID], 'fill');
  assert.deepEqual((await book.ranking(FILE_ID, 'fill')).sources, [PEER, ORIGIN]);
});

test('a viewer’s miss never waits, although fill asked for the file a moment before', async () => {
  const book = bookOver(new SimulatedClock());
  await book.ranking(FILE_ID, 'fill');
  assert.deepEqual((await book.ranking(FILE_ID, 'miss')).sources, [PEER, ORIGIN]);
});

test('left alone, a box goes to the origin three hours after a master that moved last gave something, and soon for what is urgent', async () => {
  const clock = new SimulatedClock();
  let isPlaneUp = true;
  const first: FillSource = { ...PEER, id: 'before-box-1' };
  const book = new SourceBook({
    applianceId: 'box-1',
    clock,
    random: seededRandom(1),
    remembered: [],
    remember: () => {},
    ask: ({ fileIds }) => {
      if (!isPlaneUp) {
        const gone = { code: 'gone', source: 'network', retry: 'same-source', detail: '' } as const;
        return Promise.resolve({ ok: false, failure: gone });
      }
      const sources = [first, { ...ORIGIN, delayMs: 43_200_000 }];
      const files = fileIds.map((fileId) => ({ fileId, titles: ['title'], sources }));
      return Promise.resolve({ ok: true, value: { version: 1, files } });
    },
  });
  const kinds = (isUrgent = false): string[] =>
    book.look(FILE_ID, isUrgent).due.map(({ kind }) => kind);
  await book.prefetch([FILE_ID], 'fill');
  isPlaneUp = false;
  await book.prefetch([FILE_ID], 'fill');
  assert.equal(book.isAlone, true);
  for (let minutes = 0; minutes < 180; minutes += 20) {
    clock.advance(20 * 60_000);
    assert.deepEqual(kinds(), ['peer'], 'another box is at work');
    book.began(first)(1024 * 1024);
  }
  clock.advance(20_000);
  assert.deepEqual(kinds(true), ['peer', 'origin'], 'urgent');
  clock.advance(179 * 60_000);
  assert.deepEqual(kinds(), ['peer']);
  clock.advance(60_000);
  assert.deepEqual(kinds(), ['peer', 'origin'], 'nothing came for long: its master is gone');
});

test('left alone, a box whose four tiers lack a file asks four others the next time, and those again until then', async () => {
  const tiers = Array.from({ length: 12 }, (_, at): FillSource => {
    return { ...PEER, kind: 'tier', id: `tier-${at}` };
  });
  const gone = { code: 'gone', source: 'network', retry: 'same-source', detail: '' } as const;
  const book = new SourceBook({
    applianceId: 'box-1',
    clock: new SimulatedClock(),
    random: seededRandom(1),
    remembered: tiers,
    remember: () => {},
    ask: () => Promise.resolve({ ok: false, failure: gone }),
  });
  await book.prefetch([FILE_ID], 'fill');
  const asked = (): readonly string[] => book.look(FILE_ID).due.map(({ id }) => id);
  const first = asked();
  assert.equal(first.length, 4);
  assert.deepEqual(asked(), first, 'who gave the chunk list is asked for the chunks');
  const all = new Set(first);
  for (let turn = 0; turn < 2; turn++) {
    book.lacked(FILE_ID);
    for (const id of asked()) all.add(id);
  }
  assert.equal(all.size, 12);
});
