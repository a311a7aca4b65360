/**
 * A pass: what the owner decided of one viewer's target, lent to a serving thread, which answers the next requests for it alone.
 *
 * A thread with a pass runs the same table of steps as its owner (content-handler.ts), on what the pass says: token, title and file were
 * looked at when it was issued; its time, the gate, the deny list, conditions and range are looked at for each request.
 *
 * Invariants: (1) only for a hit of a viewer on a whole file that is open: the owner holds one reference of the file per pass
 *             (2) a pass is for one target and host, as received: what it covers is not decided a second time
 *             (3) it ends after PASS_MS, with its file (SharedWords), or with the keys (epoch), whichever is first
 */
import type { Reason } from '#appliance/contract.ts';
import type { ClusterId } from '#control-plane/contract.ts';
import type { FileId, TitleId } from '#upstream/contract.ts';
import type { RequestView } from './sender.ts';

/** How long what is not told to threads (a manifest that takes a file from a title) may be out of date. */
export const PASS_MS = 60_000;
export const PASSES_PER_THREAD_MAX = 16_384; // a session has two or three: video, audio, a rung up or down

export interface Pass {
  readonly id: number; // of this thread
  readonly place: number; // in SharedWords
  readonly generation: number;
  readonly epoch: number;
  readonly fileId: FileId;
  readonly titleId: TitleId;
  readonly fd: number;
  readonly serial: number;
  readonly sizeBytes: number;
  readonly storedAtMs: number;
  readonly token: {
    readonly home: ClusterId;
    readonly reason: Reason;
    readonly keyId: string;
    readonly issuer: string;
    readonly expiresAtSeconds: number;
    readonly notBeforeSeconds: number;
    readonly firstSeenMs: number; // monotonic, the owner's
    readonly draw: number;
  };
}

const TOKEN_IN_QUERY = 'URISigningPackage=';

/** What a pass is known by; null where none is given: other methods, other boxes, tokens in the query. */
export function passKeyOf(request: RequestView): string | null {
  if (request.method !== 'GET' || request.authorization !== undefined) return null;
  const { target } = request;
  const queryAt = target.indexOf('?');
  if (queryAt === -1) return target;
  return target.includes(TOKEN_IN_QUERY, queryAt) ? null : target.slice(0, queryAt);
}
