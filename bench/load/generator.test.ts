import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { cpuSecondsOf, residentBytesOf, ticksOfStat } from './cpu.ts';
import { scatteredPlace, type LoadReport, type LoadSpec } from './generator.ts';
import { openNamespace, whyNoNamespace } from './namespace.ts';

const FILE_BYTES = 1024 * 1024;
const skip = loadLinux() === null ? whyNoLinux() : false;

/** A real server with a file of FILE_BYTES; remembers which ranges it was asked for. */
async function serve(asked: string[]): Promise<Server> {
  const file = Buffer.alloc(FILE_BYTES, 'x');
  const server = createServer((request, response) => {
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    asked.push(request.headers.range ?? '');
    if (request.url === '/missing') {
      response.writeHead(404, { 'content-length': 0 }).end();
    } else if (match === null) {
      response.writeHead(200, { 'content-length': FILE_BYTES }).end(file);
    } else {
      const part = file.subarray(Number(match[1]), Number(match[2]) + 1);
      response.writeHead(206, { 'content-length': part.length }).end(part);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

function specFor(server: Server, more: Partial<LoadSpec>): LoadSpec {
  return {
    address: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    targets: ['/file'],
    fields: [],
    connections: 4,
    rangeBytes: 10_000,
    fileBytes: FILE_BYTES,
    alignBytes: 4096,
    warmupMs: 50,
    durationMs: 300,
    seed: 7,
    paceMs: 0,
    ...more,
  };
}

test('each target once, from a file, and refusals counted by status', { skip }, async () => {
  const asked: string[] = [];
  const server = await serve(asked);
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-targets-'));
  try {
    const targetsFile = path.join(directory, 'targets');
    const lines = Array.from({ length: 50 }, (_, at) =>
      at % 5 === 0 ? '/missing' : `/file?${at}`,
    );
    writeFileSync(targetsFile, lines.join('\n'));
    const more = { targets: [], targetsFile, isOnce: true, isAnyStatus: true, warmupMs: 0 };
    const report = await load(specFor(server, { ...more, connections: 7, durationMs: 10_000 }));
    assert.deepEqual(report.statuses, { 206: 40, 404: 10 });
    assert.equal(asked.length, 50);
    assert.equal(report.errors, 0);
    assert.ok(report.durationMs < 10_000, 'it ends with the last answer');
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  }
});

test('a walk comes to each place of a file once, and never to two neighbours in a row', () => {
  for (const places of [1, 2, 7, 64, 5000, 14_336]) {
    const order = Array.from({ length: places }, (_, at) => scatteredPlace(at, places));
    assert.equal(new Set(order).size, places, `${places} places`);
    const isNeighbour = (place: number, at: number): boolean =>
      at > 0 && Math.abs(place - order[at - 1]) === 1;
    if (places > 3) assert.deepEqual(order.filter(isNeighbour), [], `${places} places`);
    assert.equal(scatteredPlace(places + 3, places), order[3 % places], 'and then again');
  }
});

test('a walk asks for each range once', { skip }, async () => {
  const asked: string[] = [];
  const server = await serve(asked);
  const alignBytes = 1024;
  const report = await load(
    specFor(server, {
      rangeBytes: 1024,
      alignBytes,
      walkFrom: 100,
      connections: 2,
      warmupMs: 0,
      durationMs: 60,
    }),
  );
  assert.equal(report.errors, 0);
  const first = asked.slice(0, FILE_BYTES / alignBytes);
  assert.equal(new Set(first).size, first.length);
  server.closeAllConnections();
  server.close();
});

function load(spec: LoadSpec): Promise<LoadReport> {
  const child = spawn(process.execPath, [
    path.join(import.meta.dirname, 'main.ts'),
    JSON.stringify(spec),
  ]);
  let output = '';
  child.stdout.on('data', (part: Buffer) => (output += part.toString()));
  return new Promise((resolve, reject) => {
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as LoadReport);
      else reject(new Error(`status ${code}`));
    });
  });
}

test('ranges of one length at aligned places are asked, counted and timed', { skip }, async () => {
  const asked: string[] = [];
  const server = await serve(asked);
  try {
    const report = await load(specFor(server, {}));
    assert.equal(report.errors, 0, report.firstError ?? '');
    assert.ok(report.requests > 0);
    assert.equal(report.bytes, report.requests * 10_000);
    assert.ok(report.totalBytes >= report.bytes);
    assert.ok(report.firstByteMs.p50 > 0 && report.firstByteMs.p50 <= report.latencyMs.p50);
    for (const range of asked) {
      const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(range)!.map(Number);
      assert.equal(start % 4096, 0);
      assert.equal(end - start + 1, 10_000);
      assert.ok(end < FILE_BYTES);
    }
    assert.ok(new Set(asked).size > 3, 'places differ');
  } finally {
    server.close();
  }
});

test(
  'whole files are asked without a range, and paced requests keep their distance',
  { skip },
  async () => {
    const asked: string[] = [];
    const server = await serve(asked);
    try {
      const report = await load(
        specFor(server, { rangeBytes: 0, paceMs: 100, connections: 2, warmupMs: 0 }),
      );
      assert.equal(report.errors, 0, report.firstError ?? '');
      assert.equal(report.bytes, report.requests * FILE_BYTES);
      assert.ok(asked.every((range) => range === ''));
      assert.ok(asked.length >= 2 && asked.length <= 8, `${asked.length} requests`);
    } finally {
      server.close();
    }
  },
);

test('refused requests are counted with the first reason, and the run ends', { skip }, async () => {
  const server = await serve([]);
  try {
    const report = await load(specFor(server, { targets: ['/missing'], durationMs: 60_000 }));
    assert.ok(report.errors > 100);
    assert.match(report.firstError ?? '', /^HTTP\/1\.1 404/);
    assert.equal(report.requests, 0);
  } finally {
    server.close();
  }
});

test(
  'CPU and memory of a process are read from /proc',
  { skip: process.platform !== 'linux' },
  () => {
    const before = cpuSecondsOf(process.pid);
    const end = performance.now() + 50;
    while (performance.now() < end);
    const used = cpuSecondsOf(process.pid) - before;
    assert.ok(used > 0.005 && used < 5, `${used} s`);
    assert.ok(residentBytesOf(process.pid) > 10_000_000);
    assert.equal(ticksOfStat('1 (a) b (c) S 0 1 1 0 -1 4 5 6 7 8 11 22 0 0 20 0 1'), 33);
  },
);

test('a namespace has its own loopback at MTU 1500 and is gone afterwards, or says what it needs', () => {
  const why = whyNoNamespace();
  if (why !== null) {
    assert.throws(() => openNamespace(), { message: why });
    return;
  }
  let name: string | null = null;
  {
    using namespace = openNamespace();
    name = namespace.name;
    const [command, ...rest] = namespace.inside(['cat', '/sys/class/net/lo/mtu']);
    assert.equal(spawnSync(command, rest, { encoding: 'utf8' }).stdout.trim(), '1500');
  }
  const left = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout;
  assert.ok(name !== null && !left.includes(name));
});
