import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FastTrackList } from '#control-plane/contract.ts';
import { urgentFiles } from './fast-track.ts';

const entry = (fileId: string, over: Partial<FastTrackList['entries'][number]> = {}) => ({
  fileId,
  sizeBytes: 400,
  titles: ['film'],
  clusters: [],
  untilMs: 1000,
  why: 'trending',
  ...over,
});
const list: FastTrackList = {
  version: 1,
  issuedAtMs: 0,
  bytesPerHourMax: 1000,
  entries: [
    entry('late', { untilMs: 10 }),
    entry('elsewhere', { clusters: ['lyon'] }),
    entry('a'),
    entry('b'),
    entry('c', { sizeBytes: 900 }),
    entry('d'),
  ],
};

function chosen(spentBytes: number, held: readonly string[]): readonly string[] {
  const facts = { isHeld: (fileId: string) => held.includes(fileId), spentBytes };
  return urgentFiles(list, 'paris', facts, 500).map(({ fileId }) => fileId);
}

test('files of this cluster are fetched in order until the hour’s allowance is spent; held ones cost nothing', () => {
  assert.deepEqual(chosen(0, []), ['a', 'b', 'c']);
  assert.deepEqual(chosen(0, ['a', 'b', 'c']), ['a', 'b', 'c', 'd']);
  assert.deepEqual(chosen(700, []), ['a']);
  assert.deepEqual(chosen(1000, ['b']), ['b']);
});
