import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { BoxMemory, fetchRange, LIMITS, RangeFailed } from './range-continuation.js';

const FILE_ID = 'f'.repeat(43);
const ETAG = `"${FILE_ID}"`;
const PATH = `/t/film/${FILE_ID}`;
const random = seededRandom(9);
const CONTENT = Buffer.from(Uint8Array.from({ length: 400_000 }, () => random.below(256)));
/** Impatient, so that the tests are short; what is compared is bytes and order, never time. */
const QUICK = {
  firstByteMsMin: 60,
  firstByteMsMax: 1500,
  stallMs: 300,
  stallMsMax: 1500,
  roundDelayMs: 5,
};

type Behaviour =
  | 'serves'
  | 'dies after 100,000 bytes'
  | 'never answers'
  | 'falls silent after 100,000 bytes'
  | 'answers 404'
  | 'answers 503'
  | 'has another ETag'
  | 'sends another range'
  | 'ignores the range'
  | 'ends early'
  | 'trickles'
  | 'refuses';

interface Box {
  readonly id: string;
  readonly url: string;
  behaviour: Behaviour;
  readonly requests: string[];
  die(): void;
}

async function box(context: TestContext, id: string, behaviour: Behaviour): Promise<Box> {
  const requests: string[] = [];
  const sockets = new Set<net.Socket>();
  const server = http.createServer((request, response) => {
    requests.push(request.headers.range ?? '');
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(from);
    const end = Number(to);
    const headers = {
      etag: ETAG,
      'content-range': `bytes ${start}-${end}/${CONTENT.length}`,
      'content-length': end - start + 1,
    };
    const body = CONTENT.subarray(start, end + 1);
    const { behaviour: how } = one;
    if (how === 'never answers') return;
    if (how === 'answers 404' || how === 'answers 503') {
      response.writeHead(Number(how.slice(-3))).end();
    } else if (how === 'has another ETag') {
      response.writeHead(206, { ...headers, etag: `"${'g'.repeat(43)}"` }).end(body);
    } else if (how === 'sends another range') {
      const shifted = CONTENT.subarray(start + 1, end + 2);
      const range = `bytes ${start + 1}-${end + 1}/${CONTENT.length}`;
      response.writeHead(206, { ...headers, 'content-range': range }).end(shifted);
    } else if (how === 'ignores the range') {
      response.writeHead(200, { etag: ETAG }).end(CONTENT);
    } else if (how === 'serves') {
      response.writeHead(206, headers).end(body);
    } else if (how === 'ends early') {
      response.writeHead(206, { ...headers, 'content-length': '1000' }).end(body.subarray(0, 1000));
    } else if (how === 'trickles') {
      response.writeHead(206, headers);
      let sent = 0;
      const timer = setInterval(() => response.write(body.subarray(sent, (sent += 10))), 20);
      response.on('close', () => clearInterval(timer));
    } else {
      response.writeHead(206, headers);
      response.write(body.subarray(0, 100_000));
    }
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.77.44.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const end = (): Promise<void> =>
    new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
  if (behaviour === 'refuses') await end();
  else context.after(end);
  const one: Box = {
    id,
    url: `http://127.77.44.1:${port}${PATH}`,
    behaviour,
    requests,
    die: () => sockets.forEach((socket) => socket.resetAndDestroy()),
  };
  return one;
}

const ask = (boxes: readonly Box[], more: Partial<Parameters<typeof fetchRange>[0]> = {}) => ({
  sources: boxes,
  etag: ETAG,
  start: 1000,
  endInclusive: 301_234,
  memory: new BoxMemory(),
  limits: QUICK,
  ...more,
});
const WANTED = CONTENT.subarray(1000, 301_235);

const FAULTS: readonly Behaviour[] = [
  'dies after 100,000 bytes',
  'never answers',
  'falls silent after 100,000 bytes',
  'answers 404',
  'answers 503',
  'has another ETag',
  'sends another range',
  'ignores the range',
  'ends early',
  'refuses',
];

for (const fault of FAULTS) {
  test(`when the first box ${fault}, the next one goes on and every byte is right`, async (context) => {
    const boxes = [await box(context, 'a', fault), await box(context, 'b', 'serves')];
    const switches: string[] = [];
    const parts: Uint8Array[] = [];
    const result = await fetchRange(
      ask(boxes, {
        // Only where lateness is the fault: a busy machine is late by itself.
        limits:
          fault === 'never answers'
            ? QUICK
            : { ...QUICK, firstByteMsMin: 20_000, firstByteMsMax: 30_000 },
        onSwitch: (from, to) => switches.push(`${from}>${to}`),
        onBytes: (bytes, received) => {
          parts.push(bytes.slice());
          // Only once bytes were read: a reset takes along what still lies in the socket.
          if (fault === 'dies after 100,000 bytes' && received > 10_000) boxes[0].die();
        },
      }),
    );
    assert.ok(Buffer.from(result.bytes).equals(WANTED));
    assert.ok(Buffer.concat(parts).equals(WANTED), 'each byte is handed over once, in order');
    // On a machine that is busy the second box may seem late in its turn; it is the first that counts here.
    assert.equal(switches[0], 'a>b');
    const isMidBody = fault.includes('100,000') || fault === 'ends early';
    const [continued] = boxes[1].requests;
    if (isMidBody) assert.notEqual(continued, 'bytes=1000-301234', 'not from the beginning again');
    else assert.equal(continued, 'bytes=1000-301234');
  });
}

test('a box that trickles below the media rate loses the race to the next one', async (context) => {
  const boxes = [await box(context, 'a', 'trickles'), await box(context, 'b', 'serves')];
  const result = await fetchRange(
    ask(boxes, { bpsMin: 1e6, limits: { ...QUICK, rateWindowMs: 100 } }),
  );
  assert.ok(Buffer.from(result.bytes).equals(WANTED));
  assert.equal(result.sourceId, 'b');
  assert.ok(result.races >= 1);
});

test('a box that failed stands behind the others afterwards', async (context) => {
  const boxes = [await box(context, 'a', 'refuses'), await box(context, 'b', 'serves')];
  const memory = new BoxMemory();
  await fetchRange(ask(boxes, { memory }));
  const again = await fetchRange(ask(boxes, { memory, limits: {} }));
  assert.equal(again.switches, 0);
  assert.equal(again.sourceId, 'b');
});

test('when every box fails twice, the error says what each of them did', async (context) => {
  const boxes = [
    await box(context, 'a', 'answers 404'),
    await box(context, 'b', 'has another ETag'),
  ];
  await assert.rejects(fetchRange(ask(boxes)), (error: unknown) => {
    assert.ok(error instanceof RangeFailed);
    assert.deepEqual(
      error.attempts.map(({ id, why }) => `${id} ${why}`),
      ['a answered 404', 'b has another ETag', 'a answered 404', 'b has another ETag'],
    );
    return true;
  });
});

test('races are bounded: 2 % of requests and a few to begin with', () => {
  const memory = new BoxMemory();
  let races = 0;
  for (let request = 0; request < 1000; request++) {
    memory.requests++;
    if (memory.mayRace(LIMITS)) {
      memory.races++;
      races++;
    }
  }
  assert.equal(races, LIMITS.racesFree + 20);
});

test('over a session in which a fifth of the first bytes are late, at most 2 % of requests and three are extra, and every byte is right', async () => {
  const lateMs = 80;
  const chance = seededRandom(11);
  let asked = 0;
  /** Boxes without a network: some first bytes come after a race may have begun. */
  const slowAtTimes: typeof fetch = async (_url, init) => {
    asked++;
    if (chance.next() < 0.2) {
      await new Promise((resolve) => {
        setTimeout(resolve, lateMs);
      });
    }
    const { range } = init!.headers as { range: string };
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(range)!;
    return new Response(CONTENT.subarray(Number(from), Number(to) + 1), {
      status: 206,
      headers: { etag: ETAG, 'content-range': `bytes ${from}-${to}/${CONTENT.length}` },
    });
  };
  const memory = new BoxMemory();
  const sources = ['a', 'b', 'c'].map((id) => ({ id, url: `http://${id}${PATH}` }));
  const ranges = 600;
  for (let done = 0; done < ranges; done += 50) {
    await Promise.all(
      Array.from({ length: 50 }, async (_, at) => {
        const start = (done + at) * 500;
        const { bytes } = await fetchRange({
          sources,
          etag: ETAG,
          start,
          endInclusive: start + 499,
          memory,
          fetch: slowAtTimes,
          limits: { firstByteMsMin: 1, lostRaceMs: 0 },
        });
        assert.ok(CONTENT.subarray(start, start + 500).equals(bytes));
      }),
    );
  }
  const extra = asked - ranges;
  assert.equal(extra, memory.races);
  assert.ok(extra > LIMITS.racesFree, `${extra} extra requests: late boxes were raced`);
  assert.ok(extra <= LIMITS.racesFree + 0.02 * asked + 1, `${extra} extra requests of ${asked}`);
});

test('without faults there is one request, from the best box', async (context) => {
  const boxes = [await box(context, 'a', 'serves'), await box(context, 'b', 'serves')];
  const memory = new BoxMemory();
  const result = await fetchRange(ask(boxes, { memory, limits: {} }));
  assert.deepEqual([result.sourceId, result.switches, memory.requests], ['a', 0, 1]);
  assert.deepEqual(boxes[1].requests, []);
});

test('an aborted range ends at once and asks nobody else', async (context) => {
  const boxes = [await box(context, 'a', 'never answers'), await box(context, 'b', 'serves')];
  const controller = new AbortController();
  const pending = fetchRange(ask(boxes, { signal: controller.signal, limits: {} }));
  controller.abort(new Error('seek'));
  await assert.rejects(pending, /seek/);
  assert.deepEqual(boxes[1].requests, []);
});

test('a box that lost a race without a byte stands behind the others: the next range is not raced again', async (context) => {
  const silent = await box(context, 'silent', 'never answers');
  const good = await box(context, 'good', 'serves');
  const memory = new BoxMemory();
  const ask = {
    sources: [silent, good],
    etag: ETAG,
    start: 0,
    endInclusive: 999,
    memory,
    // The silent one is raced long before it is given up.
    limits: { ...QUICK, firstByteMsMax: 60_000, lostRaceMs: 60_000 },
  };
  await fetchRange(ask);
  const { races } = memory;
  const next = await fetchRange(ask);
  assert.equal(next.sourceId, 'good');
  assert.equal(memory.races, races);
  assert.equal(silent.requests.length, 1);
});
