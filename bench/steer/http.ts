/**
 * Play requests over HTTP: the service in a process of its own, closed-loop connections from this one; with tokens that are there already,
 * with a fresh signature for nearly each, and while a night's changes of the whole shard come in.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { PlayRequest } from '#steering/contract.ts';
import { cpuSecondsOf } from '../load/cpu.ts';
import type { TopologySize } from './topology.ts';

export interface ServerPlan {
  readonly data: string | null;
  readonly size: TopologySize;
  readonly seed: number;
  readonly boxes: number;
  readonly files: number;
}

/** What the other process says when it listens. */
export interface ServerReady {
  readonly port: number;
  readonly cached: readonly PlayRequest[]; // few titles and homes: their tokens are there after the first round
  readonly fresh: readonly PlayRequest[]; // a title and home of its own nearly each
}

const CONNECTIONS = 24;
const WARM_SECONDS = 4; // until what is asked all the time has been compiled
const READY_MS = 180_000;

export async function measureHttp(plan: ServerPlan, seconds: number): Promise<unknown> {
  const child = spawn(
    process.execPath,
    [path.join(import.meta.dirname, 'server.ts'), JSON.stringify(plan)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const stopChild = (): void => void child.kill('SIGTERM');
  process.once('exit', stopChild);
  try {
    const { ready, next } = await listen(child);
    const ask = async (
      requests: readonly PlayRequest[],
      forSeconds: number,
    ): Promise<HttpFigures> => {
      const before = cpuSecondsOf(child.pid ?? 0);
      const figures = await load(ready.port, requests, forSeconds);
      const spent = cpuSecondsOf(child.pid ?? 0) - before;
      const answers = figures.requestsPerSecond * forSeconds;
      return { ...figures, cpuMicrosPerRequest: Math.round((spent * 1e7) / answers) / 10 };
    };
    await load(ready.port, ready.cached, Math.min(WARM_SECONDS, seconds));
    const cached = await ask(ready.cached, seconds);
    console.error(`steer: http, tokens cached ${JSON.stringify(cached)}`);
    const fresh = await ask(ready.fresh, seconds);
    console.error(`steer: http, fresh signatures ${JSON.stringify(fresh)}`);
    child.stdin?.write(`night ${seconds * 4}\n`);
    const during = await ask(ready.cached, seconds * 4);
    const night = JSON.parse(await next()) as unknown;
    console.error(`steer: http, while a night comes in ${JSON.stringify({ during, night })}`);
    return { connections: CONNECTIONS, cached, fresh, duringNight: { ...during, night } };
  } finally {
    process.off('exit', stopChild);
    stopChild();
  }
}

function listen(
  child: ChildProcess,
): Promise<{ readonly ready: ServerReady; readonly next: () => Promise<string> }> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) return reject(new Error('no output of the server'));
    const lines = createInterface({ input: child.stdout });
    const timer = setTimeout(() => reject(new Error('the server did not start')), READY_MS);
    child.once('exit', (code) => reject(new Error(`the server ended with status ${code}`)));
    lines.once('line', (line) => {
      clearTimeout(timer);
      const ready = JSON.parse(line) as ServerReady;
      const next = new Promise<string>((said) => lines.once('line', said));
      resolve({ ready, next: () => next });
    });
  });
}

interface LoadFigures {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly failed: number;
}

interface HttpFigures extends LoadFigures {
  readonly cpuMicrosPerRequest: number; // of the whole process, all threads
}

/** Each connection sends its next request when the last answer is there. */
async function load(
  port: number,
  requests: readonly PlayRequest[],
  seconds: number,
): Promise<LoadFigures> {
  const bytes = requests.map((request) => {
    const body = JSON.stringify(request);
    return Buffer.from(
      `POST /v1/play HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer bench\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  });
  const took: number[] = [];
  let failed = 0;
  let turn = 0;
  const untilMs = performance.now() + seconds * 1000;
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, () =>
      converse(
        port,
        () => {
          if (performance.now() >= untilMs) return null;
          return bytes[turn++ % bytes.length];
        },
        (ms, isGood) => {
          took.push(ms);
          if (!isGood) failed++;
        },
      ),
    ),
  );
  const spent = (performance.now() - startMs) / 1000;
  const sorted = Float64Array.from(took).sort();
  const at = (share: number): number =>
    Math.round(
      (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0) * 100,
    ) / 100;
  return {
    requestsPerSecond: Math.round(took.length / spent),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    worstMs: at(1),
    failed,
  };
}

function converse(
  port: number,
  nextRequest: () => Buffer | null,
  onAnswer: (ms: number, isGood: boolean) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.setNoDelay(true);
    let sentMs = 0;
    let left = -1; // of the body; -1: in the head
    let pending: Buffer | null = null; // of a head that is not whole
    let isGood = false;
    const send = (): void => {
      const request = nextRequest();
      if (request === null) {
        socket.end();
        return resolve();
      }
      sentMs = performance.now();
      socket.write(request);
    };
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('data', (part: Buffer) => {
      let size = part.length;
      if (left === -1) {
        const bytes: Buffer = pending === null ? part : Buffer.concat([pending, part]);
        const end = bytes.indexOf('\r\n\r\n');
        pending = end === -1 ? bytes : null;
        if (end === -1) return;
        const head = bytes.toString('latin1', 0, end);
        const length = /content-length: (\d+)/i.exec(head);
        isGood = head.startsWith('HTTP/1.1 200') && length !== null;
        left = Number(length?.[1] ?? 0);
        size = bytes.length - end - 4;
      }
      left -= size;
      if (left > 0) return;
      left = -1;
      onAnswer(performance.now() - sentMs, isGood);
      send();
    });
  });
}
