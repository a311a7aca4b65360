/**
 * The planner's engine: one night's input -> one plan set, ready to be signed, and what to tell people about it. Pure.
 *
 * Shape:      planNight(input, options) -> { planSet, summary } | refusals
 * Invariants: (1) same input and options, same bytes out
 *             (2) a plan set that the plan check refuses is never returned
 *             (3) every appliance of the input has a plan, whatever is wrong with its neighbours
 */
import type { Outcome } from '#base/outcome.ts';
import { planningOptions, type PlanningOptions } from './config.ts';
import {
  gatherNight,
  planFamily,
  prepareNight,
  type PlannedNight,
  type PlanRefusal,
} from './night.ts';

export { planningOptions, PlanningOptionsSchema, type PlanningOptions } from './config.ts';
export type { PlannedNight, PlanRefusal } from './night.ts';
export { boundAt, leastBound, type BoundProblem, type Multipliers } from './placement/bound.ts';
export { place, type Placement, type Prices, type Proof } from './placement/placement.ts';
export type { ClusterProblem, PlacementBox } from './placement/problem.ts';
export {
  NO_DATA,
  readBacktestData,
  roundedScores,
  runBacktests,
  scoreText,
  type BacktestData,
  type ModelScore,
  forecastDemand,
  QUIET_TREND,
  stepTrend,
  worthFilling,
  type DemandForecast,
  type TrendVerdict,
} from './forecast/forecast.ts';
export { expandSample } from './fleet/expand-sample.ts';
export type { FactoredOrder } from './fleet/factored-order.ts';
export {
  TITLE_CLASSES,
  type FleetBox,
  type FleetCluster,
  type FleetDescription,
  type FleetRegion,
} from './fleet/fleet-files.ts';
export { readCatalogue, readRegion, writeArray } from './fleet/io/fleet-disk.ts';
export { planFleet, type FleetResult, type RegionResult } from './fleet/io/fleet-pool.ts';
export { runFluid } from './simulate/io/fluid-pool.ts';
export {
  generatedTopology,
  parseTopology,
  type TopologySite,
} from './simulate/network/topology.ts';
export { runRequest } from './simulate/request/request-engine.ts';
export type { SimulationResult } from './simulate/result.ts';
export { readScenario, scenarioOf, type Scenario } from './simulate/scenario.ts';
export { POLICIES as CACHE_POLICIES } from './simulate/cache/catalogue.ts';
export { readTrace, readTraceFile } from './simulate/cache/io/trace-file.ts';
export { runPolicy, type CacheResult } from './simulate/cache/run.ts';
export type { Trace } from './simulate/cache/trace.ts';
export {
  checkTrendBook,
  trendingNow,
  type Trend,
  type TrendBook,
  type TrendReport,
} from './trending.ts';
export { summaryText, type NightSummary, type SiteSummary } from './report/summary.ts';

export function planNight(
  given: unknown,
  options: PlanningOptions = planningOptions(),
): Outcome<PlannedNight, PlanRefusal> {
  const prepared = prepareNight(given, options);
  if (!prepared.ok) return prepared;
  const night = prepared.value;
  return gatherNight(
    night,
    night.families.flatMap((family) => planFamily(night, family)),
  );
}
