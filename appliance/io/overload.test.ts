import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { signatureOf } from '#base/jws.ts';
import { CHUNK_BYTES, signedContentUrl } from '#upstream/contract.ts';
import { entryOf, get, makeFile, until, World } from './test-world.ts';

const FILM = makeFile(51, 2 * CHUNK_BYTES + 17);
/** NIGHTFILL_CROWD=20000 for as many as a dead sibling has; by default what a busy machine does in seconds. */
const SESSIONS = Number(process.env['NIGHTFILL_CROWD'] ?? 4000);
const CROWD = { auto: SESSIONS, portable: SESSIONS / 2 };
const CONNECTIONS = 10_000;

/** Distinct viewer tokens of one title, or the same with signatures that nobody made. */
async function tokens(world: World, count: number, isForged = false): Promise<string[]> {
  const [header, body] = (await world.token('film')).split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as { exp: number };
  return Promise.all(
    Array.from({ length: count }, async (_, at) => {
      const payload = Buffer.from(JSON.stringify({ ...claims, exp: claims.exp + at }));
      const signed = `${header}.${payload.toString('base64url')}`;
      const signature = isForged ? randomBytes(64) : await signatureOf(world.keys.token, signed);
      return `${signed}.${signature.toString('base64url')}`;
    }),
  );
}

/** A viewer who goes on: ranges of the film one after the other, each compared. Ends when told, with how many there were. */
function runningStream(url: string): { stop: () => Promise<number> } {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let isStopped = false;
  let answers = 0;
  const run = async (): Promise<number> => {
    while (!isStopped) {
      const start = (answers * 70_001) % (FILM.sizeBytes - 65_536);
      const response = await ask(url, agent, `bytes=${start}-${start + 65_535}`);
      assert.equal(response.statusCode, 206);
      const body = Buffer.concat((await response.toArray()) as Buffer[]);
      assert.ok(body.equals(FILM.content.subarray(start, start + 65_536)), 'the bytes differ');
      answers++;
    }
    agent.destroy();
    return answers;
  };
  const running = run();
  return {
    stop: () => {
      isStopped = true;
      return running;
    },
  };
}

function ask(url: string, agent: Agent, range: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    httpRequest(url, { agent, headers: { range } }, resolve).on('error', reject).end();
  });
}

/** Everybody at once, over a bounded number of connections; each answer is looked at. */
async function everybody(
  world: World,
  crowd: readonly string[],
  look: (response: IncomingMessage) => void,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 500 });
  await Promise.all(
    crowd.map(async (token) => {
      const url = signedContentUrl(world.contentUrl, token, 'film', FILM.fileId);
      const response = await ask(url, agent, 'bytes=0-99');
      look(response);
      await response.toArray();
    }),
  );
  agent.destroy();
}

async function serving(sender: string): Promise<World> {
  const world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start({ sender });
  await until(() => box.store.holdings.count === 1, 'held');
  return world;
}

for (const sender of ['auto', 'portable'] as const) {
  test(`${CROWD[sender]} sessions of a dead sibling at once: each gets its bytes or a 404 to leave by, running streams go on (${sender})`, async () => {
    await using world = await serving(sender);
    const crowd = await tokens(world, CROWD[sender]);
    const stream = runningStream(await world.url('film', FILM.fileId));
    const seen = { served: 0, sentOn: 0 };
    await everybody(world, crowd, ({ statusCode, headers }) => {
      if (statusCode === 206) {
        seen.served++;
        return;
      }
      assert.equal(statusCode, 404);
      assert.equal(headers['cache-control'], 'no-store');
      assert.match(String(headers['proxy-status']), /error=connection_limit_reached/);
      seen.sentOn++;
    });
    assert.ok((await stream.stop()) > 0);
    assert.equal(seen.served + seen.sentOn, CROWD[sender]);
    assert.ok(seen.served > 0, JSON.stringify(seen));
  });

  test(`a flood of forged tokens: each is refused with its word, running streams go on (${sender})`, async () => {
    await using world = await serving(sender);
    const flood = await tokens(world, CROWD[sender] / 2, true);
    const url = await world.url('film', FILM.fileId);
    assert.equal((await get(url, { range: 'bytes=0-0' })).status, 206);
    const stream = runningStream(url);
    const words = new Map<string, number>();
    await everybody(world, flood, ({ statusCode, headers }) => {
      assert.equal(statusCode, 403);
      assert.equal(headers['cache-control'], 'no-store');
      assert.match(String(headers['proxy-status']), /error=http_request_denied/);
      const word = String(headers['nightfill-refused']);
      words.set(word, (words.get(word) ?? 0) + 1);
    });
    assert.ok((await stream.stop()) > 0);
    assert.deepEqual([...words.keys()].sort(), ['token-limit', 'token-signature']);
    const checked = words.get('token-signature') ?? 0;
    assert.ok(
      checked < CROWD[sender] / 5,
      `${checked} signatures were checked: the limit is per network`,
    );
  });

  test(`10,000 connections stay open, and the one that asks is answered (${sender})`, async (t) => {
    await using world = await serving(sender);
    const { port } = world.box!.content;
    // A process of its own: both ends of so many would be beyond one process's limit of open files.
    const script = `
      const { connect } = require('node:net');
      let open = 0;
      const more = () => {
        const socket = connect(${port}, '127.0.0.1');
        socket.on('error', (error) => console.log(error.code));
        socket.on('connect', () => {
          socket.write('GET /t/ HTTP/1.1\\r\\nHost: b\\r\\n\\r\\n');
          socket.once('data', () => {
            if (++open === ${CONNECTIONS}) console.log('all');
            else if (open + 99 < ${CONNECTIONS}) more();
          });
        });
      };
      for (let at = 0; at < 100; at++) more();
    `;
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
      if (line === 'EMFILE') {
        t.skip('the limit of open files is below 10,000 here');
        return;
      }
      assert.equal(line, 'all');
      await until(
        () => (world.box!.status().heartbeat?.load.connections ?? 0) >= CONNECTIONS,
        'the heartbeat counts them',
      );
      const got = await get(await world.url('film', FILM.fileId));
      assert.ok(got.body.equals(FILM.content), 'the bytes differ');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await until(() => world.box!.status().heartbeat?.load.connections === 0, 'all are gone');
  });
}

test('after undrain a tenth of new sessions is let in at first, the heartbeat offers as much, and who was kept stays', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start({ undrainRampMs: 3_600_000 });
  await until(() => box.store.holdings.count === 1, 'held');
  const known = await world.url('film', FILM.fileId);
  assert.equal((await get(known, { range: 'bytes=0-0' })).status, 206);
  box.drain();
  box.undrain();
  assert.equal((await get(known, { range: 'bytes=0-0' })).status, 206, 'it was here before');
  const seen = { served: 0, sentOn: 0 };
  await everybody(world, await tokens(world, 400), ({ statusCode, headers }) => {
    if (statusCode === 206) seen.served++;
    else {
      assert.equal(statusCode, 404);
      assert.match(String(headers['proxy-status']), /details="warming/);
      seen.sentOn++;
    }
  });
  assert.ok(seen.served > 10 && seen.served < 100, JSON.stringify(seen));
  await until(
    () => (world.controlPlane.heartbeats.at(-1)?.load.servingBps ?? Infinity) < 2_000_000_000,
    'the heartbeat offers a tenth of 10 Gbit/s',
  );
});
