/**
 * Expands one appliance's plan of a factored order on its own, as the control plane would, and compares it with what was planned.
 *
 * Shape: (plan, order, catalogue) -> files and bytes held, newly filled against last night's rule
 */
import { expandPlan, ownerOfBuckets, shareBucketOf, type Plan } from '../contract.ts';
import { columnsOf, densityOf, type FactoredOrder } from './factored-order.ts';
import { BLOCK_BYTES, type FleetCatalogue } from './fleet-files.ts';

export interface ExpandedSample {
  readonly files: number;
  readonly bytes: number;
  readonly leastDensity: number;
}

export function expandSample(
  plan: Plan,
  order: FactoredOrder,
  catalogue: FleetCatalogue,
): ExpandedSample {
  const least = Math.min(plan.everywhereDensity, plan.shareDensity, plan.keep?.density ?? Infinity);
  // What another box owns need not be sorted: whole fleets have one copy per cluster, band by band.
  const ids = plan.members.map((member) => member.applianceId);
  const self = ids.indexOf(plan.applianceId);
  const bands = (
    plan.bands ?? [{ fromDensity: 0, weights: plan.members.map((member) => member.weight) }]
  ).map(({ fromDensity, weights }) => ({
    fromDensity,
    owners: weights[self] > 0 ? ownerOfBuckets(ids, weights) : null,
  }));
  const { buckets } = catalogue;
  const columns = columnsOf(order, least, (row, density) => {
    if (density >= plan.everywhereDensity) return true;
    const band = bands.find((entry) => density >= entry.fromDensity);
    return band !== undefined && band.owners !== null && band.owners[buckets[row]] === self;
  });
  const held = expandPlan(plan, columns, (ordinal) => fileIdOfRow(ordinal, catalogue.buckets));
  let bytes = 0;
  let leastDensity = Infinity;
  for (const { ordinal } of held) {
    bytes += catalogue.blocks[ordinal] * BLOCK_BYTES;
    leastDensity = Math.min(leastDensity, densityOf(order.titles, order.variants, ordinal));
  }
  return { files: held.length, bytes, leastDensity };
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** A file id for a row of a generated catalogue: its bucket in front, its row behind; 43 characters as all are. */
export function fileIdOfRow(row: number, buckets: Uint16Array): string {
  const bucket = buckets[row];
  const id = `${ALPHABET[bucket >>> 6]}${ALPHABET[bucket & 63]}${row.toString(36).padStart(41, '0')}`;
  return shareBucketOf(id) === bucket ? id : '';
}
