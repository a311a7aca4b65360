/**
 * An analytic run: what-if curves over disk sizes from rates alone, and the offload of the scenario's own policy.
 *
 * Shape:      (scenario, sites, seed, what was measured) -> result with curves and without hours
 * Invariants: (1) totals that links, windows or days would be needed for are 0 and `ANALYTIC_TOTALS` leaves them out
 */
import type { Outcome } from '#base/outcome.ts';
import { fluidInput } from '../fluid/fluid-run.ts';
import { missRatioCurve } from '../cache/curve.ts';
import type { Trace } from '../cache/trace.ts';
import type { TopologySite } from '../network/topology.ts';
import { HOUR_SERIES, TOTALS, type HourSeries, type SimulationResult } from '../result.ts';
import type { Totals } from '../result.ts';
import type { Scenario } from '../scenario.ts';
import { analyticHit, densestHeld, type AnalyticPolicy, type Popularity } from './che.ts';
import {
  generatedWorkload,
  recordsWorkload,
  traceWorkload,
  type AnalyticWorkload,
  type ClusterWorkload,
  type ViewSums,
} from './workload.ts';

/** What was read from the scenario's workload file; absent: generated. */
export type Measured =
  | { readonly source: 'view-records'; readonly sums: ViewSums }
  | { readonly source: 'trace'; readonly trace: Trace };

const SERIES: readonly (readonly [AnalyticPolicy, string])[] = [
  ['best', 'best placement'],
  ['second-hit', 'second hit'],
  ['lru', 'LRU'],
  ['fifo', 'FIFO'],
];
/** Of caches that are run over a trace, request by request, beside the analytic curves. */
const CACHES = ['lru', 'fifo', 'nightfill'] as const;
const CACHE_REQUESTS = 3e6; // all sizes of a policy; more are sampled by key
const NOTES = [
  'Analytic (Che’s approximation): requests are independent at fixed rates, in steady state. Links, serving limits, fill windows, events and days are left out: their figures are not there.',
  'Planned placement is what a plan that knew the rates would hold; the second-hit history holds as many names as files fit on the disk.',
] as const;

export function runAnalytic(
  scenario: Scenario,
  topology: readonly TopologySite[],
  seed: number,
  variant: string,
  measured: Measured | null,
): Outcome<SimulationResult, string> {
  const found = fluidInput(scenario, topology, seed);
  if (!found.ok) return found;
  const input = found.value;
  const workload =
    measured === null
      ? generatedWorkload(input)
      : measured.source === 'trace'
        ? traceWorkload(input, measured.trace)
        : recordsWorkload(input, measured.sums);
  if (workload.clusters.every(({ dayBytes }) => dayBytes === 0)) {
    return { ok: false, failure: '/workload: nothing is ever asked for: there is no curve' };
  }
  const curves = workload.clusters
    .filter(({ curveBytes }) => curveBytes.length > 0)
    .map((cluster) => curveOf(cluster));
  const errors: SimulationResult['meta']['errors'] = [];
  const notes = [...NOTES, ...workload.notes];
  if (measured?.source === 'trace') {
    const { points, share } = simulatedPoints(measured.trace, workload.clusters[0].curveBytes);
    errors.push(...errorsOf(curves[0].points, points, `simulated cache, ${share}`));
    curves[0].points.push(...points);
    notes.push(`Simulated caches ran over ${share}; their cold misses count as misses.`);
  }
  return {
    ok: true,
    value: {
      format: 1,
      meta: {
        name: scenario.name,
        variant,
        question: scenario.question,
        seed,
        seeds: [seed],
        engine: 'analytic',
        isPartial: false,
        startDate: scenario.startDate,
        days: scenario.days,
        hoursDone: 0,
        sites: input.network.sites.length,
        appliances: input.network.units.reduce((sum, unit) => sum + unit.clusters * unit.boxes, 0),
        files: workload.files,
        bandLevel: 0.9,
        errors,
        notes,
      },
      scenario,
      totals: totalsOf(scenario, workload, input),
      bands: [],
      hours: Object.fromEntries(HOUR_SERIES.map((name) => [name, []])) as unknown as HourSeries,
      nights: [],
      sites: [],
      links: [],
      events: [],
      curves,
    },
  };
}

type Curve = SimulationResult['curves'][number];

export function curveOf(cluster: ClusterWorkload): Curve {
  return {
    title: `Bytes served by disk size: ${cluster.title}`,
    x: 'TB of disk of the cluster',
    y: '% of bytes served at home',
    points: SERIES.flatMap(([policy, series]) =>
      cluster.curveBytes.map((bytes) => ({
        x: bytes / 1e12,
        y: 100 * hitOf(cluster.popularity, policy, bytes, cluster.meanFileBytes),
        series,
      })),
    ),
  };
}

function hitOf(
  popularity: Popularity,
  policy: AnalyticPolicy,
  bytes: number,
  meanFileBytes: number,
): number {
  return analyticHit(popularity, policy, bytes, bytes / meanFileBytes).byteHitRatio;
}

/** Bytes that the scenario's policy serves from the cluster's disk: the planned part, then what the rest keeps of what viewers missed. */
export function offloadOf(cluster: ClusterWorkload, { policy }: Scenario): number {
  const { popularity, diskBytes, meanFileBytes } = cluster;
  const reactive: AnalyticPolicy = policy.admission === 'lru' ? 'lru' : 'second-hit';
  if (policy.placement === 'pull-through') {
    return hitOf(popularity, reactive, diskBytes, meanFileBytes);
  }
  const plannedBytes = diskBytes * (1 - policy.reactiveShare);
  const planned = analyticHit(popularity, 'best', plannedBytes).byteHitRatio;
  const held = densestHeld(popularity, plannedBytes);
  const rest = {
    ...popularity,
    counts: held.map((share, at) => (1 - share) * (popularity.counts?.[at] ?? 1)),
  };
  const isEmpty = rest.counts.every((count, at) => count * popularity.ratesPerDay[at] === 0);
  if (isEmpty) return 1;
  const room = diskBytes * policy.reactiveShare;
  return planned + (1 - planned) * hitOf(rest, reactive, room, meanFileBytes);
}

function totalsOf(
  scenario: Scenario,
  { clusters }: AnalyticWorkload,
  { peakToMean, streamBps }: { readonly peakToMean: number; readonly streamBps: number },
): Totals {
  const dayBytes = clusters.reduce((sum, cluster) => sum + cluster.dayBytes, 0);
  const asking = clusters.filter((cluster) => cluster.dayBytes > 0);
  const offload =
    asking.reduce((sum, cluster) => sum + cluster.dayBytes * offloadOf(cluster, scenario), 0) /
    dayBytes;
  const demandBytes = dayBytes * scenario.days;
  const zeros = Object.fromEntries(TOTALS.map((metric) => [metric, 0])) as unknown as Totals;
  return {
    ...zeros,
    demandBytes,
    offloadShare: offload,
    contentMissShare: 1 - offload,
    contentMissHours: ((1 - offload) * demandBytes * 8) / streamBps / 3600,
    demandPeakGbps: ((dayBytes * 8) / 86_400 / 1e9) * peakToMean,
  };
}

function simulatedPoints(
  trace: Trace,
  sizesBytes: readonly number[],
): { readonly points: Curve['points']; readonly share: string } {
  const share = Math.min(1, CACHE_REQUESTS / (trace.requests * sizesBytes.length));
  const points = CACHES.flatMap((policy) =>
    [...missRatioCurve(trace, policy, sizesBytes, { share, seeds: share === 1 ? 1 : 3 })]
      .flat()
      .map(({ sizeBytes, byteMissRatio }) => ({
        x: sizeBytes / 1e12,
        y: 100 * (1 - byteMissRatio),
        series: `${policy}, simulated`,
      })),
  );
  const keys = share === 1 ? 'the whole trace' : `${(100 * share).toPrecision(2)} % of its keys`;
  return { points, share: keys };
}

/** Where both an analytic curve and a simulated cache are of the same policy. */
function errorsOf(
  analytic: Curve['points'],
  simulated: Curve['points'],
  against: string,
): SimulationResult['meta']['errors'] {
  return [
    ['LRU', 'lru, simulated'],
    ['FIFO', 'fifo, simulated'],
  ].map(([series, other]) => {
    const counted = simulated.filter((point) => point.series === other);
    const points = analytic
      .filter((point) => point.series === series)
      .map((point, at) => Math.abs(point.y - counted[at].y));
    return {
      metric: `${series}, bytes served`,
      against,
      meanPoints: points.reduce((sum, value) => sum + value, 0) / points.length,
      maxPoints: Math.max(...points),
    };
  });
}
