import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { loadLinux, whyNoLinux, type Linux } from '#base/io/linux.ts';
import { seededRandom } from '#base/random.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { NO_FIELDS, type Ending, type StoredFile } from '../serve/sender.ts';
import { HotChunks } from './hot-chunks.ts';
import { PortableSender } from './portable-sender.ts';
import { ColdReader, type ColdResult, type ColdSlice } from './zero-copy-cold.ts';
import { ZeroCopySender } from './zero-copy-sender.ts';

const FILE_BYTES = 9 * 1024 * 1024 + 4321;
const linux = loadLinux();
const skip = linux === null ? `no native calls here: ${whyNoLinux()}` : false;
const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-cold-'));
after(() => rmSync(directory, { recursive: true }));
const content = Buffer.allocUnsafe(FILE_BYTES);
for (let i = 0; i < FILE_BYTES; i++) content[i] = (i * 151 + (i >>> 11)) & 0xff;

function calls(): Linux {
  assert.ok(linux !== null);
  return linux;
}

/** A file whose pages were just dropped from memory, where the file system can. */
function coldFile(name: string, serial: number): StoredFile & { readonly path: string } {
  const file = path.join(directory, name);
  writeFileSync(file, content);
  forget(file);
  return {
    path: file,
    fd: openSync(file, 'r'),
    serial,
    sizeBytes: FILE_BYTES,
    readFailed: (at, code) => assert.fail(`read failed at ${at}: ${code}`),
  };
}

function forget(file: string): void {
  const how = ['oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none'];
  spawnSync('dd', ['if=/dev/null', `of=${file}`, ...how]);
}

function read(
  reader: ColdReader,
  file: StoredFile,
  offset: number,
  length: number,
): Promise<ColdResult> {
  return new Promise((resolve) => reader.read(file, offset, length, resolve));
}

/** What a read answered: in pooled memory, or by now in the page cache. */
function bytesOf(
  slice: ColdSlice | null,
  file: StoredFile,
  offset: number,
  length: number,
): Buffer {
  if (slice !== null) return slice.memory.bytes.subarray(slice.start, slice.end);
  const bytes = Buffer.alloc(length);
  assert.equal(readSync(file.fd, bytes, 0, length, offset), length);
  return bytes;
}

test(
  'odd places of a file are read exactly, past the page cache first and through it the second time',
  { skip },
  async () => {
    const reader = new ColdReader(calls());
    const file = coldFile('odd', 1);
    const places = [
      [0, 1],
      [1, 4096],
      [4095, 2],
      [1024 * 1024 - 5, 10],
      [2 * 1024 * 1024 + 77, 1024 * 1024],
      [FILE_BYTES - 1, 1],
      [FILE_BYTES - 5000, 5000],
    ];
    for (const [offset, length] of [...places, ...places]) {
      const result = await read(reader, file, offset, length);
      assert.ok(result.ok);
      const expected = content.subarray(offset, offset + length);
      const got = bytesOf(result.slice, file, offset, length);
      assert.ok(got.equals(expected), `${offset} +${length}`);
      reader.giveBack(result.slice);
    }
    const { readsDirect, readsCached, readsCopied } = reader;
    assert.ok(readsCached > 0 || readsCopied > 0);
    assert.equal(readsDirect + readsCached + readsCopied, places.length * 2);
    closeSync(file.fd);
    reader.closeIdle(Infinity);
  },
);

test(
  'what is asked for a second time is in the page cache then, without a copy of it; more at once than the disk’s queue takes is copied',
  { skip },
  async () => {
    const reader = new ColdReader(calls());
    const file = coldFile('again', 6);
    const length = 4096;
    for (let chunk = 0; chunk < 9; chunk++) {
      reader.giveBack(await sliceOf(reader, file, chunk * CHUNK_BYTES, length));
    }
    assert.equal(reader.readsCached, 0);
    forget(file.path);
    const places = Array.from({ length: 64 }, (_, at) => at * 33 * length);
    const again = await Promise.all(
      places.map((offset) => sliceOf(reader, file, offset + 1, length - 1)),
    );
    assert.equal(reader.readsDirect + reader.readsCached + reader.readsCopied, 9 + 64);
    assert.ok(reader.readsCached >= 1 && reader.readsCached <= 32, `${reader.readsCached}`);
    for (const [at, slice] of again.entries()) {
      const expected = content.subarray(places[at] + 1, places[at] + length);
      assert.ok(bytesOf(slice, file, places[at] + 1, length - 1).equals(expected));
      if (slice === null) {
        assert.equal(reader.residentBytes(file, places[at] + 1, length - 1, 1e9), length - 1);
      }
      reader.giveBack(slice);
    }
    closeSync(file.fd);
    reader.closeIdle(Infinity);
  },
);

test(
  'a disk that answers many reads at once has two of them answered a turn',
  { skip },
  async () => {
    const reader = new ColdReader(calls());
    const file = coldFile('turns', 7);
    let turn = 0;
    let isOver = false;
    const nextTurn = (): void => {
      turn++;
      if (!isOver) setImmediate(nextTurn);
    };
    const answersOf = new Map<number, number>();
    await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        const slice = await new Promise<ColdSlice | null>((resolve) => {
          reader.read(file, at * 200_000, 5000, (result) => {
            answersOf.set(turn, (answersOf.get(turn) ?? 0) + 1);
            assert.ok(result.ok);
            resolve(result.slice);
          });
          if (at === 0) setImmediate(nextTurn);
        });
        reader.giveBack(slice);
      }),
    );
    isOver = true;
    assert.equal(
      [...answersOf.values()].reduce((sum, count) => sum + count, 0),
      40,
    );
    // Two before this test's own immediate of a turn, two after it.
    assert.ok(Math.max(...answersOf.values()) <= 4, JSON.stringify([...answersOf]));
    closeSync(file.fd);
    reader.closeIdle(Infinity);
  },
);

async function sliceOf(
  reader: ColdReader,
  file: StoredFile,
  offset: number,
  length: number,
): Promise<ColdSlice | null> {
  const result = await read(reader, file, offset, length);
  assert.ok(result.ok);
  return result.slice;
}

test('where the file ends early, that is said with the place', { skip }, async () => {
  const reader = new ColdReader(calls());
  const file = coldFile('short', 2);
  for (let i = 0; i < 2; i++) {
    const result = await read(reader, file, FILE_BYTES + 4096, 100);
    assert.deepEqual(result, { ok: false, offset: FILE_BYTES + 4096, code: 'SHORT' });
  }
  closeSync(file.fd);
  reader.closeIdle(Infinity);
});

test('reads beyond the number of buffers wait in line and all come', { skip }, async () => {
  const reader = new ColdReader(calls());
  const file = coldFile('many', 3);
  let wasShort = false;
  const results = Array.from({ length: 200 }, async (_, at) => {
    const offset = (at * 40_009) % (FILE_BYTES - 1000);
    const result = await read(reader, file, offset, 1000);
    assert.ok(result.ok);
    const expected = content.subarray(offset, offset + 1000);
    assert.ok(bytesOf(result.slice, file, offset, 1000).equals(expected));
    wasShort ||= reader.isShort;
    reader.giveBack(result.slice);
  });
  await Promise.all(results);
  assert.ok(wasShort);
  assert.ok(!reader.isShort);
  closeSync(file.fd);
  reader.closeIdle(Infinity);
});

test(
  'the second descriptor of a file is closed when it was not used for a while',
  { skip },
  async () => {
    const reader = new ColdReader(calls());
    const file = coldFile('descriptors', 4);
    const open = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === file.path;
        } catch {
          return false; // the descriptor of the listing itself
        }
      }).length;
    const result = await read(reader, file, 0, 1);
    assert.ok(result.ok);
    reader.giveBack(result.slice);
    assert.equal(open(), 1 + reader.readsDirect);
    reader.closeIdle(performance.now());
    assert.equal(open(), 1 + reader.readsDirect);
    reader.closeIdle(performance.now() + 60_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(open(), 1);
    closeSync(file.fd);
  },
);

test(
  'cold and hot places of a file are served byte for byte to many clients, some of which go away',
  { skip },
  async () => {
    const seed = Number(process.env['FUZZ_SEED'] ?? 20261125);
    const random = seededRandom(seed);
    const file = coldFile('served', 5);
    const endings: Ending[] = [];
    const handle = (request: { target: string }) => {
      const [offset, length] = request.target.slice(1).split('/').map(Number);
      return {
        status: 200,
        constant: NO_FIELDS,
        varying: [],
        contentLength: length,
        body: { kind: 'stored', file, offset, length } as const,
        isWithdrawn: () => false,
        sent: () => {},
        ended: (how: Ending) => void endings.push(how),
      };
    };
    const limits = {
      headerBytesMax: 16 * 1024,
      headersTimeoutMs: 10_000,
      keepAliveTimeoutMs: 10_000,
      connectionsMax: 1000,
      pipelinedMax: 16,
      deliveryBytesPerSecondMin: 1024,
      deliveryGraceMs: 10_000,
    };
    const portable = new PortableSender(handle, limits, new HotChunks(0));
    const sender = new ZeroCopySender(handle, limits, calls(), portable);
    const listening = await sender.listen({ address: '127.0.0.1', port: 0 });
    assert.ok(listening.ok);
    const client = (isLeaving: boolean): Promise<void> =>
      new Promise((resolve) => {
        const offset = random.below(FILE_BYTES - 1);
        const length = 1 + random.below(FILE_BYTES - offset);
        const socket = connect(listening.value.port, '127.0.0.1');
        const parts: Buffer[] = [];
        let have = 0;
        socket.on('data', (part: Buffer) => {
          parts.push(part);
          have += part.length;
          if (have < (isLeaving ? 100_000 : length)) return;
          const all = Buffer.concat(parts);
          const body = all.subarray(all.indexOf('\r\n\r\n') + 4);
          if (!isLeaving && body.length < length) return;
          assert.ok(body.equals(content.subarray(offset, offset + body.length)), `seed ${seed}`);
          socket.resetAndDestroy();
          resolve();
        });
        socket.write(`GET /${offset}/${length} HTTP/1.1\r\nHost: b\r\n\r\n`);
      });
    for (let round = 0; round < 4; round++) {
      forget(file.path);
      await Promise.all(Array.from({ length: 10 }, (_, at) => client(at % 3 === 0)));
    }
    await sender.close(0);
    assert.equal(endings.length, 40);
    closeSync(file.fd);
  },
);
