import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { MIB } from '#base/units.ts';
import { opaqueBytes, opaqueTitles, parseOpaqueSpec, titleIdProblem } from './opaque.ts';

test('inline text and JSON say the same thing', () => {
  const inline = parseOpaqueSpec('files=4x48MiB,2x3145729;seed=7;titles=1');
  const json = parseOpaqueSpec('{"files":["4x48MiB","2x3145729"],"seed":7}');
  assert.ok(inline.ok);
  assert.deepEqual(inline, json);
  assert.deepEqual(inline.value.files, [
    { count: 4, bytesMin: 48 * MIB, bytesMax: 48 * MIB },
    { count: 2, bytesMin: 3145729, bytesMax: 3145729 },
  ]);
});

test('sizes may be ranges, fractions, and stand without a count', () => {
  const parsed = parseOpaqueSpec('files=1.5MiB,3x0.5KiB..1.5KiB,7');
  assert.ok(parsed.ok);
  assert.deepEqual(parsed.value.files, [
    { count: 1, bytesMin: 1.5 * MIB, bytesMax: 1.5 * MIB },
    { count: 3, bytesMin: 512, bytesMax: 1536 },
    { count: 1, bytesMin: 7, bytesMax: 7 },
  ]);
});

const WRONG: readonly [text: string, why: RegExp][] = [
  ['', /files/],
  ['files=', /COUNTxSIZE/],
  ['files=4x', /COUNTxSIZE/],
  ['files=0x1MiB', /COUNTxSIZE/],
  ['files=1x0', /COUNTxSIZE/],
  ['files=1x2MiB..1MiB', /COUNTxSIZE/],
  ['files=1x2TiB', /1 TiB/],
  ['files=1x1MB', /COUNTxSIZE/],
  ['files=5000x1', /COUNTxSIZE|4096/],
  ['files=4096x1,1x1', /4097 in a title/],
  ['files=1;seed=x', /seed/],
  ['files=1;titles=0', /titles/],
  ['files=1;titles=10001', /titles/],
  ['files=1;files=2', /twice/],
  ['files=1;colour=red', /colour/],
  ['4x48MiB', /not understood/],
  ['{"files":', /not JSON/],
  ['{"files":["1"],"colour":1}', /colour/],
];
for (const [text, why] of WRONG) {
  test(`the spec ${JSON.stringify(text)} is refused with its reason`, () => {
    const parsed = parseOpaqueSpec(text);
    assert.ok(!parsed.ok);
    assert.match(parsed.failure.join('; '), why);
  });
}

test('any text is a spec or a list of problems, never an exception', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.boolean(), (text, isPrefixed) => {
      const parsed = parseOpaqueSpec(isPrefixed ? `files=${text}` : text);
      assert.ok(parsed.ok ? parsed.value.files.length > 0 : parsed.failure.length > 0);
    }),
    { seed: 11, numRuns: 5000 },
  );
});

test('each title has files of its own, of sizes within the range, the same at each call', () => {
  const parsed = parseOpaqueSpec('titles=200;files=1x256KiB..2MiB;seed=11');
  assert.ok(parsed.ok);
  const titles = opaqueTitles(parsed.value);
  assert.deepEqual(titles, opaqueTitles(parsed.value));
  assert.equal(new Set(titles.map(({ titleId }) => titleId)).size, 200);
  const files = titles.flatMap((title) => title.files);
  assert.equal(new Set(files.map(({ seed }) => seed)).size, 200);
  assert.ok(files.every(({ sizeBytes }) => sizeBytes >= 256 * 1024 && sizeBytes <= 2 * MIB));
  assert.ok(new Set(files.map(({ sizeBytes }) => sizeBytes)).size > 150);
});

test('names are taken as given, numbered where there are several titles', () => {
  const one = parseOpaqueSpec('files=1');
  const many = parseOpaqueSpec('files=1;titles=12');
  assert.ok(one.ok && many.ok);
  assert.equal(opaqueTitles(one.value, { titleId: 'a', name: 'A' })[0].titleId, 'a');
  const titles = opaqueTitles(many.value, { titleId: 'a', name: 'A' });
  assert.deepEqual([titles[0].titleId, titles[11].name], ['a-01', 'A 12']);
  assert.equal(titleIdProblem('a', 12), null);
  assert.match(titleIdProblem('x'.repeat(63), 12) ?? '', /no title id/);
});

test('the bytes of a seed are pinned: other checks recompute them', () => {
  const bytes = Buffer.concat([...opaqueBytes('7/0/0', 300_001)]);
  assert.equal(bytes.length, 300_001);
  assert.equal(
    createHash('sha256').update(bytes).digest('hex'),
    'b23b07ea117faf91ce336a6310dd061aa15b2adfedc6d28ea6fcd02c3acd4f55',
  );
  assert.deepEqual(Buffer.concat([...opaqueBytes('7/0/0', 1000)]), bytes.subarray(0, 1000));
  assert.notDeepEqual(Buffer.concat([...opaqueBytes('7/0/1', 1000)]), bytes.subarray(0, 1000));
});
