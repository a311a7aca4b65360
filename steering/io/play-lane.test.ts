import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { PlayLane, readPlainHead, type PlayLaneOptions, type PlayReply } from './play-lane.ts';

const HEADERS = 'Host: s\r\nContent-Type: application/json\r\n';

function ask(body: string, path = '/play', headers = HEADERS): string {
  return `POST ${path} HTTP/1.1\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** What a lane answered says "lane", what node:http answered says "http". */
async function start(
  context: TestContext,
  options: Partial<Pick<PlayLaneOptions, 'answer' | 'requestTimeoutMs'>> = {},
): Promise<{ connect(): net.Socket; readonly lane: PlayLane }> {
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => response.end(JSON.stringify({ by: 'http', url: request.url, body })));
  });
  const lane = new PlayLane(server, {
    path: '/play',
    bodyBytesMax: 1000,
    requestTimeoutMs: options.requestTimeoutMs ?? 10_000,
    answer:
      options.answer ??
      ((_authorization, read) => reply({ by: 'lane', body: JSON.stringify(read()) })),
    fail: (thrown) => reply({ by: 'lane', failed: String(thrown) }, 500),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const sockets: net.Socket[] = [];
  context.after(async () => {
    for (const socket of sockets) socket.destroy();
    lane.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    lane,
    connect() {
      const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      sockets.push(socket);
      return socket;
    },
  };
}

function reply(body: unknown, status = 200): PlayReply {
  return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/** The bodies of the next `count` answers; none of them may hold a closing brace but at its end. */
async function answers(socket: net.Socket, count: number): Promise<Record<string, unknown>[]> {
  let text = '';
  for await (const part of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    text += part.toString();
    const found = bodiesOf(text);
    if (found.length >= count) return found;
  }
  return bodiesOf(text);
}

function bodiesOf(text: string): Record<string, unknown>[] {
  const found: Record<string, unknown>[] = [];
  let rest = text;
  for (;;) {
    const headEnd = rest.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(rest)?.[1] ?? NaN);
    if (headEnd === -1 || rest.length < headEnd + 4 + length) return found;
    found.push(
      JSON.parse(rest.slice(headEnd + 4, headEnd + 4 + length)) as Record<string, unknown>,
    );
    rest = rest.slice(headEnd + 4 + length);
  }
}

test('heads that are plain, and heads that are left to node:http: table', () => {
  const plain = (text: string) => readPlainHead(text.split('\r\n\r\n')[0], '/play', 1000);
  const good = ask('{}');
  assert.deepEqual(plain(good), { bodyBytes: 2, authorization: undefined });
  assert.deepEqual(plain(ask('{}', '/play', `${HEADERS}authorization:  Bearer x \r\n`)), {
    bodyBytes: 2,
    authorization: 'Bearer x',
  });
  assert.ok(plain(ask('{}', '/play', `${HEADERS}Connection: Keep-Alive\r\nX: \r\n`)) !== null);
  const others: Record<string, string> = {
    'another method': good.replace('POST', 'GET'),
    'another path': ask('{}', '/play/batch'),
    'a query': ask('{}', '/play?x'),
    'HTTP/1.0': good.replace('HTTP/1.1', 'HTTP/1.0'),
    'no host': good.replace('Host: s\r\n', ''),
    'another type': good.replace('json', 'xml'),
    'no length': good.replace(/Content-Length: \d+/, 'X: 1'),
    'no body': good.replace('Length: 2', 'Length: 0'),
    'a length that is no number': good.replace('Length: 2', 'Length: 2x'),
    'a length with a sign': good.replace('Length: 2', 'Length: +2'),
    'a body that is too large': good.replace('Length: 2', 'Length: 1001'),
    'two lengths': good.replace('Host', 'Content-Length: 2\r\nHost'),
    chunks: good.replace('Host', 'Transfer-Encoding: chunked\r\nHost'),
    'a wish to be told first': good.replace('Host', 'Expect: 100-continue\r\nHost'),
    'its last request': good.replace('Host', 'Connection: close\r\nHost'),
    'an upgrade': good.replace('Host', 'Upgrade: h2c\r\nHost'),
    'a folded line': good.replace('Host', 'X: a\r\n b\r\nHost'),
    'a space before the colon': good.replace('Host:', 'Host :'),
    'a bare line feed': good.replace('Host: s\r\n', 'Host: s\nX: y\r\n'),
    'bytes above ASCII': good.replace('Host: s', 'Host: \u00e9'),
    'a control character': good.replace('Host: s', 'Host: s\u0001'),
  };
  for (const [title, text] of Object.entries(others)) assert.equal(plain(text), null, title);
});

test('a connection is the lane’s until it asks something else, and node:http’s from then on', async (context) => {
  const socket = (await start(context)).connect();
  socket.write(ask('{"n":1}'));
  assert.deepEqual(await answers(socket, 1), [{ by: 'lane', body: '{"n":1}' }]);
  socket.write(ask('{"n":2}') + ask('x', '/other') + ask('{"n":3}'));
  assert.deepEqual(await answers(socket, 3), [
    { by: 'lane', body: '{"n":2}' },
    { by: 'http', url: '/other', body: 'x' },
    { by: 'http', url: '/play', body: '{"n":3}' },
  ]);
  socket.write(ask('{"n":4}'));
  assert.deepEqual(await answers(socket, 1), [{ by: 'http', url: '/play', body: '{"n":4}' }]);
});

test('wherever a request is cut in two, it is answered once, whole', async (context) => {
  const it = await start(context);
  const text = ask('{"n":12345}');
  const bodyStart = text.indexOf('\r\n\r\n') + 4;
  for (let cut = 1; cut < text.length; cut++) {
    const socket = it.connect();
    await once(socket, 'connect');
    socket.setNoDelay(true);
    socket.write(text.slice(0, cut));
    await new Promise((resolve) => setTimeout(resolve, 3));
    socket.write(text.slice(cut));
    const [answer] = await answers(socket, 1);
    assert.equal(answer['body'], '{"n":12345}', `cut at ${cut}`);
    if (cut >= bodyStart) assert.equal(answer['by'], 'lane', `cut at ${cut}`);
    socket.destroy();
  }
});

test('answers leave in the order of the requests, also where one has to wait', async (context) => {
  const waiting: (() => void)[] = [];
  const it = await start(context, {
    answer: (_authorization, read) => {
      const body = read() as { wait?: boolean };
      if (body.wait !== true) return reply(body);
      return new Promise((resolve) => waiting.push(() => resolve(reply(body))));
    },
  });
  const socket = it.connect();
  socket.write(ask('{"n":1}') + ask('{"n":2,"wait":true}') + ask('{"n":3}'));
  assert.deepEqual(await answers(socket, 1), [{ n: 1 }]);
  socket.write(ask('{"n":4}'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(waiting.length, 1);
  assert.equal(socket.read(), null, 'nothing overtakes');
  waiting[0]();
  const rest = await answers(socket, 3);
  assert.deepEqual(
    rest.map(({ n }) => n),
    [2, 3, 4],
  );
});

test('what is not plain goes to node:http also behind an answer that had to be waited for', async (context) => {
  let answer: (() => void) | undefined;
  const it = await start(context, {
    answer: () =>
      new Promise((resolve) => {
        answer = () => resolve(reply({ by: 'lane', body: 'late' }));
      }),
  });
  const socket = it.connect();
  socket.write(ask('{"n":1}') + ask('x', '/other'));
  while (answer === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  socket.write(ask('y', '/another'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  answer();
  assert.deepEqual(
    (await answers(socket, 3)).map(({ by, body }) => [by, body]),
    [
      ['lane', 'late'],
      ['http', 'x'],
      ['http', 'y'],
    ],
  );
});

test('what fails is a 500, at once or later; the connection goes on', async (context) => {
  const it = await start(context, {
    answer: (_authorization, read) => {
      const body = read() as { later?: boolean; fails?: boolean };
      if (body.later === true) return Promise.reject(new Error('later'));
      if (body.fails === true) throw new Error('at once');
      return reply(body);
    },
  });
  const socket = it.connect();
  socket.write(ask('{"fails":true}') + ask('{"later":true}') + ask('{"n":3}'));
  assert.deepEqual(await answers(socket, 3), [
    { by: 'lane', failed: 'Error: at once' },
    { by: 'lane', failed: 'Error: later' },
    { n: 3 },
  ]);
});

test('a client that sends no more gets its answers, then the end', async (context) => {
  const socket = (await start(context)).connect();
  socket.end(ask('{"n":1}') + ask('{"n":2}'));
  const found = await answers(socket, 3);
  assert.deepEqual(
    found.map(({ body }) => body),
    ['{"n":1}', '{"n":2}'],
  );
});

test('a client that asks and does not read is not read from: its answers are not made', async (context) => {
  let made = 0;
  const large = { text: 'x'.repeat(200_000) };
  const it = await start(context, {
    answer: () => {
      made++;
      return reply(large);
    },
  });
  const socket = it.connect();
  socket.pause();
  socket.write(ask('{}').repeat(500));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const madeUnread = made;
  assert.ok(madeUnread > 0 && madeUnread < 100, `${madeUnread} answers made for nobody`);
  let bytes = 0;
  for await (const part of socket as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes >= 300 * large.text.length) break;
  }
  assert.ok(made >= 300, 'it is read from again once it reads');
});

test('a body that does not come ends the connection, also where it trickles in', async (context) => {
  const it = await start(context, { requestTimeoutMs: 200 });
  for (const trickles of [false, true]) {
    const socket = it.connect();
    // What trickles in after the end is answered with a reset: the connection ends either way.
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.resume();
    socket.write(ask('x'.repeat(900)).slice(0, -890));
    const timer = setInterval(() => trickles && socket.write('x'), 20);
    context.after(() => clearInterval(timer));
    socket.on('end', () => socket.end());
    await closed;
    clearInterval(timer);
  }
});

test('closing ends the connections that are still the lane’s', async (context) => {
  const it = await start(context);
  const socket = it.connect();
  socket.write(ask('{"n":1}'));
  await answers(socket, 1);
  const ended = once(socket, 'end');
  socket.resume();
  it.lane.close();
  await ended;
});
