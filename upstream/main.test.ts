import assert from 'node:assert/strict';
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { makeTestKeys, TestControlPlane } from './io/test-control-plane.ts';

const CLI = path.join(import.meta.dirname, '..', 'cli.ts');

let directory: string;
let controlPlane: TestControlPlane;
let controlPlaneUrl: string;
let rootFingerprint: string;
const children: ChildProcessWithoutNullStreams[] = [];

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'nightfill-upstream-'));
  const keys = await makeTestKeys();
  rootFingerprint = keys.rootFingerprint;
  controlPlane = new TestControlPlane(keys);
  controlPlaneUrl = await controlPlane.start();
});

after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await controlPlane.stop();
  await rm(directory, { recursive: true, force: true });
});

function start(...args: readonly string[]): ChildProcessWithoutNullStreams {
  const flags = ['--disable-warning=ExperimentalWarning', CLI];
  const env = { ...process.env, NIGHTFILL_STATE: path.join(directory, 'nowhere') };
  const child = spawn(process.execPath, [...flags, ...args], { env, cwd: directory });
  children.push(child);
  return child;
}

async function run(
  ...args: readonly string[]
): Promise<{ status: number; out: string; err: string }> {
  const child = start(...args);
  let out = '';
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
  const [status] = (await once(child, 'close')) as [number];
  return { status, out, err };
}

/** Resolves with the line that says ready. */
async function readyOf(
  child: ChildProcessWithoutNullStreams,
): Promise<{ port: number; adminPort?: number }> {
  let text = '';
  for await (const bytes of child.stdout as AsyncIterable<Buffer>) {
    text += bytes.toString();
    const line = text.split('\n').find((candidate) => candidate.includes('"event":"ready"'));
    if (line !== undefined && text.includes('\n', text.indexOf(line))) {
      return JSON.parse(line) as { port: number; adminPort?: number };
    }
  }
  throw new Error(`it ended before it was ready: ${text}`);
}

async function config(name: string, value: object): Promise<string> {
  const file = path.join(directory, `${name}.json`);
  await writeFile(file, JSON.stringify(value));
  return file;
}

const originConfig = (more: object = {}): object => ({
  listen: { address: '127.0.0.1', port: 0 },
  admin: { address: '127.0.0.1', port: 0 },
  stateDir: path.join(directory, 'origin'),
  controlPlaneUrl,
  rootFingerprint,
  ...more,
});

test('the origin says when it is ready, refuses a port in use, and ends at SIGTERM with status 0', async () => {
  const child = start('origin', '--config', await config('origin', originConfig()));
  const { port, adminPort } = await readyOf(child);
  const status = await fetch(`http://127.0.0.1:${adminPort}/status`);
  assert.equal(((await status.json()) as { serveBytes: number }).serveBytes, 0);
  const taken = originConfig({ listen: { address: '127.0.0.1', port } });
  const second = await run('origin', '--config', await config('taken', taken));
  assert.equal(second.status, 1);
  assert.match(second.err, /^nightfill: .*EADDRINUSE.*another program listens there.*\n$/);
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('the playback service says when it is ready and ends at SIGINT with status 0', async () => {
  const file = await config('playback', {
    listen: { address: '127.0.0.1', port: 0 },
    stateDir: path.join(directory, 'playback'),
    publicUrl: 'http://127.0.0.1:1',
    controlPlaneUrl,
    steeringUrl: 'http://127.0.0.1:1',
    steeringToken: 'a-token-of-some-length',
  });
  const child = start('playback', '--config', file);
  const { port } = await readyOf(child);
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
  const ended = once(child, 'exit');
  child.kill('SIGINT');
  assert.deepEqual(await ended, [0, null]);
});

test('a configuration is checked whole, and every problem is said', async () => {
  const good = await run(
    'origin',
    '--config',
    await config('good', originConfig()),
    '--check-config',
  );
  assert.equal(good.status, 0);
  const wrong = originConfig({ listen: { address: '127.0.0.1', port: 'x' }, colour: 'red' });
  const bad = await run('origin', '--config', await config('bad', wrong), '--check-config');
  assert.equal(bad.status, 1);
  assert.match(bad.err, /listen\/port/);
  assert.match(bad.err, /colour/);
  const open = originConfig({ admin: { address: '0.0.0.0', port: 0 } });
  const refused = await run('origin', '--config', await config('open', open));
  assert.equal(refused.status, 1);
  assert.match(refused.err, /not loopback/);
});

test('publish tells a person what it did, and what is missing', async () => {
  const token = path.join(directory, 'token');
  await writeFile(token, 'publish-token\n');
  const place = ['--control-plane', controlPlaneUrl, '--token-file', token];
  const where = [...place, '--origin-dir', path.join(directory, 'origin')];
  const spec = await config('spec', { files: ['2x1000'], seed: 3 });
  const first = await run('publish', '--opaque', spec, '--title-id', 'a', ...where);
  assert.equal(first.status, 0, first.err);
  assert.match(first.out, /^published a version 1: 2 files, 2\.0 KiB$/m);
  const again = await run(
    'publish',
    '--opaque',
    'files=2x1000;seed=3',
    '--title-id',
    'a',
    ...where,
  );
  assert.match(again.out, /^unchanged a version 1/m);

  const wrong: readonly [args: readonly string[], why: RegExp][] = [
    [[...where], /give one of: a video FILE, --opaque SPEC, --sample/],
    [['--sample', ...place], /go together/],
    [['--sample'], /there is no .*publish\.json: start "nightfill up" first/],
    [['--opaque', 'files=no', ...where], /COUNTxSIZE/],
    [['--opaque', 'nothing', ...where], /no specification and no file/],
    [['--sample', '--title-id', '../x', ...where], /no title id/],
  ];
  const ended = await Promise.all(wrong.map(([args]) => run('publish', ...args)));
  for (const [at, { status, err }] of ended.entries()) {
    assert.equal(status, 1);
    assert.match(err, wrong[at][1]);
  }
});
