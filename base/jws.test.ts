import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import {
  fingerprintOf,
  generateSigningKey,
  importVerifyingKey,
  openCompact,
  signCompact,
  type SigningKey,
  type VerifyingKey,
} from './jws.ts';

async function ringOf(...keys: SigningKey[]): Promise<Map<string, VerifyingKey>> {
  const ring = new Map<string, VerifyingKey>();
  for (const key of keys) {
    const verifying = await importVerifyingKey(key.publicJwk);
    assert.ok(verifying);
    ring.set(verifying.kid, verifying);
  }
  return ring;
}

function segment(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

for (const alg of ['EdDSA', 'ES256'] as const) {
  test(`what an ${alg} key signed opens with that key, and its kid is the RFC 7638 thumbprint`, async () => {
    const { key } = await generateSigningKey(alg);
    const text = await signCompact(key, 'a+jws', { n: 1 });
    const opened = await openCompact(text, await ringOf(key), 'a+jws');
    assert.deepEqual(opened, { ok: true, value: { kid: key.kid, payload: { n: 1 } } });
    assert.equal(key.kid, await fingerprintOf(key.publicJwk));
  });
}

test('each way of cheating is refused by its own word', async () => {
  const { key } = await generateSigningKey('ES256');
  const { key: stranger } = await generateSigningKey('ES256');
  const { key: edwards } = await generateSigningKey('EdDSA');
  const ring = await ringOf(key, edwards);
  const good = await signCompact(key, 'a+jws', { n: 1 });
  const [header, payload, signature] = good.split('.') as [string, string, string];

  const hmacHeader = segment({ alg: 'HS256', kid: key.kid, typ: 'a+jws' });
  const publicKeyAsSecret = JSON.stringify(key.publicJwk);
  const hmac = createHmac('sha256', publicKeyAsSecret)
    .update(`${hmacHeader}.${payload}`)
    .digest('base64url');

  const cases: readonly [text: string, refusal: string][] = [
    ['', 'malformed'],
    ['a.b.c', 'malformed'],
    [`${header}.${segment({ n: 2 })}.${signature}`, 'signature'],
    [await signCompact(stranger, 'a+jws', { n: 1 }), 'key-unknown'],
    [await signCompact(key, 'b+jws', { n: 1 }), 'type'],
    [`${segment({ alg: 'none', kid: key.kid, typ: 'a+jws' })}.${payload}.`, 'algorithm'],
    [`${hmacHeader}.${payload}.${hmac}`, 'algorithm'],
    [
      `${segment({ alg: 'EdDSA', kid: key.kid, typ: 'a+jws' })}.${payload}.${signature}`,
      'algorithm',
    ],
  ];
  for (const [text, refusal] of cases) {
    assert.deepEqual(await openCompact(text, ring, 'a+jws'), { ok: false, failure: refusal });
  }
});

test('a symmetric key never becomes a verifying key', async () => {
  assert.equal(await importVerifyingKey({ kty: 'oct', k: 'c2VjcmV0' }), null);
});
