/**
 * Whether a release may be played: its boxes should hold it first, and a policy says what happens where they do not.
 *
 *   off    nobody is asked            warn   it plays, and the log says what is missing
 *   block  it does not play before its release, nor after it while too few clusters hold it
 *
 * Errors:     none; a control plane that does not answer blocks nothing: boxes serve without it
 * Invariants: (1) a title without a release, or one that was out for RELEASE_WATCH_MS, is never asked about
 */
import { LRUCache } from 'lru-cache';
import { Type } from 'typebox';
import type { Clock } from '#base/clock.ts';
import { checker } from '#base/config.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import type { Logger } from '#base/log.ts';
import { DAY_MS, SECOND_MS } from '#base/units.ts';
import type { TitleListing } from '../contract.ts';

export type ReleasePolicy = 'off' | 'warn' | 'block';

const RELEASE_WATCH_MS = DAY_MS; // after the release
const ASK_AGAIN_MS = 15 * SECOND_MS;
const DEADLINE_MS = 2 * SECOND_MS;
const TITLES_MAX = 1000;

const checkLiveness = checker(
  Type.Object({
    isLive: Type.Boolean(),
    clustersLive: Type.Integer(),
    clustersWanted: Type.Integer(),
  }),
);

export interface ReleaseGateDeps {
  readonly controlPlaneUrl: string;
  readonly policy: ReleasePolicy;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ReleaseGate {
  readonly #deps: ReleaseGateDeps;
  readonly #known = new LRUCache<string, Promise<string | null>>({
    max: TITLES_MAX,
    ttl: ASK_AGAIN_MS,
  });

  constructor(deps: ReleaseGateDeps) {
    this.#deps = deps;
  }

  /** Why the title is not played now; null where it is. */
  async refusal(listing: TitleListing): Promise<string | null> {
    const { clock, log, policy } = this.#deps;
    if (policy === 'off' || listing.release === undefined) return null;
    const { titleId, release } = listing;
    const untilReleaseMs = Date.parse(release.at) - clock.wallMs();
    if (untilReleaseMs < -RELEASE_WATCH_MS) return null;
    if (policy === 'block' && untilReleaseMs > 0) {
      return `title ${titleId} is released at ${release.at}`;
    }
    let asking = this.#known.get(titleId);
    if (asking === undefined) {
      asking = this.#ask(titleId);
      this.#known.set(titleId, asking);
      const lacking = await asking;
      if (lacking !== null) log.warn({ event: 'release-not-live', titleId }, lacking);
    }
    const lacking = await asking;
    return policy === 'block' ? lacking : null;
  }

  async #ask(titleId: string): Promise<string | null> {
    const answer = await callJsonOk({
      method: 'GET',
      url: `${this.#deps.controlPlaneUrl}/v1/titles/${titleId}/liveness`,
      deadlineMs: DEADLINE_MS,
    });
    const checked = answer.ok ? checkLiveness(answer.value) : null;
    if (checked?.ok !== true || checked.value.isLive) return null;
    const { clustersLive, clustersWanted } = checked.value;
    return `title ${titleId} is on ${clustersLive} of the ${clustersWanted} clusters that should have it`;
  }
}
