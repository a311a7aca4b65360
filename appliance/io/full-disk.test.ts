import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, get, makeFile, until, World } from './test-world.ts';

/** A real file system of 8 MiB where this process may mount one. */
function mountSmall(directory: string): boolean {
  mkdirSync(directory, { recursive: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', directory], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    return false;
  }
}

test('a disk that is full before its configured capacity: said by name, fill waits, viewers are served all the same', async (t) => {
  await using world = await World.open();
  const volume = path.join(world.directory, 'volume');
  if (!mountSmall(volume)) return t.skip('needs the right to mount a tmpfs');
  try {
    const first = makeFile(1, 3 * CHUNK_BYTES);
    const second = makeFile(2, 20 * CHUNK_BYTES);
    world.origin.add(first, second);
    await world.controlPlane.plan(1, [entryOf(first, 'film', 5), entryOf(second, 'film', 1)]);
    const box = await world.start();
    await until(() => box.store.holdings.has(first.fileId), 'the small one fits');
    await until(
      () =>
        /no space left on .*volume/.test(
          world.controlPlane.heartbeats.at(-1)?.health.reasons.join() ?? '',
        ),
      'the full disk is reported by name',
    );
    const beat = world.controlPlane.heartbeats.at(-1)!;
    assert.equal(beat.health.status, 'degraded');
    assert.match(beat.fill.problem ?? '', /no space left/);
    const held = await get(await world.url('film', first.fileId));
    assert.ok(held.body.equals(first.content), 'what is held is served');
    const missed = await get(await world.url('film', second.fileId));
    assert.equal(missed.status, 200);
    assert.ok(missed.body.equals(second.content), 'what does not fit is passed through');
    await box.stop();
  } finally {
    world.box = null;
    execFileSync('umount', ['-l', volume]);
  }
});
