import assert from 'node:assert/strict';
import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';

const CLI = path.join(import.meta.dirname, '..', 'cli.ts');
const NODE_ARGUMENTS = ['--disable-warning=ExperimentalWarning', CLI];

function directory(t: TestContext): string {
  const made = mkdtempSync(path.join(os.tmpdir(), 'nightfill-control-plane-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function nightfill(...parameters: string[]): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [...NODE_ARGUMENTS, ...parameters], { encoding: 'utf8' });
}

function writeConfig(made: string, over: Record<string, unknown> = {}): string {
  const file = path.join(made, 'config.json');
  const config = {
    listen: { address: '127.0.0.1', port: 0 },
    publicUrl: 'http://127.0.0.1:7000',
    stateDir: path.join(made, 'state'),
    keysDir: path.join(made, 'keys'),
    serviceTokens: [],
    origin: { baseUrl: 'http://127.0.0.1:7001', adminUrl: 'http://127.0.0.1:1' },
    playbackUrl: 'http://127.0.0.1:7002',
    steeringUrl: 'http://127.0.0.1:7003',
    planning: {},
    ...over,
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

test('the daemon says once that it is ready, answers, and stops with status 0 when asked', async (t) => {
  const made = directory(t);
  const config = writeConfig(made);
  assert.equal(nightfill('keys', 'init', path.join(made, 'keys')).status, 0);
  const daemon = spawn(process.execPath, [...NODE_ARGUMENTS, 'control-plane', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => daemon.kill('SIGKILL'));
  const lines: string[] = [];
  let ready: { port: number } | null = null;
  let rest = '';
  const exited = once(daemon, 'exit');
  for await (const part of daemon.stdout) {
    rest += String(part);
    const complete = rest.split('\n');
    rest = complete.pop() ?? '';
    lines.push(...complete);
    const line = complete.find((text) => text.includes('"event":"ready"'));
    if (line === undefined || ready !== null) continue;
    ready = JSON.parse(line) as { port: number };
    const answer = await fetch(`http://127.0.0.1:${ready.port}/v1/health`);
    assert.equal(answer.status, 200);
    daemon.kill('SIGTERM');
  }
  assert.deepEqual(await exited, [0, null]);
  assert.equal(lines.filter((line) => line.includes('"event":"ready"')).length, 1);
});

test('what keeps it from starting is one clear message and status 1', (t) => {
  const made = directory(t);
  const open = { listen: { address: '0.0.0.0', port: 0 } };
  const cases: readonly [what: string, makeConfig: () => string, message: RegExp][] = [
    ['no keys', () => writeConfig(made), /"nightfill keys init .*keys" makes a key set/],
    [
      'an open address',
      () => writeConfig(made, open),
      /reachable from other machines .*set pagesAuthentication, or listen on 127\.0\.0\.1/,
    ],
    ['an unknown key', () => writeConfig(made, { colour: 'red' }), /colour/],
    ['no file', () => path.join(made, 'none.json'), /there is no such file/],
  ];
  for (const [what, makeConfig, message] of cases) {
    const config = makeConfig();
    const run = nightfill('control-plane', '--config', config);
    assert.equal(run.status, 1, what);
    assert.match(run.stderr, message, what);
    assert.doesNotMatch(run.stderr, /\n\s+at /, `${what}: no stack for the operator`);
  }
});

test('a configuration is checked without starting anything', (t) => {
  const made = directory(t);
  const good = nightfill('control-plane', '--config', writeConfig(made), '--check-config');
  assert.equal(good.status, 0);
  assert.match(good.stdout, /is valid/);
  const bad = writeConfig(made, { demandDays: 0, publicUrl: 'nowhere' });
  const refused = nightfill('control-plane', '--config', bad, '--check-config');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /demandDays/);
  assert.match(refused.stderr, /publicUrl/, 'all problems at once');
});

test('keys are never overwritten', (t) => {
  const made = directory(t);
  assert.equal(nightfill('keys', 'init', made).status, 0);
  const again = nightfill('keys', 'init', made);
  assert.equal(again.status, 1);
  assert.match(again.stderr, /holds keys already .*give another directory/);
});
