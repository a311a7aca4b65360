/**
 * Kills a process that writes in a store, again and again, and reads back every chunk that is called present.
 *
 * Shape:  (kills, seed) -> what was read back, and the first thing that was wrong
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { seededRandom } from '#base/random.ts';
import { openKillLoopStore } from './kill-loop-child.ts';

const WORK_MS_MIN = 5;
const WORK_MS_RANGE = 200;

export interface KillReport {
  readonly kills: number;
  readonly chunksChecked: number;
  readonly chunksWrong: number; // called present, and not there or not right
  readonly filesLost: number; // in the catalogue, and not on the disk
  readonly first: string | null;
}

export async function killAgainAndAgain(kills: number, seed: number): Promise<KillReport> {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-kill-'));
  const random = seededRandom(seed);
  const seen = { chunksChecked: 0, chunksWrong: 0, filesLost: 0 };
  let first: string | null = null;
  try {
    for (let kill = 0; kill < kills; kill++) {
      await workAndKill(directory, seed + kill, WORK_MS_MIN + random.below(WORK_MS_RANGE));
      const store = openKillLoopStore(directory);
      for (const entry of store.entries()) {
        for (let index = 0; index < entry.chunkCount; index++) {
          if (!entry.has(index)) continue;
          seen.chunksChecked++;
          const verdict = await store.checkChunk(entry, index);
          if (verdict === 'good') continue;
          seen.chunksWrong++;
          first ??= `kill ${kill}: ${entry.fileId} chunk ${index} is ${verdict}`;
        }
      }
      const { filesLost } = store.figures();
      seen.filesLost += filesLost;
      if (filesLost > 0) first ??= `kill ${kill}: ${filesLost} files are not on the disk`;
      await store.close();
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
  return { kills, ...seen, first };
}

async function workAndKill(directory: string, seed: number, workMs: number): Promise<void> {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      path.join(import.meta.dirname, 'kill-loop-child.ts'),
      directory,
      String(seed),
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const onExit = (): void => void child.kill('SIGKILL');
  process.on('exit', onExit);
  await once(child.stdout, 'data');
  await new Promise((resolve) => setTimeout(resolve, workMs));
  child.kill('SIGKILL');
  await once(child, 'exit');
  process.off('exit', onExit);
}
