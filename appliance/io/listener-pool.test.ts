import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { createLogger } from '#base/log.ts';
import {
  NO_FIELDS,
  type Answer,
  type Ending,
  type Handler,
  type SenderLimits,
} from '../serve/sender.ts';
import { HotChunks } from './hot-chunks.ts';
import { ListenerPool } from './listener-pool.ts';
import { PortableSender } from './portable-sender.ts';
import { senderContract, type MakeSender } from './sender-contract.ts';

const linux = loadLinux();
const skip = linux === null ? `no native calls here: ${whyNoLinux()}` : false;

function makePool(listeners: number, handle: Handler, limits: SenderLimits): ListenerPool {
  assert.ok(linux !== null);
  return new ListenerPool({
    applianceId: 'box',
    listeners,
    clock: systemClock,
    log: createLogger('test', 'silent'),
    handle,
    limits,
    linux,
    portable: new PortableSender(handle, limits, new HotChunks(0)),
    sampleOneIn: 256,
    hitOf: () => undefined,
    retain: () => assert.fail('nothing is passed on here'),
    release: () => assert.fail('nothing is passed on here'),
    counted: () => {},
    kept: () => {},
    sample: () => {},
  });
}

// Every answer is the owner's here; what passes answer alone is in serving-threads.test.ts.
if (linux !== null) {
  const make: MakeSender = (handle, limits) => makePool(1, handle, limits);
  senderContract('zero-copy, a thread', make, undefined, true);
}

const LIMITS: SenderLimits = {
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 10_000,
  connectionsMax: 1000,
  pipelinedMax: 16,
  deliveryBytesPerSecondMin: 1024,
  deliveryGraceMs: 10_000,
};
const CONTENT = Buffer.alloc(2 * 1024 * 1024, 'nightfill');

/** Two threads; `/good` is the whole content, `/bad` an answer that no sender can send. */
class Pool {
  readonly pool: ListenerPool;
  readonly endings: Ending[] = [];
  readonly #directory = mkdtempSync(path.join(tmpdir(), 'nightfill-pool-'));
  readonly #fd: number;
  port = 0;

  constructor(limits: Partial<SenderLimits> = {}) {
    writeFileSync(path.join(this.#directory, 'content'), CONTENT);
    this.#fd = openSync(path.join(this.#directory, 'content'), 'r');
    this.pool = makePool(2, ({ target }) => this.#answer(target), { ...LIMITS, ...limits });
  }

  async open(): Promise<this> {
    const bound = await this.pool.listen({ address: '127.0.0.1', port: 0 });
    assert.ok(bound.ok);
    this.port = bound.value.port;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.close(0);
    closeSync(this.#fd);
    rmSync(this.#directory, { recursive: true });
  }

  dial(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect(this.port, '127.0.0.1', () => resolve(socket));
      socket.once('error', reject);
    });
  }

  #answer(target: string): Answer {
    const offset = target === '/bad' ? -1 : 0;
    const readFailed = (at: number, code: string): void => assert.fail(`${code} at ${at}`);
    const file = { fd: this.#fd, serial: 1, sizeBytes: CONTENT.length, readFailed };
    return {
      status: 200,
      constant: NO_FIELDS,
      varying: [],
      contentLength: CONTENT.length,
      body: { kind: 'stored', file, offset, length: CONTENT.length },
      isWithdrawn: () => false,
      sent: () => {},
      ended: (how) => void this.endings.push(how),
    };
  }
}

const request = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: box\r\n\r\n`;

/** Body bytes of one answer; fewer where the connection was cut. */
async function ask(socket: Socket, target: string): Promise<Buffer> {
  socket.on('error', () => {});
  socket.write(request(target));
  const parts: Buffer[] = [];
  let have = 0;
  let bodyAt = -1;
  for await (const part of socket.iterator({ destroyOnReturn: false })) {
    parts.push(part as Buffer);
    have += (part as Buffer).length;
    if (bodyAt === -1) bodyAt = Buffer.concat(parts).indexOf('\r\n\r\n') + 4;
    if (bodyAt > 3 && have >= bodyAt + CONTENT.length) break;
  }
  return Buffer.concat(parts).subarray(Math.max(0, bodyAt));
}

async function until(holds: () => boolean): Promise<void> {
  for (const startMs = performance.now(); !holds();) {
    assert.ok(performance.now() - startMs < 15_000, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test(
  'a thread that fails is replaced, the others serve on, and every answer ends once',
  { skip },
  async () => {
    await using box = await new Pool().open();
    const sockets = await Promise.all(Array.from({ length: 12 }, () => box.dial()));
    for (const socket of sockets) assert.ok((await ask(socket, '/good')).equals(CONTENT));
    const cut = await ask(sockets[0], '/bad').catch(() => Buffer.alloc(0));
    assert.ok(cut.length < CONTENT.length, 'its connection is cut');
    await until(() => box.pool.figures.failures === 1);
    let served = 0;
    for (const socket of sockets.slice(1)) {
      const body = await ask(socket, '/good').catch(() => null);
      if (body?.equals(CONTENT) === true) served++;
    }
    assert.ok(served > 0 && served < 11, `${served} of 11: one thread's went, the other's stayed`);
    // Whichever listener takes it: the one of the thread that failed was kept for its successor.
    for (let at = 0; at < 12; at++) {
      const socket = await box.dial();
      assert.ok((await ask(socket, '/good')).equals(CONTENT));
      socket.destroy();
    }
    assert.equal(box.pool.figures.threads, 2);
    for (const socket of sockets) socket.destroy();
    await until(() => box.pool.stats().connections === 0);
    const complete = 12 + served + 12;
    await until(() => box.endings.length >= complete + 1);
    assert.equal(box.endings.filter((how) => how === 'complete').length, complete);
  },
);

test('connections of all threads and of node:http together have one limit', { skip }, async () => {
  await using box = await new Pool({ connectionsMax: 4 }).open();
  const open: Socket[] = [];
  for (let at = 0; at < 4; at++) {
    const socket = await box.dial();
    socket.on('error', () => {});
    open.push(socket);
    // HTTP/1.0 is node:http's: its connections count too
    if (at === 0) socket.write('GET /good HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    else socket.write(request('/good'));
  }
  await until(() => box.endings.length === 4 || box.pool.stats().connections === 4);
  const fifth = await box.dial();
  fifth.on('error', () => {});
  await new Promise<void>((resolve) => fifth.once('close', () => resolve()));
  open[0].destroy();
  await until(() => box.pool.stats().connections === 3);
  assert.ok((await ask(await box.dial(), '/good')).equals(CONTENT), 'room again');
  for (const socket of open) socket.destroy();
});

test('an address that another process listens on is refused in words', { skip }, async () => {
  await using box = await new Pool().open();
  const second = makePool(2, () => assert.fail('it serves nothing'), LIMITS);
  const refused = await second.listen({ address: '127.0.0.1', port: box.port });
  assert.ok(!refused.ok);
  assert.match(refused.failure.detail, /in use by another process/);
});
