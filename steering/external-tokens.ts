/**
 * How a viewer's URL at another CDN is signed: by the very token that our boxes take, or by an HMAC of its path.
 *
 *   rfc9246   BASE/;URISigningPackage=TOKEN/t/TITLE/FILE                    they hold our public key
 *   hmac      BASE/t/TITLE/FILE?expires=UNIX&signature=BASE64URL            HMAC-SHA256(key, "/t/TITLE/FILE?expires=UNIX")
 *
 * Shape:      externalUrl(external, keys, ask) -> URL, null where we lack its key
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ExternalCdn } from '#control-plane/contract.ts';
import { signedContentUrl } from '#upstream/contract.ts';

/** Secrets by external id, of those that sign by HMAC. */
export type ExternalKeys = ReadonlyMap<string, Buffer>;

export const NO_EXTERNAL_KEYS: ExternalKeys = new Map();
export const EXTERNAL_KEY_BYTES_MIN = 32;

export interface ExternalAsk {
  readonly titleId: string;
  readonly fileId: string;
  readonly viewerToken: string;
  readonly expiresAtSeconds: number;
}

export function externalUrl(
  external: ExternalCdn,
  keys: ExternalKeys,
  ask: ExternalAsk,
): string | null {
  const { titleId, fileId } = ask;
  if (external.tokens === 'rfc9246') {
    return signedContentUrl(external.baseUrl, ask.viewerToken, titleId, fileId);
  }
  const key = keys.get(external.externalId);
  if (key === undefined) return null;
  const path = `/t/${titleId}/${fileId}?expires=${ask.expiresAtSeconds}`;
  return `${external.baseUrl}${path}&signature=${signatureOf(key, path).toString('base64url')}`;
}

/** Whether its URLs differ from file to file in more than the file's id. */
export function signsEachUrl({ tokens }: ExternalCdn): boolean {
  return tokens === 'hmac';
}

export function canSign({ tokens, externalId }: ExternalCdn, keys: ExternalKeys): boolean {
  return tokens === 'rfc9246' || keys.has(externalId);
}

/** What the other side does: for its implementers, and for tests. `target` is the path with its query. */
export function isSignedUrl(target: string, key: Buffer, nowSeconds: number): boolean {
  const match = /^(\/[^?]*\?expires=(\d{1,12}))&signature=([A-Za-z0-9_-]{43})$/.exec(target);
  if (match === null || Number(match[2]) <= nowSeconds) return false;
  return timingSafeEqual(signatureOf(key, match[1]), Buffer.from(match[3], 'base64url'));
}

function signatureOf(key: Buffer, path: string): Buffer {
  return createHmac('sha256', key).update(path).digest();
}
