/**
 * Who this box is: enrolled once with a token from its operator, then by its own key.
 *
 * Invariants: (1) the private key is made here, mode 0600, and never leaves
 *             (2) nothing of the control plane is believed before its keys lead to the root's fingerprint
 *             (3) a crash between making the key and enrolling enrols the same key at the next start
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import { sleep, type Clock } from '#base/clock.ts';
import { callJson } from '#base/io/http-client.ts';
import { generateSigningKey, importSigningKey, type JWK, type SigningKey } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import {
  checkEnrolAnswer,
  openKeys,
  readEnrolmentToken,
  type EnrolmentClaims,
  type EnrolRequest,
} from '#control-plane/contract.ts';

const ENROL_MS_MAX = 10_000;
/** Where the key ring keeps its last good set. */
export const KEYS_FILE = 'keys.json';
const RETRY_FIRST_MS = 250;
const RETRY_MS_MAX = 5000;

const IdentitySchema = Type.Object({
  applianceId: Type.String(),
  siteId: Type.String(),
  clusterId: Type.String(),
  controlPlaneUrl: Type.String(),
  rootFingerprint: Type.String(),
});
export type Identity = Static<typeof IdentitySchema>;
const checkIdentity = checker(IdentitySchema);

/** What stops a start, in an operator's words. */
export class EnrolmentProblem extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'EnrolmentProblem';
  }
}

export interface EnrolmentDeps {
  readonly applianceId: string;
  readonly stateDir: string;
  readonly tokenFile: string;
  readonly baseUrl: string;
  readonly applianceClass: 'flash' | 'storage';
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The enrolled identity and its key. Enrols at the first start; waits for a control plane that is not there yet. */
export async function openIdentity(
  deps: EnrolmentDeps,
): Promise<{ readonly identity: Identity; readonly key: SigningKey }> {
  const file = path.join(deps.stateDir, 'identity.json');
  const key = await openKey(path.join(deps.stateDir, 'box.jwk'));
  if (existsSync(file)) {
    const checked = checkIdentity(readJson(file));
    if (!checked.ok)
      throw new EnrolmentProblem(`${file} is damaged: ${checked.failure.join('; ')}`);
    if (checked.value.applianceId !== deps.applianceId) {
      throw new EnrolmentProblem(
        `${deps.stateDir} belongs to appliance ${checked.value.applianceId}, the configuration says ` +
          `${deps.applianceId}: use another stateDir, or enrol anew after removing this one`,
      );
    }
    return { identity: checked.value, key };
  }
  const identity = await enrol(deps, key);
  writeAside(file, JSON.stringify(identity, null, 2));
  deps.log.info(
    {
      event: 'enrolled',
      applianceId: identity.applianceId,
      siteId: identity.siteId,
      clusterId: identity.clusterId,
    },
    'enrolled',
  );
  return { identity, key };
}

async function enrol(deps: EnrolmentDeps, key: SigningKey): Promise<Identity> {
  const { token, claims } = readToken(deps);
  const body: EnrolRequest = {
    token,
    publicJwk: key.publicJwk,
    baseUrl: deps.baseUrl,
    applianceClass: deps.applianceClass,
    storageBytes: deps.storageBytes,
    servingBps: deps.servingBps,
  };
  let retryMs = RETRY_FIRST_MS;
  for (;;) {
    if (deps.signal.aborted) throw new EnrolmentProblem('stopped before it was enrolled');
    const answer = await callJson({
      method: 'POST',
      url: `${claims.controlPlaneUrl}/v1/enrol`,
      body,
      deadlineMs: ENROL_MS_MAX,
    });
    if (answer.ok && answer.value.status >= 200 && answer.value.status < 300) {
      return accept(deps, claims, answer.value.body);
    }
    if (answer.ok && answer.value.status < 500 && answer.value.status !== 429) {
      throw new EnrolmentProblem(refusalText(deps, claims, answer.value));
    }
    const why = answer.ok ? `status ${answer.value.status}` : answer.failure.detail;
    deps.log.warn({ event: 'enrolment-waits', why }, `the control plane cannot enrol now: ${why}`);
    await sleep(deps.clock, retryMs);
    retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
  }
}

function readToken(deps: EnrolmentDeps): { token: string; claims: EnrolmentClaims } {
  let token: string;
  try {
    token = readFileSync(deps.tokenFile, 'utf8').trim();
  } catch (thrown) {
    throw new EnrolmentProblem(
      `this box is not enrolled and its token file cannot be read: ${messageOf(thrown)}. ` +
        'Ask the control plane for an enrolment token (POST /v1/enrolment-tokens) and put it there',
      thrown,
    );
  }
  const claims = readEnrolmentToken(token);
  if (!claims.ok) {
    throw new EnrolmentProblem(
      `${deps.tokenFile} holds no enrolment token: ${claims.failure.slice(0, 3).join('; ')}`,
    );
  }
  if (claims.value.sub !== deps.applianceId) {
    throw new EnrolmentProblem(
      `the token in ${deps.tokenFile} is for appliance ${claims.value.sub}, the configuration says ${deps.applianceId}`,
    );
  }
  return { token, claims: claims.value };
}

async function accept(
  deps: EnrolmentDeps,
  claims: EnrolmentClaims,
  body: unknown,
): Promise<Identity> {
  const { controlPlaneUrl, rootFingerprint } = claims;
  const checked = checkEnrolAnswer(body);
  if (!checked.ok) {
    throw new EnrolmentProblem(
      `${controlPlaneUrl} answered no enrolment: ${checked.failure.slice(0, 3).join('; ')}`,
    );
  }
  const keys = await openKeys(checked.value.keys, rootFingerprint);
  if (!keys.ok) {
    throw new EnrolmentProblem(
      `${controlPlaneUrl} is not the control plane that the enrolment token names: ${keys.failure}. Nothing was accepted from it`,
    );
  }
  // The key ring starts from these: the box knows its fleet's tokens from its first second.
  writeAside(path.join(deps.stateDir, KEYS_FILE), JSON.stringify(checked.value.keys));
  const { applianceId, siteId, clusterId } = checked.value;
  if (applianceId !== deps.applianceId) {
    throw new EnrolmentProblem(
      `${controlPlaneUrl} enrolled ${applianceId} where ${deps.applianceId} asked`,
    );
  }
  return { applianceId, siteId, clusterId, controlPlaneUrl, rootFingerprint };
}

function refusalText(
  deps: EnrolmentDeps,
  claims: EnrolmentClaims,
  answer: { readonly status: number; readonly body: unknown },
): string {
  const said = JSON.stringify(answer.body).slice(0, 300);
  const advice =
    answer.status === 409
      ? 'this identity is enrolled with another key: if this is a new box in its place, remove the old one at the control plane first'
      : 'ask for a new enrolment token';
  return `${claims.controlPlaneUrl} refused to enrol ${deps.applianceId} (${answer.status} ${said}): ${advice}`;
}

async function openKey(file: string): Promise<SigningKey> {
  if (existsSync(file)) {
    try {
      return await importSigningKey(readJson(file) as JWK);
    } catch (thrown) {
      throw new EnrolmentProblem(`${file} holds no private key: ${messageOf(thrown)}`, thrown);
    }
  }
  const made = await generateSigningKey('ES256');
  writeAside(file, JSON.stringify(made.privateJwk));
  return made.key;
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as unknown;
  } catch (thrown) {
    throw new EnrolmentProblem(`${file} cannot be read: ${messageOf(thrown)}`, thrown);
  }
}

function writeAside(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}
