/**
 * What is kept of a night: enough to compare it with another night without asking anybody.
 */
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import type { Catalogue } from '../catalogue.ts';
import { expandPlan, PlanSetSchema, type PlanSet } from '../contract.ts';
import type { NightSummary } from './summary.ts';

const NightRecordSchema = Type.Object({
  planSet: PlanSetSchema,
  /** As it is signed and handed in. */
  jws: Type.String(),
  sites: Type.Array(
    Type.Object({
      siteId: Type.String(),
      clusterId: Type.String(),
      demandBps: Type.Number(),
      servedBps: Type.Number(),
    }),
  ),
  files: Type.Array(
    Type.Object({ ordinal: Type.Integer(), fileId: Type.String(), sizeBytes: Type.Number() }),
  ),
});
export type NightRecord = Static<typeof NightRecordSchema>;
export const checkNightRecord = checker(NightRecordSchema);

export function nightRecordOf(
  planSet: PlanSet,
  jws: string,
  summary: NightSummary,
  catalogue: Catalogue,
): NightRecord {
  return {
    planSet,
    jws,
    sites: summary.sites.map(({ siteId, clusterId, demandBps, servedBps }) => ({
      siteId,
      clusterId,
      demandBps,
      servedBps,
    })),
    files: Array.from(catalogue.ordinals, (ordinal, row) => ({
      ordinal,
      fileId: catalogue.fileIds[row],
      sizeBytes: catalogue.sizes[row],
    })),
  };
}

/** Per appliance: fileId -> density, as the control plane expands its plan. */
export function holdingsOf(record: NightRecord): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const fileIds = new Map(record.files.map((file) => [file.ordinal, file.fileId]));
  const orders = new Map(record.planSet.orders.map((order) => [order.orderVersion, order]));
  return new Map(
    record.planSet.plans.map((plan) => {
      const order = orders.get(plan.orderVersion);
      const held = order === undefined ? [] : expandPlan(plan, order, (at) => fileIds.get(at));
      return [
        plan.applianceId,
        new Map(held.map(({ ordinal, density }) => [fileIds.get(ordinal) ?? '', density])),
      ];
    }),
  );
}
