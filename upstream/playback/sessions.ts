/**
 * One viewing: what steering answered, kept so that all playlists of a session tell the same story.
 *
 * A session that is forgotten (restart, too many) is made again from what its URLs carry: the title and the client.
 */
import { LRUCache } from 'lru-cache';
import type { Clock, Milliseconds } from '#base/clock.ts';
import type { PlayAnswer } from '#steering/contract.ts';
import type { TitleListing } from '../contract.ts';
import { pathwaysOf, type Pathway } from './pathways.ts';

/** Session ids: ours are 16 random bytes; a URL may bring another of this form. */
export const SESSION_ID = /^[A-Za-z0-9_-]{1,64}$/;

export interface Viewing {
  readonly session: string;
  readonly listing: TitleListing;
  readonly answer: PlayAnswer;
  readonly pathways: readonly Pathway[];
  readonly askedAtMs: Milliseconds; // of steering, monotonic
}

export class Sessions {
  readonly #viewings: LRUCache<string, Viewing>;
  readonly #clock: Clock;

  constructor(limits: { readonly most: number; readonly ttlMs: Milliseconds }, clock: Clock) {
    this.#viewings = new LRUCache({ max: limits.most, ttl: limits.ttlMs });
    this.#clock = clock;
  }

  find(session: string): Viewing | null {
    return this.#viewings.get(session) ?? null;
  }

  keep(session: string, listing: TitleListing, answer: PlayAnswer): Viewing {
    const askedAtMs = this.#clock.monotonicMs();
    const viewing = { session, listing, answer, pathways: pathwaysOf(answer), askedAtMs };
    this.#viewings.set(session, viewing);
    return viewing;
  }
}
