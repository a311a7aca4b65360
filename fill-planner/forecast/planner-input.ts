/**
 * The forecast as the planner asks for it: from one night's input, for its clusters in the order given.
 *
 * Shape: forecastOfInput(input, clusterIds) -> DemandForecast; rows are the input's files by ordinal
 */
import { HOME_UNKNOWN } from '#control-plane/contract.ts';
import type { PlannerInput } from '../contract.ts';
import { forecastDemand, type DemandForecast } from './demand-forecast.ts';

const PLACED_AHEAD_DAYS = 2; // what comes out before the fill of the night after next is placed tonight

export function forecastOfInput(
  input: Pick<PlannerInput, 'sites' | 'appliances' | 'titles' | 'demand' | 'planDate'>,
  clusterIds: readonly string[],
): DemandForecast {
  const countries = new Map<string, string>();
  for (const site of input.sites) {
    for (const { clusterId } of site.clusters) countries.set(clusterId, site.country);
  }
  const capacity = new Map<string, number>();
  for (const { clusterId, servingBps } of input.appliances) {
    capacity.set(clusterId, (capacity.get(clusterId) ?? 0) + servingBps);
  }
  const clusters = clusterIds.map((clusterId) => ({
    clusterId,
    country: countries.get(clusterId) ?? '',
    capacity: capacity.get(clusterId) ?? 0,
  }));
  return forecastDemand(input.demand, input.titles, clusters, input.planDate, {
    homeUnknown: HOME_UNKNOWN,
    aheadDays: PLACED_AHEAD_DAYS,
  });
}
