/**
 * Whether a box that shows a fill grant holds the key which the grant names. For every source: peers, tiers and the origin.
 *
 * Shape:      (proof, grant, now) -> null: it does | why not
 * Units:      Unix seconds on the source's trusted clock
 * Invariants: (1) a proof's signature is checked once for a grant's box and key, its age at each request
 *             (2) what was found for one grant says nothing for another one: a stolen proof cannot spoil its owner's
 *             (3) the cache is bounded; a failure is remembered like a success
 * Source:     the idea of RFC 9449 (DPoP), for one source and minute instead of one request
 */
import { LRUCache } from 'lru-cache';
import type { Outcome } from '#base/outcome.ts';
import {
  isPossessionFresh,
  openPossession,
  type FillGrant,
  type Possession,
  type PossessionRefusal,
} from './contract.ts';

const POSSESSION_BYTES_MAX = 2048;

type Opened = Outcome<Possession, PossessionRefusal>;

export class PossessionDesk {
  readonly #sourceId: string;
  readonly #opened: LRUCache<string, Opened>;
  readonly #opening = new Map<string, Promise<Opened>>();

  /** `sourceId`: whom a proof must be made for. */
  constructor(sourceId: string, provenMax: number) {
    this.#sourceId = sourceId;
    this.#opened = new LRUCache({ max: provenMax });
  }

  /** The verdict where it can be had at once; undefined: `check` is needed. */
  peek(
    proof: string | undefined,
    grant: FillGrant,
    nowSeconds: number,
  ): PossessionRefusal | null | undefined {
    if (proof === undefined || proof === '') return 'possession-missing';
    if (proof.length > POSSESSION_BYTES_MAX) return 'possession-invalid';
    const opened = this.#opened.get(nameOf(proof, grant));
    return opened === undefined ? undefined : verdictOf(opened, nowSeconds);
  }

  async check(
    proof: string | undefined,
    grant: FillGrant,
    nowSeconds: number,
  ): Promise<PossessionRefusal | null> {
    const known = this.peek(proof, grant, nowSeconds);
    if (known !== undefined || proof === undefined) return known ?? null;
    const name = nameOf(proof, grant);
    let opening = this.#opening.get(name);
    if (opening === undefined) {
      opening = openPossession(proof, grant, this.#sourceId);
      this.#opening.set(name, opening);
      void opening.then((opened) => {
        this.#opening.delete(name);
        this.#opened.set(name, opened);
      });
    }
    return verdictOf(await opening, nowSeconds);
  }
}

function verdictOf(opened: Opened, nowSeconds: number): PossessionRefusal | null {
  if (!opened.ok) return opened.failure;
  return isPossessionFresh(opened.value, nowSeconds) ? null : 'possession-stale';
}

function nameOf(proof: string, grant: FillGrant): string {
  return `${grant.sub} ${grant.cnf.jkt} ${proof}`;
}
