/**
 * The control plane's side of trust: the key set that a root signs, and every short-lived token made from it.
 *
 * Invariants: (1) the root's private key is used by `makeKeySet` alone and never by a running daemon
 *             (2) each kind of token has its own `typ` and its own audience: none passes for another
 *             (3) a box's own key is ES256; nothing else enrols
 * Source:     RFC 7523 (assertions), RFC 7800 (cnf), RFC 7638 (thumbprints), RFC 8725
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import {
  fingerprintOf,
  generateSigningKey,
  importVerifyingKey,
  openCompact,
  peekPayload,
  signCompact,
  type JWK,
  type SigningKey,
  type VerifyingKey,
} from '#base/jws.ts';
import type { Outcome } from '#base/outcome.ts';
import {
  ACCESS_TOKEN_LIFE_SECONDS,
  APPLIANCE_ID_PATTERN,
  ASSERTION_AUDIENCE,
  ASSERTION_LIFE_SECONDS_MAX,
  EnrolmentClaimsSchema,
  FILL_GRANT_AUDIENCE,
  FILL_GRANT_LIFE_SECONDS,
  JWS_TYPE,
  NOT_BEFORE_SLACK_SECONDS,
  type ApplianceId,
  type EnrolmentClaims,
  type FillGrant,
  type KeyRing,
  type KeysAnswer,
  type KeyUse,
  type OnlineKeys,
  type ServiceRole,
  type ServiceToken,
} from './contract.ts';

export const CONTROL_PLANE_ISSUER = 'control-plane';
const ACCESS_AUDIENCE = 'control-plane-api';
const CLOCK_SLACK_SECONDS = 5; // a box's clock may run this far ahead of ours before its assertion is refused

const ISSUER_OF_USE: Readonly<Record<KeyUse, string>> = {
  manifest: CONTROL_PLANE_ISSUER,
  plan: 'planner',
  token: 'steering',
  grant: CONTROL_PLANE_ISSUER,
};

const ALGORITHM_OF_USE = {
  manifest: 'EdDSA',
  plan: 'EdDSA',
  token: 'ES256',
  grant: 'ES256',
} as const;

export const KEY_USES: readonly KeyUse[] = ['manifest', 'plan', 'token', 'grant'];

// ---------------------------------------------------------------- the key set

export interface KeySet {
  readonly rootPrivate: JWK;
  readonly rootPublic: JWK;
  readonly rootFingerprint: string;
  readonly privateOf: Readonly<Record<KeyUse, JWK>>;
  readonly online: string; // OnlineKeys as a JWS by the root
}

/** A fresh root and one fresh key for each use, version 1. */
export async function makeKeySet(nowMs: number): Promise<KeySet> {
  const root = await generateSigningKey('EdDSA');
  const privateOf: Partial<Record<KeyUse, JWK>> = {};
  const keys: OnlineKeys['keys'] = [];
  for (const use of KEY_USES) {
    const made = await generateSigningKey(ALGORITHM_OF_USE[use]);
    privateOf[use] = made.privateJwk;
    keys.push({ kid: made.key.kid, use, issuer: ISSUER_OF_USE[use], jwk: made.key.publicJwk });
  }
  const payload: OnlineKeys = { version: 1, issuedAtMs: nowMs, keys };
  return {
    rootPrivate: root.privateJwk,
    rootPublic: root.key.publicJwk,
    rootFingerprint: await fingerprintOf(root.key.publicJwk),
    privateOf: privateOf as Record<KeyUse, JWK>,
    online: await signCompact(root.key, JWS_TYPE.onlineKeys, payload),
  };
}

/** What a running control plane holds: two private keys, and the public set it hands to everybody. */
export interface ControlPlaneKeys {
  readonly manifestKey: SigningKey;
  readonly grantKey: SigningKey;
  readonly ring: KeyRing;
  readonly answer: KeysAnswer;
  readonly rootFingerprint: string;
}

// ---------------------------------------------------------------- enrolment tokens

export function signEnrolmentToken(key: SigningKey, claims: EnrolmentClaims): Promise<string> {
  return signCompact(key, JWS_TYPE.enrolment, claims);
}

export type EnrolmentRefusal = 'enrolment-token-invalid' | 'enrolment-token-expired';

const checkEnrolmentClaims = checker(EnrolmentClaimsSchema);

export async function openEnrolmentToken(
  text: string,
  keys: KeyRing,
  nowSeconds: number,
): Promise<Outcome<EnrolmentClaims, EnrolmentRefusal>> {
  const opened = await openCompact(text, keys.byUse.grant, JWS_TYPE.enrolment);
  if (!opened.ok) return { ok: false, failure: 'enrolment-token-invalid' };
  const checked = checkEnrolmentClaims(opened.value.payload);
  if (!checked.ok) return { ok: false, failure: 'enrolment-token-invalid' };
  if (checked.value.exp <= nowSeconds) return { ok: false, failure: 'enrolment-token-expired' };
  return checked;
}

/** The public ES256 key of a box, without anything else that was sent in the JWK; null for any other kind. */
export async function boxKeyOf(
  jwk: Record<string, unknown>,
): Promise<{ readonly jwk: JWK; readonly thumbprint: string } | null> {
  const candidate = jwk as JWK;
  const key = await importVerifyingKey(candidate);
  if (key === null || key.alg !== 'ES256') return null;
  return {
    jwk: { kty: 'EC', crv: 'P-256', x: candidate.x, y: candidate.y },
    thumbprint: key.kid,
  };
}

// ---------------------------------------------------------------- assertions and access tokens

const AssertionSchema = Type.Object({
  iss: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
  sub: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
  aud: Type.Literal(ASSERTION_AUDIENCE),
  jti: Type.String({ minLength: 8, maxLength: 64 }),
  iat: Type.Integer(),
  exp: Type.Integer(),
});
type Assertion = Static<typeof AssertionSchema>;
const checkAssertion = checker(AssertionSchema);

export type AssertionRefusal =
  | 'assertion-malformed'
  | 'assertion-signature'
  | 'assertion-expired'
  | 'assertion-not-yet'
  | 'assertion-life';

/** Whose assertion this claims to be, unverified: only to look its key up. */
export function assertionSubject(text: string): ApplianceId | null {
  const checked = checkAssertion(peekPayload(text));
  return checked.ok && checked.value.iss === checked.value.sub ? checked.value.sub : null;
}

/** Opens an RFC 7523 assertion by the box's enrolled key. Replay of its `jti` is the caller's to refuse. */
export async function openAssertion(
  text: string,
  boxKey: VerifyingKey,
  nowSeconds: number,
): Promise<Outcome<Assertion, AssertionRefusal>> {
  const opened = await openCompact(text, new Map([[boxKey.kid, boxKey]]), JWS_TYPE.assertion);
  if (!opened.ok) return { ok: false, failure: 'assertion-signature' };
  const checked = checkAssertion(opened.value.payload);
  if (!checked.ok || checked.value.iss !== checked.value.sub) {
    return { ok: false, failure: 'assertion-malformed' };
  }
  const { iat, exp } = checked.value;
  if (exp <= iat || exp - iat > ASSERTION_LIFE_SECONDS_MAX) {
    return { ok: false, failure: 'assertion-life' };
  }
  if (exp <= nowSeconds) return { ok: false, failure: 'assertion-expired' };
  if (iat > nowSeconds + CLOCK_SLACK_SECONDS) return { ok: false, failure: 'assertion-not-yet' };
  return checked;
}

const AccessClaimsSchema = Type.Object({
  iss: Type.Literal(CONTROL_PLANE_ISSUER),
  sub: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
  aud: Type.Literal(ACCESS_AUDIENCE),
  jkt: Type.String({ description: 'thumbprint of the key that was enrolled when it was issued' }),
  exp: Type.Integer(),
});
export type AccessClaims = Static<typeof AccessClaimsSchema>;
const checkAccessClaims = checker(AccessClaimsSchema);

export function signAccessToken(
  key: SigningKey,
  applianceId: ApplianceId,
  thumbprint: string,
  nowSeconds: number,
): Promise<string> {
  const claims: AccessClaims = {
    iss: CONTROL_PLANE_ISSUER,
    sub: applianceId,
    aud: ACCESS_AUDIENCE,
    jkt: thumbprint,
    exp: nowSeconds + ACCESS_TOKEN_LIFE_SECONDS,
  };
  return signCompact(key, JWS_TYPE.access, claims);
}

export async function openAccessToken(
  text: string,
  keys: KeyRing,
  nowSeconds: number,
): Promise<Outcome<AccessClaims, 'access-token-invalid' | 'access-token-expired'>> {
  const opened = await openCompact(text, keys.byUse.grant, JWS_TYPE.access);
  if (!opened.ok) return { ok: false, failure: 'access-token-invalid' };
  const checked = checkAccessClaims(opened.value.payload);
  if (!checked.ok) return { ok: false, failure: 'access-token-invalid' };
  if (checked.value.exp <= nowSeconds) return { ok: false, failure: 'access-token-expired' };
  return checked;
}

/** A bearer fill grant for one box, 7 days. `cnf` names its key, so that proof of possession can follow. */
export function signFillGrant(
  key: SigningKey,
  applianceId: ApplianceId,
  thumbprint: string,
  nowSeconds: number,
): Promise<string> {
  const grant: FillGrant = {
    iss: CONTROL_PLANE_ISSUER,
    sub: applianceId,
    aud: FILL_GRANT_AUDIENCE,
    cnf: { jkt: thumbprint },
    iat: nowSeconds,
    nbf: nowSeconds - NOT_BEFORE_SLACK_SECONDS,
    exp: nowSeconds + FILL_GRANT_LIFE_SECONDS,
  };
  return signCompact(key, JWS_TYPE.grant, grant);
}

// ---------------------------------------------------------------- service tokens

/**
 * Who presents this bearer token; null where nobody does. Every configured hash is compared, each in
 * constant time, so that the answer's time tells nothing about how far a guess came.
 */
export function serviceOf(
  bearer: string,
  tokens: readonly ServiceToken[],
): { readonly name: string; readonly role: ServiceRole } | null {
  const presented = createHash('sha256').update(bearer).digest();
  let found: ServiceToken | null = null;
  for (const token of tokens) {
    const expected = Buffer.from(token.sha256, 'base64url');
    if (expected.length === presented.length && timingSafeEqual(expected, presented)) found = token;
  }
  return found === null ? null : { name: found.name, role: found.role };
}
