import assert from 'node:assert/strict';
import { test } from 'node:test';
import { POSSESSION_HEADER } from '#control-plane/contract.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, FakeSource, get, makeFile, otherBox, until, World } from './test-world.ts';

const FILM = makeFile(41, 2 * CHUNK_BYTES + 5);

async function holder(): Promise<World> {
  const world = await World.open();
  world.origin.add(FILM);
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 1, 'held');
  return world;
}

test('a peer’s grant without a proof for this box, by its own key and of this minute opens nothing', async () => {
  await using world = await holder();
  const [other, third] = [await otherBox(world.keys, 'box-2'), await otherBox(world.keys, 'box-3')];
  const url = `${world.contentUrl}/t/film/${FILM.fileId}`;
  const CASES: readonly (readonly [grant: string, proof: string | null, word: string | null])[] = [
    [other.grant, null, 'possession-missing'], // a box of before the upgrade, or a stolen grant
    [other.grant, 'x', 'possession-invalid'],
    [other.grant, await third.prove(), 'possession-invalid'],
    [third.grant, await other.prove(), 'possession-invalid'],
    [other.grant, await other.prove('origin'), 'possession-audience'],
    [other.grant, await other.prove('box-7'), 'possession-audience'],
    [other.grant, await other.prove('box-1', 120), 'possession-stale'],
    [other.grant, await other.prove('box-1', 30), null],
    [other.grant, await other.prove(), null],
  ];
  for (const round of ['first', 'remembered']) {
    for (const [grant, proof, word] of CASES) {
      const headers = {
        authorization: `Bearer ${grant}`,
        range: 'bytes=0-9',
        ...(proof === null ? {} : { [POSSESSION_HEADER]: proof }),
      };
      const got = await get(url, headers);
      assert.equal(got.headers['nightfill-refused'] ?? null, word, round);
      assert.equal(got.status, word === null ? 206 : 403, `${String(word)}, ${round}`);
      if (word === 'possession-missing') assert.match(got.body.toString(), /nightfill-possession/);
    }
  }
  const list = await get(`${url}.chunks`, { authorization: `Bearer ${other.grant}` });
  assert.equal(list.status, 403, 'chunk lists neither');
  assert.ok((await get(`${url}.chunks`, await other.headers())).body.equals(FILM.chunkList));
  await until(() => {
    const refused = world.box?.status().heartbeat?.counters.refused ?? {};
    return refused['possession-missing'] === 3 && refused['possession-audience'] === 4;
  }, 'counted by their words');
});

test('a flood of unknown grants is checked a few at a time, and the others are told to come again', async () => {
  await using world = await holder();
  const { grant } = await otherBox(world.keys, 'box-2');
  const url = `${world.contentUrl}/t/film/${FILM.fileId}`;
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, at) => get(url, { authorization: `Bearer ${grant}${at}` })),
  );
  const statuses = new Set(answers.map(({ status }) => status));
  assert.ok(
    statuses.has(403) && [403, 429].includes(Math.max(...statuses)),
    `answers ${[...statuses].join(', ')}`,
  );
  const other = await otherBox(world.keys, 'box-3');
  assert.equal((await get(url, await other.headers())).status, 200, 'and then the next is served');
});

test('a box fills from a peer by its grant and its proofs, and the peer counts who it was', async () => {
  await using world = await holder();
  await using second = await World.open(world.keys, 'box-2');
  const peer = { kind: 'peer', id: 'box-1', baseUrl: world.contentUrl, delayMs: 0 } as const;
  second.controlPlane.sources = [peer];
  await second.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await second.start();
  await until(() => box.store.holdings.count === 1, 'filled from the peer');
  assert.deepEqual(second.origin.requests, []);
  const refused = world.box?.status().heartbeat?.counters.refused ?? {};
  assert.deepEqual(
    Object.keys(refused).filter((word) => word.startsWith('possession')),
    [],
  );
});

test('a peer that wants more of a box than it shows is named with its word, and the origin is asked instead', async () => {
  await using world = await World.open();
  world.origin.add(FILM);
  world.origin.misbehaviour = 'refuses';
  const peer = (await new FakeSource().start()).add(FILM);
  peer.misbehaviour = 'wants-proof';
  world.controlPlane.sources = [peer.as('peer', 'box-8'), world.origin.as('origin', 'origin')];
  await world.controlPlane.plan(1, [entryOf(FILM, 'film')]);
  const box = await world.start();
  await until(
    () => /box-8.*403 \(possession-missing\)/.test(box.status().heartbeat?.fill.problem ?? ''),
    'the refusal is told with its source',
  );
  world.origin.misbehaviour = 'none';
  await until(() => box.store.holdings.count === 1, 'from the origin all the same');
  await peer.stop();
});
