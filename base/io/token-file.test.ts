import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { readTokenFile } from './token-file.ts';

test('a token is one line; what is no token is refused by file and cause, without its text', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-token-'));
  try {
    const file = path.join(directory, 'token');
    writeFileSync(file, 'secret-1\n');
    assert.equal(readTokenFile(file), 'secret-1');
    writeFileSync(file, 'two words\n');
    assert.throws(
      () => readTokenFile(file),
      (thrown: Error) =>
        /holds no service token/.test(thrown.message) && !thrown.message.includes('two'),
    );
    assert.throws(
      () => readTokenFile(path.join(directory, 'gone')),
      /--token-file .*gone: there is no such file\. It holds a service token/,
    );
    assert.throws(() => readTokenFile(directory), /it is a directory/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
