import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { checkDenialProof, type DenialProof } from '#appliance/contract.ts';
import { generateSigningKey, importVerifyingKey, openCompact, type JWK } from '#base/jws.ts';
import { JWS_TYPE } from '#control-plane/contract.ts';
import { CHUNK_BYTES } from '#upstream/contract.ts';
import { entryOf, get, makeFile, until, World } from './test-world.ts';

const FILM = makeFile(41, 3 * CHUNK_BYTES);
const SHARED = makeFile(42, 2 * CHUNK_BYTES);

async function filledWorld(): Promise<World> {
  const world = await World.open();
  world.origin.add(FILM, SHARED);
  await world.controlPlane.plan(1, [
    entryOf(FILM, 'film'),
    { ...entryOf(SHARED, 'film'), titles: ['film', 'trailer'] },
  ]);
  const box = await world.start();
  await until(() => box.store.holdings.count === 2, 'both are held');
  return world;
}

function acks(world: World): number[] {
  return world.controlPlane.frames.flatMap((frame) =>
    frame.type === 'denials-ack' ? [frame.version] : [],
  );
}

/** Proofs that verify with the box's own key. */
async function proofs(world: World): Promise<DenialProof[]> {
  const file = path.join(world.directory, 'state', 'box.jwk');
  const key = await importVerifyingKey(JSON.parse(readFileSync(file, 'utf8')) as JWK);
  assert.ok(key !== null);
  const found: DenialProof[] = [];
  for (const frame of world.controlPlane.frames) {
    if (frame.type !== 'denials-proof') continue;
    const opened = await openCompact(frame.proof, new Map([[key.kid, key]]), JWS_TYPE.denialProof);
    assert.ok(opened.ok);
    const checked = checkDenialProof(opened.value.payload);
    assert.ok(checked.ok);
    found.push(checked.value);
  }
  return found;
}

test('a denied title is acknowledged, then its own files are deleted, with a signed proof; what another title shows stays', async () => {
  await using world = await filledWorld();
  const box = world.box!;
  await world.controlPlane.deny(7, [{ kind: 'title', value: 'film' }]);
  await until(() => acks(world).includes(7), 'the acknowledgement');
  const url = await world.url('film', FILM.fileId);
  assert.equal((await get(url, { range: 'bytes=0-9' })).status, 403);
  await until(() => box.store.find(FILM.fileId) === undefined, 'the file to go');
  await until(
    () => world.controlPlane.frames.some(({ type }) => type === 'denials-proof'),
    'the proof',
  );
  const [proof] = await proofs(world);
  assert.equal(proof.version, 7);
  assert.deepEqual(
    proof.deletions.map(({ id, files, bytes }) => [id, files, bytes]),
    [[1, 1, FILM.sizeBytes]],
  );
  const stored = path.join(world.directory, 'volume');
  assert.ok(existsSync(stored));
  const trailer = await world.url('trailer', SHARED.fileId);
  assert.equal((await get(trailer, { range: 'bytes=0-9' })).status, 206);
  await until(() => world.controlPlane.held.size === 1, 'the holdings to say so');
});

test('a list by a stranger, or an older one, changes nothing', async () => {
  await using world = await filledWorld();
  const stranger = (await generateSigningKey('EdDSA')).key;
  await world.controlPlane.deny(9, [{ kind: 'title', value: 'film' }], stranger);
  await world.controlPlane.deny(5, [{ kind: 'file', value: FILM.fileId }]);
  await until(() => acks(world).includes(5), 'the good list');
  await world.controlPlane.deny(4, []);
  await world.controlPlane.deny(6, [{ kind: 'file', value: FILM.fileId }]);
  await until(() => acks(world).includes(6), 'the last list');
  assert.deepEqual(
    acks(world).filter((version) => version === 9 || version === 4),
    [],
  );
  const url = await world.url('film', FILM.fileId);
  assert.equal((await get(url, { range: 'bytes=0-9' })).status, 403);
});

test('a restart without the control plane still refuses; lifted, the file comes back with its manifest', async () => {
  await using world = await filledWorld();
  await world.controlPlane.deny(7, [{ kind: 'title', value: 'film' }]);
  await until(() => world.box!.store.find(FILM.fileId) === undefined, 'the file to go');
  await world.box!.stop();
  const { denials } = world.controlPlane;
  world.controlPlane.denials = null; // as if nobody told it again
  const box = await world.start();
  const url = await world.url('film', FILM.fileId);
  const refused = await get(url, { range: 'bytes=0-9' });
  assert.equal(refused.headers['nightfill-refused'], 'title-denied');
  assert.notEqual(denials, null);
  await world.controlPlane.deny(8, []);
  await until(() => box.store.find(FILM.fileId)?.isWhole === true, 'the file to be back');
  assert.equal((await get(url, { range: 'bytes=0-9' })).status, 206);
});
