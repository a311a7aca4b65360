import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const REPORTER = path.join(import.meta.dirname, 'strict-reporter.ts');

/** Runs node:test on one file of the given text; returns exit status and output. */
function runTests(
  text: string | null,
  ci: 'true' | 'false',
): { status: number | null; output: string } {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-reporter-'));
  try {
    if (text !== null) writeFileSync(path.join(directory, 'a.test.mjs'), text);
    const environment: NodeJS.ProcessEnv = { ...process.env, CI: ci };
    delete environment['NODE_TEST_CONTEXT']; // a runner inside a runner would report to its parent
    const ended = spawnSync(
      process.execPath,
      [
        '--test',
        `--test-reporter=${REPORTER}`,
        '--test-reporter-destination=stdout',
        `${directory}/*.test.mjs`,
      ],
      { env: environment, encoding: 'utf8' },
    );
    return { status: ended.status, output: ended.stdout };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const PASS = "import { test } from 'node:test'; test('a', () => {});";
const SKIP = `${PASS} test('b', { skip: 'no browser here' }, () => {});`;
const TODO = `${PASS} test('c', { todo: true }, () => {});`;

test('under CI a skip, a todo or no test at all fails the run, and each is named', () => {
  assert.equal(runTests(PASS, 'true').status, 0);
  assert.equal(runTests(SKIP, 'true').status, 1);
  assert.match(runTests(SKIP, 'true').output, /not run: .*b \(skipped: no browser here\)/);
  assert.equal(runTests(TODO, 'true').status, 1);
  assert.equal(runTests(null, 'true').status, 1);
});

test('elsewhere a skip is told and does not fail the run', () => {
  const { status, output } = runTests(SKIP, 'false');
  assert.equal(status, 0);
  assert.match(output, /skipped: no browser here/);
});
