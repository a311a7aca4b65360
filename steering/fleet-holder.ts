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
import { applyDelta, type FleetDelta, type FleetSnapshot } from '#control-plane/contract.ts';
import { checkSnapshot, createFleet, type Fleet } from './fleet.ts';

/** Clocks differ by seconds; a snapshot from further ahead than this is somebody's mistake. */
export const FUTURE_MS_MAX = 10 * 60_000;

export type Offer =
  | { readonly kind: 'taken'; readonly fleet: Fleet }
  | { readonly kind: 'same' } // the version that is held: a reconnect, nothing lost
  | { readonly kind: 'gap'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string };

export class FleetHolder {
  #fleet: Fleet | null = null;

  get current(): Fleet | null {
    return this.#fleet;
  }

  offer(message: FleetSnapshot | FleetDelta, wallMs: Milliseconds): Offer {
    const held = this.#fleet?.snapshot ?? null;
    if (message.issuedAtMs > wallMs + FUTURE_MS_MAX) {
      return refused(
        `version ${message.version} was issued at ${new Date(message.issuedAtMs).toISOString()}, ` +
          'which is in the future: check the clocks of this machine and of the control plane',
      );
    }
    let next: FleetSnapshot;
    if (message.kind === 'delta') {
      if (held === null) return { kind: 'gap', why: 'a delta came before any full snapshot' };
      const outcome = applyDelta(held, message);
      if (outcome === 'gap') {
        return {
          kind: 'gap',
          why: `delta ${message.baseVersion} -> ${message.version} (epoch ${message.epoch}) does not follow version ${held.version} (epoch ${held.epoch})`,
        };
      }
      // Unchanged parts keep their identity, so that the next fleet shares what was built from them.
      next = {
        ...outcome,
        titles:
          message.titles.length + message.titlesRemoved.length === 0 ? held.titles : outcome.titles,
      };
    } else {
      next = message;
    }
    if (held !== null) {
      if (next.epoch === held.epoch && next.version === held.version) return { kind: 'same' };
      const isBack =
        next.epoch < held.epoch || (next.epoch === held.epoch && next.version < held.version);
      if (isBack) {
        return refused(
          `version ${next.version} of epoch ${next.epoch} is older than ${held.version} of epoch ${held.epoch}, which is held`,
        );
      }
    }
    const problems = checkSnapshot(next, held);
    if (problems.length > 0) {
      return refused(`version ${next.version} contradicts itself: ${problems.join('; ')}`);
    }
    this.#fleet = createFleet(next, this.#fleet);
    return { kind: 'taken', fleet: this.#fleet };
  }
}

function refused(why: string): Offer {
  return { kind: 'refused', why };
}
