/**
 * Viewer tokens, signed once and shared: one per (title, home, reason) and ten minutes, whoever asks.
 *
 * A token says nothing about the viewer, only what may be fetched and how the bytes count; so all viewers of a title
 * with the same home and reason carry the same one, and ES256 (150 us and more) is off the path of most answers.
 *
 * Invariants: (1) a token handed out is valid for at least the title's duration + 6 h - BUCKET_SECONDS
 *             (2) callers who ask at once for the same token wait for one signature
 */
import { LRUCache } from 'lru-cache';
import type { Reason } from '#appliance/contract.ts';
import type { SigningKey } from '#base/jws.ts';
import type { TitleId } from '#upstream/contract.ts';
import { signViewerToken } from './contract.ts';

export const BUCKET_SECONDS = 600;
const TOKENS_MAX = 65_536; // about half a kilobyte each

export interface TokenScope {
  readonly titleId: TitleId;
  readonly durationSeconds: number;
  readonly home: string;
  readonly reason: Reason;
}

export class TokenMint {
  readonly #key: SigningKey;
  readonly #tokens = new LRUCache<string, string | Promise<string>>({ max: TOKENS_MAX });
  signed = 0;
  reused = 0;

  constructor(key: SigningKey) {
    this.#key = key;
  }

  /** The token itself where it is there already. */
  tokenFor(scope: TokenScope, nowSeconds: number): string | Promise<string> {
    const bucket = Math.floor(nowSeconds / BUCKET_SECONDS);
    const name = `${bucket} ${scope.titleId} ${scope.home} ${scope.reason} ${scope.durationSeconds}`;
    const known = this.#tokens.get(name);
    if (known !== undefined) {
      this.reused++;
      return known;
    }
    this.signed++;
    const token = signViewerToken(this.#key, scope, nowSeconds);
    this.#tokens.set(name, token);
    // From then on nobody waits, not even for a turn of the event loop.
    void token.then(
      (text) => this.#tokens.set(name, text),
      () => this.#tokens.delete(name),
    );
    return token;
  }
}
