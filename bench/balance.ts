/**
 * `npm run bench -- balance`: what the weight loop does after a region loses a third of its boxes: 1, 2 and 5 steering nodes, reports and
 * TTLs of 10, 60, 300 s, on simulated time.
 *
 *   --seconds S       simulated (default 2,700: the loss is after a third)
 *   --seed N          (default 1)
 *   --loss NAME       even or uneven (default: both)
 *   --nodes LIST      for example 1,5 (default 1,2,5)
 *   --delays LIST     seconds until a report is seen (default 10,60,300)
 *   --ttls LIST       seconds between two questions of a player (default 10,60,300)
 */
import { simulateBalance, type BalancePlan, type BalanceRun } from './balance/simulation.ts';
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';

const NODES = [1, 2, 5];
const SECONDS = [10, 60, 300];
const OVERSHOOT_GOAL = 0.1;
/** A cluster's use may wander by chance as viewers come and go; more than this is the loop's own doing. */
const SWING_GOAL = 0.1;
const LOSSES: readonly BalancePlan['loss'][] = ['even', 'uneven'];

export function run({ smoke, args }: BenchOptions): Promise<unknown> {
  const seconds = numberArgument(args, '--seconds') ?? (smoke ? 180 : 2700);
  const seed = numberArgument(args, '--seed') ?? 1;
  const nodesList = listArgument(args, '--nodes') ?? (smoke ? [2] : NODES);
  const delays = listArgument(args, '--delays') ?? (smoke ? [10] : SECONDS);
  const ttls = listArgument(args, '--ttls') ?? (smoke ? [10] : SECONDS);
  const losses = lossesOf(args);
  const runs: (BalancePlan & BalanceRun)[] = [];
  for (const loss of losses) {
    for (const nodes of nodesList) {
      for (const reportDelaySeconds of delays) {
        for (const ttlSeconds of ttls) {
          const plan = { nodes, reportDelaySeconds, ttlSeconds, loss, seconds, seed };
          const result = { ...plan, ...simulateBalance(plan) };
          console.error(`balance: ${JSON.stringify(result)}`);
          runs.push(result);
        }
      }
    }
  }
  const summary = losses.map((loss) =>
    summaryOf(
      runs.filter((one) => one.loss === loss),
      loss,
    ),
  );
  return Promise.resolve({ balance: { goals: { OVERSHOOT_GOAL, SWING_GOAL }, summary, runs } });
}

function summaryOf(runs: readonly BalanceRun[], loss: string) {
  const worst = (value: (run: BalanceRun) => number): number => Math.max(...runs.map(value));
  return {
    loss,
    runs: runs.length,
    clusters: {
      shock: worst(({ clusters }) => clusters.shock),
      overshoot: worst(({ clusters }) => clusters.overshoot),
      byChance: worst(({ clusters }) => clusters.byChance),
      swing: worst(({ clusters }) => clusters.swing),
      swingByChance: worst(({ clusters }) => clusters.swingByChance),
    },
    boxes: {
      shock: worst(({ boxes }) => boxes.shock),
      overshoot: worst(({ boxes }) => boxes.overshoot),
      byChance: worst(({ boxes }) => boxes.byChance),
    },
    reliefSeconds: worst(({ reliefSeconds }) => reliefSeconds),
    refusedShare: worst(({ refusedShare }) => refusedShare),
    missed: runs.filter(
      ({ clusters }) => clusters.overshoot > OVERSHOOT_GOAL || clusters.swing > SWING_GOAL,
    ).length,
  };
}

function lossesOf(args: readonly string[]): readonly BalancePlan['loss'][] {
  const at = args.indexOf('--loss');
  if (at === -1) return LOSSES;
  const named = LOSSES.filter((loss) => loss === args[at + 1]);
  if (named.length === 0) throw new Error(`--loss ${args[at + 1]}: even or uneven is expected`);
  return named;
}

function listArgument(args: readonly string[], name: string): readonly number[] | null {
  const at = args.indexOf(name);
  if (at === -1) return null;
  const values = (args[at + 1] ?? '').split(',').map(Number);
  if (values.every((value) => Number.isInteger(value) && value > 0)) return values;
  throw new Error(
    `${name} ${args[at + 1]}: whole numbers above 0 with commas between are expected`,
  );
}
