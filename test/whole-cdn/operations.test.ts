/**
 * A takedown on a whole CDN of processes: every box stops serving, also on a connection that is open, deletes, and proves it.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { promisify } from 'node:util';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const BLOCK = `127.${30 + (process.pid % 40)}`;
const PORT_BASE = 24_000 + (process.pid % 40) * 20;
const START_MS_MAX = 120_000;
const STOP_MS_MAX = 20_000;
const run = promisify(execFile);

interface Play {
  readonly play: {
    readonly files: readonly { readonly urls: readonly { readonly url: string }[] }[];
  };
}
interface Denial {
  readonly id: number;
  readonly sinceMs: number;
  readonly summary: Readonly<Record<string, number>>;
  readonly boxes: readonly { readonly acknowledgedAtMs: number; readonly proof: string }[];
}

async function startCdn(stateDir: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const where = ['--address-block', BLOCK, '--port-base', String(PORT_BASE)];
  const up = spawn(PROGRAM, ['up', '--no-catalogue', '--state', stateDir, ...where], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => up.once('exit', () => resolve()));
  const said: string[] = [];
  const url = await new Promise<string>((resolve, reject) => {
    for (const output of [up.stdout, up.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        said.push(line);
        const found = /^\s+fleet\s+(http:\/\/\S+)\/$/.exec(line)?.[1];
        if (found !== undefined) resolve(found);
      });
    }
    void exited.then(() => reject(new Error(`"up" ended: ${said.join('\n')}`)));
    AbortSignal.timeout(START_MS_MAX).addEventListener('abort', () => {
      reject(new Error(`"up" did not come up: ${said.join('\n')}`));
    });
  });
  return {
    url,
    stop: async () => {
      up.kill('SIGTERM');
      const timer = setTimeout(() => up.kill('SIGKILL'), STOP_MS_MAX);
      await exited;
      clearTimeout(timer);
    },
  };
}

function ask(url: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { agent, headers: { range: 'bytes=0-99' } }, (answer) => {
      answer.on('end', () => resolve(answer));
      answer.resume();
    }).on('error', reject);
  });
}

test('a takedown reaches every box of a running CDN, an open connection too, and can be taken back', async (t) => {
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-takedown-'));
  const cdn = await startCdn(stateDir);
  t.after(async () => {
    await cdn.stop(); // its processes are found by what lies in the directory
    rmSync(stateDir, { recursive: true, force: true });
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const nightfill = async (...args: readonly string[]): Promise<string> =>
    (await run(PROGRAM, [...args, '--state', stateDir])).stdout;

  const { titles } = (await (await fetch(`${cdn.url}/v1/titles`)).json()) as {
    titles: { titleId: string }[];
  };
  const [{ titleId }] = titles;
  const config = (await (await fetch(`${cdn.url}/watch/config.json`)).json()) as {
    playbackUrl: string;
  };
  const playUrl = `${config.playbackUrl}/play/${titleId}.json?client=${BLOCK}.3.1`;
  const { play } = (await (await fetch(playUrl)).json()) as Play;
  const [{ url }] = play.files[0].urls;
  assert.equal((await ask(url, agent)).statusCode, 206);

  const text = await nightfill('takedown', titleId, '--reason', 'rights ended', '--json');
  const denial = JSON.parse(text) as Denial;
  assert.deepEqual(denial.summary, { deleted: 3, acknowledged: 0, waiting: 0, unreachable: 0 });
  for (const box of denial.boxes) {
    assert.ok(box.acknowledgedAtMs >= denial.sinceMs);
    assert.equal(box.proof.split('.').length, 3, 'a JWS');
  }
  const refused = await ask(url, agent);
  assert.equal(refused.statusCode, 403);
  assert.equal(refused.headers['nightfill-refused'], 'title-denied');
  assert.equal((await fetch(playUrl)).ok, false, 'playback has no answer for it');
  assert.match(await nightfill('takedown', '--list'), /in force.*3 deleted/);

  await nightfill('takedown', '--lift', String(denial.id));
  for (;;) {
    const answer = await fetch(playUrl);
    if (answer.ok) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.match(await nightfill('takedown', '--list'), /lifted/);
});
