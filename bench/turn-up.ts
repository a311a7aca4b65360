/**
 * An empty box is turned up: offload against hours, beside two full siblings and alone, in the window only and outside it.
 *
 * npm run bench -- turn-up --json
 *   --tb N      the box's planned content (default 120 TB)     --gbps N   the site's link to the origin (default 1.2)
 *
 * Units: offloadAt = share of the planned demand that lies on whole files, at so many hours or days after it was switched on
 */
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';
import {
  simulateTurnUp,
  type TurnUpResult,
  type TurnUpShape,
} from './fill-night/simulated-turn-up.ts';

const FILES = 3000;

export async function run(options: BenchOptions): Promise<unknown> {
  const files = options.smoke ? 200 : FILES;
  const bytes = (numberArgument(options.args, '--tb') ?? 120) * 1e12;
  const shape: TurnUpShape = {
    files,
    fileBytes: bytes / files,
    siblings: 2,
    lanBps: 10e9,
    linkBps: (numberArgument(options.args, '--gbps') ?? 1.2) * 1e9,
    windowHours: 12,
    outsideWindow: 'site',
    days: options.smoke ? 3 : 45,
    stepSeconds: options.smoke ? 600 : 60, // a file over the link takes some ten of them
  };
  // And one over the LAN two minutes: longer steps would leave it idle at the end of each.
  const lan = options.smoke ? {} : { stepSeconds: 16 };
  const cases: readonly [name: string, change: Partial<TurnUpShape>][] = [
    ['siblings', lan],
    ['siblingsInWindowOnly', { ...lan, outsideWindow: 'never' }],
    ['alone', { siblings: 0 }],
    ['aloneOutsideWindowToo', { siblings: 0, outsideWindow: 'all' }],
  ];
  const turnUp: Record<string, TurnUpResult> = {};
  for (const [name, change] of cases) {
    turnUp[name] = await simulateTurnUp({ ...shape, ...change });
    console.error(`turn-up: ${name}: ${JSON.stringify(turnUp[name])}`);
  }
  return { turnUp, shape };
}
