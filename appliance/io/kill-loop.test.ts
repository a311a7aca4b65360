import assert from 'node:assert/strict';
import { test } from 'node:test';
import { killAgainAndAgain } from './kill-loop.ts';

/** `NIGHTFILL_KILLS=200` runs the long loop; `npm run bench -- kills` too. */
const KILLS = Number(process.env['NIGHTFILL_KILLS'] ?? 20);
const SEED = 20261121;

test(`after each of ${KILLS} random kills every chunk called present is present and verified`, async () => {
  const report = await killAgainAndAgain(KILLS, SEED);
  assert.equal(report.first, null);
  assert.deepEqual([report.chunksWrong, report.filesLost], [0, 0]);
  assert.ok(
    report.chunksChecked > KILLS,
    `${report.chunksChecked} chunks were checked: the loop shows something`,
  );
});
