/**
 * What a night's planning may be told: each figure with its unit, its bounds and its reason.
 */
import { Type, type Static } from 'typebox';
import { withDefaults } from '#base/config.ts';
import { assert } from '#base/outcome.ts';

export const PlanningOptionsSchema = Type.Object(
  {
    demandHalfLifeDays: Type.Number({
      default: 3,
      exclusiveMinimum: 0,
      maximum: 365,
      description:
        'days until a view counts half: short enough for a release, long enough for a week',
    }),
    shrinkageViews: Type.Number({
      default: 200,
      exclusiveMinimum: 0,
      maximum: 1e9,
      description:
        'views a cluster needs before its own taste weighs as much as the whole fleet’s: with fewer, one viewer would fill a disk',
    }),
    newTitleDays: Type.Number({
      default: 3,
      minimum: 0,
      maximum: 60,
      description: 'days in which a title without views yet is expected to be watched',
    }),
    releaseBoost: Type.Number({
      default: 4,
      minimum: 0,
      maximum: 1000,
      description: 'a release is expected to be watched this many times as much as a mean title',
    }),
    floorShare: Type.Number({
      default: 0.01,
      exclusiveMinimum: 0,
      maximum: 1,
      description:
        'a file nobody watched is expected to be watched this share of a mean file: zero would say never',
    }),
    peaksToMean: Type.Array(Type.Number({ minimum: 0, maximum: 24 }), {
      default: [2],
      minItems: 1,
      maxItems: 8,
      description:
        'demand at each peak of the day over its mean: one for a cluster of one time zone (about 2 on a video service), several where evenings follow each other',
    }),
    churnShare: Type.Number({
      default: 0.25,
      minimum: 0,
      maximum: 10,
      description:
        'what filling a byte costs, as a share of what the last byte on the disk is worth: 0 refills for every whim of the forecast',
    }),
    hopWorth: Type.Number({
      default: 0.8,
      exclusiveMinimum: 0,
      maximum: 1,
      description:
        'what a bit served one tier higher (leaf, metro, exchange) is worth of one served below: it spares the origin, not the network on the way',
    }),
    copiesMin: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 16,
      description:
        'copies of every file in a cluster: 2 lets any one box fail without a content miss, and halves what fits',
    }),
    releasePriority: Type.Integer({
      default: 8,
      minimum: 0,
      maximum: 10,
      description: 'releases of at least this priority are pinned; 10 pins none',
    }),
    releaseCopies: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 16,
      description: 'copies of a pinned file in each cluster: one box may fail on the first night',
    }),
    releaseDays: Type.Number({
      default: 3,
      minimum: 0,
      maximum: 30,
      description: 'days after its release that a title stays pinned: then its views speak for it',
    }),
    releaseDemandShare: Type.Number({
      default: 0.95,
      exclusiveMinimum: 0,
      maximum: 1,
      description:
        'of a release only the files that carry this share of its demand are pinned: all 1,200 are 0.7 TB an episode',
    }),
    fillBpsFlash: Type.Number({
      default: 300e6,
      minimum: 0,
      maximum: 1e12,
      description: 'bit/s a flash box fills at while it serves',
    }),
    fillBpsStorage: Type.Number({
      default: 1.2e9,
      minimum: 0,
      maximum: 1e12,
      description: 'bit/s a storage box fills at: 6.5 TB in a window of 12 h',
    }),
    untilGraceDays: Type.Number({
      default: 1,
      minimum: 0,
      maximum: 365,
      description: 'a title stays this long after its availability ends: clocks and time zones',
    }),
  },
  { additionalProperties: false },
);
export type PlanningOptions = Static<typeof PlanningOptionsSchema>;

/** The options with defaults filled in. A bug where they do not fit the schema: the command line checks them first. */
export function planningOptions(given: Partial<PlanningOptions> = {}): PlanningOptions {
  const outcome = withDefaults(PlanningOptionsSchema, given);
  assert(outcome.ok, outcome.ok ? '' : `planning options: ${outcome.failure.join('; ')}`);
  return outcome.value;
}
