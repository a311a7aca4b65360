/**
 * One viewing: what steering answered, kept so that all playlists of a session tell the same story.
 *
 * A session that is forgotten (restart, too many) is made again from what its URLs carry: the title and the client.
 */
import { LRUCache } from 'lru-cache';
import type { PlayAnswer, PlayRequest } from '#steering/contract.ts';
import type { TitleListing } from '../contract.ts';

export interface Viewing {
  readonly request: PlayRequest;
  readonly answer: PlayAnswer;
  readonly listing: TitleListing;
}

export class Sessions {
  readonly #viewings: LRUCache<string, Viewing>;

  constructor(limits: { readonly most: number; readonly ttlMs: number }) {
    this.#viewings = new LRUCache({ max: limits.most, ttl: limits.ttlMs });
  }

  find(session: string, titleId: string): Viewing | null {
    const viewing = this.#viewings.get(session);
    return viewing === undefined || viewing.request.titleId !== titleId ? null : viewing;
  }

  keep(viewing: Viewing): void {
    this.#viewings.set(viewing.request.session, viewing);
  }
}

/** The signed URL of a file on one pathway; null where steering's answer has none. */
export function urlOn(viewing: Viewing, pathwayId: string, fileId: string): string | null {
  const file = viewing.answer.files.find((one) => one.fileId === fileId);
  return file?.urls.find((url) => url.pathwayId === pathwayId)?.url ?? null;
}
