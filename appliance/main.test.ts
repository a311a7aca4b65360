import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { ApplianceStatus } from './contract.ts';
import { get, until, World } from './io/test-world.ts';

const CLI = path.join(import.meta.dirname, '..', 'cli.ts');

test('a running box: SIGHUP reloads whole or not at all, status is watched, a drain by a time begins', async () => {
  await using world = await World.open();
  const file = path.join(world.directory, 'box.json');
  const write = (overrides: Record<string, unknown>): void =>
    writeFileSync(file, JSON.stringify(world.config({ logLevel: 'info', ...overrides })));
  write({});
  const command = ['--disable-warning=ExperimentalWarning', CLI, 'appliance'];
  const box = spawn(process.execPath, [...command, '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: Record<string, unknown>[] = [];
  for (const stream of [box.stdout, box.stderr]) {
    createInterface(stream).on('line', (line) => {
      if (line.startsWith('{')) lines.push(JSON.parse(line) as Record<string, unknown>);
    });
  }
  const logged = (event: string): Record<string, unknown> | undefined =>
    lines.find((line) => line['event'] === event);
  try {
    await until(() => logged('ready') !== undefined, 'ready');
    const { port } = logged('ready')!['admin'] as { port: number };
    const servingBps = async (): Promise<number | undefined> => {
      const answer = await get(`http://127.0.0.1:${port}/status`);
      return (JSON.parse(answer.body.toString()) as ApplianceStatus).heartbeat?.load.servingBps;
    };
    const becomes = async (bps: number): Promise<void> => {
      const startMs = performance.now();
      while ((await servingBps()) !== bps) {
        assert.ok(performance.now() - startMs < 10_000, `servingBps becomes ${bps}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    };
    await becomes(10_000_000_000);

    write({ servingBps: 5_000_000, hotCacheBytes: 0 });
    box.kill('SIGHUP');
    await becomes(5_000_000);
    await until(() => logged('restart-needed') !== undefined, 'what needs a restart is named');
    assert.deepEqual(logged('restart-needed')!['fields'], ['hotCacheBytes']);

    // One field is good, another is not: neither is taken.
    const half = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    writeFileSync(file, JSON.stringify({ ...half, servingBps: 7_000_000, reactiveShare: 3 }));
    box.kill('SIGHUP');
    await until(() => logged('reload-refused') !== undefined, 'refused');
    assert.match(String(logged('reload-refused')!['msg']), /the old configuration stays/);
    assert.match(String(logged('reload-refused')!['msg']), /reactiveShare/);
    assert.equal(await servingBps(), 5_000_000);
    assert.equal(box.exitCode, null, 'it serves on');

    // What an operator types meanwhile. The commands read the admin port from the configuration.
    writeFileSync(file, JSON.stringify({ ...half, admin: { address: '127.0.0.1', port } }));
    const watching = spawn(process.execPath, [...command, 'status', '--watch', '--config', file]);
    const shown: string[] = [];
    createInterface(watching.stdout).on('line', (line) => shown.push(line));
    await until(() => shown.filter((line) => line.startsWith('box-1:')).length >= 2, 'shown again');
    watching.kill('SIGTERM');
    assert.ok(
      shown.some((line) => /^serving +.* of 5.* Mbit\/s/.test(line)),
      shown.join('\n'),
    );
    const by = new Date(Date.now() + 60_000).toISOString();
    const drained = spawnSync(
      process.execPath,
      [...command, 'drain', '--by', by, '--no-wait', '--config', file],
      { encoding: 'utf8' },
    );
    assert.equal(drained.status, 0, drained.stderr);
    assert.match(drained.stdout, /0 sessions left, 0 answers under way, .* at the latest/);
  } finally {
    box.kill('SIGTERM');
    await once(box, 'exit');
  }
});
