import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signCompact } from '#base/jws.ts';
import { JWS_TYPE, openDenials, type Denial } from '../contract.ts';
import { exampleFileId, exampleListing, examplePlanSet } from './test-examples.ts';
import { Rig, until, type RigBox } from './test-rig.ts';

interface View {
  readonly id: number;
  readonly version: number;
  readonly summary: Record<string, number>;
  readonly boxes: readonly {
    readonly applianceId: string;
    readonly status: string;
    readonly acknowledgedAtMs: number | null;
    readonly deletedAtMs: number | null;
    readonly files: number | null;
    readonly proof: string | null;
  }[];
}

async function deny(rig: Rig, kind: string, value: string): Promise<View> {
  const answer = await rig.call('POST', '/v1/denials', 'operator', { kind, value, reason: 'why' });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body as unknown as View;
}

async function view(rig: Rig, id: number): Promise<View> {
  return (await rig.call('GET', `/v1/denials/${id}`, 'operator')).body as unknown as View;
}

async function pushedTo(rig: Rig, box: RigBox): Promise<{ version: number; denials: Denial[] }> {
  await until('a pushed deny list', () => box.pushed.length > 0);
  const opened = await openDenials(box.pushed.at(-1)!.document, rig.ring);
  assert.ok(opened.ok);
  return opened.value;
}

async function connected(rig: Rig, name: string): Promise<RigBox> {
  const box = await rig.box(name);
  await box.connect();
  await box.beat();
  return box;
}

test('a takedown is pushed at once, and each box is acknowledged, deleted or unreachable, with its signed proof', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const near = await connected(rig, 'near');
  await rig.box('away');
  const steering = await rig.follow();
  assert.equal(steering.snapshot.titles.length, 1);
  const made = await deny(rig, 'title', 'film');
  const list = await pushedTo(rig, near);
  assert.deepEqual(
    list.denials.map(({ kind, value }) => [kind, value]),
    [['title', 'film']],
  );
  assert.equal(list.version, made.version);
  await steering.until('steering to forget it', () => steering.snapshot.titles.length === 0);
  assert.equal((await rig.call('GET', '/v1/titles/film', null)).body['error'], 'title-denied');
  assert.equal((await rig.call('GET', '/t/film/listing', null)).status, 403);

  let now = await view(rig, made.id);
  assert.deepEqual(now.summary, { deleted: 0, acknowledged: 0, waiting: 1, unreachable: 1 });
  near.send({ type: 'denials-ack', version: list.version, appliedAtMs: Date.now() });
  const proof = {
    applianceId: 'near',
    version: list.version,
    documentSha256: exampleFileId('document'),
    appliedAtMs: Date.now(),
    deletions: [{ id: made.id, atMs: Date.now(), files: 3, bytes: 3000 }],
  };
  const forged = await signCompact((await rig.box('thief')).key, JWS_TYPE.denialProof, proof);
  near.send({ type: 'denials-proof', proof: forged });
  await near.beat();
  now = await view(rig, made.id);
  assert.equal(now.summary['acknowledged'], 1, 'a proof by another key proves nothing');
  const signed = await signCompact(near.key, JWS_TYPE.denialProof, proof);
  near.send({ type: 'denials-proof', proof: signed });
  await near.beat();
  now = await view(rig, made.id);
  const box = now.boxes.find(({ applianceId }) => applianceId === 'near');
  assert.equal(box?.status, 'deleted');
  assert.equal(box?.files, 3);
  assert.equal(box?.proof, signed);
});

test('a box that was away gets the list before its first heartbeat is answered, also after a restart', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const made = await deny(rig, 'file', exampleFileId('a'));
  const box = await rig.box('box-1');
  await rig.restart();
  await box.connect();
  const answer = await box.beat();
  assert.equal(answer.versions.denials, made.version);
  assert.equal((await pushedTo(rig, box)).version, made.version);
  box.send({ type: 'denials-ack', version: made.version, appliedAtMs: 1 });
  await box.beat();
  const before = await view(rig, made.id);
  assert.equal(before.summary['acknowledged'], 1);
  await rig.restart();
  const after = await view(rig, made.id);
  assert.equal(after.boxes[0].acknowledgedAtMs, before.boxes[0].acknowledgedAtMs);
  assert.equal(after.version, made.version);
});

test('a denied title leaves a file under its other title; what has none left leaves manifest and sources; lifted, it is back', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['own', 'shared']));
  await rig.publish(exampleListing('trailer', ['shared']));
  const box = await connected(rig, 'box-1');
  const { epoch } = rig.controlPlane.plane.catalogue;
  const set = examplePlanSet(epoch, [{ applianceId: 'box-1', clusterId: 'paris' }], [0, 1]);
  await rig.call('POST', '/v1/plans', 'planner', { planSet: await rig.signPlan(set) });
  const files = async (): Promise<unknown[]> => {
    const fileIds = [exampleFileId('own'), exampleFileId('shared')];
    const answer = await box.post('/v1/sources', { fileIds, purpose: 'miss' });
    return (answer.body['files'] as { titles: string[] }[]).map(({ titles }) => titles);
  };
  const entries = async (): Promise<number | undefined> =>
    (await rig.controlPlane.plane.manifests.current('box-1'))?.entries;
  assert.equal(await entries(), 2);
  const made = await deny(rig, 'title', 'film');
  assert.deepEqual(await files(), [[], ['trailer']]);
  assert.equal(await entries(), 1);
  const again = await rig.call('POST', '/v1/denials', 'operator', {
    kind: 'title',
    value: 'film',
    reason: 'again',
  });
  assert.equal(again.status, 200);
  assert.equal(again.body['id'], made.id);
  const lifted = await rig.call('DELETE', `/v1/denials/${made.id}`, 'operator');
  assert.notEqual(lifted.body['liftedAtMs'], null);
  assert.deepEqual(await files(), [['film'], ['film', 'trailer']]);
  assert.equal(await entries(), 2);
  await until('the lift to be pushed', () => box.pushed.length === 2);
  assert.deepEqual((await pushedTo(rig, box)).denials, []);
});

test('a revoked box is disconnected, gets no token, grant or source role, and is back when it is allowed', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.publish(exampleListing('film', ['a']));
  const thief = await connected(rig, 'thief');
  await thief.holds(1, [exampleFileId('a')]);
  const other = await connected(rig, 'other');
  const steering = await rig.follow();
  await steering.until('both to serve', () => steering.standingOf('thief') === 'serving');
  const made = await deny(rig, 'appliance', 'thief');
  await until('the revoked box to be closed', () => thief.closed !== null);
  await steering.until('no client to be sent there', () => steering.standingOf('thief') === 'down');
  assert.equal((await thief.get('/v1/grant')).body['error'], 'appliance-revoked');
  assert.equal((await thief.tokenFor(await thief.assertion())).body['error'], 'appliance-revoked');
  const fileIds = [exampleFileId('a')];
  const answer = await other.post('/v1/sources', { fileIds, purpose: 'miss' });
  const [{ sources }] = answer.body['files'] as { sources: { id: string }[] }[];
  assert.deepEqual(
    sources.map(({ id }) => id),
    ['origin'],
  );
  await rig.call('DELETE', `/v1/denials/${made.id}`, 'operator');
  assert.equal((await thief.get('/v1/grant')).status, 200);
});

test('what does not exist cannot be denied, and only an operator denies', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  const denial = { kind: 'title', value: 'no-such-film', reason: 'why' };
  const unknown = await rig.call('POST', '/v1/denials', 'operator', denial);
  assert.equal(unknown.status, 404);
  assert.equal(unknown.body['error'], 'title-unknown');
  assert.equal((await rig.call('POST', '/v1/denials', 'publish', denial)).status, 403);
  assert.equal((await rig.call('GET', '/v1/denials.jws', null)).status, 204);
});
