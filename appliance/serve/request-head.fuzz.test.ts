import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzHeads } from './request-head.fuzz.ts';

/** `npm run bench -- fuzz` runs a million and more. */
const SEED = Number(process.env['FUZZ_SEED'] ?? 20261123);

test(`20,000 heads of seed ${SEED}: no crash, and what is plain is the same request to llhttp`, () => {
  const report = fuzzHeads(20_000, SEED);
  assert.equal(report.first, null);
  assert.equal(report.crashes + report.disagreements, 0);
  assert.ok(report.plain > 1000 && report.notPlain > 1000 && report.incomplete > 100);
});
