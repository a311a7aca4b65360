import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { openKillLoopStore } from './kill-loop-child.ts';

/** `NIGHTFILL_KILLS=200` runs the long loop. */
const KILLS = Number(process.env['NIGHTFILL_KILLS'] ?? 20);
const SEED = 20261121;

test(`after each of ${KILLS} random kills every chunk called present is present and verified`, async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-kill-'));
  const random = seededRandom(SEED);
  let chunksChecked = 0;
  try {
    for (let kill = 0; kill < KILLS; kill++) {
      const child = spawn(
        process.execPath,
        [
          '--disable-warning=ExperimentalWarning',
          path.join(import.meta.dirname, 'kill-loop-child.ts'),
          directory,
          String(SEED + kill),
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, 5 + random.below(200)));
      child.kill('SIGKILL');
      await once(child, 'exit');
      const store = openKillLoopStore(directory);
      for (const entry of store.entries()) {
        for (let index = 0; index < entry.chunkCount; index++) {
          if (!entry.has(index)) continue;
          assert.equal(
            await store.checkChunk(entry, index),
            'good',
            `kill ${kill}, ${entry.fileId} chunk ${index}`,
          );
          chunksChecked++;
        }
      }
      assert.equal(
        store.figures().filesLost,
        0,
        `kill ${kill}: a file of the catalogue is not on the disk`,
      );
      await store.close();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  assert.ok(
    chunksChecked > KILLS,
    `${chunksChecked} chunks were checked: the loop shows something`,
  );
});
