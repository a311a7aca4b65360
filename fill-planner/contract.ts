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
import { bucketOwners, memberSeed, SHARE_BUCKETS, shareBucketOf, unitHash } from './rendezvous.ts';

export { bucketOwners, ownerOfBuckets, SHARE_BUCKETS, shareBucketOf } from './rendezvous.ts';

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
    previous: Type.Optional(
      Type.Array(Type.Number({ minimum: 0 }), {
        description:
          'density of the same file in the order of the night before; 0: it was not in it',
      }),
    ),
  },
  { additionalProperties: false },
);
export type Order = Static<typeof OrderSchema>;

/** An order as expansion reads it: typed arrays do as well. */
export interface OrderColumns {
  readonly ordinals: ArrayLike<number>;
  readonly densities: ArrayLike<number>;
  readonly previous?: ArrayLike<number>;
}

export const PLAN_MEMBERS_MAX = 256;
export const PLAN_BANDS_MAX = 64;

/**
 * Who shares the files of one range of densities: the `copies` best members by weighted rendezvous.
 * A member of weight 0 takes no part: a flash box in the tail, a storage box in the head.
 */
export const PlanBandSchema = Type.Object(
  {
    fromDensity: Type.Number({
      minimum: 0,
      description: 'down to here, from where the one above ends',
    }),
    copies: Type.Integer({ minimum: 1, maximum: PLAN_MEMBERS_MAX }),
    weights: Type.Array(Type.Number({ minimum: 0 }), {
      minItems: 1,
      maxItems: PLAN_MEMBERS_MAX,
      description: 'one per member, in the order of members',
    }),
  },
  { additionalProperties: false },
);
export type PlanBand = Static<typeof PlanBandSchema>;

/**
 * What one appliance should hold: every file of the order with
 *   density >= `everywhereDensity` (the head, on every box of the cluster), or
 *   density >= `shareDensity` and this box among the file's owners: those of the band that the density falls into,
 *   or, where no band is given, the one that `shareOwner(fileId, members)` names; or this box among them and
 *   density >= `keep.density` and previous density from `keep.previousDensity` to below `keep.previousBelow`: what it holds is kept for less than filling;
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
        maxItems: PLAN_MEMBERS_MAX,
        description: 'boxes that share the cluster’s files, with their weights',
      },
    ),
    bands: Type.Optional(
      Type.Array(PlanBandSchema, {
        minItems: 1,
        maxItems: PLAN_BANDS_MAX,
        description: 'by falling density; below the last one nothing is shared out',
      }),
    ),
    keep: Type.Optional(
      Type.Object(
        {
          density: Type.Number({ minimum: 0 }),
          previousDensity: Type.Number({ minimum: 0 }),
          previousBelow: Type.Optional(
            Type.Number({
              minimum: 0,
              description: 'and less than that: what was denser lay elsewhere',
            }),
          ),
        },
        {
          additionalProperties: false,
          description:
            'own files of at least this density stay where the night before gave them at least that one',
        },
      ),
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
      gapShare: Type.Optional(
        Type.Number({ minimum: 0, maximum: 1, description: 'of a proven bound, over all sites' }),
      ),
      gapWithoutFillLimitShare: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
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
    .update(
      JSON.stringify([
        order.orderId,
        order.epoch,
        order.ordinals,
        order.densities,
        ...(order.previous === undefined ? [] : [order.previous]),
      ]),
    )
    .digest('base64url');
}

/**
 * Which member keeps the cluster's copy of a file: weighted rendezvous over the file's bucket, score = -w / ln(h),
 * h uniform in (0, 1). A box that joins or leaves moves only its own share.
 */
export function shareOwner(fileId: FileId, members: Plan['members']): ApplianceId {
  const weights = members.map((member) => member.weight);
  const ids = members.map((member) => member.applianceId);
  return ids[bucketOwners(shareBucketOf(fileId), ids, weights, 1)[0]];
}

/** For one box: per band and bucket, 1 where the box is an owner: fewer than `copies` members score higher. */
function ownedBuckets(plan: Plan, bands: readonly PlanBand[]): readonly Uint8Array[] {
  const ids = plan.members.map((member) => member.applianceId);
  const self = ids.indexOf(plan.applianceId);
  const seeds = ids.map(memberSeed);
  return bands.map(({ weights, copies }) => {
    const owned = new Uint8Array(SHARE_BUCKETS);
    if (self === -1 || !(weights[self] > 0)) return owned;
    for (let bucket = 0; bucket < SHARE_BUCKETS; bucket++) {
      const own = -weights[self] / Math.log(unitHash(bucket, seeds[self]));
      let ahead = 0;
      for (let other = 0; other < ids.length && ahead < copies; other++) {
        if (other === self || weights[other] <= 0) continue;
        const score = -weights[other] / Math.log(unitHash(bucket, seeds[other]));
        if (score > own || (score === own && ids[other] < ids[self])) ahead++;
      }
      if (ahead < copies) owned[bucket] = 1;
    }
    return owned;
  });
}

/** Expands a plan: ordinals in order of falling density, pins that the thresholds do not reach last. Pure. */
export function expandPlan(
  plan: Plan,
  order: OrderColumns,
  fileIdOfOrdinal: (ordinal: number) => FileId | undefined,
): readonly { ordinal: number; density: number }[] {
  const held: { ordinal: number; density: number }[] = [];
  visitPlan(
    plan,
    order,
    fileIdOfOrdinal,
    (ordinal, density) => void held.push({ ordinal, density }),
  );
  return held;
}

/** The same, one file after the other: who expands 400,000 keeps them as it likes. */
export function visitPlan(
  plan: Plan,
  order: OrderColumns,
  fileIdOfOrdinal: (ordinal: number) => FileId | undefined,
  visit: (ordinal: number, density: number) => void,
): void {
  const drops = new Set(plan.drops);
  const pins = new Set(plan.pins);
  const bands = plan.bands ?? [
    { fromDensity: 0, copies: 1, weights: plan.members.map((member) => member.weight) },
  ];
  const owned = ownedBuckets(plan, bands);
  for (let at = 0; at < order.ordinals.length; at++) {
    const density = order.densities[at];
    const ordinal = order.ordinals[at];
    const fileId = fileIdOfOrdinal(ordinal);
    if (fileId === undefined) continue;
    if (pins.delete(ordinal)) {
      visit(ordinal, density);
      continue;
    }
    if (drops.has(ordinal)) continue;
    if (density < plan.everywhereDensity) {
      if (density < plan.shareDensity && !isKept(plan, density, order.previous?.[at] ?? 0))
        continue;
      const band = bands.findIndex((entry) => density >= entry.fromDensity);
      if (band === -1 || owned[band][shareBucketOf(fileId)] === 0) continue;
    }
    visit(ordinal, density);
  }
  for (const ordinal of [...pins].sort((a, b) => a - b)) {
    if (fileIdOfOrdinal(ordinal) !== undefined) visit(ordinal, 0);
  }
}

function isKept({ keep }: Plan, density: number, previous: number): boolean {
  return (
    keep !== undefined &&
    density >= keep.density &&
    previous >= keep.previousDensity &&
    (keep.previousBelow === undefined || previous < keep.previousBelow)
  );
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
      fillHourlyBps: Type.Optional(
        Type.Array(Type.Union([Type.Number({ minimum: 0 }), Type.Null()]), {
          minItems: 24,
          maxItems: 24,
          description:
            'its operator’s caps on the fill for each hour of the site’s day; null: none; absent: no caps at all',
        }),
      ),
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
