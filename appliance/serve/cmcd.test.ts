import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { CMCD_CHARS_MAX, readCmcd } from './cmcd.ts';

function read(target: string): ReturnType<typeof readCmcd> {
  return readCmcd(target, target.indexOf('?'));
}

const ALL = 'bl=21300,br=3200,bs,cid="faec5fc2,=\\"x",d=4004,mtp=25400,ot=v,sid="6e2f",tb=6000';

test('starvation, buffer, bitrate and throughput are read; everything else is left alone', () => {
  assert.deepEqual(read(`/t/a/b?CMCD=${encodeURIComponent(ALL)}`), {
    starved: true,
    bufferMs: 21300,
    bitrateKbps: 3200,
    throughputKbps: 25400,
  });
});

const CASES: readonly [query: string, expected: ReturnType<typeof readCmcd>][] = [
  ['', null],
  ['?', null],
  ['?x=1', null],
  ['?XCMCD=bs', null],
  ['?CMCD=', { starved: false, bufferMs: null, bitrateKbps: null, throughputKbps: null }],
  ['?x=1&CMCD=bs&y=2', { starved: true, bufferMs: null, bitrateKbps: null, throughputKbps: null }],
  ['?CMCD=bs%3Dfalse', { starved: false, bufferMs: null, bitrateKbps: null, throughputKbps: null }],
  ['?CMCD=%E0%A4%A', null],
  [
    '?CMCD=br%3D-5%2Cbl%3D1e9%2Cmtp%3D99999999999',
    { starved: false, bufferMs: null, bitrateKbps: null, throughputKbps: null },
  ],
  [
    '?CMCD=nor%3D%22bl%3D5%2C%2Cbr%3D7',
    { starved: false, bufferMs: null, bitrateKbps: null, throughputKbps: null },
  ],
  [`?CMCD=${'x'.repeat(CMCD_CHARS_MAX + 1)}`, null],
];

for (const [query, expected] of CASES) {
  test(`"${query.slice(0, 60)}" is read as ${JSON.stringify(expected)}`, () => {
    assert.deepEqual(read(`/t/a/b${query}`), expected);
  });
}

test('100,000 random queries: never an exception, numbers within their bounds', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? 20261121);
  const random = seededRandom(seed);
  const pieces = [
    'bl=',
    'br=',
    'mtp=',
    'bs',
    '"',
    ',',
    '=',
    '\\',
    '%2C',
    '%22',
    '%',
    '&',
    '?',
    '7',
    'CMCD=',
  ];
  for (let round = 0; round < 100_000; round++) {
    let target = '/t/a/b?CMCD=';
    for (let at = random.below(12); at > 0; at--) target += pieces[random.below(pieces.length)];
    const found = read(target);
    for (const value of [found?.bufferMs, found?.bitrateKbps, found?.throughputKbps]) {
      const isSound = value === undefined || value === null || (value >= 0 && value <= 1e9);
      assert.ok(isSound, `seed ${seed}: ${target}: ${value}`);
    }
  }
});
