import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createSocket, type Socket } from 'node:dgram';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { seededRandom } from '../random.ts';
import {
  EAGAIN,
  EBADF,
  EPOLLET,
  EPOLLIN,
  EPOLLOUT,
  IPPROTO_TCP,
  MSG_MORE,
  MSG_TRUNC,
  SO_REUSEADDR,
  SO_SNDBUF,
  SOL_SOCKET,
  TCP_CORK,
  TCP_NODELAY,
} from './linux-abi.ts';
import { loadLinux, whyNoLinux, type Linux } from './linux.ts';

const linux = loadLinux();
const skip = linux === null ? `no native calls here: ${whyNoLinux()}` : false;
const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-linux-'));
after(() => rmSync(directory, { recursive: true }));

function calls(): Linux {
  assert.ok(linux !== null);
  return linux;
}

/** A connected pair: a node:net client, and the accepted descriptor. */
async function pair(address = '127.0.0.1'): Promise<{ client: net.Socket; fd: number }> {
  const l = calls();
  const listener = l.tcpSocket(address);
  assert.ok(listener >= 0);
  assert.equal(l.setOption(listener, SOL_SOCKET, SO_REUSEADDR, 1), 0);
  assert.equal(l.bind(listener, { address, port: 0 }), 0);
  assert.equal(l.listen(listener, 16), 0);
  const bound = l.localAddress(listener);
  assert.ok(bound !== null && bound.port > 0);
  const client = net.connect({ host: address, port: bound.port });
  await new Promise<void>((resolve) => client.once('connect', resolve));
  const fd = l.accept(listener);
  assert.ok(fd >= 0);
  assert.deepEqual(l.peerAddress(), { address, port: client.localPort });
  assert.equal(l.accept(listener), -EAGAIN);
  assert.equal(l.close(listener), 0);
  return { client, fd };
}

function collect(client: net.Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  client.on('data', (part: Buffer) => parts.push(part));
  return new Promise((resolve) => {
    client.on('end', () => resolve(Buffer.concat(parts)));
  });
}

for (const address of ['127.0.0.1', '::1']) {
  test(`bytes pass both ways over a TCP socket of ${address}`, { skip }, async () => {
    const l = calls();
    const { client, fd } = await pair(address);
    const memory = l.memory(8192);
    assert.equal(l.receive(fd, memory, 0, 8192, 0), -EAGAIN);
    client.write('hello');
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
    assert.equal(l.receive(fd, memory, 100, 3, 0), 3);
    assert.equal(memory.bytes.toString('latin1', 100, 103), 'hel');
    assert.equal(l.receive(fd, memory, 0, 8192, MSG_TRUNC), 2); // thrown away in the kernel
    const received = collect(client);
    memory.bytes.write('good day', 4096, 'latin1');
    assert.equal(l.send(fd, memory, 4096, 4, MSG_MORE), 4);
    assert.equal(l.send(fd, memory, 4100, 4, 0), 4);
    assert.equal(l.shutdownWrite(fd), 0);
    assert.equal((await received).toString('latin1'), 'good day');
    assert.equal(l.close(fd), 0);
  });
}

test(
  'sendfile sends exactly the asked part of a file, corked, and says 0 at its end',
  { skip },
  async () => {
    const l = calls();
    const content = randomBytes(300_000);
    const file = path.join(directory, 'content');
    writeFileSync(file, content);
    const input = openSync(file, 'r');
    const { client, fd } = await pair();
    const received = collect(client);
    assert.equal(l.setOption(fd, IPPROTO_TCP, TCP_CORK, 1), 0);
    for (let at = 1000; at < 250_000;) {
      const sent = l.sendfile(fd, input, at, 250_000 - at);
      if (sent === -EAGAIN) {
        await new Promise(setImmediate);
        continue;
      }
      assert.ok(sent > 0);
      at += sent;
    }
    assert.equal(l.setOption(fd, IPPROTO_TCP, TCP_CORK, 0), 0);
    assert.equal(l.sendfile(fd, input, 300_000, 10), 0);
    l.shutdownWrite(fd);
    assert.ok(content.subarray(1000, 250_000).equals(await received));
    l.close(fd);
    closeSync(input);
  },
);

test(
  'an epoll set behind one uv_poll tells what became ready, with slot and generation',
  { skip },
  async () => {
    const l = calls();
    const { client, fd } = await pair();
    const epoll = l.epollCreate();
    const events = l.epollEvents(8);
    assert.equal(l.epollAdd(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLET, 7, -3), 0);
    assert.equal(l.epollWait(epoll, events, 0), 1);
    assert.equal(events.mask(0), EPOLLOUT);
    assert.equal(l.epollWait(epoll, events, 0), 0); // edge-triggered: said once
    const found = new Promise<number>((resolve) => {
      const watch = l.watchReadable(epoll, () => {
        const count = l.epollWait(epoll, events, 0);
        void watch.close().then(() => resolve(count));
      });
    });
    client.write('x');
    assert.equal(await found, 1);
    assert.deepEqual([events.slot(0), events.generation(0)], [7, -3]);
    assert.ok((events.mask(0) & EPOLLIN) !== 0);
    assert.equal(l.epollDelete(epoll, fd), 0);
    l.close(fd);
    l.close(epoll);
    client.destroy();
  },
);

test('options are set and read back; a closed descriptor answers EBADF', { skip }, () => {
  const l = calls();
  const fd = l.tcpSocket('127.0.0.1');
  assert.equal(l.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1), 0);
  assert.equal(l.getOption(fd, IPPROTO_TCP, TCP_NODELAY), 1);
  assert.equal(l.setOption(fd, SOL_SOCKET, SO_SNDBUF, 65_536), 0);
  assert.equal(l.getOption(fd, SOL_SOCKET, SO_SNDBUF), 131_072); // the kernel doubles it
  l.close(fd);
  assert.equal(l.close(fd), -EBADF);
  assert.equal(l.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1), -EBADF);
});

test(
  'residency counts the pages of a file that are in memory, or says that the kernel cannot',
  { skip },
  () => {
    const l = calls();
    const file = path.join(directory, 'resident');
    writeFileSync(file, randomBytes(64 * 1024));
    readFileSync(file);
    const fd = openSync(file, 'r');
    const pages = l.residentPages(fd, 0, 64 * 1024);
    assert.ok(pages === 16 || pages < 0, `${pages}`);
    closeSync(fd);
  },
);

test('a file is read into the page cache without anybody waiting for it', { skip }, async () => {
  const l = calls();
  const file = path.join(directory, 'ahead');
  writeFileSync(file, randomBytes(64 * 1024));
  const fd = openSync(file, 'r');
  assert.equal(l.readAhead(fd, 4096, 32 * 1024), 0);
  for (let tries = 0; l.residentPages(fd, 4096, 32 * 1024) < 8; tries++) {
    if (l.residentPages(fd, 0, 4096) < 0) break; // this kernel does not say
    assert.ok(tries < 1000, 'it comes');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  closeSync(fd);
  assert.equal(l.readAhead(fd, 0, 4096), -EBADF);
  assert.throws(() => l.readAhead(fd, -1, 4096), RangeError);
});

test(
  'huge pages are had or refused with an errno, and what the memory holds stays',
  { skip },
  () => {
    const l = calls();
    const memory = l.memory(6 * 1024 * 1024);
    const expected = randomBytes(memory.bytes.length);
    expected.copy(memory.bytes);
    assert.equal((memory.pointer + BigInt(memory.hugePagesAt)) % BigInt(2 * 1024 * 1024), 0n);
    const result = l.preferHugePages(memory);
    assert.ok(result <= 0, `${result}`);
    assert.ok(memory.bytes.equals(expected));
    assert.ok(l.preferHugePages(l.memory(4096)) < 0, 'not a whole one in there');
  },
);

test('memory is page-aligned and refuses what lies outside of it', { skip }, () => {
  const l = calls();
  const memory = l.memory(5000);
  assert.equal(memory.pointer % 4096n, 0n);
  for (const [start, length] of [
    [0, 5001],
    [5000, 1],
    [-1, 1],
    [0, -1],
    [0.5, 1],
    [NaN, 1],
    [2 ** 53, 1],
  ]) {
    assert.throws(() => l.receive(0, memory, start, length, 0), RangeError);
    assert.throws(() => l.send(0, memory, start, length, 0), RangeError);
  }
});

test(
  'what is thrown while a watch runs ends the process as any bug does, not inside C',
  { skip },
  () => {
    const program = `
    const { loadLinux } = await import(${JSON.stringify(path.join(import.meta.dirname, 'linux.ts'))});
    const linux = loadLinux();
    const server = (await import('node:net')).createServer().listen(0, '127.0.0.1', () => {
      (async () => {
        const epoll = linux.epollCreate();
        const fd = linux.tcpSocket('127.0.0.1');
        linux.connect(fd, { address: '127.0.0.1', port: server.address().port });
        linux.epollAdd(epoll, fd, 4, fd, 0);
        linux.watchReadable(epoll, () => { throw new Error('a bug in a callback'); });
      })();
    });`;
    const ended = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(ended.status, 1, ended.stderr);
    assert.match(ended.stderr, /a bug in a callback/);
  },
);

test(
  '50,000 calls with wrong arguments throw or answer an errno, and never end the process',
  { skip },
  () => {
    const l = calls();
    const seed = Number(process.env['FUZZ_SEED'] ?? 20261120);
    const random = seededRandom(seed);
    const memory = l.memory(4096);
    const events = l.epollEvents(4);
    // No number here names a descriptor that is open in this process.
    const wrong: readonly unknown[] = [
    -1, 1.5, NaN, Infinity, -Infinity, 2 ** 31, 2 ** 40, 1e9, 70_000_000, '3', '', null, undefined,
    {}, [], 1n, -1n, true, Symbol('x'), () => 1, -0.5, 2 ** 53, -(2 ** 31),
  ]; // prettier-ignore
    const any = (): never => wrong[random.below(wrong.length)] as never;
    const attempts: readonly (() => unknown)[] = [
      () => l.receive(any(), memory, any(), any(), any()),
      () => l.receive(any(), memory, 0, 10, any()),
      () => l.send(any(), memory, 0, any(), any()),
      () => l.send(any(), memory, 5, 10, 0),
      () => l.receive(any(), any(), 0, 10, 0),
      () => l.sendfile(any(), any(), any(), any()),
      () => l.sendfile(any(), any(), 0, 10),
      () => l.setOption(any(), any(), any(), any()),
      () => l.getOption(any(), any(), any()),
      () => l.bind(any(), { address: any(), port: any() }),
      () => l.connect(any(), { address: '127.0.0.1', port: any() }),
      () => l.listen(any(), any()),
      () => l.accept(any()),
      () => l.localAddress(any()),
      () => l.shutdownWrite(any()),
      () => l.close(any()),
      () => l.epollAdd(any(), any(), any(), any(), any()),
      () => l.epollDelete(any(), any()),
      () => l.epollWait(any(), events, any()),
      () => l.epollWait(any(), any(), 0),
      () => l.epollEvents(any()),
      () => l.memory(any()),
      () => l.residentPages(any(), any(), any()),
      () => l.readAhead(any(), any(), any()),
      () => l.preferHugePages(any()),
      () => l.tcpSocket(any()),
    ];
    let thrown = 0;
    let errnos = 0;
    for (let i = 0; i < 50_000; i++) {
      try {
        const result = attempts[random.below(attempts.length)]();
        assert.ok(result === null || (typeof result === 'number' && result < 0), `seed ${seed}`);
        errnos++;
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error;
        assert.ok(
          error instanceof TypeError || error instanceof RangeError,
          `seed ${seed}: ${String(error)}`,
        );
        thrown++;
      }
    }
    assert.ok(thrown > 1000 && errnos > 1000, `${thrown} thrown, ${errnos} errnos`);
  },
);

for (const address of ['127.0.0.1', '::1']) {
  test(
    `datagrams come and go by the batch, each answer to its own sender (${address})`,
    { skip },
    async () => {
      const l = calls();
      const fd = l.udpSocket(address);
      assert.equal(l.bind(fd, { address, port: 0 }), 0);
      const port = l.localAddress(fd)?.port ?? 0;
      const clients = Array.from({ length: 3 }, () =>
        createSocket(address === '::1' ? 'udp6' : 'udp4'),
      );
      const heard = clients.map(
        (client) =>
          new Promise<string>((resolve) => {
            client.once('message', (message) => resolve(message.toString()));
          }),
      );
      const send = (client: Socket, text: string): Promise<void> =>
        new Promise((resolve) => {
          client.send(text, port, address, () => resolve());
        });
      const batch = l.messageBatch(8, 64);
      assert.equal(l.receiveBatch(fd, batch), -EAGAIN);
      for (const [at, client] of clients.entries()) await send(client, `client ${at}`);
      await send(clients[0], 'x'.repeat(65));
      let count = 0;
      for (let tries = 0; count < 4 && tries < 100; tries++) {
        const got = l.receiveBatch(fd, batch);
        for (let at = 0; at < got; at++) {
          count++;
          const message = batch.received(at);
          assert.equal(batch.sender(at).length, address === '::1' ? 16 : 4);
          if (message === null) continue; // longer than there is room: never a cut query
          assert.equal(
            batch.senderPort(at),
            clients[Number(message.toString().at(-1))].address().port,
          );
          const length = batch.room(at).write(`to ${message.toString()}`);
          if (message.toString() !== 'client 1') batch.answer(at, length);
        }
        const answers = batch.answers;
        if (got > 0 && answers > 0) assert.equal(l.sendBatch(fd, batch), answers);
        if (count < 4) await new Promise((resolve) => setImmediate(resolve));
      }
      assert.equal(count, 4);
      assert.deepEqual(await Promise.all([heard[0], heard[2]]), ['to client 0', 'to client 2']);
      for (const client of clients) client.close();
      l.close(fd);
    },
  );
}
