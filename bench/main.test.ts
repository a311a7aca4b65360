import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { benchNames, parseCommand } from './main.ts';

test('the first word is the bench, two switches are ours, the rest belongs to the bench', () => {
  assert.deepEqual(parseCommand(['serve', '--json', '--pairs', '9', '--smoke']), {
    name: 'serve',
    json: true,
    smoke: true,
    args: ['--pairs', '9'],
  });
  assert.equal(parseCommand(['--smoke']).name, null);
  assert.equal(parseCommand([]).name, null);
});

test('benches are the .ts files of the directory, without main, tests and fuzzers', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-bench-'));
  try {
    for (const file of ['main.ts', 'serve.ts', 'evict.ts', 'serve.test.ts', 'x.fuzz.ts', 'a.md']) {
      writeFileSync(path.join(directory, file), '');
    }
    assert.deepEqual(benchNames(directory), ['evict', 'serve']);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('an unknown name lists what exists and exits 2', () => {
  const main = path.join(import.meta.dirname, 'main.ts');
  const answer = spawnSync(process.execPath, [main, 'no-such-bench'], { encoding: 'utf8' });
  assert.equal(answer.status, 2);
  assert.match(answer.stderr, /there is no bench "no-such-bench"/);
  assert.match(answer.stderr, /benches: /);
});
