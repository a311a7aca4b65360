import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideAnswer, type Asked, type FileAnswer } from './answer.ts';

const ETAG = '"abc"';
const SIZE = 1000;
const plain: Asked = {
  method: 'GET',
  range: undefined,
  ifRange: undefined,
  ifMatch: undefined,
  ifNoneMatch: undefined,
};
const whole: FileAnswer = { status: 200, start: 0, endInclusive: 999 };

const TABLE: readonly [what: string, asked: Partial<Asked>, expected: FileAnswer][] = [
  ['no header', {}, whole],
  ['a range', { range: 'bytes=10-19' }, { status: 206, start: 10, endInclusive: 19 }],
  ['a range beyond the end', { range: 'bytes=1000-' }, { status: 416 }],
  ['a range on HEAD', { method: 'HEAD', range: 'bytes=10-19' }, whole],
  ['a range beyond the end on HEAD', { method: 'HEAD', range: 'bytes=1000-' }, whole],
  ['our tag in If-None-Match', { ifNoneMatch: '"x", "abc"' }, { status: 304 }],
  ['our tag, weak, in If-None-Match', { ifNoneMatch: 'W/"abc"' }, { status: 304 }],
  ['* in If-None-Match', { ifNoneMatch: '*' }, { status: 304 }],
  ['another tag in If-None-Match', { ifNoneMatch: '"x"' }, whole],
  ['304 before 206', { ifNoneMatch: ETAG, range: 'bytes=0-9' }, { status: 304 }],
  ['304 before 416', { ifNoneMatch: ETAG, range: 'bytes=1000-' }, { status: 304 }],
  [
    'our tag in If-Range',
    { ifRange: ETAG, range: 'bytes=0-9' },
    { status: 206, start: 0, endInclusive: 9 },
  ],
  ['another tag in If-Range', { ifRange: '"x"', range: 'bytes=0-9' }, whole],
  ['a weak tag in If-Range', { ifRange: 'W/"abc"', range: 'bytes=0-9' }, whole],
  ['a date in If-Range', { ifRange: 'Fri, 20 Nov 2026 00:00:00 GMT', range: 'bytes=0-9' }, whole],
  [
    'another tag in If-Range, range beyond the end',
    { ifRange: '"x"', range: 'bytes=1000-' },
    whole,
  ],
  ['our tag in If-Match', { ifMatch: ETAG }, whole],
  ['* in If-Match', { ifMatch: '*' }, whole],
  ['another tag in If-Match', { ifMatch: '"x"' }, { status: 412 }],
  ['our tag, weak, in If-Match', { ifMatch: 'W/"abc"' }, { status: 412 }],
];

for (const [what, asked, expected] of TABLE) {
  test(`${what} is answered ${expected.status}`, () => {
    assert.deepEqual(decideAnswer({ ...plain, ...asked }, ETAG, SIZE), expected);
  });
}
