import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { compactVerify, CompactSign, generateKeyPair, exportJWK, importJWK } from 'jose';
import {
  fingerprintOf,
  generateSigningKey,
  importSigningKey,
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

for (const alg of ['EdDSA', 'ES256'] as const) {
  test(`another library opens what an ${alg} key signed here, and the other way round`, async () => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    const key = await importSigningKey({ ...(await exportJWK(privateKey)), alg });
    const ours = await signCompact(key, 'a+jws', { n: 'é' });
    const { payload, protectedHeader } = await compactVerify(
      ours,
      await importJWK(key.publicJwk, alg),
    );
    assert.deepEqual(JSON.parse(new TextDecoder().decode(payload)), { n: 'é' });
    assert.deepEqual(protectedHeader, { alg, kid: key.kid, typ: 'a+jws' });
    const theirs = await new CompactSign(new TextEncoder().encode('{"n":2}'))
      .setProtectedHeader({ alg, kid: key.kid, typ: 'a+jws' })
      .sign(privateKey);
    assert.deepEqual(await openCompact(theirs, await ringOf(key), 'a+jws'), {
      ok: true,
      value: { kid: key.kid, payload: { n: 2 } },
    });
  });

  test(`an ${alg} signature of any other bytes or length is none`, async () => {
    const { key } = await generateSigningKey(alg);
    const ring = await ringOf(key);
    const good = await signCompact(key, 'a+jws', { n: 1 });
    const signed = good.slice(0, good.lastIndexOf('.'));
    const signature = Buffer.from(good.slice(signed.length + 1), 'base64url');
    assert.equal(signature.length, 64);
    const changed = Buffer.from(signature);
    changed[40] ^= 1;
    const others = [
      Buffer.alloc(0),
      Buffer.alloc(64),
      Buffer.alloc(64, 0xff),
      signature.subarray(0, 63),
      Buffer.concat([signature, Buffer.alloc(1)]),
      Buffer.alloc(5000, 1),
      changed,
    ];
    for (const other of others) {
      const text = `${signed}.${other.toString('base64url')}`;
      const opened = await openCompact(text, ring, 'a+jws');
      assert.deepEqual(opened, { ok: false, failure: 'signature' }, `${other.length} bytes`);
    }
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
    [`${good}.${signature}`, 'malformed'],
    [`${header}.${payload}.${signature}=`, 'malformed'],
    [`${segment(['ES256'])}.${payload}.${signature}`, 'malformed'],
    [
      `${segment({ alg: 'ES256', kid: key.kid, typ: 'a+jws', crit: ['b64'], b64: false })}.${payload}.${signature}`,
      'malformed',
    ],
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
