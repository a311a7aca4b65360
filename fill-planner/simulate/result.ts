/**
 * What a simulation answers, whichever engine ran: one form for reports, comparisons and tests.
 *
 * Units:      in each field; bytes are bytes delivered to viewers unless a name says fill; Gbps are means over an hour
 * Invariants: (1) hour series have one number per hour from the first, `hoursDone` of them
 *             (2) home + content + health + other = bytes delivered; their sum + unmet = bytes asked for
 *             (3) tier + origin + external = content + health + other
 */
import { Type, type Static } from 'typebox';
import { checker } from '#base/config.ts';
import { ScenarioSchema } from './scenario.ts';

const number = Type.Number();
const series = (description: string) => Type.Array(number, { description });
const share = Type.Number({ minimum: 0, maximum: 1 });

export const ENGINES = ['fluid', 'request', 'analytic'] as const;
export type Engine = (typeof ENGINES)[number];
export const LIMITS = ['serving', 'storage', 'fill', 'peering', 'transit', 'none'] as const;
export type Limit = (typeof LIMITS)[number];

export const HourSeriesSchema = Type.Object({
  homeBytes: series('served from the client’s proximity-rank-0 site'),
  contentMissBytes: series('not held there'),
  healthMissBytes: series('held there, but the site could not take it'),
  otherMissBytes: series('neither: the client’s way in is cut, or it moved by itself'),
  tierBytes: series('misses served by another site'),
  originBytes: series('misses served by the origin'),
  externalBytes: series('misses served by an external CDN'),
  unmetBytes: series('asked for and carried by nobody'),
  fillBytes: series('filled into appliances'),
  originFillBytes: series('of these from the origin; the rest from peers and tiers'),
});
export type HourSeries = Static<typeof HourSeriesSchema>;
export const HOUR_SERIES = Object.keys(HourSeriesSchema.properties) as (keyof HourSeries)[];

const NightSchema = Type.Object({
  day: Type.Integer({ minimum: 0 }),
  fillBytes: number,
  originFillBytes: number,
  deletedBytes: number,
  churnShare: Type.Number({ description: 'filled over storage' }),
  plannedOffloadShare: Type.Number({ description: 'what the plan expects at the peak' }),
  gapShare: Type.Union([share, Type.Null()], {
    description: 'of the proven bound; null: not proved that night',
  }),
});
export type Night = Static<typeof NightSchema>;

const SiteSchema = Type.Object({
  siteId: Type.String(),
  country: Type.String(),
  exchange: Type.String({ description: 'its first tier; its own name where it is one' }),
  isExchange: Type.Boolean(),
  latitude: number,
  longitude: number,
  appliances: Type.Integer(),
  storageTb: number,
  servingGbps: number,
  demandBytes: number,
  offloadShare: Type.Number({ description: 'home bytes over bytes asked for' }),
  contentMissShare: number,
  healthMissShare: number,
  otherMissShare: number,
  unmetShare: number,
  peakDemandGbps: number,
  peakServedGbps: number,
  peeringGbps95: Type.Number({ description: '95th percentile of what it takes from its exchange' }),
  transitGbps95: number,
  originGbps95: number,
  gbpsPerTbStorage: Type.Number({
    description: 'what one more TB of disk would serve at the peak',
  }),
  gbpsPerGbpsServing: number,
  gbpsPerTbWindow: Type.Number({ description: 'per TB of nightly fill' }),
  firstLimit: Type.Union(LIMITS.map((limit) => Type.Literal(limit)) as never, {
    description: 'which limit breaks first as demand grows',
  }),
  headroomShare: Type.Number({ description: 'demand may grow by this much before it does' }),
  overflowHours: Type.Integer({
    description: 'hours in which some link or box was over its limit',
  }),
});
export type SiteRow = Omit<Static<typeof SiteSchema>, 'firstLimit'> & { firstLimit: Limit };

const LinkSchema = Type.Object({
  link: Type.String({ description: 'e.g. "peering GRU-1-Vivo"' }),
  kind: Type.Union([
    Type.Literal('serving'),
    Type.Literal('peering'),
    Type.Literal('transit'),
    Type.Literal('exchange'),
    Type.Literal('origin'),
  ]),
  capacityGbps: number,
  peakGbps: number,
  gbps95: number,
  overflowBytes: Type.Number({ description: 'wanted over it and turned away' }),
  overflowHours: Type.Integer(),
});
export type LinkRow = Static<typeof LinkSchema>;

const BandSchema = Type.Object({
  metric: Type.String({ description: 'a field of totals' }),
  mean: number,
  low: number,
  high: number,
  values: series('per seed, in the order of meta.seeds'),
});
export type Band = Static<typeof BandSchema>;

export const TotalsSchema = Type.Object({
  demandBytes: number,
  offloadShare: Type.Number({ description: 'home bytes over bytes asked for' }),
  netOffloadShare: Type.Number({
    description: '1 - (origin + external + origin fill) over bytes asked for',
  }),
  contentMissShare: number,
  healthMissShare: number,
  otherMissShare: number,
  unmetShare: number,
  tierShare: number,
  originShare: number,
  externalShare: number,
  contentMissHours: Type.Number({ description: 'hours of viewing, as the bytes count them' }),
  healthMissHours: number,
  otherMissHours: number,
  originGbps95: number,
  tierGbps95: number,
  originFillGbps95: number,
  originPeakGbps: number,
  demandPeakGbps: number,
  fillBytes: number,
  churnShareNight: Type.Number({ description: 'filled a night over storage, mean' }),
  startsRefused: number,
  streamHoursDegraded: number,
  externalUsd: number,
  originUsdMonth: number,
});
export type Totals = Static<typeof TotalsSchema>;
export const TOTALS = Object.keys(TotalsSchema.properties) as (keyof Totals)[];

/** Those that have a meaning without links, windows and days; the analytic engine leaves the others 0. */
export const ANALYTIC_TOTALS: readonly (keyof Totals)[] = [
  'offloadShare',
  'contentMissShare',
  'contentMissHours',
  'demandPeakGbps',
  'demandBytes',
];
export function totalsWithMeaning(engine: Engine): readonly (keyof Totals)[] {
  return engine === 'analytic' ? ANALYTIC_TOTALS : TOTALS;
}

export const ResultSchema = Type.Object({
  format: Type.Literal(1),
  meta: Type.Object({
    name: Type.String(),
    variant: Type.String({ description: '"base" or the name of what was compared' }),
    question: Type.String(),
    seed: Type.Integer(),
    seeds: Type.Array(Type.Integer(), { description: 'all that went into the bands' }),
    engine: Type.Union(ENGINES.map((engine) => Type.Literal(engine)) as never),
    isPartial: Type.Boolean({ description: 'interrupted: only the first hours are here' }),
    startDate: Type.String(),
    days: Type.Integer(),
    hoursDone: Type.Integer(),
    sites: Type.Integer(),
    appliances: Type.Integer(),
    files: Type.Integer({ description: 'of the catalogue' }),
    bandLevel: Type.Number({ description: 'share of further seeds that should fall in the bands' }),
    errors: Type.Array(
      Type.Object({
        metric: Type.String(),
        against: Type.String({ description: 'e.g. "request level, 20 sites"' }),
        meanPoints: number,
        maxPoints: number,
      }),
      { description: 'of this engine against the request level on a sample' },
    ),
    notes: Type.Array(Type.String(), { description: 'what this run leaves out' }),
  }),
  scenario: Type.Omit(ScenarioSchema, []),
  totals: TotalsSchema,
  bands: Type.Array(BandSchema),
  hours: HourSeriesSchema,
  nights: Type.Array(NightSchema),
  sites: Type.Array(SiteSchema),
  links: Type.Array(LinkSchema, { description: 'the 200 with the most overflow or load' }),
  events: Type.Array(
    Type.Object({
      kind: Type.String(),
      fromHour: number,
      untilHour: number,
      what: Type.String(),
      sites: Type.Integer(),
    }),
  ),
  curves: Type.Array(
    Type.Object({
      title: Type.String(),
      x: Type.String(),
      y: Type.String(),
      points: Type.Array(
        Type.Object({
          x: number,
          y: number,
          series: Type.Optional(Type.String({ description: 'which line, e.g. a policy' })),
        }),
      ),
    }),
    { description: 'what-if curves of the analytic engine' },
  ),
});
export type SimulationResult = Omit<Static<typeof ResultSchema>, 'meta' | 'sites'> & {
  meta: Omit<Static<typeof ResultSchema>['meta'], 'engine'> & { engine: Engine };
  sites: SiteRow[];
};
export const checkResult = checker(ResultSchema);
