/**
 * A request-level run from scenario to result: nights and days of real keys, then the network's hours as in the fluid engine.
 *
 * Shape: (scenario, sites, seed, share of the keys) -> result
 */
import type { Outcome } from '#base/outcome.ts';
import { Flows } from '../fluid/flows.ts';
import { cellsOf, fluidInput } from '../fluid/fluid-run.ts';
import { Gatherer } from '../fluid/gather.ts';
import type { TopologySite } from '../network/topology.ts';
import type { SimulationResult } from '../result.ts';
import type { Scenario } from '../scenario.ts';
import { ladderOf } from '../workload/ladder.ts';
import { keysOf } from './keys.ts';
import { RequestRun } from './request-run.ts';

export interface RequestOptions {
  readonly variant: string;
  readonly sampleShare: number; // of the keys, with that share of disk and viewers
  readonly onProgress?: (share: number) => void;
  readonly signal?: AbortSignal;
  /** Lets the process hear signals between days. */
  readonly pause: () => Promise<void>;
}

export const SITES_MAX = 200; // each keeps a byte and more per key

export async function runRequest(
  scenario: Scenario,
  topology: readonly TopologySite[],
  seed: number,
  options: RequestOptions,
): Promise<Outcome<SimulationResult, string>> {
  const found = fluidInput(scenario, topology, seed);
  if (!found.ok) return found;
  const { network, calendar, diurnal, streamBps, viewsOf } = found.value;
  if (network.sites.length > SITES_MAX) {
    return {
      ok: false,
      failure: `/fleet: ${network.sites.length} sites are too many for real keys: at most ${SITES_MAX}; set fleet.sitesMax or fleet.countries`,
    };
  }
  const cells = cellsOf(scenario, seed, false);
  const keys = keysOf(cells, ladderOf(scenario.catalogue.variants), options.sampleShare, seed);
  const run = new RequestRun({ scenario, network, calendar, cells, keys, diurnal, seed, viewsOf });
  let days = 0;
  while (days < scenario.days && options.signal?.aborted !== true) {
    run.day(days);
    days++;
    options.onProgress?.(days / scenario.days);
    await options.pause();
  }
  const flows = new Flows(scenario, network, calendar, diurnal, run.rows);
  const gatherer = new Gatherer({
    scenario,
    variant: options.variant,
    network,
    calendar,
    rows: run.rows,
    seed,
    engine: 'request',
    files: keys.cellOfTitle.length * scenario.catalogue.variants,
    streamBps,
  });
  for (let hour = 0; hour < days * 24; hour++) gatherer.add(hour, flows.hour(hour));
  const result = gatherer.result(days < scenario.days);
  result.meta.notes.push(
    `Real keys: ${keys.rows.length} files, a sample of ${(options.sampleShare * 100).toFixed(1)} % of those that carry 99.95 % of the views, with as much disk and as many viewers.`,
    'At the request level new boxes are left out, and releases are forecast from counts only, whatever was announced.',
  );
  return { ok: true, value: result };
}
