import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import net from 'node:net';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '#base/clock.ts';
import { createLogger } from '#base/log.ts';
import { encodeName } from '../dns/response.ts';
import { exampleWorld } from '../example-fleet.ts';
import { DnsPool } from './dns-pool.ts';

const HOST = '127.77.43.1';
const run = promisify(execFile);
const hasDig = await run('dig', ['-v']).then(
  () => true,
  () => false,
);

async function pool(context: TestContext, threads = 1): Promise<number> {
  const names = Array.from({ length: 9 }, (_, at) => ({
    name: `${'n'.repeat(50)}${at}`,
    addresses: ['192.0.2.1'],
  }));
  const one = new DnsPool(
    {
      address: HOST,
      port: 0,
      zone: { zone: 'cdn.test', steerAddresses: ['127.77.0.6'], nameServers: names },
      cookieSecret: Buffer.from('secret'),
      rateLimited: true,
      seed: 5,
    },
    threads,
    systemClock,
    createLogger('steering', 'silent'),
  );
  const port = await one.start();
  one.offer(exampleWorld());
  context.after(() => one.stop());
  return port;
}

function query(id: number, name: string, type = 1): Buffer {
  return Buffer.concat([
    Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    encodeName(name.split('.')),
    Buffer.from([0, type, 0, 1]),
  ]);
}

function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message]);
}

/** Sends bytes over one connection and collects messages until `count` came or the server closed. */
function overTcp(port: number, pieces: readonly Buffer[], count: number): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: HOST, port });
    const messages: Buffer[] = [];
    let held = Buffer.alloc(0);
    socket.setTimeout(5000, () => reject(new Error('no answer')));
    socket.on('error', reject);
    socket.on('close', () => resolve(messages));
    socket.on('data', (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
        messages.push(held.subarray(2, 2 + held.readUInt16BE(0)));
        held = held.subarray(2 + held.readUInt16BE(0));
      }
      if (messages.length >= count) socket.destroy();
    });
    socket.on('connect', () => {
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece);
          await new Promise((next) => setImmediate(next));
        }
      })();
    });
  });
}

test('queries may be pipelined and cut anywhere over TCP; answers come in order', async (context) => {
  const port = await pool(context);
  const all = Buffer.concat([1, 2, 3, 4].map((id) => framed(query(id, 'steer.cdn.test'))));
  const pieces = Array.from({ length: Math.ceil(all.length / 7) }, (_, at) =>
    all.subarray(at * 7, at * 7 + 7),
  );
  const answers = await overTcp(port, pieces, 4);
  assert.deepEqual(
    answers.map((answer) => answer.readUInt16BE(0)),
    [1, 2, 3, 4],
  );
  for (const answer of answers) assert.equal(answer.readUInt16BE(6), 1);
});

test('an answer that UDP must cut is whole over TCP', async (context) => {
  const port = await pool(context);
  const [answer] = await overTcp(port, [framed(query(9, 'cdn.test', 2))], 1);
  assert.equal(answer.readUInt16BE(6), 9);
  assert.equal(answer[2] & 2, 0);
});

test('a connection that sends what gets no answer is closed', async (context) => {
  const port = await pool(context);
  const response = query(1, 'steer.cdn.test');
  response[2] |= 0x80;
  assert.deepEqual(await overTcp(port, [framed(response)], 1), []);
  assert.deepEqual(await overTcp(port, [framed(Buffer.alloc(3))], 1), []);
});

/** Asks over UDP from a socket of its own, so that the kernel picks a thread anew each time. */
function overUdp(port: number, message: Buffer): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const timer = setTimeout(() => end(null), 1000);
    const end = (answer: Buffer | null): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    socket.on('message', end);
    socket.bind(0, '127.77.43.9', () => socket.send(message, port, HOST));
  });
}

test('several threads share the port and answer alike, over UDP and TCP', async (context) => {
  const port = await pool(context, 2);
  const answers = new Set<string>();
  for (let at = 0; at < 24; at++) {
    const answer = await overUdp(port, query(7, 'lyon-a.oca.cdn.test'));
    if (answer !== null) answers.add(answer.toString('hex'));
  }
  assert.equal(answers.size, 1);
  const [tcp] = await overTcp(port, [framed(query(7, 'lyon-a.oca.cdn.test'))], 1);
  assert.deepEqual([...answers], [tcp.toString('hex')]);
});

// What ISC's EDNS compliance tester asks of every server, one dig each.
const PROBES: readonly [
  title: string,
  args: readonly string[],
  has: readonly RegExp[],
  not: readonly RegExp[],
][] = [
  [
    'no EDNS',
    ['+noedns', 'soa', 'cdn.test'],
    [/status: NOERROR/, /\sSOA\s/, /flags: qr aa;/],
    [/OPT PSEUDOSECTION/],
  ],
  [
    'EDNS 0',
    ['+edns=0', '+nocookie', 'soa', 'cdn.test'],
    [/status: NOERROR/, /EDNS: version: 0, flags:; udp: 1232/],
    [],
  ],
  [
    'EDNS 1',
    ['+edns=1', '+noednsneg', '+nocookie', 'soa', 'cdn.test'],
    [/status: BADVERS/, /EDNS: version: 0/, /ANSWER: 0/],
    [],
  ],
  [
    'an unknown option',
    ['+ednsopt=100', '+nocookie', 'soa', 'cdn.test'],
    [/status: NOERROR/],
    [/OPT=100/],
  ],
  [
    'an unknown option with EDNS 1',
    ['+edns=1', '+noednsneg', '+ednsopt=100', '+nocookie', 'soa', 'cdn.test'],
    [/status: BADVERS/],
    [/OPT=100/],
  ],
  [
    'unknown EDNS flags',
    ['+ednsflags=0x80', '+nocookie', 'soa', 'cdn.test'],
    [/status: NOERROR/],
    [/MBZ/],
  ],
  [
    'DNSSEC OK',
    ['+dnssec', '+nocookie', 'soa', 'cdn.test'],
    [/EDNS: version: 0, flags: do;/],
    [/RRSIG/],
  ],
  [
    'too large for the client',
    ['+dnssec', '+bufsize=512', '+ignore', '+nocookie', 'ns', 'cdn.test'],
    [/flags: qr aa tc;/, /OPT PSEUDOSECTION/, /ANSWER: 0/],
    [],
  ],
  [
    'too large, over TCP by itself',
    ['+bufsize=512', '+nocookie', 'ns', 'cdn.test'],
    [/Truncated, retrying in TCP/, /ANSWER: 9/],
    [],
  ],
  [
    'many options',
    ['+nsid', '+subnet=0.0.0.0/0', '+cookie=0102030405060708', '+expire', 'soa', 'cdn.test'],
    [
      /status: NOERROR/,
      /COOKIE: 0102030405060708[0-9a-f]{32} \(good\)/,
      /CLIENT-SUBNET: 0\.0\.0\.0\/0\/0/,
    ],
    [/NSID/],
  ],
  [
    'TCP',
    ['+tcp', '+keepalive', 'soa', 'cdn.test'],
    [/status: NOERROR/, /\(TCP\)/, /TCP[- ]KEEPALIVE: 10\.0 secs/i],
    [],
  ],
  [
    'an unknown type',
    ['type1000', 'cdn.test'],
    [/status: NOERROR/, /ANSWER: 0/, /AUTHORITY: 1/],
    [],
  ],
  ['another operation', ['+opcode=15', '+noedns', 'cdn.test'], [/status: NOTIMP/], []],
  ['ANY', ['any', 'cdn.test', '+notcp'], [/HINFO\s+"RFC8482" ""/], []],
  ['somebody else’s zone', ['a', 'example.org'], [/status: REFUSED/, /EDE: 20/], [/flags: qr aa/]],
  ['a zone transfer', ['axfr', 'cdn.test'], [/Transfer failed/], []],
  [
    'the case of the question',
    ['a', 'StEeR.cDn.TeSt'],
    [/StEeR\.cDn\.TeSt\.\s+20\s+IN\s+A\s+127\.77\.0\.6/],
    [],
  ],
];

test(
  'the compliance probes, one dig each',
  { skip: !hasDig && 'dig is not installed (bind9-dnsutils)' },
  async (context) => {
    const port = await pool(context);
    for (const [title, args, has, not] of PROBES) {
      const command = [
        `@${HOST}`,
        '-p',
        String(port),
        '+norec',
        '+tries=1',
        '+time=3',
        '+comments',
        ...args,
      ];
      const { stdout } = await run('dig', command).catch((thrown: { stdout: string }) => thrown);
      for (const words of has) assert.match(stdout, words, `${title}\n${stdout}`);
      for (const words of not) assert.doesNotMatch(stdout, words, `${title}\n${stdout}`);
      assert.doesNotMatch(stdout, /malformed|WARNING: Message|extra bytes/i, title);
    }
  },
);
