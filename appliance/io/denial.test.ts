import assert from 'node:assert/strict';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import type { DenialSet } from '../serve/deny-list.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, get, makeFile, otherBox, until, World } from './test-world.ts';

const FILM = makeFile(31, 40 * CHUNK_BYTES);

function denials(version: number, parts: Partial<DenialSet>): DenialSet {
  return { version, titles: [], files: [], keyIds: [], issuers: [], appliances: [], ...parts };
}

function ask(url: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    httpRequest(url, { agent, headers: { range: 'bytes=0-99' } }, resolve)
      .on('error', reject)
      .end();
  });
}

const SENDERS = [
  ['portable', { sender: 'portable' }],
  ['auto', { sender: 'auto' }],
  ['two threads', { sender: 'auto', listeners: 2 }],
] as const;

for (const [sender, config] of SENDERS) {
  test(`a denied title is refused on a running keep-alive connection, its other title is served on (${sender})`, async () => {
    await using world = await World.open();
    world.origin.add(FILM);
    await world.controlPlane.plan(1, [{ ...entryOf(FILM, 'film'), titles: ['film', 'trailer'] }]);
    const box = await world.start(config);
    await until(() => box.store.holdings.count === 1, 'held');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const url = await world.url('film', FILM.fileId);
    const first = await ask(url, agent);
    assert.equal(first.statusCode, 206);
    const { localPort } = first.socket;
    await first.toArray();
    assert.equal(box.denials.offer(denials(1, { titles: ['film'] })), 'taken');
    const second = await ask(url, agent);
    assert.equal(second.socket.localPort, localPort, 'the same connection');
    assert.equal(second.statusCode, 403);
    assert.equal(second.headers['nightfill-refused'], 'title-denied');
    assert.equal(second.headers['cache-control'], 'no-store');
    await second.toArray();
    agent.destroy();
    const trailer = await get(await world.url('trailer', FILM.fileId), { range: 'bytes=0-9' });
    assert.equal(trailer.status, 206);
    await until(
      () => world.controlPlane.heartbeats.at(-1)?.versions.denials === 1,
      'the heartbeat says which list holds',
    );
    assert.equal(box.denials.offer(denials(2, {})), 'taken');
    assert.equal((await get(url, { range: 'bytes=0-9' })).status, 206, 'lifted');
  });

  test(`a body of a denied file that is under way is cut (${sender})`, async () => {
    await using world = await World.open();
    world.origin.add(FILM);
    await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
    const box = await world.start(config);
    await until(() => box.store.holdings.count === 1, 'held');
    const url = await world.url('film', FILM.fileId);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      httpRequest(url, { agent: false }, resolve).on('error', reject).end();
    });
    response.pause(); // more than the sockets' buffers take is left on the box
    box.denials.offer(denials(1, { files: [FILM.fileId] }));
    const ended = new Promise<void>((resolve) => response.once('close', resolve));
    response.on('error', () => {});
    let received = 0;
    response.on('data', (part: Buffer) => {
      received += part.length;
    });
    response.resume();
    await ended;
    assert.ok(received < FILM.sizeBytes);
    assert.equal(response.complete, false);
    await until(
      () => (box.status().heartbeat?.counters.refused['file-denied'] ?? 0) === 1,
      'counted',
    );
  });
}

test('a denied key, a denied issuer and a revoked box are refused by their words', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  const url = await world.url('film', FILM.fileId);
  const other = await otherBox(world.keys, 'box-9');
  const asBox = async (): ReturnType<typeof get> =>
    get(`${world.contentUrl}/t/film/${FILM.fileId}`, {
      ...(await other.headers()),
      range: 'bytes=0-9',
    });
  assert.equal((await get(url, { range: 'bytes=0-9' })).status, 206);
  assert.equal((await asBox()).status, 206);
  const cases = [
    [{ keyIds: [world.keys.token.kid] }, 'token-key-denied'],
    [{ issuers: ['steering'] }, 'token-issuer-denied'],
    [{ appliances: ['box-9'] }, 'grant-revoked'],
  ] as const;
  for (const [at, [parts, word]] of cases.entries()) {
    box.denials.offer(denials(at + 1, parts));
    const refused = word === 'grant-revoked' ? await asBox() : await get(url);
    assert.equal(refused.status, 403);
    assert.equal(refused.headers['nightfill-refused'], word);
  }
});
