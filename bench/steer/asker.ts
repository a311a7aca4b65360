/**
 * The process that asks for `bench -- steer`: closed-loop connections, apart from whoever holds the fleet, whose heap would stop them for
 * its collector.
 *
 * It is told a ServerReady on the first line of stdin, then "cached SECONDS" or "fresh SECONDS", and answers each with LoadFigures on a
 * line of stdout.
 */
import net from 'node:net';
import { createInterface } from 'node:readline';
import type { ServerReady } from './http.ts';

const CONNECTIONS = 24;

export interface LoadFigures {
  readonly connections: number;
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly failed: number;
}

type Requests = readonly Buffer[];

let port = 0;
const requestsOf: Record<string, Requests> = {};
for await (const line of createInterface({ input: process.stdin })) {
  if (port === 0) {
    const ready = JSON.parse(line) as ServerReady;
    port = ready.port;
    requestsOf['cached'] = ready.cached.map(messageOf);
    requestsOf['fresh'] = ready.fresh.map(messageOf);
  } else {
    const [what, seconds] = line.split(' ');
    console.log(JSON.stringify(await load(requestsOf[what], Number(seconds))));
  }
}

function messageOf(request: ServerReady['cached'][number]): Buffer {
  const body = JSON.stringify(request);
  return Buffer.from(
    `POST /v1/play HTTP/1.1\r\nHost: s\r\nAuthorization: Bearer bench\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

/** Each connection sends its next request when the last answer is there. */
async function load(requests: Requests, seconds: number): Promise<LoadFigures> {
  const took: number[] = [];
  let failed = 0;
  let turn = 0;
  const untilMs = performance.now() + seconds * 1000;
  const startMs = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, () =>
      converse(
        () => {
          if (performance.now() >= untilMs) return null;
          return requests[turn++ % requests.length];
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
    connections: CONNECTIONS,
    requestsPerSecond: Math.round(took.length / spent),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    worstMs: at(1),
    failed,
  };
}

function converse(
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
