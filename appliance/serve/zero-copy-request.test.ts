import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { seededRandom, type Random } from '#base/random.ts';
import { INCOMPLETE, NOT_PLAIN, parsePlainRequest, PlainRequest } from './zero-copy-request.ts';

const PLAIN =
  'GET /;URISigningPackage=abc.def/t/title/file?CMCD=bl%3D3 HTTP/1.1\r\nHost: box:80\r\nrange:bytes=0-99\r\n' +
  'If-Range: \t"x" \r\nif-none-match: "y"\r\nIF-MATCH: "z"\r\nAuthorization: Bearer g\r\nNightfill-Purpose: fill\r\n' +
  'nightfill-possession: a.b.c\r\nConnection: Keep-Alive\r\nUser-Agent: a (b; c) \xe9\r\nX-Empty:\r\n\r\n';

function parse(text: string, request = new PlainRequest('127.0.0.1')): [number, PlainRequest] {
  const bytes = Buffer.from(`??${text}`, 'latin1');
  return [parsePlainRequest(bytes, 2, bytes.length, request), request];
}

test('a plain head is taken apart into its known fields', () => {
  const [length, request] = parse(`${PLAIN}GET /next`);
  assert.equal(length, PLAIN.length);
  assert.deepEqual(Object.assign({}, request), {
    method: 'GET',
    target: '/;URISigningPackage=abc.def/t/title/file?CMCD=bl%3D3',
    host: 'box:80',
    range: 'bytes=0-99',
    ifRange: '"x"',
    ifMatch: '"z"',
    ifNoneMatch: '"y"',
    authorization: 'Bearer g',
    purpose: 'fill',
    possession: 'a.b.c',
    remoteAddress: '127.0.0.1',
    secure: false,
  });
});

test('every prefix of a plain head is incomplete', () => {
  for (let length = 0; length < PLAIN.length; length++) {
    assert.equal(parse(PLAIN.slice(0, length))[0], INCOMPLETE, `${length} bytes`);
  }
});

test('the fields of one request do not stay for the next, and a remembered target is its own', () => {
  const request = new PlainRequest('127.0.0.1');
  parse(PLAIN, request);
  const target = request.target;
  assert.ok(parse(PLAIN, request)[0] > 0);
  assert.equal(request.target, target);
  assert.ok(parse(PLAIN.replace('GET', 'HEAD').replace('title', 'other'), request)[0] > 0);
  assert.equal(request.method, 'HEAD');
  assert.match(request.target, /other/);
  parse('GET / HTTP/1.1\r\nHost: b\r\n\r\n', request);
  assert.deepEqual(
    [request.method, request.target, request.range, request.authorization, request.possession],
    ['GET', '/', undefined, undefined, undefined],
  );
});

const NOT_PLAIN_HEADS: readonly (readonly [why: string, head: string])[] = [
  ['another method', 'POST / HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['OPTIONS', 'OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['lower case', 'get / HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\nHost: b\r\n\r\n'],
  ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n'],
  ['two Ranges', 'GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n'],
  ['absolute form', 'GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['a control byte in the target', 'GET /\x01 HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['a byte above 127 in the target', 'GET /\xe9 HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['bare LF', 'GET / HTTP/1.1\nHost: b\n\n'],
  ['bare LF after a field', 'GET / HTTP/1.1\r\nHost: b\n\r\n'],
  ['bare CR in a field', 'GET / HTTP/1.1\r\nHost: b\rX: y\r\n\r\n'],
  ['a folded field', 'GET / HTTP/1.1\r\nHost: b\r\nX: a\r\n b\r\n\r\n'],
  ['a space before the colon', 'GET / HTTP/1.1\r\nHost : b\r\n\r\n'],
  ['no colon', 'GET / HTTP/1.1\r\nHost: b\r\nnothing\r\n\r\n'],
  ['an empty name', 'GET / HTTP/1.1\r\nHost: b\r\n: x\r\n\r\n'],
  ['a NUL in a value', 'GET / HTTP/1.1\r\nHost: b\r\nX: \0\r\n\r\n'],
  ['a body', 'GET / HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n'],
  ['a chunked body', 'GET / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['Expect', 'GET / HTTP/1.1\r\nHost: b\r\nExpect: 100-continue\r\n\r\n'],
  ['Upgrade', 'GET / HTTP/1.1\r\nHost: b\r\nUpgrade: h2c\r\n\r\n'],
  ['Connection: close', 'GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n'],
  ['Connection: two words', 'GET / HTTP/1.1\r\nHost: b\r\nConnection: keep-alive, x\r\n\r\n'],
  ['an empty line first', '\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n'],
  ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
];

for (const [why, head] of NOT_PLAIN_HEADS) {
  test(`${why} is not plain: node:http decides`, () => {
    assert.equal(parse(head)[0], NOT_PLAIN);
  });
}

/** A request that is mostly right: pieces of a grammar, with a few bytes changed. */
function randomHead(random: Random): string {
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)];
  const lines = Array.from({ length: random.below(5) }, () => {
    const name = pick([
      'Host',
      'RANGE',
      'if-range',
      'Connection',
      'X-Y',
      'Content-Length',
      'Accept',
    ]);
    const value = pick(['b', 'bytes=0-1', 'keep-alive', '', ' "x" ', '0', '*/*', '\xfcber']);
    return `${name}:${pick(['', ' ', '\t'])}${value}\r\n`;
  });
  const method = pick(['GET', 'GET', 'GET', 'HEAD', 'PUT']);
  const target = pick(['/', '/t/a/b', `/${'x'.repeat(60)}`, '/a?b=c', 'x']);
  const version = pick(['1.1', '1.1', '1.1', '1.0']);
  const text = `${method} ${target} HTTP/${version}\r\nHost: h\r\n${lines.join('')}\r\n`;
  const bytes = text.split('');
  for (let changes = random.below(3); changes > 0; changes--) {
    const at = random.below(bytes.length);
    const byte = String.fromCharCode(pick([0, 9, 10, 13, 32, 45, 58, 127, 200, random.below(256)]));
    bytes.splice(at, pick([0, 1, 1]), ...pick([[byte], [byte], []]));
  }
  return bytes.join('');
}

test('200,000 random heads: never an exception, prefixes never disagree with the whole', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? 20261121);
  const random = seededRandom(seed);
  const seen = { plain: 0, notPlain: 0, incomplete: 0 };
  const kept = new PlainRequest('127.0.0.1');
  for (let i = 0; i < 200_000; i++) {
    const text = randomHead(random);
    const [whole, fresh] = parse(text);
    const [again] = parse(text, kept); // with a remembered first line
    assert.equal(again, whole, `seed ${seed}: ${JSON.stringify(text)}`);
    if (whole > 0) {
      assert.deepEqual(
        [kept.method, kept.target, kept.range],
        [fresh.method, fresh.target, fresh.range],
      );
      seen.plain++;
    } else if (whole === NOT_PLAIN) seen.notPlain++;
    else seen.incomplete++;
    const prefix = parse(text.slice(0, random.below(text.length + 1)))[0];
    const agrees = prefix === INCOMPLETE || prefix === whole;
    assert.ok(agrees, `seed ${seed}: ${JSON.stringify(text)}: ${prefix} of a prefix, ${whole}`);
  }
  assert.ok(seen.plain > 10_000 && seen.notPlain > 10_000 && seen.incomplete > 100);
});

test('what is plain is the same request to node:http, in 3,000 random heads', async () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? 20261122);
  const random = seededRandom(seed);
  let seen: IncomingMessage | null = null;
  const server = createServer((request, response) => {
    seen = request;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    for (let plain = 0; plain < 3000;) {
      const text = randomHead(random);
      const [length, request] = parse(text);
      if (length <= 0) continue;
      plain++;
      seen = null;
      const socket = connect(port, '127.0.0.1');
      await new Promise<void>((resolve) => {
        socket.on('data', () => resolve());
        socket.on('error', () => resolve());
        socket.on('close', () => resolve());
        socket.write(text.slice(0, length), 'latin1');
      });
      socket.destroy();
      const context = `seed ${seed}: ${JSON.stringify(text)}`;
      const theirs = seen as IncomingMessage | null;
      assert.ok(theirs !== null, `node:http refuses it. ${context}`);
      assert.equal(theirs.method, request.method, context);
      assert.equal(theirs.url, request.target, context);
      assert.equal(theirs.headers.host, request.host, context);
      assert.equal(theirs.headers.range, request.range, context);
      assert.equal(theirs.headers['if-range'], request.ifRange, context);
    }
  } finally {
    server.close();
  }
});
