/**
 * What every sender owes the handler and the client: one suite, run on each implementation.
 *
 * Use: senderContract('portable', (handle, limits) => new PortableSender(handle, limits, ...)) in a test file.
 */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TLSSocket } from 'node:tls';
import { after, before, describe, test } from 'node:test';
import { failed, success } from '#base/outcome.ts';
import {
  FieldSet,
  NO_FIELDS,
  type Answer,
  type Body,
  type BodyPart,
  type Ending,
  type Handler,
  type RequestView,
  type Sender,
  type SenderLimits,
  type StoredFile,
} from '../serve/sender.ts';

export type MakeSender = (handle: Handler, limits: SenderLimits) => Sender;
/** A connection on which HTTP is spoken, TLS done where the sender wants it. */
export type Dial = (port: number) => Promise<Socket>;

const FILE_BYTES = 5 * 1024 * 1024 + 17;
const FAR_OFFSET = 5 * 1024 ** 3; // beyond 2^32: a sparse file
const DEADLINE_MS = 15_000;

const LIMITS: SenderLimits = {
  headerBytesMax: 16 * 1024,
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 10_000,
  connectionsMax: 1000,
  pipelinedMax: 16,
  deliveryBytesPerSecondMin: 16 * 1024,
  deliveryGraceMs: 10_000,
};

/** An answer that remembers what the sender told it. */
class Recorded implements Answer {
  readonly status: number;
  readonly constant: FieldSet;
  readonly varying: readonly string[];
  readonly contentLength: number | null;
  readonly body: Body | null;
  sentBytes = 0;
  withdrawn = false;
  readonly endings: Ending[] = [];

  constructor(parts: Partial<Answer>) {
    this.status = parts.status ?? 200;
    this.constant = parts.constant ?? NO_FIELDS;
    this.varying = parts.varying ?? [];
    this.contentLength = parts.contentLength ?? null;
    this.body = parts.body ?? null;
  }

  isWithdrawn(): boolean {
    return this.withdrawn;
  }

  sent(bytes: number): void {
    this.sentBytes += bytes;
  }

  ended(how: Ending): void {
    this.endings.push(how);
  }
}

interface Parsed {
  readonly status: number;
  readonly fields: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** `asksLater`: its thread hears of a withdrawal a moment later, not before the next write. */
export function senderContract(
  name: string,
  make: MakeSender,
  dialTo: Dial = dial,
  asksLater = false,
): void {
  describe(`sender contract: ${name}`, { concurrency: false }, () => {
    const world = new World(make, dialTo);
    before(() => world.open());
    after(() => world.close());
    deliveryCases(world);
    connectionCases(world);
    faultCases(world, asksLater);
  });
}

function deliveryCases(world: World): void {
  test('a whole stored file arrives byte for byte, with the fields of the answer', async () => {
    const answer = new Recorded({
      constant: new FieldSet(['ETag', '"abc"', 'Accept-Ranges', 'bytes']),
      varying: ['Cache-Status', 'box; hit'],
      contentLength: FILE_BYTES,
      body: world.stored(0, FILE_BYTES),
    });
    await using box = await world.serve(() => answer);
    const got = await box.ask('GET /whole HTTP/1.1\r\nHost: box\r\n\r\n');
    assert.equal(got.status, 200);
    assert.equal(got.fields.get('etag'), '"abc"');
    assert.equal(got.fields.get('cache-status'), 'box; hit');
    assert.equal(got.fields.get('content-length'), String(FILE_BYTES));
    assert.ok(got.fields.has('date'), 'the sender dates its answers');
    assert.ok(got.body.equals(world.content), 'the bytes differ');
    await until(() => answer.endings.length > 0);
    assert.deepEqual(answer.endings, ['complete']);
    assert.equal(answer.sentBytes, FILE_BYTES);
  });

  test('parts that straddle chunk edges, one byte, and the last byte arrive exactly', async () => {
    const ranges = [
      [0, 1],
      [1024 * 1024 - 1, 2],
      [1000, 2 * 1024 * 1024],
      [FILE_BYTES - 1, 1],
      [3 * 1024 * 1024, FILE_BYTES - 3 * 1024 * 1024],
    ];
    await using box = await world.serve((request) => {
      const [offset, length] = ranges[Number(request.target.slice(1))];
      return new Recorded({
        status: 206,
        contentLength: length,
        body: world.stored(offset, length),
      });
    });
    // Twice each: the second time may come from memory.
    for (const at of [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]) {
      const [offset, length] = ranges[at];
      const got = await box.ask(`GET /${at} HTTP/1.1\r\nHost: box\r\n\r\n`);
      assert.equal(got.status, 206);
      assert.ok(got.body.equals(world.content.subarray(offset, offset + length)), `range ${at}`);
    }
  });

  test('bytes beyond 4 GiB of a file arrive', async () => {
    await using box = await world.serve(
      () => new Recorded({ contentLength: 8, body: world.storedFar(FAR_OFFSET, 8) }),
    );
    const got = await box.ask('GET /far HTTP/1.1\r\nHost: box\r\n\r\n');
    assert.equal(got.body.toString('latin1'), 'farbytes');
  });

  test('a head has its length and no body', async () => {
    const answer = new Recorded({ contentLength: FILE_BYTES });
    await using box = await world.serve(() => answer);
    const got = await box.askHead('HEAD /whole HTTP/1.1\r\nHost: box\r\n\r\n');
    assert.equal(got.fields.get('content-length'), String(FILE_BYTES));
    const again = await box.askHead('HEAD /whole HTTP/1.1\r\nHost: box\r\n\r\n');
    assert.equal(again.status, 200, 'the connection goes on');
    await until(() => answer.endings.length === 2);
    assert.deepEqual(answer.endings, ['complete', 'complete']);
  });

  test('204 and 304 carry neither length nor body', async () => {
    await using box = await world.serve(
      (request) => new Recorded({ status: Number(request.target.slice(1)) }),
    );
    for (const status of [204, 304]) {
      const got = await box.askHead(`GET /${status} HTTP/1.1\r\nHost: box\r\n\r\n`);
      assert.equal(got.status, status);
      assert.equal(got.fields.get('content-length'), undefined);
      assert.equal(got.fields.get('transfer-encoding'), undefined);
    }
  });

  test('a streamed body mixes stored parts and bytes, and the answer may come as a promise', async () => {
    const parts = [
      world.stored(0, 300_000),
      { kind: 'bytes' as const, bytes: world.content.subarray(300_000, 1_500_000) },
      world.stored(1_500_000, FILE_BYTES - 1_500_000),
    ];
    const answer = new Recorded({ contentLength: FILE_BYTES, body: streamOf(parts) });
    await using box = await world.serve(async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return answer;
    });
    const got = await box.ask('GET /mixed HTTP/1.1\r\nHost: box\r\n\r\n');
    assert.ok(got.body.equals(world.content), 'the bytes differ');
    await until(() => answer.endings.length > 0);
    assert.deepEqual(answer.endings, ['complete']);
    assert.equal(answer.sentBytes, FILE_BYTES);
  });

  test('the handler sees method, target, host, fields and address', async () => {
    let seen: RequestView | null = null;
    await using box = await world.serve((request) => {
      seen = { ...request };
      return new Recorded({ status: 204 });
    });
    await box.askHead(
      'GET /a?b=c HTTP/1.1\r\nHost: box:80\r\nrange: bytes=0-1\r\nIf-Range: "x"\r\nIf-None-Match: "y"\r\n' +
        'If-Match: "z"\r\nAuthorization: Bearer g\r\nNightfill-Purpose: fill\r\n' +
        'Nightfill-Possession: p\r\nUser-Agent: test\r\n\r\n',
    );
    assert.deepEqual(seen, {
      method: 'GET',
      target: '/a?b=c',
      host: 'box:80',
      range: 'bytes=0-1',
      ifRange: '"x"',
      ifMatch: '"z"',
      ifNoneMatch: '"y"',
      authorization: 'Bearer g',
      purpose: 'fill',
      possession: 'p',
      remoteAddress: '127.0.0.1',
      secure: world.dial !== dial,
    });
  });
}

function connectionCases(world: World): void {
  test('500 requests on one connection are answered one after the other', async () => {
    await using box = await world.serve((request) => {
      const offset = Number(request.target.slice(1));
      return new Recorded({ contentLength: 1000, body: world.stored(offset, 1000) });
    });
    for (let i = 0; i < 500; i++) {
      const offset = (i * 7919) % (FILE_BYTES - 1000);
      const got = await box.ask(`GET /${offset} HTTP/1.1\r\nHost: box\r\n\r\n`);
      assert.ok(got.body.equals(world.content.subarray(offset, offset + 1000)), `request ${i}`);
    }
    assert.equal(box.connectionsMade, 1);
  });

  test('10,000 pipelined requests are answered in order, slow and fast handlers mixed', async () => {
    let underWay = 0;
    let underWayMax = 0;
    await using box = await world.serve((request) => {
      const bytes = Buffer.from(request.target);
      const answer = new Recorded({ contentLength: bytes.length, body: { kind: 'bytes', bytes } });
      underWay++;
      underWayMax = Math.max(underWayMax, underWay);
      answer.ended = () => void underWay--;
      if (Number(request.target.slice(1)) % 100 !== 0) return answer;
      return new Promise((resolve) => setImmediate(() => resolve(answer)));
    });
    let text = '';
    for (let i = 0; i < 10_000; i++) text += `GET /${i} HTTP/1.1\r\nHost: box\r\n\r\n`;
    await box.send(text);
    for (let i = 0; i < 10_000; i++) {
      const got = await box.answer();
      assert.equal(got.body.toString(), `/${i}`);
    }
    assert.ok(underWayMax <= 16, `${underWayMax} requests of one connection were handled at once`);
  });

  test('a request that comes in pieces of one byte is answered', async () => {
    await using box = await world.serve(() => new Recorded({ status: 204 }));
    for (const byte of 'GET / HTTP/1.1\r\nHost: box\r\n\r\n') await box.send(byte);
    assert.equal((await box.answerHead()).status, 204);
  });

  test('HTTP/1.0 is answered and closed', async () => {
    await using box = await world.serve(
      () => new Recorded({ contentLength: 3, body: { kind: 'bytes', bytes: Buffer.from('abc') } }),
    );
    const got = await box.ask('GET / HTTP/1.0\r\n\r\n');
    assert.equal(got.body.toString(), 'abc');
    await box.closed();
  });

  test('a method with a body reaches the handler, and the connection is not used again', async () => {
    await using box = await world.serve(
      (request) =>
        new Recorded({ status: request.method === 'POST' ? 405 : 200, contentLength: 0 }),
    );
    const got = await box.askHead('POST / HTTP/1.1\r\nHost: box\r\nContent-Length: 5\r\n\r\nhello');
    assert.equal(got.status, 405);
    await box.closed();
  });

  test('close lets a running answer finish, and takes no new connection', async () => {
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const answer = new Recorded({
      contentLength: FILE_BYTES,
      body: streamOf([world.stored(0, 1000), world.stored(1000, FILE_BYTES - 1000)], gate),
    });
    await using box = await world.serve(() => answer);
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await until(() => answer.sentBytes === 1000);
    const closing = box.sender.close(5000);
    await assert.rejects(dial(box.port), 'a closed sender takes no connection');
    release();
    assert.ok((await box.answer()).body.equals(world.content), 'the bytes differ');
    await closing;
    assert.deepEqual(answer.endings, ['complete']);
  });

  test('close resets what has not finished in time', async () => {
    const answer = new Recorded({
      contentLength: FILE_BYTES,
      body: streamOf([world.stored(0, FILE_BYTES)], new Promise(() => {})),
    });
    await using box = await world.serve(() => answer);
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await until(() => box.sender.stats().requests === 1);
    await box.sender.close(50);
    await box.closed();
  });

  test('a second listener on the same port is a failure that names the port', async () => {
    await using box = await world.serve(() => new Recorded({ status: 204 }));
    const second = world.make(() => new Recorded({ status: 204 }), LIMITS);
    const outcome = await second.listen({ address: '127.0.0.1', port: box.port });
    assert.ok(!outcome.ok);
    assert.match(outcome.failure.detail, new RegExp(`${box.port} is in use`));
    await second.close(0);
  });
}

function faultCases(world: World, asksLater: boolean): void {
  test('a client that goes away mid-body ends the answer once, as aborted', async () => {
    const answers: Recorded[] = [];
    await using box = await world.serve(() => {
      const answer = new Recorded({ contentLength: FILE_BYTES * 16, body: world.repeated(16) });
      answers.push(answer);
      return answer;
    });
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await box.read(64 * 1024);
    box.drop();
    await until(() => answers[0].endings.length > 0);
    assert.deepEqual(answers[0].endings, ['aborted']);
    assert.ok(answers[0].sentBytes < FILE_BYTES * 16);
    await until(() => box.sender.stats().connections === 0);
  });

  test('a client that goes away while the handler decides ends the answer as aborted', async () => {
    const answer = new Recorded({ contentLength: 10, body: world.stored(0, 10) });
    let decide: (answer: Answer) => void = () => {};
    let asked = false;
    await using box = await world.serve(() => {
      asked = true;
      return new Promise<Answer>((resolve) => {
        decide = resolve;
      });
    });
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await until(() => asked);
    box.drop();
    await until(() => box.sender.stats().connections === 0);
    decide(answer);
    await until(() => answer.endings.length > 0);
    assert.deepEqual(answer.endings, ['aborted']);
  });

  test('a file that is shorter than its catalogue says cuts the connection and is reported', async () => {
    const reports: string[] = [];
    const body = world.shortened((offset, code) => reports.push(`${offset} ${code}`));
    const answer = new Recorded({ contentLength: body.length, body });
    await using box = await world.serve(() => answer);
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await box.closed();
    assert.deepEqual(answer.endings, ['failed']);
    assert.equal(reports.length, 1);
    assert.match(reports[0], /SHORT$/);
  });

  test('a source that fails halfway cuts the connection: the body never looks whole', async () => {
    const answer = new Recorded({
      contentLength: FILE_BYTES,
      body: streamOf([world.stored(0, 1000)], undefined, 'fails'),
    });
    await using box = await world.serve(() => answer);
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await box.closed();
    assert.ok(box.receivedBytes < FILE_BYTES);
    assert.deepEqual(answer.endings, ['failed']);
  });

  for (const [which, reads] of [
    ['a client that reads', true],
    ['a client that takes nothing', false],
  ] as const) {
    test(`an answer that is withdrawn is cut for ${which}, and ends once`, async () => {
      // Longer than a fast client can read before a thread has told what it sent, and has heard of the withdrawal.
      const times = asksLater ? 2048 : 64;
      const contentLength = FILE_BYTES * times;
      const answer = new Recorded({ contentLength, body: world.repeated(times) });
      await using box = await world.serve(() => answer);
      if (!reads) box.pause();
      await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
      await until(() => answer.sentBytes > 0);
      answer.withdrawn = true;
      const sentBefore = answer.sentBytes;
      await until(() => answer.endings.length > 0);
      assert.deepEqual(answer.endings, ['withdrawn']);
      assert.ok(answer.sentBytes < contentLength);
      const late = answer.sentBytes - sentBefore;
      assert.ok(asksLater || late <= 1024 * 1024, 'the write under way at most');
      await until(() => box.sender.stats().connections === 0);
    });
  }

  test('1 MiB of header fields is refused with 431 and closed', async () => {
    let asked = 0;
    await using box = await world.serve(() => {
      asked++;
      return new Recorded({ status: 204 });
    });
    await box.send(`GET / HTTP/1.1\r\nHost: box\r\nX: ${'x'.repeat(1024 * 1024)}\r\n\r\n`);
    const status = await box.statusBeforeClose();
    assert.ok(status === 431 || status === null, `status ${status}`);
    assert.equal(asked, 0);
    await until(() => box.sender.stats().cut['header-limit'] === 1);
  });

  test('half a header is not waited for longer than the limit', async () => {
    await using box = await world.serve(() => new Recorded({ status: 204 }), {
      ...LIMITS,
      headersTimeoutMs: 300,
    });
    await box.send('GET / HTTP/1.1\r\nHost: b');
    await box.closed();
    await until(() => box.sender.stats().cut['header-limit'] === 1);
  });

  test('what is no HTTP is refused and closed', async () => {
    await using box = await world.serve(() => new Recorded({ status: 204 }));
    await box.send('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n');
    const status = await box.statusBeforeClose();
    assert.ok(status === 400 || status === null, `status ${status}`);
  });

  test('a client that reads nothing is cut, and its answer ends as slow', async () => {
    const answer = new Recorded({ contentLength: FILE_BYTES * 16, body: world.repeated(16) });
    await using box = await world.serve(() => answer, {
      ...LIMITS,
      deliveryBytesPerSecondMin: 64 * 1024 * 1024,
      deliveryGraceMs: 200,
    });
    box.pause();
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    await until(() => answer.endings.length > 0);
    assert.deepEqual(answer.endings, ['slow']);
    await until(() => box.sender.stats().cut['slow-client'] === 1);
  });

  test('a client that reads a byte now and then is cut, and its answer ends as slow', async () => {
    const answer = new Recorded({ contentLength: FILE_BYTES * 16, body: world.repeated(16) });
    await using box = await world.serve(() => answer, {
      ...LIMITS,
      deliveryBytesPerSecondMin: 8 * 1024 * 1024,
      deliveryGraceMs: 300,
    });
    box.pause();
    await box.send('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    const sips = setInterval(() => box.sip(), 20);
    try {
      await until(() => answer.endings.length > 0);
    } finally {
      clearInterval(sips);
    }
    assert.deepEqual(answer.endings, ['slow']);
    await until(() => box.sender.stats().cut['slow-client'] === 1);
  });

  test('a connection above the limit is closed at once and the others go on', async () => {
    await using box = await world.serve(() => new Recorded({ status: 204 }), {
      ...LIMITS,
      connectionsMax: 1,
    });
    await box.askHead('GET / HTTP/1.1\r\nHost: box\r\n\r\n');
    const second = await dial(box.port);
    await new Promise<void>((resolve) => {
      second.once('error', () => {});
      second.once('close', () => resolve());
      second.resume();
    });
    assert.equal((await box.askHead('GET / HTTP/1.1\r\nHost: box\r\n\r\n')).status, 204);
    await until(() => box.sender.stats().cut['connections-full'] === 1);
  });
}

/** A directory with one known file, a sparse one and a shortened one; makes senders on free ports. */
class World {
  readonly make: MakeSender;
  readonly dial: Dial;
  readonly content = Buffer.allocUnsafe(FILE_BYTES);
  #directory = '';
  #files: number[] = [];
  #serial = 0;

  constructor(make: MakeSender, dialTo: Dial) {
    this.make = make;
    this.dial = dialTo;
    for (let i = 0; i < FILE_BYTES; i++) this.content[i] = (i * 131 + (i >>> 12)) & 0xff;
  }

  open(): void {
    this.#directory = mkdtempSync(path.join(tmpdir(), 'nightfill-sender-'));
    this.#files = ['plain', 'far', 'short'].map((name) =>
      openSync(path.join(this.#directory, name), 'w+'),
    );
    writeSync(this.#files[0], this.content);
    writeSync(this.#files[1], Buffer.from('farbytes'), 0, 8, FAR_OFFSET);
    writeSync(this.#files[2], this.content);
    truncateSync(path.join(this.#directory, 'short'), 1_200_000);
  }

  close(): void {
    for (const fd of this.#files) closeSync(fd);
    rmSync(this.#directory, { recursive: true });
  }

  stored(offset: number, length: number): BodyPart & { kind: 'stored' } {
    return { kind: 'stored', file: this.#file(0, FILE_BYTES, 1), offset, length };
  }

  storedFar(offset: number, length: number): BodyPart {
    return { kind: 'stored', file: this.#file(1, FAR_OFFSET + 8, 2), offset, length };
  }

  shortened(onFailure: (offset: number, code: string) => void): BodyPart & { kind: 'stored' } {
    const file = { ...this.#file(2, FILE_BYTES, 3 + this.#serial++), readFailed: onFailure };
    return { kind: 'stored', file, offset: 0, length: FILE_BYTES };
  }

  /** The file so many times over: more than any socket buffer takes. */
  repeated(times: number): Body {
    return streamOf(Array.from({ length: times }, () => this.stored(0, FILE_BYTES)));
  }

  async serve(handle: Handler, limits = LIMITS): Promise<Box> {
    const sender = this.make(handle, limits);
    const outcome = await sender.listen({ address: '127.0.0.1', port: 0 });
    assert.ok(outcome.ok, 'a free port is free');
    return new Box(sender, outcome.value.port, this.dial);
  }

  #file(at: number, sizeBytes: number, serial: number): StoredFile {
    const readFailed = (offset: number, code: string): void =>
      assert.fail(`read failed at ${offset}: ${code}`);
    return { fd: this.#files[at], serial, sizeBytes, readFailed };
  }
}

/** `gate` is waited for after the first part. */
function streamOf(
  parts: readonly BodyPart[],
  gate?: Promise<void>,
  atEnd: 'ends' | 'fails' = 'ends',
): Body {
  let at = 0;
  return {
    kind: 'streamed',
    async next() {
      if (at === 1) await gate;
      if (at < parts.length) return success(parts[at++]);
      if (atEnd === 'ends') return success(null);
      return failed({ code: 'no-source', source: 'upstream', retry: 'never', detail: 'a test' });
    },
  };
}

/** A sender and one raw connection to it. */
class Box {
  readonly sender: Sender;
  readonly port: number;
  readonly #dial: Dial;
  connectionsMade = 0;
  receivedBytes = 0;
  #socket: Socket | null = null;
  #received: Buffer[] = [];
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(sender: Sender, port: number, dialTo: Dial) {
    this.sender = sender;
    this.port = port;
    this.#dial = dialTo;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket?.destroy();
    await this.sender.close(0);
  }

  async ask(text: string): Promise<Parsed> {
    await this.send(text);
    return this.answer();
  }

  async askHead(text: string): Promise<Parsed> {
    await this.send(text);
    return this.answerHead();
  }

  async send(text: string): Promise<void> {
    const socket = await this.#connected();
    await new Promise<void>((resolve) => {
      socket.write(text, 'latin1', () => resolve());
      if (text.length > 64 * 1024) resolve(); // may be refused before all of it is read
    });
  }

  async answer(): Promise<Parsed> {
    const head = await this.answerHead();
    const length = Number(head.fields.get('content-length') ?? 0);
    return { ...head, body: await this.read(length) };
  }

  async answerHead(): Promise<Parsed> {
    for (;;) {
      const all = Buffer.concat(this.#received);
      const end = all.indexOf('\r\n\r\n');
      if (end !== -1) {
        this.#received = [all.subarray(end + 4)];
        return parseHead(all.toString('latin1', 0, end));
      }
      await this.#more();
    }
  }

  async read(bytes: number): Promise<Buffer> {
    let have = this.#received.reduce((sum, part) => sum + part.length, 0);
    while (have < bytes) {
      await this.#more();
      have = this.#received.reduce((sum, part) => sum + part.length, 0);
    }
    const all = Buffer.concat(this.#received);
    this.#received = [all.subarray(bytes)];
    return all.subarray(0, bytes);
  }

  pause(): void {
    this.#socket?.pause();
    this.#startPaused = true;
  }
  #startPaused = false;

  /** Takes one byte, of a paused connection. */
  sip(): void {
    this.#socket?.read(1);
  }

  drop(): void {
    if (this.#socket instanceof TLSSocket) this.#socket.destroy();
    else this.#socket?.resetAndDestroy();
  }

  async closed(): Promise<void> {
    await until(() => this.#isClosed);
  }

  /** The status that came before the connection was closed; null where it was reset without one. */
  async statusBeforeClose(): Promise<number | null> {
    await this.closed();
    const text = Buffer.concat(this.#received).toString('latin1');
    return text.startsWith('HTTP/1.1 ') ? Number(text.slice(9, 12)) : null;
  }

  async #connected(): Promise<Socket> {
    if (this.#socket !== null) return this.#socket;
    const socket = await this.#dial(this.port);
    this.connectionsMade++;
    this.#socket = socket;
    if (!this.#startPaused) {
      socket.on('data', (part) => {
        this.#received.push(part as Buffer);
        this.receivedBytes += part.length;
        this.#wake();
      });
    }
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
    });
    return socket;
  }

  #more(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) reject(new Error('the connection was closed'));
      const timer = setTimeout(() => reject(new Error('nothing came')), DEADLINE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

function parseHead(text: string): Parsed {
  const [first, ...lines] = text.split('\r\n');
  const fields = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { status: Number(first.split(' ')[1]), fields, body: Buffer.alloc(0) };
}

async function until(holds: () => boolean): Promise<void> {
  const startMs = performance.now();
  while (!holds()) {
    assert.ok(performance.now() - startMs < DEADLINE_MS, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
