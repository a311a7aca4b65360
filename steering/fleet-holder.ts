/**
 * The one owner of the current fleet: takes verified messages of the control plane in, or refuses each whole.
 *
 *                 full (newer, or of a newer catalogue epoch)            delta that follows
 *   empty --full--------> holding ------------------------------> holding ------------------> holding
 *                            |  refused: stale, contradictory, from the future: nothing changes
 *                            '- gap: the stream reconnects and takes a full one; nothing changes meanwhile
 *
 * Invariants: (1) (epoch, version) never goes back
 *             (2) a message is taken whole or not at all; what is held was checked for contradictions
 */
import type { Milliseconds } from '#base/clock.ts';
import { assert } from '#base/outcome.ts';
import type { ApplianceId, FleetDelta, FleetSnapshot } from '#control-plane/contract.ts';
import { checkDelta, checkSnapshot } from './fleet-check.ts';
import { advanceFleet, createFleet, withPackedSet, type Fleet } from './fleet.ts';
import type { Holdings, OrdinalSet } from './holdings.ts';

/** Clocks differ by seconds; a snapshot from further ahead than this is somebody's mistake. */
export const FUTURE_MS_MAX = 10 * 60_000;

export type Offer =
  | { readonly kind: 'taken'; readonly fleet: Fleet }
  | { readonly kind: 'same' } // the version that is held: a reconnect, nothing lost
  | { readonly kind: 'gap'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string };

export class FleetHolder {
  #fleet: Fleet | null = null;

  /** `fleet`: to begin with, made elsewhere. */
  constructor(fleet: Fleet | null = null) {
    this.#fleet = fleet;
  }

  get current(): Fleet | null {
    return this.#fleet;
  }

  offer(message: FleetSnapshot | FleetDelta, wallMs: Milliseconds): Offer {
    const fleet = this.#fleet;
    if (message.issuedAtMs > wallMs + FUTURE_MS_MAX) {
      return refused(
        `version ${message.version} was issued at ${new Date(message.issuedAtMs).toISOString()}, ` +
          'which is in the future: check the clocks of this machine and of the control plane',
      );
    }
    const order = orderOf(fleet, message);
    if (order !== null) return order;
    let next: Fleet;
    let problems: readonly string[];
    if (message.kind === 'full') {
      problems = checkSnapshot(message);
      if (problems.length > 0) return contradicts(message, problems);
      next = createFleet(message, fleet);
    } else {
      assert(fleet !== null, 'a delta without a fleet is a gap');
      problems = checkDelta(fleet, message);
      if (problems.length > 0) return contradicts(message, problems);
      next = advanceFleet(fleet, message);
    }
    this.#fleet = next;
    return { kind: 'taken', fleet: next };
  }

  /** A box's set, packed elsewhere from what it was: decisions stay as they are, so versions do too. */
  replaceSet(applianceId: ApplianceId, before: Holdings, base: OrdinalSet): Fleet | null {
    if (this.#fleet !== null) {
      this.#fleet = withPackedSet(this.#fleet, applianceId, before, base);
    }
    return this.#fleet;
  }
}

/** Null where the message comes next. */
function orderOf(fleet: Fleet | null, message: FleetSnapshot | FleetDelta): Offer | null {
  if (fleet === null) {
    return message.kind === 'full'
      ? null
      : { kind: 'gap', why: 'a delta came before any full snapshot' };
  }
  const { version, epoch } = fleet.snapshot;
  if (message.kind === 'delta' && (message.baseVersion !== version || message.epoch !== epoch)) {
    return {
      kind: 'gap',
      why: `delta ${message.baseVersion} -> ${message.version} (epoch ${message.epoch}) does not follow version ${version} (epoch ${epoch})`,
    };
  }
  if (message.epoch === epoch && message.version === version) return { kind: 'same' };
  if (message.epoch < epoch || (message.epoch === epoch && message.version < version)) {
    return refused(
      `version ${message.version} of epoch ${message.epoch} is older than ${version} of epoch ${epoch}, which is held`,
    );
  }
  return null;
}

function contradicts(
  { version }: { readonly version: number },
  problems: readonly string[],
): Offer {
  return refused(`version ${version} contradicts itself: ${problems.join('; ')}`);
}

function refused(why: string): Offer {
  return { kind: 'refused', why };
}
