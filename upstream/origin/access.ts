/**
 * Decides who may have content from the origin: a box with a fill grant, a viewer with a token, nobody else.
 *
 * Shape:      (what the request shows, what it asks for) -> granted | refused(why)
 * Errors:     a refusal is a verdict with a stable word: header, log and metric carry the same one
 * Invariants: (1) a signature is checked once per credential and key set; time is checked at each request
 *             (2) without keys nobody is let in
 *             (3) both caches are bounded; a failure is remembered like a success
 */
import { LRUCache } from 'lru-cache';
import type { Outcome } from '#base/outcome.ts';
import {
  openFillGrant,
  ORIGIN_PATHWAY_ID,
  type PossessionRefusal,
  type FillGrant,
  type GrantRefusal,
  type KeyRing,
} from '#control-plane/contract.ts';
import { PossessionDesk, type DenySet } from '#control-plane/control-plane.ts';
import { verifyViewerToken, type TokenRefusal, type ViewerToken } from '#steering/contract.ts';
import type { ContentLocation, FetchPurpose } from '../contract.ts';

export type AccessRefusal =
  | TokenRefusal
  | GrantRefusal
  | PossessionRefusal
  | DenialRefusal
  | 'keys-missing'
  | 'grant-needed';

export type DenialRefusal =
  | 'title-denied'
  | 'file-denied'
  | 'token-key-denied'
  | 'token-issuer-denied'
  | 'grant-revoked';

/** What may not be served, as the control plane's deny list says. */
export type Denied = Pick<DenySet, 'has' | 'isRevoked'>;

export type Access =
  | { readonly kind: 'viewer' }
  | { readonly kind: 'box'; readonly applianceId: string; readonly purpose: FetchPurpose }
  | { readonly kind: 'refused'; readonly why: AccessRefusal };

export interface Credentials {
  readonly authorization: string | undefined;
  readonly purpose: string | undefined;
  readonly possession: string | undefined; // that the box holds the key of its grant
  readonly host: string; // scheme://host[:port] that the client asked, for the token's scope
  readonly location: ContentLocation;
}

const GRANT_BYTES_MAX = 4096;
const NOTHING: Denied = { has: () => false, isRevoked: () => false };
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*) *$/i;
/** Verdicts that a later moment or a newer key set may turn: kept only as long as the question is open. */
const MAY_CHANGE: readonly string[] = ['token-not-yet', 'grant-not-yet'];

export class AccessDesk {
  readonly #tokens: LRUCache<string, Promise<Outcome<ViewerToken, TokenRefusal>>>;
  readonly #grants: LRUCache<string, Promise<Outcome<FillGrant, GrantRefusal>>>;
  readonly #possessions: PossessionDesk;

  constructor(verdictsMax: number) {
    this.#tokens = new LRUCache({ max: verdictsMax });
    this.#grants = new LRUCache({ max: verdictsMax });
    this.#possessions = new PossessionDesk(ORIGIN_PATHWAY_ID, verdictsMax);
  }

  async decide(
    shown: Credentials,
    keys: KeyRing | null,
    nowSeconds: number,
    denied: Denied = NOTHING,
  ): Promise<Access> {
    const { authorization, location } = shown;
    if (authorization === undefined && location.token === null) return refused('token-missing');
    if (keys === null) return refused('keys-missing');
    if (denied.has('title', location.titleId)) return refused('title-denied');
    if (location.fileId !== null && denied.has('file', location.fileId)) {
      return refused('file-denied');
    }
    if (authorization !== undefined) {
      return this.#decideGrant(authorization, shown, keys, nowSeconds, denied);
    }
    return this.#decideToken(shown, keys, nowSeconds, denied);
  }

  async #decideGrant(
    authorization: string,
    { purpose, possession }: Credentials,
    keys: KeyRing,
    nowSeconds: number,
    denied: Denied,
  ): Promise<Access> {
    const text = BEARER.exec(authorization)?.[1];
    if (text === undefined || text.length > GRANT_BYTES_MAX) return refused('grant-invalid');
    const opened = await remembered(this.#grants, `${keys.version} ${text}`, () =>
      openFillGrant(text, keys, nowSeconds),
    );
    if (!opened.ok) return refused(opened.failure);
    const grant = opened.value;
    if (grant.exp <= nowSeconds) return refused('grant-expired');
    if (denied.isRevoked(grant.sub)) return refused('grant-revoked');
    const problem = await this.#possessions.check(possession, grant, nowSeconds);
    if (problem !== null) return refused(problem);
    // A box that does not say why is counted as on demand: offload must never look better than it is.
    return {
      kind: 'box',
      applianceId: grant.sub,
      purpose: purpose === 'fill' ? 'fill' : 'miss',
    };
  }

  async #decideToken(
    shown: Credentials,
    keys: KeyRing,
    nowSeconds: number,
    denied: Denied,
  ): Promise<Access> {
    const { location } = shown;
    const text = location.token ?? '';
    // Chunk lists and listings are for boxes: no viewer token's scope names them.
    if (location.resource !== 'file') return refused('grant-needed');
    const verified = await remembered(this.#tokens, `${keys.version} ${text}`, () =>
      verifyViewerToken(text, keys, nowSeconds),
    );
    if (!verified.ok) return refused(verified.failure);
    const token = verified.value;
    if (token.expiresAtSeconds <= nowSeconds) return refused('token-expired');
    if (denied.has('key', token.keyId)) return refused('token-key-denied');
    if (denied.has('issuer', token.issuer)) return refused('token-issuer-denied');
    if (!token.covers(`${shown.host}${location.path}`)) return refused('token-uri');
    return { kind: 'viewer' };
  }
}

/** What the refused one reads: why, and what to do. */
export function wordsOf(why: AccessRefusal, controlPlaneUrl: string): string {
  switch (why) {
    case 'keys-missing':
      return `this origin has no keys yet and can check nobody; it keeps asking ${controlPlaneUrl}`;
    case 'token-missing':
      return 'content is served to viewer tokens and fill grants only: ask the playback service for URLs';
    case 'token-expired':
      return 'the viewer token has expired: ask the playback service for new URLs';
    case 'token-uri':
      return 'the viewer token is for another title, or does not say for which';
    case 'grant-needed':
      return 'chunk lists and listings are served to appliances, against a fill grant';
    case 'grant-expired':
      return 'the fill grant has expired: fetch a new one from the control plane';
    case 'grant-revoked':
      return 'this appliance was revoked by its operator';
    case 'title-denied':
    case 'file-denied':
      return 'this was taken down: nobody is served it';
    case 'possession-missing':
    case 'possession-invalid':
    case 'possession-audience':
    case 'possession-stale':
      return 'a fill grant is good only with a fresh proof, for this source, by the key that it names';
    case 'grant-invalid':
    case 'grant-not-yet':
      return 'the fill grant is not one of this CDN’s control plane, or not valid yet';
    default:
      return 'the viewer token is not one that this CDN’s steering signed for this use';
  }
}

function refused(why: AccessRefusal): Access {
  return { kind: 'refused', why };
}

/** One check per key however many requests wait for it. */
async function remembered<T, F extends string>(
  cache: LRUCache<string, Promise<Outcome<T, F>>>,
  key: string,
  check: () => Promise<Outcome<T, F>>,
): Promise<Outcome<T, F>> {
  const known = cache.get(key);
  if (known !== undefined) return known;
  const asking = check();
  cache.set(key, asking);
  const outcome = await asking;
  if (!outcome.ok && MAY_CHANGE.includes(outcome.failure)) cache.delete(key);
  return outcome;
}
