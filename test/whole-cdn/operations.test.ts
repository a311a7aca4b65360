/**
 * What operators do on a whole CDN of processes: watch it by Prometheus, take a title down.
 */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, get, type IncomingMessage } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
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

const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-operations-'));
let cdn: Awaited<ReturnType<typeof startCdn>>;
before(async () => {
  cdn = await startCdn(stateDir);
});
after(async () => {
  await cdn?.stop(); // its processes are found by what lies in the directory
  rmSync(stateDir, { recursive: true, force: true });
});

test('every metric that an alert or a panel of the dashboard reads is exported by a process of the CDN', async () => {
  const exported = new Set<string>();
  for (const [host, port] of [
    [`${BLOCK}.0.1`, PORT_BASE], // control plane
    [`${BLOCK}.0.1`, PORT_BASE + 2], // steering
    [`${BLOCK}.0.2`, PORT_BASE + 3], // origin
    [`${BLOCK}.1.1`, PORT_BASE + 3], // a box
  ] as const) {
    const answer = await fetch(`http://${host}:${port}/metrics`);
    assert.equal(answer.status, 200, `${host}:${port}`);
    for (const [, name] of (await answer.text()).matchAll(/^# TYPE (\S+) /gm)) exported.add(name);
  }
  const monitoring = path.join(import.meta.dirname, '..', '..', 'deploy', 'monitoring');
  for (const file of ['alerts.yml', 'alerts.test.yml', path.join('grafana', 'nightfill.json')]) {
    const text = readFileSync(path.join(monitoring, file), 'utf8');
    const read = [...text.matchAll(/\bnightfill_[a-z0-9_]+/g)].map(([name]) => name);
    assert.ok(read.length > 5, file);
    const unknown = read.filter((name) => !exported.has(name));
    assert.deepEqual(unknown, [], `${file} reads what nobody exports`);
  }
});

test('a takedown reaches every box of a running CDN, an open connection too, and can be taken back', async (t) => {
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
