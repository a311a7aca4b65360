/**
 * Assembles what one night's planning needs, as one consistent cut. Pure and synchronous: nothing changes meanwhile.
 *
 * Invariants: (1) storage is the least of what the box enrolled with and what its last heartbeat has left: a
 *                 box that lost a disk is planned for the rest
 *             (2) denied titles and revoked boxes are not planned
 *             (3) everything is in a fixed order: the same state gives the same input
 */
import type { PlannerInput } from '#fill-planner/contract.ts';
import type { Catalogue } from './catalogue.ts';
import type { Site } from './contract.ts';
import type { DenySet } from './denials.ts';
import type { Box } from './fleet.ts';

export interface PlannerInputState {
  readonly catalogue: Pick<Catalogue, 'epoch' | 'titles' | 'ordinalOf'>;
  readonly denied: Pick<DenySet, 'has' | 'isRevoked'>;
  readonly sites: readonly Site[];
  readonly boxes: readonly Box[];
  readonly demand: PlannerInput['demand'];
}

export function plannerInput(
  state: PlannerInputState,
  planDate: string,
  nowMs: number,
): PlannerInput {
  const boxes = state.boxes
    .filter(({ record }) => !state.denied.isRevoked(record.applianceId))
    .sort(by((box) => box.record.applianceId));
  return {
    epoch: state.catalogue.epoch,
    planDate,
    cutAtMs: nowMs,
    sites: [...state.sites].sort(by((site) => site.siteId)),
    appliances: boxes.map(({ record, heartbeat }) => ({
      applianceId: record.applianceId,
      siteId: record.siteId,
      clusterId: record.clusterId,
      applianceClass: record.applianceClass,
      storageBytes: Math.min(
        record.storageBytes,
        heartbeat?.storage.capacityBytes ?? record.storageBytes,
      ),
      servingBps: record.servingBps,
      ...(heartbeat?.fill.hourlyBps === undefined
        ? {}
        : { fillHourlyBps: heartbeat.fill.hourlyBps }),
    })),
    titles: [...state.catalogue.titles()]
      .filter(({ listing }) => !state.denied.has('title', listing.titleId))
      .sort(by((title) => title.listing.titleId))
      .map(({ listing, takenInAtMs }) => ({
        listing,
        ordinals: listing.files.map(({ fileId }) => state.catalogue.ordinalOf(fileId) ?? 0),
        takenInAtMs,
      })),
    demand: state.demand,
    holdings: boxes.map(({ record, holdings }) => ({
      applianceId: record.applianceId,
      ordinals: [...holdings.ordinals].sort((a, b) => a - b),
    })),
  };
}

function by<T>(keyOf: (entry: T) => string): (a: T, b: T) => number {
  return (a, b) => (keyOf(a) < keyOf(b) ? -1 : 1);
}
