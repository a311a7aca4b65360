import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { SimulatedClock } from '#base/clock.ts';
import { generateSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { seededRandom } from '#base/random.ts';
import { fingerprintOf } from '#base/jws.ts';
import { JWS_TYPE, openKeys, type KeyRing } from '#control-plane/contract.ts';
import { signViewerToken } from '#steering/contract.ts';
import { ViewerVerdicts, prefixOf } from './viewer-verdicts.ts';

const NOW = 1_790_000_000;
const CLIENT = '192.0.2.7';
const URI = `http://box/t/film/${'A'.repeat(43)}`;

let root: SigningKey;
let older: SigningKey;
let newer: SigningKey;

before(async () => {
  root = (await generateSigningKey('EdDSA')).key;
  older = (await generateSigningKey('ES256')).key;
  newer = (await generateSigningKey('ES256')).key;
});

/** A key set as the control plane publishes it, opened as a box opens it. */
async function ringOf(version: number, keys: readonly SigningKey[]): Promise<KeyRing> {
  const entries = keys.map((key) => ({
    kid: key.kid,
    use: 'token',
    issuer: 'steering',
    jwk: key.publicJwk,
  }));
  const online = await signCompact(root, JWS_TYPE.onlineKeys, {
    version,
    issuedAtMs: NOW * 1000,
    keys: entries,
  });
  const answer = { root: root.publicJwk as Record<string, unknown>, online };
  const opened = await openKeys(answer, await fingerprintOf(root.publicJwk));
  assert.ok(opened.ok);
  return opened.value;
}

function tokenBy(key: SigningKey, more: Record<string, unknown> = {}): Promise<string> {
  const scope = { titleId: 'film', durationSeconds: 60, home: 'c', reason: 'home' as const };
  if (Object.keys(more).length === 0) return signViewerToken(key, scope, NOW);
  const claims = { iss: 'steering', aud: 'oca', cdniv: 1, exp: NOW + 3600 };
  return signCompact(key, JWS_TYPE.viewer, { ...claims, ...more });
}

class Rig {
  readonly clock = new SimulatedClock();
  ring: KeyRing | null = null;
  nowSeconds = NOW;
  readonly verdicts = new ViewerVerdicts(
    this.clock,
    seededRandom(3),
    () => this.ring,
    () => this.nowSeconds,
  );

  async verdictOf(text: string, from = CLIENT): Promise<string> {
    const verdict = this.verdicts.peek(text) ?? (await this.verdicts.verify(text, from));
    return verdict.ok ? 'ok' : verdict.refusal;
  }
}

test('keys overlap: tokens of the old and of the new key are good while both are published, the old one’s not a request longer', async () => {
  const rig = new Rig();
  const [old, fresh] = await Promise.all([tokenBy(older), tokenBy(newer)]);
  assert.equal(await rig.verdictOf(old), 'token-key-unknown', 'no keys yet');
  rig.ring = await ringOf(1, [older]);
  assert.equal(await rig.verdictOf(old), 'ok', 'keys that came later are not held against it');
  assert.equal(await rig.verdictOf(fresh), 'token-key-unknown');
  rig.ring = await ringOf(2, [older, newer]);
  assert.deepEqual([await rig.verdictOf(old), await rig.verdictOf(fresh)], ['ok', 'ok']);
  rig.ring = await ringOf(3, [newer]);
  assert.equal(rig.verdicts.peek(old), null, 'a remembered yes does not outlive its key');
  assert.deepEqual(
    [await rig.verdictOf(old), await rig.verdictOf(fresh)],
    ['token-key-unknown', 'ok'],
  );
});

test('a verdict is remembered, its time is looked at with each request', async () => {
  const rig = new Rig();
  rig.ring = await ringOf(1, [older]);
  const text = await tokenBy(older);
  assert.equal(await rig.verdictOf(text), 'ok');
  assert.equal(rig.verdicts.peek(text)?.ok, true);
  rig.nowSeconds = NOW + 365 * 86_400;
  assert.deepEqual(rig.verdicts.peek(text), { ok: false, refusal: 'token-expired' });
  rig.nowSeconds = NOW - 365 * 86_400;
  assert.deepEqual(rig.verdicts.peek(text), { ok: false, refusal: 'token-not-yet' });
  rig.nowSeconds = NOW;
  assert.equal(rig.verdicts.peek(text)?.ok, true);
});

test('containers on which a backtracking engine never ends are matched in linear time', async () => {
  const rig = new Rig();
  rig.ring = await ringOf(1, [older]);
  const long = `http://box/t/film/${'a'.repeat(8000)}`;
  for (const container of ['regex:(.*a){20}b', 'regex:(a|aa|.)*c', 'regex:((.+)+)+d']) {
    const verdict = await rig.verdicts.verify(await tokenBy(older, { cdniuc: container }), CLIENT);
    assert.ok(verdict.ok, container);
    // 2^8000 ways for a backtracking engine: this test would not come back.
    assert.equal(verdict.token.covers(`${long}!`), false, container);
  }
  for (const container of ['regex:(', 'uri:http://box/', `regex:${'a'.repeat(10_000)}`]) {
    const text = await tokenBy(older, { cdniuc: container });
    assert.notEqual(await rig.verdictOf(text), 'ok', container.slice(0, 20));
  }
  const anchored = await rig.verdicts.verify(
    await tokenBy(older, { cdniuc: `regex:${URI}` }),
    '::1',
  );
  assert.ok(anchored.ok);
  assert.deepEqual(
    [URI, `x${URI}`, `${URI}x`].map((uri) => anchored.token.covers(uri)),
    [true, false, false],
  );
});

test('forged tokens spend their network’s budget, and no other’s; a forged one is refused again without a check', async () => {
  const rig = new Rig();
  rig.ring = await ringOf(1, [older]);
  const forger = { ...newer, kid: older.kid };
  const words = new Map<string, number>();
  for (let at = 0; at < 120; at++) {
    const word = await rig.verdictOf(await tokenBy(forger, { n: at, cdniuc: 'regex:.*' }));
    words.set(word, (words.get(word) ?? 0) + 1);
  }
  assert.deepEqual(
    [...words],
    [
      ['token-signature', 50],
      ['token-limit', 70],
    ],
  );
  const honest = await tokenBy(older);
  assert.equal(await rig.verdictOf(honest, '192.0.2.99'), 'token-limit', 'the same /24');
  assert.equal(await rig.verdictOf(honest, '192.0.3.1'), 'ok');
  rig.clock.advance(1000);
  const again = await tokenBy(older, { cdniuc: 'regex:.*' });
  assert.equal(await rig.verdictOf(again), 'ok', 'a second later ten more are looked at');
});

test('who is charged is the /24 or the /48, an IPv4-mapped address as IPv4', () => {
  assert.equal(prefixOf('192.0.2.7'), prefixOf('::ffff:192.0.2.200'));
  assert.equal(prefixOf('2001:db8:1:2::3'), prefixOf('2001:db8:1:ffff::9'));
  assert.notEqual(prefixOf('2001:db8:1::1'), prefixOf('2001:db8:2::1'));
});
