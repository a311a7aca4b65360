import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzRanges } from './range.fuzz.ts';

/** `npm run bench -- fuzz` runs a million and more. */
const SEED = Number(process.env['FUZZ_SEED'] ?? 20261123);

test(`20,000 Range headers of seed ${SEED} are answered as the slow rule answers them`, () => {
  const report = fuzzRanges(20_000, SEED);
  assert.equal(report.first, null);
  assert.ok(report.whole > 1000 && report.part > 1000 && report.unsatisfiable > 500);
});
