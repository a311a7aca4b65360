import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { seededRandom } from '#base/random.ts';
import {
  NO_FIELDS,
  type Answer,
  type Ending,
  type Handler,
  type SenderLimits,
} from '../serve/sender.ts';
import { HotChunks } from './hot-chunks.ts';
import { PortableSender } from './portable-sender.ts';
import { senderContract } from './sender-contract.ts';
import { ZeroCopySender } from './zero-copy-sender.ts';

const FILE_BYTES = 3 * 1024 * 1024 + 7;
const LIMITS: SenderLimits = {
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 10_000,
  connectionsMax: 1000,
  pipelinedMax: 16,
  deliveryBytesPerSecondMin: 1024,
  deliveryGraceMs: 10_000,
};

const linux = loadLinux();
const skip = linux === null ? `no native calls here: ${whyNoLinux()}` : false;
const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-zero-copy-'));
after(() => rmSync(directory, { recursive: true }));

function make(handle: Handler, limits: SenderLimits): ZeroCopySender {
  assert.ok(linux !== null);
  const portable = new PortableSender(handle, limits, new HotChunks(0));
  return new ZeroCopySender(handle, limits, linux, portable);
}

if (linux !== null) senderContract('zero-copy', make);

/** A sender whose every answer is the asked part of one file: `/offset/length`. */
class Box {
  readonly content = Buffer.allocUnsafe(FILE_BYTES);
  readonly endings: Ending[] = [];
  readonly sender: ZeroCopySender;
  readonly #fd: number;
  port = 0;

  constructor(limits: Partial<SenderLimits> = {}) {
    for (let i = 0; i < FILE_BYTES; i++) this.content[i] = (i * 31 + (i >>> 10)) & 0xff;
    const file = path.join(directory, 'content');
    writeFileSync(file, this.content);
    this.#fd = openSync(file, 'r');
    this.sender = make((request) => this.#answer(request.method, request.target), {
      ...LIMITS,
      ...limits,
    });
  }

  async open(address = '127.0.0.1'): Promise<this> {
    const outcome = await this.sender.listen({ address, port: 0 });
    assert.ok(outcome.ok);
    this.port = outcome.value.port;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sender.close(0);
    closeSync(this.#fd);
  }

  #answer(method: string, target: string): Answer {
    const match = /^\/(\d+)\/(\d+)$/.exec(target);
    const [offset, length] = match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
    const file = {
      fd: this.#fd,
      serial: 1,
      sizeBytes: FILE_BYTES,
      readFailed: (at: number, code: string): void => assert.fail(`read failed at ${at}: ${code}`),
    };
    return {
      status: match === null ? 404 : 200,
      constant: NO_FIELDS,
      varying: [],
      contentLength: length,
      body: match === null || method !== 'GET' ? null : { kind: 'stored', file, offset, length },
      isWithdrawn: () => false,
      sent: () => {},
      ended: (how) => void this.endings.push(how),
    };
  }
}

/** Everything that comes until the other side closes, or until `bytes` have come. */
function receive(socket: Socket, bytes = Infinity): Promise<Buffer> {
  const parts: Buffer[] = [];
  let have = 0;
  return new Promise((resolve, reject) => {
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      have += part.length;
      if (have >= bytes) resolve(Buffer.concat(parts));
    });
    socket.on('end', () => resolve(Buffer.concat(parts)));
    socket.on('error', reject);
  });
}

const get = (offset: number, length: number, more = ''): string =>
  `GET /${offset}/${length} HTTP/1.1\r\nHost: box\r\n${more}\r\n`;

test(
  'plain requests and then an unusual one, in one write, are all answered in order',
  { skip },
  async () => {
    await using box = await new Box().open();
    const socket = connect(box.port, '127.0.0.1');
    const received = receive(socket);
    socket.write(get(0, 10) + get(10, 200_000) + get(5, 3, 'Connection: close\r\n'));
    const text = (await received).toString('latin1');
    const bodies = text.split(/HTTP\/1\.1 200 OK\r\n[^]*?\r\n\r\n/).slice(1);
    const part = (offset: number, length: number): string =>
      box.content.toString('latin1', offset, offset + length);
    assert.deepEqual(bodies, [part(0, 10), part(10, 200_000), part(5, 3)]);
    assert.deepEqual(box.endings, ['complete', 'complete', 'complete']);
    assert.equal(box.sender.stats().requests, 3);
  },
);

test('a connection over IPv6 is served', { skip }, async () => {
  await using box = await new Box().open('::1');
  const socket = connect(box.port, '::1');
  const received = receive(socket);
  socket.end(get(7, 5));
  const bytes = await received;
  assert.ok(bytes.subarray(-5).equals(box.content.subarray(7, 12)));
});

test(
  'a client that sends its request and closes its side still gets the whole answer',
  { skip },
  async () => {
    await using box = await new Box().open();
    const socket = connect({ port: box.port, host: '127.0.0.1', allowHalfOpen: true });
    const received = receive(socket);
    socket.end(get(0, FILE_BYTES));
    assert.ok((await received).subarray(-FILE_BYTES).equals(box.content));
  },
);

test(
  'an idle connection is closed after the keep-alive time, a silent new one after the header time',
  { skip },
  async () => {
    await using box = await new Box({ keepAliveTimeoutMs: 200, headersTimeoutMs: 200 }).open();
    const silent = connect(box.port, '127.0.0.1');
    const idle = connect(box.port, '127.0.0.1');
    idle.write(get(0, 1));
    const [nothing, one] = await Promise.all([receive(silent), receive(idle)]);
    assert.equal(nothing.length, 0);
    assert.ok(one.subarray(-1).equals(box.content.subarray(0, 1)));
    assert.equal(box.sender.stats().connections, 0);
  },
);

test('the unix socket that keeps node:http awake lets nobody in', { skip }, async () => {
  await using box = await new Box().open();
  const name = /@(nightfill-[0-9a-f]+)/.exec(readFileSync('/proc/net/unix', 'latin1'));
  assert.ok(name !== null, 'the sender listens on an abstract socket');
  const socket = connect({ path: `\0${name[1]}` });
  socket.on('error', () => {});
  socket.write(get(0, 10));
  const bytes = await receive(socket).catch(() => Buffer.alloc(0));
  assert.equal(bytes.length, 0);
  assert.equal(box.sender.stats().requests, 0);
});

test(
  '300 clients that come and go at random places of their answers never see another one’s bytes',
  { skip },
  async () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? 20261123);
    const random = seededRandom(seed);
    await using box = await new Box().open();
    const client = async (): Promise<void> => {
      const offset = random.below(FILE_BYTES - 1);
      const length = 1 + random.below(FILE_BYTES - offset);
      const readMax = random.below(2) === 0 ? Infinity : random.below(length);
      const socket = connect(box.port, '127.0.0.1');
      const parts: Buffer[] = [];
      let have = 0;
      await new Promise<void>((resolve) => {
        socket.on('data', (part: Buffer) => {
          parts.push(part);
          have += part.length;
          if (have < readMax) return;
          socket.resetAndDestroy();
          resolve();
        });
        socket.on('error', () => resolve());
        socket.on('close', () => resolve());
        if (readMax === Infinity) socket.end(get(offset, length)); // the box closes behind the answer
        else socket.write(get(offset, length));
      });
      const bytes = Buffer.concat(parts);
      const start = bytes.indexOf('\r\n\r\n') + 4;
      const body = bytes.subarray(start);
      const expected = box.content.subarray(offset, offset + body.length);
      assert.ok(body.equals(expected), `seed ${seed}: /${offset}/${length}`);
      if (readMax === Infinity) assert.equal(body.length, length);
    };
    for (let round = 0; round < 15; round++) {
      await Promise.all(Array.from({ length: 20 }, client));
    }
    assert.equal(box.sender.stats().requests, 300);
  },
);

test(
  '4,000 random inputs are answered or refused, and the next client is served',
  { skip },
  async () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? 20261124);
    const random = seededRandom(seed);
    await using box = await new Box({ headersTimeoutMs: 300 }).open();
    const pieces = [
    'GET ', '/0/5 ', 'HTTP/1.1', '\r\n', 'Host: box', '\r\n\r\n', 'HEAD ', '\0', '\xff', 'Range: bytes=0-1',
    get(0, 5), get(3, 70_000), 'POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nabc', ' ', '\n', 'x'.repeat(3000),
  ]; // prettier-ignore
    const attack = (): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(box.port, '127.0.0.1');
        let text = '';
        for (let i = 1 + random.below(6); i > 0; i--) text += pieces[random.below(pieces.length)];
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        socket.resume();
        socket.end(text, 'latin1');
      });
    for (let round = 0; round < 40; round++) {
      await Promise.all(Array.from({ length: 100 }, attack));
    }
    const socket = connect(box.port, '127.0.0.1');
    const received = receive(socket);
    socket.end(get(1, 4));
    assert.ok((await received).subarray(-4).equals(box.content.subarray(1, 5)), `seed ${seed}`);
  },
);
