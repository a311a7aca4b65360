import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock } from '#base/clock.ts';
import { importSigningKey, peekPayload, signCompact } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { JWS_TYPE, type KeysAnswer, type OnlineKeys } from '../contract.ts';
import { makeKeySet, type KeySet } from '../trust.ts';
import { createKeyRing, type KeyRingHolder } from './key-ring.ts';
import { until } from './test-rig.ts';

interface Server {
  readonly url: string;
  answer: unknown;
  close(): void;
}

async function serve(t: TestContext): Promise<Server> {
  const server = createServer((_request, response) => {
    response.end(JSON.stringify(served.answer));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  t.after(close);
  const { port } = server.address() as AddressInfo;
  const served: Server = { url: `http://127.0.0.1:${port}`, answer: null, close };
  return served;
}

function directory(t: TestContext): string {
  const made = mkdtempSync(path.join(os.tmpdir(), 'nightfill-key-ring-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function ringFor(url: string, set: KeySet, lastGoodPath: string): KeyRingHolder {
  const log = createLogger('test', 'silent');
  const { rootFingerprint } = set;
  return createKeyRing({
    controlPlaneUrl: url,
    rootFingerprint,
    lastGoodPath,
    clock: systemClock,
    log,
  });
}

const answerOf = (set: KeySet, online = set.online): KeysAnswer => ({
  root: { ...set.rootPublic },
  online,
});

/** The same keys as another version, signed by the same root. */
async function withVersion(set: KeySet, version: number): Promise<KeysAnswer> {
  const payload = { ...(peekPayload(set.online) as OnlineKeys), version };
  const root = await importSigningKey(set.rootPrivate);
  return answerOf(set, await signCompact(root, JWS_TYPE.onlineKeys, payload));
}

test('keys are fetched, kept, and there again with the control plane gone', async (t) => {
  const server = await serve(t);
  const set = await makeKeySet(0);
  server.answer = answerOf(set);
  const lastGood = path.join(directory(t), 'keys.json');
  const ring = ringFor(server.url, set, lastGood);
  await ring.loaded;
  assert.equal(ring.current(), null);
  ring.start();
  await until('the keys', () => ring.current() !== null);
  ring.stop();
  assert.equal(ring.current()?.byUse.token.size, 1);
  server.close();
  const offline = ringFor(server.url, set, lastGood);
  await offline.loaded;
  assert.equal(offline.current()?.version, 1);
  const refreshed = await offline.refresh();
  assert.equal(refreshed.ok, false);
  assert.equal(offline.current()?.version, 1, 'the last good set stays in use');
});

test('a start before the control plane answers finds the keys once it does', async (t) => {
  const server = await serve(t);
  const set = await makeKeySet(0);
  const ring = ringFor(server.url, set, path.join(directory(t), 'keys.json'));
  t.after(() => ring.stop());
  ring.start();
  await ring.refresh();
  assert.equal(ring.current(), null);
  server.answer = answerOf(set);
  await until('the keys', () => ring.current() !== null);
});

test('keys of another root, altered keys and older keys are refused, and the set in use stays', async (t) => {
  const server = await serve(t);
  const set = await makeKeySet(0);
  const stranger = await makeKeySet(0);
  const lastGood = path.join(directory(t), 'keys.json');
  const ring = ringFor(server.url, set, lastGood);
  server.answer = await withVersion(set, 3);
  assert.ok((await ring.refresh()).ok);
  const cases: readonly [what: string, answer: unknown][] = [
    ['another root', answerOf(stranger)],
    ['our root, a stranger’s set', answerOf(set, stranger.online)],
    ['an older version', await withVersion(set, 2)],
    ['no answer of ours', { hello: 1 }],
  ];
  for (const [what, answer] of cases) {
    server.answer = answer;
    const outcome = await ring.refresh();
    assert.equal(outcome.ok ? 'taken' : outcome.failure.code, 'keys-untrusted', what);
    assert.equal(ring.current()?.version, 3, what);
  }
  server.answer = await withVersion(set, 4);
  assert.ok((await ring.refresh()).ok);
  assert.equal(ring.current()?.version, 4);
});

test('a kept file that is damaged or of another root is not used', async (t) => {
  const server = await serve(t);
  const set = await makeKeySet(0);
  const lastGood = path.join(directory(t), 'keys.json');
  for (const text of ['{', JSON.stringify(answerOf(await makeKeySet(0)))]) {
    writeFileSync(lastGood, text);
    const ring = ringFor(server.url, set, lastGood);
    await ring.loaded;
    assert.equal(ring.current(), null);
  }
  server.answer = answerOf(set);
  assert.ok((await ringFor(server.url, set, lastGood).refresh()).ok);
  assert.deepEqual(JSON.parse(readFileSync(lastGood, 'utf8')), answerOf(set));
});
