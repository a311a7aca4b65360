import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decideRange, RANGE_GAP_BYTES_MAX, RANGES_MAX, type RangeDecision } from './range.ts';

const SIZE = 1000;
const whole: RangeDecision = { kind: 'whole' };
const unsatisfiable: RangeDecision = { kind: 'unsatisfiable' };
const part = (start: number, endInclusive: number): RangeDecision => ({
  kind: 'part',
  start,
  endInclusive,
});

const TABLE: readonly [header: string | undefined, expected: RangeDecision, why: string][] = [
  [undefined, whole, 'no header'],
  ['bytes=0-0', part(0, 0), 'the first byte'],
  ['bytes=0-99', part(0, 99), 'closed'],
  ['bytes=100-', part(100, 999), 'open'],
  ['bytes=-1', part(999, 999), 'suffix'],
  ['bytes=-1000', part(0, 999), 'suffix of the whole file'],
  ['bytes=-5000', part(0, 999), 'suffix longer than the file'],
  ['bytes=0-5000', part(0, 999), 'an end beyond the file is cut'],
  ['bytes=999-999', part(999, 999), 'the last byte'],
  ['BYTES=0-9', part(0, 9), 'units are case-insensitive'],
  ['bytes=007-9', part(7, 9), 'leading zeros'],
  ['bytes=1000-', unsatisfiable, 'first at the size'],
  ['bytes=1000-2000', unsatisfiable, 'first beyond the end'],
  ['bytes=-0', unsatisfiable, 'a suffix of nothing'],
  ['bytes=9-8', whole, 'first after last is invalid'],
  ['bytes=2000-1000', whole, 'invalid wins over unsatisfiable'],
  ['bytes=-', whole, 'neither first nor last'],
  ['bytes=', whole, 'empty'],
  ['bytes', whole, 'no set'],
  ['', whole, 'an empty header'],
  ['bytes =0-9', whole, 'whitespace before ='],
  ['bytes=0 - 9', whole, 'whitespace inside'],
  ['bytes=+0-9', whole, 'a sign'],
  ['bytes=0x0-9', whole, 'not decimal'],
  ['bytes=1.0-9', whole, 'a point'],
  ['bytes=--5', whole, 'two dashes'],
  ['bytes=0-9-', whole, 'a dash too many'],
  ['lines=0-9', whole, 'unknown unit'],
  ['bytes=0-999999999999999', part(0, 999), '15 digits'],
  ['bytes=0-9999999999999999', whole, '16 digits'],
  ['bytes=1000000000000000-', whole, '16 digits first'],
  ['bytes=-1000000000000000', whole, '16 digits suffix'],
  [`bytes=0-9${' '.repeat(600)}`, whole, 'a header too long to be looked at'],
  ['bytes= 0-9 ', part(0, 9), 'whitespace around one'],
  ['bytes=0-9,10-19', part(0, 19), 'touching ranges are joined'],
  ['bytes=10-19,0-9', part(0, 19), 'in any order'],
  ['bytes=0-500,100-200', part(0, 500), 'one inside another'],
  ['bytes=0-9,\t20-29', part(0, 29), 'a small gap is sent rather than two parts'],
  ['bytes=0-9,89-99', part(0, 99), 'a gap of 79'],
  ['bytes=0-9,90-99', whole, 'a gap of 80 would be two parts'],
  ['bytes=0-9,900-', whole, 'far apart'],
  ['bytes=0-9,2000-', part(0, 9), 'the unsatisfiable one is left out'],
  ['bytes=2000-,3000-', unsatisfiable, 'none can be satisfied'],
  ['bytes=2000-,-0', unsatisfiable, 'nor a suffix of nothing'],
  ['bytes=0-9,9-8', whole, 'one invalid spoils the header'],
  ['bytes=0-9,,10-19', part(0, 19), 'an empty list element is nothing'],
  ['bytes=,', whole, 'only empty list elements'],
  ['bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7', part(0, 7), 'eight ranges'],
  ['bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8', whole, 'nine ranges'],
  ['bytes=,,,,,,,,0-1', whole, 'commas count'],
];

for (const [header, expected, why] of TABLE) {
  test(`Range ${JSON.stringify(header?.slice(0, 60))} of 1000 bytes is ${expected.kind}: ${why}`, () => {
    assert.deepEqual(decideRange(header, SIZE), expected);
  });
}

test('any text gives whole, unsatisfiable, or one part inside the file', () => {
  const character = fc.constantFrom(...'0123456789-,= \tbytesx'.split(''));
  fc.assert(
    fc.property(
      fc.string({ unit: character, maxLength: 80 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 1e12 }),
      (text, isPrefixed, sizeBytes) => {
        const decision = decideRange(isPrefixed ? `bytes=${text}` : text, sizeBytes);
        if (decision.kind !== 'part') return;
        assert.ok(0 <= decision.start);
        assert.ok(decision.start <= decision.endInclusive);
        assert.ok(decision.endInclusive < sizeBytes);
      },
    ),
    { seed: 20261120, numRuns: 20_000 },
  );
});

/** The rule again, byte by byte and slowly: which bytes are wanted, and do they join. */
function slowly(
  specs: readonly { first: number | null; last: number | null }[],
  sizeBytes: number,
): RangeDecision {
  if (specs.length > RANGES_MAX) return whole;
  const wanted = new Uint8Array(sizeBytes);
  for (const { first, last } of specs) {
    if (first === null && last === null) return whole;
    if (first !== null && last !== null && last < first) return whole;
    for (let at = 0; at < sizeBytes; at++) {
      if (first === null ? at >= sizeBytes - last! : at >= first && (last === null || at <= last))
        wanted[at] = 1;
    }
  }
  const start = wanted.indexOf(1);
  if (start === -1) return unsatisfiable;
  const endInclusive = wanted.lastIndexOf(1);
  for (let at = start, gap = 0; at <= endInclusive; at++) {
    gap = wanted[at] === 1 ? 0 : gap + 1;
    if (gap >= RANGE_GAP_BYTES_MAX) return whole;
  }
  return part(start, endInclusive);
}

test('lists of well-formed ranges agree with the same rule written byte by byte', () => {
  const offset = fc.option(fc.integer({ min: 0, max: 700 }));
  fc.assert(
    fc.property(
      fc.array(fc.record({ first: offset, last: offset }), { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 1, max: 600 }),
      (specs, sizeBytes) => {
        const header = `bytes=${specs.map(({ first, last }) => `${first ?? ''}-${last ?? ''}`).join(',')}`;
        assert.deepEqual(decideRange(header, sizeBytes), slowly(specs, sizeBytes), header);
      },
    ),
    { seed: 9110, numRuns: 5000 },
  );
});
