/**
 * A made-up simulation result for tests of reports: the right form, plausible figures, seeded.
 */
import { seededRandom, type Random } from '#base/random.ts';
import { HOUR_SERIES, TOTALS, type SimulationResult } from '../../simulate/result.ts';
import { scenarioOf } from '../../simulate/scenario.ts';

export interface ExampleWishes {
  readonly name?: string;
  readonly variant?: string;
  readonly days?: number;
  readonly sites?: number;
  readonly seeds?: readonly number[];
  /** Offload of each seed is this and a little chance, which runs with the same seed share. */
  readonly offload?: number;
  readonly isPartial?: boolean;
}

export function exampleResult(wishes: ExampleWishes = {}): SimulationResult {
  const { name = 'an example', variant = 'base', days = 7, sites = 40, seeds = [1] } = wishes;
  const { offload = 0.93, isPartial = false } = wishes;
  const scenario = scenarioOf({ name, days, question: 'What if nothing happens?' });
  if (!scenario.ok) throw new Error(scenario.failure.join('; '));
  const random = seededRandom(seeds[0]);
  const hoursDone = isPartial ? 12 * days : 24 * days;
  const hours = Object.fromEntries(
    HOUR_SERIES.map((series) => [
      series,
      Array.from({ length: hoursDone }, (_, hour) => hourBytes(series, hour, offload)),
    ]),
  ) as SimulationResult['hours'];
  const chance = seeds.map((seed) => 0.01 * (seededRandom(seed).next() - 0.5));
  const values = chance.map((deviation) => offload + deviation);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const totals = Object.fromEntries(
    TOTALS.map((metric) => [metric, metric.endsWith('Share') ? 1 - offload : 1234.5]),
  ) as unknown as SimulationResult['totals'];
  return {
    format: 1,
    meta: {
      name,
      variant,
      question: scenario.value.question,
      seed: seeds[0],
      seeds: [...seeds],
      engine: 'fluid',
      isPartial,
      startDate: scenario.value.startDate,
      days,
      hoursDone,
      sites,
      appliances: 2 * sites,
      files: 1000,
      bandLevel: 0.9,
      errors: [],
      notes: [],
    },
    scenario: scenario.value,
    totals: { ...totals, offloadShare: mean },
    bands:
      seeds.length < 2
        ? []
        : [
            {
              metric: 'offloadShare',
              mean,
              low: Math.min(...values),
              high: Math.max(...values),
              values,
            },
          ],
    hours,
    nights: Array.from({ length: Math.floor(hoursDone / 24) }, (_, day) => ({
      day,
      fillBytes: 5e13,
      originFillBytes: 1e13,
      deletedBytes: 4e13,
      churnShare: 0.01,
      plannedOffloadShare: offload,
      gapShare: day === 0 ? 0.0001 : null,
    })),
    sites: Array.from({ length: sites }, (_, at) => exampleSite(at, offload, random)),
    links: [
      {
        link: 'peering site-0',
        kind: 'peering',
        capacityGbps: 10,
        peakGbps: 14,
        gbps95: 9,
        overflowBytes: 2e12,
        overflowHours: 3,
      },
    ],
    events: [{ kind: 'outage', fromHour: 20, untilHour: 32, what: 'site <b>lost</b>', sites: 1 }],
    curves: [
      {
        title: 'Offload by disk',
        x: 'TB',
        y: 'share',
        points: [
          { x: 1, y: 0.5 },
          { x: 2, y: 0.7 },
        ],
      },
    ],
  };
}

function hourBytes(series: keyof SimulationResult['hours'], hour: number, offload: number): number {
  const demand = 4e14 * (1.2 + Math.sin(((hour % 24) - 15) / 3.8));
  const shares: Partial<Record<typeof series, number>> = {
    homeBytes: offload,
    contentMissBytes: 0.8 * (1 - offload),
    healthMissBytes: 0.2 * (1 - offload),
    tierBytes: 0.7 * (1 - offload),
    originBytes: 0.3 * (1 - offload),
    fillBytes: hour % 24 < 6 ? 0.05 : 0,
    originFillBytes: hour % 24 < 6 ? 0.01 : 0,
  };
  return demand * (shares[series] ?? 0);
}

function exampleSite(
  at: number,
  offload: number,
  random: Random,
): SimulationResult['sites'][number] {
  const limits = ['serving', 'storage', 'fill', 'peering', 'transit', 'none'] as const;
  return {
    siteId: `site-${at}`,
    country: at % 2 === 0 ? 'France' : 'Brazil',
    exchange: 'site-0',
    isExchange: at === 0,
    latitude: 0,
    longitude: 0,
    appliances: 2,
    storageTb: 480,
    servingGbps: 72,
    demandBytes: 1e15 * (0.2 + random.next()),
    offloadShare: offload - 0.05 * random.next(),
    contentMissShare: 0.8 * (1 - offload),
    healthMissShare: 0.2 * (1 - offload),
    otherMissShare: 0,
    unmetShare: 0,
    peakDemandGbps: 40 * (0.5 + random.next()),
    peakServedGbps: 40,
    peeringGbps95: 2,
    transitGbps95: 1,
    originGbps95: 0.5,
    gbpsPerTbStorage: 0.1 * random.next(),
    gbpsPerGbpsServing: 0,
    gbpsPerTbWindow: 0.02 * random.next(),
    firstLimit: limits[at % limits.length],
    headroomShare: random.next() - 0.2,
    overflowHours: at % 5,
  };
}
