import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inventoryAlarm, inventoryOf } from './inventory.ts';

const catalogue = {
  fileIdOf: (ordinal: number) => `file-${ordinal}`,
  sizeOf: (fileId: string) => 100 * Number(fileId.slice('file-'.length)),
  titlesOf: () => ['film'],
};

test('every wanted file is held or missing, every held one wanted or extra, the largest named first', () => {
  const inventory = inventoryOf([1, 2, 3, 4], new Set([2, 4, 9]), catalogue);
  assert.deepEqual(inventory.wanted, { files: 4, bytes: 1000 });
  assert.deepEqual(inventory.held, { files: 2, bytes: 600 });
  assert.equal(inventory.heldShare, 0.6);
  assert.deepEqual(
    inventory.missing.shown.map(({ fileId }) => fileId),
    ['file-3', 'file-1'],
  );
  assert.deepEqual([inventory.extra.files, inventory.extra.bytes], [1, 900]);
  assert.equal(inventoryOf([], new Set(), catalogue).heldShare, 1);
});

test('a box is alarmed a day after its manifest was made, for holding too little or for not taking it', () => {
  const day = 24 * 3600 * 1000;
  const facts = { bytesWanted: 100, bytesHeld: 80, manifestVersion: 3, problem: null };
  const current = { version: 3, madeAtMs: 0 };
  assert.equal(inventoryAlarm(facts, current, day), null, 'the night is not over');
  assert.match(inventoryAlarm(facts, current, day + 1) ?? '', /^it holds 80\.0 %/);
  assert.equal(inventoryAlarm({ ...facts, bytesHeld: 90 }, current, day + 1), null);
  const refused = { ...facts, manifestVersion: 2, problem: 'manifest-held: much' };
  assert.match(
    inventoryAlarm(refused, current, day + 1) ?? '',
    /version 2, 3 is a day old: manifest-held/,
  );
});
