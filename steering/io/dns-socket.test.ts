import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { test } from 'node:test';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { openDnsSocket } from './dns-socket.ts';

const HOST = '127.77.44.1';
const linux = loadLinux();
const noBatches = linux === null ? `no native calls here: ${whyNoLinux()}` : false;

for (const [kind, with_, skip] of [
  ['batches', linux, noBatches],
  ['portable', null, false],
] as const) {
  test(
    `${kind}: each question gets its own answer, what gets none is dropped, what is too long as well`,
    { skip },
    async () => {
      const resolvers: string[] = [];
      let batches = 0;
      const options = {
        address: HOST,
        port: 0,
        sharesPort: false,
        onFault: (detail: string) => assert.fail(detail),
        onBatch: () => batches++,
        respond: (
          query: Buffer,
          queryAt: number,
          queryBytes: number,
          sender: Uint8Array,
          senderAt: number,
          senderBytes: number,
          room: Buffer,
          roomAt: number,
        ): number => {
          resolvers.push(sender.subarray(senderAt, senderAt + senderBytes).join('.'));
          const message = query.toString('latin1', queryAt, queryAt + queryBytes);
          return message === 'drop' ? 0 : room.write(`re ${message}`, roomAt);
        },
      };
      const socket = await openDnsSocket(options, with_);
      assert.equal(socket.kind, kind);
      const client = createSocket('udp4');
      const answers: string[] = [];
      const all = new Promise<void>((resolve) => {
        client.on('message', (message) => {
          answers.push(message.toString());
          if (answers.length === 100) resolve();
        });
      });
      await new Promise<void>((resolve) => {
        client.bind(0, '127.77.44.2', resolve);
      });
      client.send('drop', socket.port, HOST);
      client.send('x'.repeat(5000), socket.port, HOST);
      for (let at = 0; at < 100; at++) client.send(`question ${at}`, socket.port, HOST);
      await all;
      assert.deepEqual(
        new Set(answers),
        new Set(Array.from({ length: 100 }, (_, at) => `re question ${at}`)),
      );
      assert.deepEqual([...new Set(resolvers)], ['127.77.44.2']);
      assert.equal(resolvers.length, 101, 'a question of 5,000 bytes is none');
      assert.ok(batches > 0 && batches <= 103);
      client.close();
      await socket.close();
    },
  );

  test(`${kind}: a port in use and an address of somebody else say so`, { skip }, async () => {
    const taken = createSocket('udp4');
    await new Promise<void>((resolve) => {
      taken.bind({ address: HOST, port: 0, exclusive: true }, resolve);
    });
    const options = { sharesPort: false, onFault: () => {}, onBatch: () => {}, respond: () => 0 };
    const port = taken.address().port;
    await assert.rejects(openDnsSocket({ ...options, address: HOST, port }, with_), {
      code: 'EADDRINUSE',
    });
    await assert.rejects(openDnsSocket({ ...options, address: '192.0.2.1', port: 0 }, with_), {
      code: 'EADDRNOTAVAIL',
    });
    await new Promise<void>((resolve) => {
      taken.close(() => resolve());
    });
  });
}
