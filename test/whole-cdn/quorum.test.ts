/**
 * Three steering nodes and what they make of a box together: by the broken path of one nobody is taken out, by what all see the box
 * goes last, and with the control plane gone each goes on with what it sees itself.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import { FewBoxes, until, type FakeBox } from './few-boxes.ts';

const TITLE = 'title-one';
const FILE = createHash('sha256').update('a file').digest('base64url');
const NODES = [1, 2, 3] as const;

const cdn = new FewBoxes('79', 26_600);
after(() => cdn.close());

/** Boxes of a session's list, the origin left out. */
async function listAt(node: number, session: string): Promise<readonly string[]> {
  const answer = await cdn.play(node, {
    titleId: TITLE,
    clientAddress: '198.51.100.7',
    session,
  });
  return answer.files[0].urls.flatMap(({ kind, pathwayId }) =>
    kind === 'appliance' ? [pathwayId] : [],
  );
}

/** Every box that stands first for one of 30 sessions. */
async function firstsAt(node: number): Promise<ReadonlySet<string>> {
  const lists = await Promise.all(
    Array.from({ length: 30 }, (_, at) => listAt(node, `session-${at}`)),
  );
  return new Set(lists.map(([first]) => first));
}

/** A player of `node` says that it could not play from a box. */
async function complain(node: number, pathwayId: string, session: string): Promise<void> {
  const answer = await cdn.play(node, {
    titleId: TITLE,
    clientAddress: '198.51.100.7',
    session,
  });
  const { url } = answer.files[0].urls[0];
  const report = {
    session: new URL(answer.steering.hls).pathname.split('/').at(-1),
    token: /URISigningPackage=([^/]+)/.exec(url)?.[1],
    pathwayId,
    what: 'unreachable',
  };
  const said = await fetch(`${cdn.steeringUrl(node)}/v1/reports`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(report),
  });
  assert.equal(said.status, 204);
}

const seen = async (node: number, box: FakeBox): Promise<string> =>
  (await cdn.boxStatus(node, box.applianceId)).evidenceByFamily.v4;
const own = async (node: number, box: FakeBox): Promise<string> =>
  (await cdn.boxStatus(node, box.applianceId)).evidence;

let a: FakeBox;
let b: FakeBox;

test('three nodes know of each other', async () => {
  await cdn.startControlPlane('http://127.79.0.2:1');
  await cdn.site('one', 'FR', '198.51.100.0/24');
  await cdn.publish({
    titleId: TITLE,
    version: 1,
    kind: 'opaque',
    name: 'One',
    durationSeconds: 60,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: [{ fileId: FILE, sizeBytes: 1_000_000, kind: 'opaque', protection: 'none' }],
  });
  a = await cdn.box('box-a', 'one', 1, [FILE]);
  b = await cdn.box('box-b', 'one', 2, [FILE]);
  await Promise.all(NODES.map((node) => cdn.startSteering(node)));
  for (const node of NODES) {
    await until(`node ${node} counts three`, async () => (await cdn.status(node)).nodes.live === 3);
    await until(`node ${node} serves from both`, async () => (await firstsAt(node)).size === 2);
  }
});

test('the broken path of one node takes no box out: the others are asked, and outvote it', async () => {
  a.silentTo.add(cdn.steeringAddress(1));
  await complain(1, a.applianceId, 'complaint-1');
  await until('node 1 suspects the box', async () => {
    for (const node of NODES) assert.notEqual(await seen(node, a), 'suspect', `node ${node}`);
    return (await own(1, a)) === 'suspect';
  });
  await until('node 1 is outvoted', async () => {
    assert.notEqual(await seen(1, a), 'suspect');
    return (await seen(1, a)) === 'reachable';
  });
  assert.equal(await own(1, a), 'suspect', 'it still sees what it sees');
  for (const node of NODES) {
    await until(`node ${node} serves from both`, async () => (await firstsAt(node)).size === 2);
  }
});

test('what all nodes see puts the box last, at all of them; it comes back when it answers', async () => {
  for (const node of [2, 3]) a.silentTo.add(cdn.steeringAddress(node));
  for (const node of NODES) {
    await until(
      `node ${node} goes by the majority`,
      async () => (await seen(node, a)) === 'suspect',
    );
    for (let at = 0; at < 10; at++) {
      assert.deepEqual(await listAt(node, `session-${at}`), ['box-b', 'box-a'], `node ${node}`);
    }
  }
  assert.equal(
    (await cdn.boxStatus(2, a.applianceId)).standing,
    'serving',
    'it beats all the while',
  );
  a.silentTo.clear();
  for (const node of NODES) {
    await until(`node ${node} takes it back`, async () => (await firstsAt(node)).has('box-a'));
  }
});

test('with the control plane gone a node that cannot ask doubts: the box stands last, and is not out', async () => {
  await cdn.kill('control-plane');
  await until('node 1 knows', async () => (await cdn.status(1)).controlPlane.isGone);
  a.silentTo.add(cdn.steeringAddress(1));
  await until('node 1 doubts the box', async () => (await seen(1, a)) === 'doubted');
  assert.equal((await cdn.status(1)).nodes.live, 3, 'the last known number');
  assert.deepEqual(await listAt(1, 'session-1'), ['box-b', 'box-a']);
  assert.equal(await seen(2, a), 'reachable');
  // What was asked for above may have made the other one busy, so that it stands behind its peer until the load is even.
  await until('node 2 serves from both', async () => (await firstsAt(2)).size === 2);
  await b.refuse();
  await until('the other is found dead', async () => (await seen(1, b)) === 'unreachable');
  assert.deepEqual(await listAt(1, 'session-1'), ['box-a'], 'doubted is better than nobody');
});
