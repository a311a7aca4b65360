/**
 * Signed JSON: compact JWS (RFC 7515) with a bound algorithm, over jose.
 *
 * Shape:      sign(key, type, payload) -> "header.payload.signature"; open(text, keys, type) -> payload | why not
 * Errors:     a text that does not verify is a verdict with a stable word, never an exception
 * Invariants: (1) the algorithm comes from the key, never from the text: "none" and HS* cannot verify
 *             (2) an unknown key id is refused without cryptography
 *             (3) `typ` must match, so that a document of one kind never passes for another
 * Source:     RFC 7515, RFC 7517, RFC 7638, RFC 8725 3.1, 3.11
 */
import {
  calculateJwkThumbprint,
  compactVerify,
  CompactSign,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  importJWK,
  type CryptoKey,
  type JWK,
} from 'jose';
import type { Outcome } from './outcome.ts';

export type SignatureAlgorithm = 'EdDSA' | 'ES256';
export type { JWK } from 'jose';

export interface SigningKey {
  readonly kid: string;
  readonly alg: SignatureAlgorithm;
  readonly privateKey: CryptoKey;
  readonly publicJwk: JWK;
}

export interface VerifyingKey {
  readonly kid: string;
  readonly alg: SignatureAlgorithm;
  readonly key: CryptoKey;
}

export type JwsRefusal =
  | 'malformed'
  | 'algorithm'
  | 'key-unknown'
  | 'type'
  | 'signature'
  | 'payload';

/** A fresh key; its id is its RFC 7638 thumbprint. */
export async function generateSigningKey(
  alg: SignatureAlgorithm,
): Promise<{ key: SigningKey; privateJwk: JWK }> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const privateJwk = await exportJWK(pair.privateKey);
  return {
    key: await importSigningKey({ ...privateJwk, alg }),
    privateJwk: { ...privateJwk, alg },
  };
}

/** A private JWK (OKP Ed25519 or EC P-256) -> a signing key. Throws on any other kind. */
export async function importSigningKey(privateJwk: JWK): Promise<SigningKey> {
  const alg = algorithmOf(privateJwk);
  if (alg === null || privateJwk.d === undefined)
    throw new Error('not an Ed25519 or P-256 private key');
  const publicJwk = publicPart(privateJwk);
  const kid = await calculateJwkThumbprint(publicJwk);
  const privateKey = (await importJWK(privateJwk, alg)) as CryptoKey;
  return { kid, alg, privateKey, publicJwk: { ...publicJwk, alg, kid } };
}

/** A public JWK -> a verifying key; null where it is not Ed25519 or P-256 (an `oct` key never verifies anything). */
export async function importVerifyingKey(publicJwk: JWK): Promise<VerifyingKey | null> {
  const alg = algorithmOf(publicJwk);
  if (alg === null) return null;
  const bare = publicPart(publicJwk);
  try {
    const key = (await importJWK(bare, alg)) as CryptoKey;
    return { kid: await calculateJwkThumbprint(bare), alg, key };
  } catch {
    return null;
  }
}

/** RFC 7638 thumbprint (SHA-256, base64url) of the public part: a key's id and its fingerprint. */
export function fingerprintOf(jwk: JWK): Promise<string> {
  return calculateJwkThumbprint(publicPart(jwk));
}

export function signCompact(key: SigningKey, type: string, payload: unknown): Promise<string> {
  return new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: type })
    .sign(key.privateKey);
}

export async function openCompact(
  text: string,
  keys: ReadonlyMap<string, VerifyingKey>,
  type: string,
): Promise<Outcome<{ kid: string; payload: unknown }, JwsRefusal>> {
  let header;
  try {
    header = decodeProtectedHeader(text);
  } catch {
    return { ok: false, failure: 'malformed' };
  }
  if (header.alg !== 'EdDSA' && header.alg !== 'ES256') return { ok: false, failure: 'algorithm' };
  const key = typeof header.kid === 'string' ? keys.get(header.kid) : undefined;
  if (key === undefined) return { ok: false, failure: 'key-unknown' };
  if (header.alg !== key.alg) return { ok: false, failure: 'algorithm' };
  if (header.typ !== type) return { ok: false, failure: 'type' };
  let bytes: Uint8Array;
  try {
    bytes = (await compactVerify(text, key.key, { algorithms: [key.alg] })).payload;
  } catch {
    return { ok: false, failure: 'signature' };
  }
  try {
    return {
      ok: true,
      value: { kid: key.kid, payload: JSON.parse(new TextDecoder().decode(bytes)) as unknown },
    };
  } catch {
    return { ok: false, failure: 'payload' };
  }
}

/** What a text claims to be, unverified: only to choose what to verify it with. */
export function peekPayload(text: string): unknown {
  try {
    return JSON.parse(
      Buffer.from(text.split('.')[1] ?? '', 'base64url').toString('utf8'),
    ) as unknown;
  } catch {
    return null;
  }
}

function algorithmOf(jwk: JWK): SignatureAlgorithm | null {
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519') return 'EdDSA';
  if (jwk.kty === 'EC' && jwk.crv === 'P-256') return 'ES256';
  return null;
}

function publicPart(jwk: JWK): JWK {
  return jwk.kty === 'OKP'
    ? { kty: 'OKP', crv: jwk.crv, x: jwk.x }
    : { kty: 'EC', crv: jwk.crv, x: jwk.x, y: jwk.y };
}
