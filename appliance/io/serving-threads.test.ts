/**
 * A box whose plain listener has two threads: what they answer alone is what one thread would have answered, and is counted alike.
 */
import assert from 'node:assert/strict';
import { Agent, request as httpRequest } from 'node:http';
import { test } from 'node:test';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { CHUNK_BYTES, etagOf, signedContentUrl } from '#upstream/contract.ts';
import { entryOf, get, makeFile, until, World, type Got } from './test-world.ts';

const FILM = makeFile(41, 6 * CHUNK_BYTES + 77);
const OTHER = makeFile(42, 3 * CHUNK_BYTES);
const skip = loadLinux() === null ? `no native calls here: ${whyNoLinux()}` : false;
const TWO = { sender: 'zero-copy', listeners: 2 };

/** A player's connections: as many requests at once, each answer whole. */
class Player {
  readonly #agent: Agent;

  constructor(connections: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections });
  }

  ask(url: string, headers: Record<string, string> = {}): Promise<Got> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(url, { agent: this.#agent, headers }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', reject);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts),
            isWhole: response.complete,
          }),
        );
      });
      request.on('error', reject).end();
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

async function metric(world: World, name: string): Promise<number> {
  const text = (await get(`${world.adminUrl}/metrics`)).body.toString();
  const line = text.split('\n').find((one) => one.startsWith(`nightfill_appliance_${name} `));
  assert.ok(line !== undefined, `no metric ${name}`);
  return Number(line.split(' ')[1]);
}

const asked = (world: World): Promise<number> => metric(world, 'serving_thread_asked_total');

async function held(world: World): Promise<NonNullable<World['box']>> {
  world.origin.add(FILM, OTHER);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film', 2), entryOf(OTHER, 'film')]);
  const box = await world.start(TWO);
  await until(() => box.store.holdings.count === 2, 'both files are held');
  return box;
}

test(
  'hits are answered by the threads alone, byte for byte, and every byte is accounted for',
  { skip },
  async () => {
    await using world = await World.open();
    const box = await held(world);
    using player = new Player(8);
    const url = await world.url('film', FILM.fileId);
    await Promise.all(Array.from({ length: 8 }, () => player.ask(url, { range: 'bytes=0-9' })));
    const askedBefore = await asked(world);
    let bytes = 80;
    for (let round = 0; round < 10; round++) {
      await Promise.all(
        Array.from({ length: 8 }, async (_, at) => {
          const start = (round * 8 + at) * 70_001;
          const end = Math.min(FILM.sizeBytes, start + 100_000 + at) - 1;
          const got = await player.ask(`${url}?CMCD=bl%3D3000%2Cbs`, {
            range: `bytes=${start}-${end}`,
          });
          assert.equal(got.status, 206);
          assert.equal(got.headers['content-range'], `bytes ${start}-${end}/${FILM.sizeBytes}`);
          assert.equal(got.headers['cache-status'], 'box-1; hit');
          assert.equal(got.headers.etag, etagOf(FILM.fileId));
          assert.ok(got.body.equals(FILM.content.subarray(start, end + 1)), `from ${start}`);
          bytes += got.body.length;
        }),
      );
    }
    const etag = etagOf(FILM.fileId);
    assert.equal((await player.ask(url, { 'if-none-match': etag })).status, 304);
    assert.equal((await player.ask(url, { 'if-match': '"other"' })).status, 412);
    assert.equal((await player.ask(url, { range: `bytes=${FILM.sizeBytes}-` })).status, 416);
    assert.ok((await asked(world)) - askedBefore <= 8, 'a connection that has not asked yet may');
    await until(
      () => (box.status().heartbeat?.counters.viewerBytes ?? 0) === bytes,
      'the heartbeat counts every byte',
    );
    assert.equal(await metric(world, 'cmcd_starved_total'), 80, 'and what players say');
    await box.stop();
    world.box = null;
    const records = world.controlPlane.batches.flatMap((batch) => batch.records);
    assert.equal(
      records.reduce((sum, record) => sum + record.bytes, 0),
      bytes,
      'and so do the view records',
    );
  },
);

test(
  'a chunk that turned out bad is not served by any thread again; the file is repaired',
  { skip },
  async () => {
    await using world = await World.open();
    const box = await held(world);
    using player = new Player(8);
    const url = await world.url('film', OTHER.fileId);
    const range = { range: 'bytes=0-99' };
    await Promise.all(Array.from({ length: 16 }, () => player.ask(url, range)));
    const entry = box.store.find(OTHER.fileId);
    assert.ok(entry !== undefined);
    const before = await asked(world);
    await box.store.dropChunk(entry, 0, 'a test says so');
    const got = await Promise.all(Array.from({ length: 16 }, () => player.ask(url, range)));
    for (const one of got) assert.ok(one.body.equals(OTHER.content.subarray(0, 100)));
    assert.notEqual(got[0].headers['cache-status'], 'box-1; hit');
    assert.ok((await asked(world)) > before, 'what a thread knew of it held no more');
  },
);

test(
  'misses, listings, other methods and HTTP/1.0 are the owner’s and come out the same',
  { skip },
  async () => {
    await using world = await World.open();
    await held(world);
    const late = makeFile(43, 2 * CHUNK_BYTES + 5);
    world.origin.add(late);
    await world.controlPlane.list('film', [FILM, OTHER, late]);
    const url = await world.url('film', late.fileId);
    const got = await get(url);
    assert.equal(got.status, 200);
    assert.match(String(got.headers['cache-status']), /fwd=uri-miss/);
    assert.ok(got.body.equals(late.content));
    assert.equal((await get(url, {}, 'OPTIONS')).status, 204);
    assert.equal((await get(url, {}, 'PUT')).status, 405);
    const head = await get(await world.url('film', FILM.fileId), {}, 'HEAD');
    assert.equal(head.headers['content-length'], String(FILM.sizeBytes));
    const forged = signedContentUrl(world.contentUrl, 'a.b.c', 'film', FILM.fileId);
    assert.equal((await get(forged)).status, 403);
  },
);

test(
  'a drain keeps whom the threads serve, counts them, and sends newcomers on',
  { skip },
  async () => {
    await using world = await World.open();
    const box = await held(world);
    using player = new Player(4);
    const url = await world.url('film', FILM.fileId);
    const range = { range: 'bytes=0-9' };
    await Promise.all(Array.from({ length: 8 }, () => player.ask(url, range)));
    box.drain(60_000);
    const got = await Promise.all(Array.from({ length: 8 }, () => player.ask(url, range)));
    assert.ok(
      got.every(({ status }) => status === 206),
      'known viewers stay',
    );
    assert.equal((await get(await world.url('film', OTHER.fileId), range)).status, 404);
    const progress = async (): Promise<number> => {
      const path = `${world.adminUrl}/drain/progress`;
      const answer = await get(path, world.adminHeaders, 'POST');
      return (JSON.parse(answer.body.toString()) as { sessionsLeft: number }).sessionsLeft;
    };
    // Threads tell of it twice a second.
    const startMs = performance.now();
    while ((await progress()) === 0) assert.ok(performance.now() - startMs < 10_000, 'counted');
    assert.equal(await progress(), 1);
    box.undrain();
  },
);

test('a file is let go by its threads soon after it left the store', { skip }, async () => {
  await using world = await World.open();
  const box = await held(world);
  using player = new Player(4);
  const url = await world.url('film', OTHER.fileId);
  await Promise.all(Array.from({ length: 8 }, () => player.ask(url, { range: 'bytes=0-9' })));
  const entry = box.store.find(OTHER.fileId);
  assert.ok(entry !== undefined);
  const open = await box.store.lease(entry);
  assert.ok(open.ok && open.value.references > 1, 'passes hold it open');
  await box.store.dropChunk(entry, 1, 'a test says so');
  await until(() => open.value.references === 1, 'all passes came back');
  box.store.release(open.value);
});
