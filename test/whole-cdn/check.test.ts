/**
 * The main job as a user runs it: `nightfill up --check` on addresses and ports of its own.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(PROGRAM, args, { timeout: 150_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
  });
}

test('a whole CDN comes up, an appliance is killed mid-body, and every byte is the origin’s', async () => {
  const { status, stdout, stderr } = await run([
    'up',
    '--check',
    '--address-block',
    '127.61',
    '--port-base',
    '26100',
  ]);
  assert.equal(status, 0, `${stdout}\n${stderr}`);
  const report = JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, number> & {
    ok: boolean;
  };
  assert.equal(report.ok, true);
  assert.ok(report['bytes'] > 198 * 1024 * 1024, 'both titles were downloaded');
  assert.equal(report['bytes'], report['bytesVerified']);
  assert.ok(report['receivedWhenKilled'] >= 64 * 1024);
  assert.ok(report['pullThroughBytes'] > 0);
  assert.ok(report['originFillBytes'] > 0);
});

test('a port in use is named before anything is started', async () => {
  const { createServer } = await import('node:net');
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(26280, '127.62.1.2', resolve);
  });
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-test-'));
  try {
    const { status, stderr } = await run([
      'up',
      '--state',
      stateDir,
      '--address-block',
      '127.62',
      '--port-base',
      '26200',
    ]);
    assert.equal(status, 1);
    assert.match(stderr, /127\.62\.1\.2:26280 \(appliance paris-2, tcp\): in use/);
    assert.match(stderr, /--port-base/);
  } finally {
    server.close();
    rmSync(stateDir, { recursive: true, force: true });
  }
});

test('a state directory of another version is refused and left as it is', async () => {
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-test-'));
  const { readFileSync, writeFileSync } = await import('node:fs');
  writeFileSync(path.join(stateDir, 'format'), '99\n');
  try {
    const { status, stderr } = await run([
      'up',
      '--state',
      stateDir,
      '--address-block',
      '127.63',
      '--port-base',
      '26300',
    ]);
    assert.equal(status, 1);
    assert.match(stderr, /was written by format 99, this program reads 1/);
    assert.equal(readFileSync(path.join(stateDir, 'format'), 'utf8'), '99\n');
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
});
