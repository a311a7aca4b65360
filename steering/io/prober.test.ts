import assert from 'node:assert/strict';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { systemClock } from '#base/clock.ts';
import type { ProbeResult } from '../evidence.ts';
import { Prober, verdictOf } from './prober.ts';

const KIB = 'x'.repeat(1024);
const PATH = '/;URISigningPackage=TOKEN/t/film/file';

test('what the first bytes of an answer say: table', () => {
  const cases: readonly [string, string, boolean, ProbeResult | 'wait'][] = [
    ['nothing yet', '', true, 'wait'],
    ['half a word', 'HTT', true, 'wait'],
    ['half a status', 'HTTP/1.1 2', true, 'wait'],
    ['another protocol', 'SSH-2.0-OpenSSH', true, 'refused'],
    ['not found is an answer', 'HTTP/1.1 404 Not Found\r\n', true, 'answered'],
    ['refused by admission is an answer', 'HTTP/1.1 403 Forbidden\r\n', true, 'answered'],
    ['to HEAD a status is enough', 'HTTP/1.1 200 OK\r\n', false, 'answered'],
    ['a head without bytes', 'HTTP/1.1 206 Partial\r\ncontent-length: 1024\r\n\r\n', true, 'wait'],
    ['some bytes', `HTTP/1.1 206 Partial\r\n\r\n${KIB.slice(1)}`, true, 'wait'],
    ['all bytes', `HTTP/1.1 206 Partial\r\n\r\n${KIB}`, true, 'answered'],
    ['a file of 3 bytes', 'HTTP/1.1 206 Partial\r\nContent-Length: 3\r\n\r\nabc', true, 'answered'],
    ['a head without an end', `HTTP/1.1 206 ${'x'.repeat(20_000)}`, true, 'refused'],
  ];
  for (const [title, received, hasBody, expected] of cases) {
    assert.equal(verdictOf(received, hasBody), expected, title);
  }
});

/** Probes one box once, which does `serve` with each connection. */
async function probe(
  context: TestContext,
  serve: ((socket: net.Socket, request: string) => void) | null,
  path: string | null = PATH,
): Promise<ProbeResult | 'no-address'> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes) => serve?.(socket, bytes.toString('latin1')));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  if (serve === null) await new Promise((resolve) => server.close(resolve));
  else context.after(() => void server.close());
  return new Promise((resolve) => {
    let isDone = false;
    const prober = new Prober({
      limits: {
        periodMs: 60_000,
        connectMs: 1000,
        requestMs: 500,
        perSecondMax: 100,
        fromAddresses: [],
      },
      clock: systemClock,
      pathOf: () => Promise.resolve(path),
      targets: () =>
        isDone ? [] : [{ key: 'a', id: 'a', baseUrl: `http://127.0.0.1:${port}`, family: 4 }],
      onResult: (_target, result) => {
        isDone = true;
        prober.stop();
        resolve(result);
      },
    });
    prober.start();
  });
}

test('a box is asked for the first KiB of a file that it holds, and must send what it promises', async (context) => {
  const requests: string[] = [];
  const answer = (text: string) => (socket: net.Socket, request: string) => {
    requests.push(request);
    socket.write(text);
  };
  assert.equal(await probe(context, answer(`HTTP/1.1 206 Partial\r\n\r\n${KIB}`)), 'answered');
  assert.match(requests[0], /^GET \/;URISigningPackage=TOKEN\/t\/film\/file HTTP\/1\.1\r\n/);
  assert.match(requests[0], /\r\nRange: bytes=0-1023\r\n/);
  assert.equal(await probe(context, answer('HTTP/1.1 404 Not Found\r\n\r\n')), 'answered');
  assert.equal(
    await probe(context, answer('HTTP/1.1 206 Partial\r\ncontent-length: 1024\r\n\r\n')),
    'timed-out',
    'its disk hangs',
  );
  assert.equal(await probe(context, () => {}), 'timed-out');
  assert.equal(await probe(context, (socket) => socket.resetAndDestroy()), 'refused');
  assert.equal(await probe(context, null), 'refused');
  assert.equal(await probe(context, answer('HTTP/1.1 404 Not Found\r\n\r\n'), null), 'answered');
  assert.match(requests.at(-1) ?? '', /^HEAD \/ HTTP\/1\.1\r\n/);
});
