/**
 * `npm run bench -- balance`: what the weight loop does after a region loses a third of its boxes: 1, 2 and 5 steering nodes, reports and
 * TTLs of 10, 60 and 300 s, on simulated time.
 *
 *   --seconds S     simulated (default 2,700: the loss is after a third)
 *   --seed N        (default 1)
 */
import { simulateBalance, type BalancePlan, type BalanceRun } from './balance/simulation.ts';
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';

const NODES = [1, 2, 5];
const SECONDS = [10, 60, 300];
const OVERSHOOT_GOAL = 0.1;
/** A cluster's use may wander by chance as viewers come and go; more than this is the loop's own doing. */
const SWING_GOAL = 0.1;

export function run({ smoke, args }: BenchOptions): Promise<unknown> {
  const seconds = numberArgument(args, '--seconds') ?? (smoke ? 90 : 2700);
  const seed = numberArgument(args, '--seed') ?? 1;
  const runs: (BalancePlan & BalanceRun)[] = [];
  for (const loss of ['even', 'uneven'] as const) {
    for (const nodes of smoke ? [2] : NODES) {
      for (const reportDelaySeconds of smoke ? [10] : SECONDS) {
        for (const ttlSeconds of smoke ? [10] : SECONDS) {
          const plan = { nodes, reportDelaySeconds, ttlSeconds, loss, seconds, seed };
          const result = { ...plan, ...simulateBalance(plan) };
          console.error(`balance: ${JSON.stringify(result)}`);
          runs.push(result);
        }
      }
    }
  }
  const summary = (['even', 'uneven'] as const).map((loss) => {
    const own = runs.filter((one) => one.loss === loss);
    return {
      loss,
      runs: own.length,
      worstOvershoot: Math.max(...own.map(({ overshoot }) => overshoot)),
      worstClusterOvershoot: Math.max(...own.map(({ clusterOvershoot }) => clusterOvershoot)),
      worstSwing: Math.max(...own.map(({ swing }) => swing)),
      missed: own.filter((one) => one.overshoot > OVERSHOOT_GOAL || one.swing > SWING_GOAL).length,
    };
  });
  return Promise.resolve({ balance: { goals: { OVERSHOOT_GOAL, SWING_GOAL }, summary, runs } });
}
