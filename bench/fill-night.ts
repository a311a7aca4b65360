/**
 * One night of a whole fleet, simulated with the boxes' own filler and the control plane's own ranking.
 *
 * npm run bench -- fill-night --json          500 sites x 3 boxes: the plain night; a tenth of the boxes die half-way; the control plane
 *   --sites N --boxes N --files N --seed N    dies 10 minutes into the window
 *
 * Units: originEgressRatio = bytes over the origin's link, over one copy of each file that some box is to hold
 */
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';
import { simulateNight, type NightResult, type NightShape } from './fill-night/simulated-night.ts';

const GB = 1e9;

export function nightShape(given: Partial<NightShape> = {}): NightShape {
  return {
    sites: 500,
    boxesPerSite: 3,
    countries: 20,
    worldFiles: 60,
    countryFiles: 60,
    fileBytes: 8 * GB,
    originBps: 10e9,
    siteBps: 3.6e9,
    boxBps: 10e9,
    windowHours: 12,
    stepSeconds: 30,
    seed: 1,
    deadShare: 0,
    dieAfterSeconds: 0,
    planeDiesAfterSeconds: null,
    planeIsBackAfterSeconds: null,
    ...given,
  };
}

export async function run(options: BenchOptions): Promise<unknown> {
  const number = (name: string, standard: number, smoke: number): number =>
    numberArgument(options.args, name) ?? (options.smoke ? smoke : standard);
  const files = number('--files', 8, 12);
  const shape = nightShape({
    sites: number('--sites', 500, 6),
    boxesPerSite: number('--boxes', 3, 3),
    countries: options.smoke ? 2 : 20,
    worldFiles: Math.ceil(files / 2),
    countryFiles: Math.floor(files / 2),
    seed: number('--seed', 1, 1),
  });
  const results: Record<string, NightResult & { readonly tookSeconds: number }> = {};
  const simulate = async (name: string, change: Partial<NightShape>): Promise<NightResult> => {
    const startMs = performance.now();
    const result = await simulateNight({ ...shape, ...change });
    const tookSeconds = Math.round((performance.now() - startMs) / 100) / 10;
    results[name] = { ...result, tookSeconds };
    console.error(`fill-night: ${name}: ${JSON.stringify(results[name])}`);
    return result;
  };
  const plain = await simulate('plain', {});
  const dieAfterSeconds = (plain.completeAfterSeconds ?? shape.windowHours * 3600) / 2;
  await simulate('aTenthDies', { deadShare: 0.1, dieAfterSeconds });
  await simulate('controlPlaneDies', { planeDiesAfterSeconds: 600 });
  return { fillNight: results, shape, goals: { originEgressRatio: 1.05, complete: 'all living' } };
}
