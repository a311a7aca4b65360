/**
 * What the planner tells the control plane: per appliance a plan that is a function, and the order that it refers to.
 *
 * A plan is small whatever the catalogue: thresholds on an order by density, the share of files that hash to this
 * box, and exceptions. The control plane expands it to a manifest when the box asks; both are deterministic.
 */
import { createHash } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import { openCompact } from '#base/jws.ts';
import type { Outcome } from '#base/outcome.ts';
import {
  APPLIANCE_ID_PATTERN,
  CLUSTER_ID_PATTERN,
  JWS_TYPE,
  SiteSchema,
  type ApplianceId,
  type KeyRing,
} from '#control-plane/contract.ts';
import { TitleListingSchema, type FileId } from '#upstream/contract.ts';

const ordinal = Type.Integer({ minimum: 0, maximum: 2 ** 32 - 1 });
const applianceId = Type.String({ pattern: APPLIANCE_ID_PATTERN });
const clusterId = Type.String({ pattern: CLUSTER_ID_PATTERN });
const planDate = Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$', description: 'UTC date' });

/** One popularity order: ordinals by falling density, ties by ordinal. Density = forecast views of the file per day. */
export const OrderSchema = Type.Object(
  {
    orderId: Type.String({
      maxLength: 64,
      description: 'popularity feed: the cluster or region it was made for',
    }),
    orderVersion: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: 'SHA-256 of its content',
    }),
    epoch: Type.Integer({ minimum: 1 }),
    ordinals: Type.Array(ordinal),
    densities: Type.Array(Type.Number({ minimum: 0 })),
  },
  { additionalProperties: false },
);
export type Order = Static<typeof OrderSchema>;

/**
 * What one appliance should hold: every file of the order with
 *   density >= `everywhereDensity` (the head, on every box of the cluster), or
 *   density >= `shareDensity` and `shareOwner(fileId, members) === applianceId` (one copy per cluster);
 * plus `pins`, minus `drops`.
 */
export const PlanSchema = Type.Object(
  {
    applianceId,
    clusterId,
    planDate,
    epoch: Type.Integer({ minimum: 1 }),
    orderVersion: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
    everywhereDensity: Type.Number({ minimum: 0 }),
    shareDensity: Type.Number({ minimum: 0 }),
    fillDensity: Type.Number({
      minimum: 0,
      description: 'a miss of at least this forecast density is kept at once',
    }),
    members: Type.Array(
      Type.Object(
        { applianceId, weight: Type.Number({ exclusiveMinimum: 0 }) },
        { additionalProperties: false },
      ),
      {
        minItems: 1,
        maxItems: 64,
        description: 'boxes that share the cluster’s files, with their weights',
      },
    ),
    pins: Type.Array(ordinal, { description: 'held whatever the thresholds say' }),
    drops: Type.Array(ordinal, { description: 'not held although the thresholds say so: no room' }),
  },
  { additionalProperties: false },
);
export type Plan = Static<typeof PlanSchema>;

/** `POST /v1/plans`: one night of plans, whole or not at all. A JWS (typ nf-plan+jws) by a plan key. */
export const PlanSetSchema = Type.Object(
  {
    planDate,
    epoch: Type.Integer({ minimum: 1 }),
    run: Type.String({ maxLength: 64, description: 'the same run posted twice is taken once' }),
    orders: Type.Array(OrderSchema),
    plans: Type.Array(PlanSchema),
    summary: Type.Object({
      forecastViewsPerDay: Type.Number({ minimum: 0 }),
      plannedOffloadShare: Type.Number({ minimum: 0, maximum: 1 }),
      bytesPlanned: Type.Number({ minimum: 0 }),
      problems: Type.Array(Type.String({ maxLength: 300 }), { maxItems: 1000 }),
    }),
  },
  { additionalProperties: false },
);
export type PlanSet = Static<typeof PlanSetSchema>;
export const checkPlanSet = checker(PlanSetSchema);

export async function openPlanSet(text: string, keys: KeyRing): Promise<Outcome<PlanSet, string>> {
  const opened = await openCompact(text, keys.byUse.plan, JWS_TYPE.plan);
  if (!opened.ok) return { ok: false, failure: `plan signature: ${opened.failure}` };
  const checked = checkPlanSet(opened.value.payload);
  return checked.ok ? checked : { ok: false, failure: checked.failure.slice(0, 10).join('; ') };
}

/** The version of an order is its content. */
export function orderVersionOf(order: Omit<Order, 'orderVersion'>): string {
  return createHash('sha256')
    .update(JSON.stringify([order.orderId, order.epoch, order.ordinals, order.densities]))
    .digest('base64url');
}

/**
 * Which member keeps the cluster's copy of a file: weighted rendezvous, score = -w / ln(h), h uniform in (0, 1).
 * A box that joins or leaves moves only its own share.
 */
export function shareOwner(fileId: FileId, members: Plan['members']): ApplianceId {
  let best = members[0].applianceId;
  let bestScore = -1;
  for (const member of members) {
    const score = -member.weight / Math.log(unitHash(fileId, member.applianceId));
    if (score > bestScore || (score === bestScore && member.applianceId < best)) {
      bestScore = score;
      best = member.applianceId;
    }
  }
  return best;
}

/** Expands a plan: ordinals in order of falling density, pins that the thresholds do not reach last. Pure. */
export function expandPlan(
  plan: Plan,
  order: Order,
  fileIdOfOrdinal: (ordinal: number) => FileId | undefined,
): readonly { ordinal: number; density: number }[] {
  const drops = new Set(plan.drops);
  const pins = new Set(plan.pins);
  const held: { ordinal: number; density: number }[] = [];
  for (let at = 0; at < order.ordinals.length; at++) {
    const density = order.densities[at];
    const ordinal = order.ordinals[at];
    const pinned = pins.delete(ordinal);
    if (!pinned) {
      if (density < plan.shareDensity && density < plan.everywhereDensity) continue;
      if (drops.has(ordinal)) continue;
      if (density < plan.everywhereDensity) {
        const fileId = fileIdOfOrdinal(ordinal);
        if (fileId === undefined || shareOwner(fileId, plan.members) !== plan.applianceId) continue;
      }
    }
    if (fileIdOfOrdinal(ordinal) !== undefined) held.push({ ordinal, density });
  }
  for (const ordinal of [...pins].sort((a, b) => a - b)) {
    if (fileIdOfOrdinal(ordinal) !== undefined) held.push({ ordinal, density: 0 });
  }
  return held;
}

function unitHash(fileId: FileId, applianceId: ApplianceId): number {
  const digest = createHash('sha256').update(`${fileId} ${applianceId}`).digest();
  return (digest.readUIntBE(0, 6) + 0.5) / 2 ** 48;
}

// ---------------------------------------------------------------- planner input

/** `GET /v1/planner/input?planDate=`: everything one night's planning needs, as one consistent cut. */
export const PlannerInputSchema = Type.Object({
  epoch: Type.Integer({ minimum: 1 }),
  planDate,
  cutAtMs: Type.Integer({ minimum: 0 }),
  sites: Type.Array(SiteSchema),
  appliances: Type.Array(
    Type.Object({
      applianceId,
      siteId: Type.String(),
      clusterId,
      applianceClass: Type.Union([Type.Literal('flash'), Type.Literal('storage')]),
      storageBytes: Type.Integer({
        minimum: 0,
        description: 'what a manifest may fill: capacity less the reactive reserve',
      }),
      servingBps: Type.Number({ minimum: 0 }),
    }),
  ),
  titles: Type.Array(
    Type.Object({
      listing: TitleListingSchema,
      ordinals: Type.Array(ordinal, { description: 'of listing.files, in their order' }),
      takenInAtMs: Type.Integer({ minimum: 0 }),
    }),
  ),
  /** Per (ordinal, home cluster, UTC day): bytes asked for, whichever box served them. */
  demand: Type.Array(
    Type.Object({
      ordinal,
      home: Type.String({ maxLength: 32 }),
      day: Type.String({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' }),
      bytes: Type.Number({ minimum: 0 }),
      starts: Type.Number({ minimum: 0 }),
    }),
  ),
  holdings: Type.Array(Type.Object({ applianceId, ordinals: Type.Array(ordinal) })),
});
export type PlannerInput = Static<typeof PlannerInputSchema>;
export const checkPlannerInput = checker(PlannerInputSchema);
