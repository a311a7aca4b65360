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
 * Source:     standards for load-aware assignment: effective load removes the herd that stale reports cause
 */
import type { Milliseconds } from '#base/clock.ts';
import type { ApplianceId } from '#control-plane/contract.ts';
import type { EvidenceName } from './evidence.ts';
import type { Fleet } from './fleet.ts';

export const LOAD_EPOCH_MS = 250;
/** A player that was just sent to a box shows in the box's report about this long after. */
export const PICK_UP_MS = 2000;
/** Without reports (control plane gone) assignments are forgotten after this long: the boxes' own admission protects them. */
export const FORGET_MS = 30_000;
const SLOT_MS = 1000;

export interface LoadFrame {
  readonly epoch: number;
  readonly frozenAtMs: Milliseconds; // wall clock: also "now" for availability
  readonly effectiveBps: Float64Array; // by appliance index of the fleet it was made for
  readonly evidence: readonly EvidenceName[];
  readonly isStale: boolean; // the snapshot is older than anybody should rely on; it is still the best there is
}

export class LoadLedger {
  readonly #liveNodes: number;
  #epoch: number;
  readonly #assigned = new Map<ApplianceId, { slotMs: Milliseconds; bps: number }[]>();

  constructor(liveNodes: number, wallMs: Milliseconds) {
    this.#liveNodes = liveNodes;
    // Epochs are quarter seconds of the wall clock at the least: a restart never repeats one.
    this.#epoch = Math.floor(wallMs / LOAD_EPOCH_MS);
  }

  assigned(applianceId: ApplianceId, bps: number, atMs: Milliseconds): void {
    const slotMs = Math.floor(atMs / SLOT_MS) * SLOT_MS;
    let slots = this.#assigned.get(applianceId);
    if (slots === undefined) {
      slots = [];
      this.#assigned.set(applianceId, slots);
    }
    const last = slots.at(-1);
    if (last !== undefined && last.slotMs === slotMs) last.bps += bps;
    else slots.push({ slotMs, bps });
  }

  freeze(
    fleet: Fleet,
    evidenceOf: (applianceId: ApplianceId) => EvidenceName,
    atMs: Milliseconds,
    isStale = false,
  ): LoadFrame {
    this.#epoch = Math.max(this.#epoch + 1, Math.floor(atMs / LOAD_EPOCH_MS));
    const effectiveBps = new Float64Array(fleet.appliances.length);
    for (const { applianceId, index, entry } of fleet.appliances) {
      effectiveBps[index] =
        entry.egressBps + this.#since(applianceId, entry.heartbeatAtMs, atMs) * this.#liveNodes;
    }
    for (const applianceId of this.#assigned.keys()) {
      if (!fleet.indexOf.has(applianceId)) this.#assigned.delete(applianceId);
    }
    return {
      epoch: this.#epoch,
      frozenAtMs: atMs,
      effectiveBps,
      evidence: fleet.appliances.map(({ applianceId }) => evidenceOf(applianceId)),
      isStale,
    };
  }

  #since(applianceId: ApplianceId, reportedAtMs: Milliseconds, atMs: Milliseconds): number {
    const slots = this.#assigned.get(applianceId);
    if (slots === undefined) return 0;
    const oldestMs = Math.max(reportedAtMs - PICK_UP_MS, atMs - FORGET_MS);
    while (slots.length > 0 && slots[0].slotMs + SLOT_MS <= oldestMs) slots.shift();
    if (slots.length === 0) this.#assigned.delete(applianceId);
    return slots.reduce((sum, slot) => sum + slot.bps, 0);
  }
}
