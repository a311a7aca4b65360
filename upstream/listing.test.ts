import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TITLE_ID, type FileEntry, type TitleListing } from './contract.ts';
import {
  belongsTo,
  changeOf,
  checkTitleRecord,
  recordOf,
  titleIdOf,
  withoutTwins,
  type ListingContent,
} from './listing.ts';

const fileId = (letter: string): string => letter.repeat(43);
const file = (letter: string): FileEntry => ({
  fileId: fileId(letter),
  sizeBytes: 10,
  kind: 'opaque',
  protection: 'none',
});
const content = (...letters: string[]): ListingContent => ({
  titleId: 'a',
  kind: 'opaque',
  name: 'A',
  durationSeconds: 0,
  class: 'catalogue',
  availability: [{ countries: ['*'] }],
  files: letters.map(file),
});

test('a title that the catalogue does not know gets version 1', () => {
  const change = changeOf(content('x'), null);
  assert.equal(change.kind, 'new');
  assert.equal(change.listing.version, 1);
});

test('the same content changes nothing, in whatever order its keys come', () => {
  const current: TitleListing = { version: 4, ...content('x') };
  const { name, ...rest } = content('x');
  const change = changeOf({ ...rest, genre: undefined, name }, current);
  assert.equal(change.kind, 'unchanged');
  assert.equal(change.listing.version, 4);
});

test('another file, another name or a new field makes the next version', () => {
  const current: TitleListing = { version: 4, ...content('x') };
  for (const wanted of [
    content('y'),
    content('x', 'y'),
    { ...content('x'), name: 'B' },
    { ...content('x'), genre: 'film noir' },
  ]) {
    const change = changeOf(wanted, current);
    assert.equal(change.kind, 'changed');
    assert.equal(change.listing.version, 5);
  }
});

test('files of an earlier version stay files of the title', () => {
  const first = recordOf({ version: 1, ...content('x', 'y') }, null, null);
  const second = recordOf({ version: 2, ...content('y', 'z') }, null, first);
  const third = recordOf({ version: 3, ...content('x') }, null, second);
  assert.deepEqual(second.formerFileIds, [fileId('x')]);
  assert.deepEqual(third.formerFileIds, [fileId('y'), fileId('z')]);
  for (const letter of ['x', 'y', 'z']) assert.ok(belongsTo(third, fileId(letter)));
  assert.ok(!belongsTo(third, fileId('w')));
  assert.ok(checkTitleRecord(third).ok);
});

test('two files with the same bytes are one file', () => {
  assert.deepEqual(withoutTwins([file('x'), file('y'), file('x')]), [file('x'), file('y')]);
});

test('title ids are made of names', () => {
  assert.equal(titleIdOf('Big Buck Bunny (480p)'), 'big-buck-bunny-480p');
  assert.equal(titleIdOf('bbb_480p_30s'), 'bbb_480p_30s');
  assert.equal(titleIdOf('Amélie'), 'amelie');
  assert.match(titleIdOf('千と千尋の神隠し'), /^title-[0-9a-f]{12}$/);
  assert.notEqual(titleIdOf('千と千尋'), titleIdOf('もののけ姫'));
  for (const name of ['', '---', '_x', 'x'.repeat(200), `${'x'.repeat(63)} y`, '../..']) {
    assert.match(titleIdOf(name), TITLE_ID);
  }
});
