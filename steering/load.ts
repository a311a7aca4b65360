/**
 * How loaded each box is, as this node sees it: what the box reported, plus what this node sent it since.
 *
 * Reports are a second old and later; without one's own assignments every node would herd onto the box that was
 * idle a second ago. Decisions read a frozen frame, made every 250 ms or when evidence changes: the load epoch.
 *
 * Shape:      ledger.assigned(...) for each answer; ledger.freeze(fleet, ...) -> LoadFrame
 * Units:      bits per second
 * Invariants: (1) effective load = reported egress + assignments since that report x live steering nodes
 *             (2) an assignment is dropped once a report is newer than it by PICK_UP_MS, and after FORGET_MS in any case
 *             (3) a frame never changes; its epoch is larger than that of any frame before it, also over a restart
 *             (4) a frame costs one copy of the reported loads, and what was assigned and found out since
 * Source:     standards for load-aware assignment: effective load removes the herd that stale reports cause
 */
import type { AddressFamily } from '#base/address.ts';
import type { Milliseconds } from '#base/clock.ts';
import type { ApplianceId } from '#control-plane/contract.ts';
import { SECOND_MS } from '#base/units.ts';
import { EVIDENCE_NAMES, type EvidenceName } from './evidence.ts';
import type { ExternalLoad } from './externals.ts';
import type { Fleet, FleetAppliance } from './fleet.ts';

export const LOAD_EPOCH_MS = 250;
/** A player that was just sent to a box shows in the box's report about this long after. */
export const PICK_UP_MS = 2000;
/** Without reports (control plane gone) assignments are forgotten after this long: the boxes' own admission protects them. */
export const FORGET_MS = 30_000;
const SECONDS_KEPT = FORGET_MS / SECOND_MS + 2;

export interface LoadFrame {
  readonly epoch: number;
  readonly frozenAtMs: Milliseconds; // wall clock: also "now" for availability
  readonly effectiveBps: Float64Array; // by appliance index of the fleet it was made for
  readonly evidence: Uint8Array; // two a box, by IPv4 and IPv6: places in EVIDENCE_NAMES
  readonly externals: readonly ExternalLoad[]; // as in the snapshot
  readonly demoted: readonly number[]; // boxes that many players complained of: behind their peers
  readonly isStale: boolean; // the snapshot is older than anybody should rely on; it is still the best there is
}

/** What was found out about a box over one address family. */
export interface FamilyEvidence {
  readonly applianceId: ApplianceId;
  readonly family: AddressFamily;
  readonly name: EvidenceName;
}

/** What we know of a box over the family that a client would reach it by. */
export function evidenceOf(
  { evidence }: LoadFrame,
  { index, address }: Pick<FleetAppliance, 'index' | 'address'>,
  family: AddressFamily,
): EvidenceName {
  const own = address === null ? family : address.length === 4 ? 4 : 6;
  return EVIDENCE_NAMES[evidence[index * 2 + (own === 4 ? 0 : 1)]];
}

/** Whether a box is known as `name` over any family. */
export function isKnownAs({ evidence }: LoadFrame, index: number, name: EvidenceName): boolean {
  const code = EVIDENCE_NAMES.indexOf(name);
  return evidence[index * 2] === code || evidence[index * 2 + 1] === code;
}

/** Seconds of assignments by box. Boxes have places of their own here, so that a fleet may change its indexes at any time. */
export class LoadLedger {
  /** Steering nodes that share the players, this one counted. */
  liveNodes: number;
  #epoch: number;
  readonly #places = new Map<ApplianceId, number>();
  readonly #seconds: { atSecond: number; bps: Float64Array }[];
  #capacity = 1024;
  #indexOf: ReadonlyMap<ApplianceId, number> | null = null; // that #indexes was made for
  #indexes: number[] = []; // in the fleet, by place; -1: not there

  constructor(liveNodes: number, wallMs: Milliseconds) {
    this.liveNodes = liveNodes;
    // Epochs are quarter seconds of the wall clock at the least: a restart never repeats one.
    this.#epoch = Math.floor(wallMs / LOAD_EPOCH_MS);
    this.#seconds = Array.from({ length: SECONDS_KEPT }, () => {
      return { atSecond: -1, bps: new Float64Array(this.#capacity) };
    });
  }

  assigned(applianceId: ApplianceId, bps: number, atMs: Milliseconds): void {
    let place = this.#places.get(applianceId);
    if (place === undefined) {
      place = this.#places.size;
      this.#places.set(applianceId, place);
      this.#indexOf = null;
      if (place >= this.#capacity) this.#grow();
    }
    const atSecond = Math.floor(atMs / SECOND_MS);
    const second = this.#seconds[atSecond % SECONDS_KEPT];
    if (second.atSecond !== atSecond) {
      second.atSecond = atSecond;
      second.bps.fill(0);
    }
    second.bps[place] += bps;
  }

  freeze(
    fleet: Fleet,
    known: Iterable<FamilyEvidence>,
    atMs: Milliseconds,
    externals: readonly ExternalLoad[] = [],
    isStale = false,
    complainedOf: readonly ApplianceId[] = [],
  ): LoadFrame {
    this.#epoch = Math.max(this.#epoch + 1, Math.floor(atMs / LOAD_EPOCH_MS));
    const effectiveBps = fleet.reportedBps.slice();
    this.#addAssigned(fleet, effectiveBps, atMs);
    const evidence = new Uint8Array(fleet.appliances.length * 2);
    for (const { applianceId, family, name } of known) {
      const index = fleet.indexOf.get(applianceId);
      if (index === undefined) continue;
      evidence[index * 2 + (family === 4 ? 0 : 1)] = EVIDENCE_NAMES.indexOf(name);
    }
    const demoted = complainedOf.flatMap((id) => fleet.indexOf.get(id) ?? []);
    return {
      epoch: this.#epoch,
      frozenAtMs: atMs,
      effectiveBps,
      evidence,
      externals,
      demoted,
      isStale,
    };
  }

  #addAssigned(fleet: Fleet, effectiveBps: Float64Array, atMs: Milliseconds): void {
    if (this.#indexOf !== fleet.indexOf) this.#findIndexes(fleet);
    const forgottenMs = atMs - FORGET_MS;
    const seconds = this.#seconds.filter(
      ({ atSecond }) => atSecond >= 0 && (atSecond + 1) * SECOND_MS > forgottenMs,
    );
    for (let place = 0; place < this.#indexes.length; place++) {
      const index = this.#indexes[place];
      if (index === -1) continue;
      const heardMs = fleet.heardAtMs[index] - PICK_UP_MS;
      let bps = 0;
      for (const second of seconds) {
        if ((second.atSecond + 1) * SECOND_MS > heardMs) bps += second.bps[place];
      }
      if (bps > 0) effectiveBps[index] += bps * this.liveNodes;
    }
  }

  #findIndexes({ indexOf }: Fleet): void {
    // Boxes that left keep their places until they are most of them.
    if (this.#places.size > 2 * indexOf.size + this.#capacity) {
      this.#places.clear();
      for (const second of this.#seconds) second.bps.fill(0);
    }
    this.#indexes = Array.from(this.#places.keys(), (id) => indexOf.get(id) ?? -1);
    this.#indexOf = indexOf;
  }

  #grow(): void {
    this.#capacity *= 2;
    for (const second of this.#seconds) {
      const bigger = new Float64Array(this.#capacity);
      bigger.set(second.bps);
      second.bps = bigger;
    }
  }
}
