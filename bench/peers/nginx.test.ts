import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { numberArgument, textArgument } from '../load/facts.ts';
import { configurationOf, whyNoNginx } from './nginx.ts';

test('nginx itself accepts the configuration, or its absence is said with the way to install it', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-nginx-'));
  try {
    mkdirSync(path.join(directory, 'temp'));
    const configuration = configurationOf({
      directory,
      root: directory,
      address: '::1',
      port: 17_899,
      mainLines: ['thread_pool default threads=4;'],
      serverLines: ['aio threads;', 'directio 512;'],
    });
    assert.match(configuration, /listen \[::1\]:17899;/);
    assert.match(configuration, /sendfile on;[^]*tcp_nopush on;[^]*open_file_cache /);
    const why = whyNoNginx();
    if (why !== null) {
      assert.match(why, /apt-get install/);
      return;
    }
    const file = path.join(directory, 'nginx.conf');
    writeFileSync(file, configuration);
    const checked = spawnSync('nginx', ['-t', '-p', directory, '-c', file, '-e', 'stderr'], {
      encoding: 'utf8',
    });
    assert.equal(checked.status, 0, checked.stderr);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a bench reads its own arguments, and a wrong one is named', () => {
  const args = ['--pairs', '9', '--senders', 'zero-copy', '--seconds'];
  assert.equal(numberArgument(args, '--pairs'), 9);
  assert.equal(textArgument(args, '--senders'), 'zero-copy');
  assert.equal(numberArgument(args, '--rounds'), null);
  assert.throws(() => textArgument(args, '--seconds'), /--seconds needs a value/);
  assert.throws(() => numberArgument(args, '--senders'), /--senders needs a number above 0/);
});
