/**
 * Plans the clusters of a night on several threads. The answer does not depend on how many there are.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { assert } from '#base/outcome.ts';
import type { PlanningOptions } from '../config.ts';
import { planFamily, type ClusterPlan, type PreparedNight } from '../night.ts';

export const WORKERS_MAX = 64;
const CLUSTERS_WORTH_A_THREAD = 32; // below this, starting a thread costs more than it saves

export interface PlanWork {
  readonly given: unknown;
  readonly options: PlanningOptions;
  readonly familyIds: readonly string[];
}

/** `workers` 0: as many as this machine and the number of clusters deserve. */
export async function planClusters(
  given: unknown,
  night: PreparedNight,
  workers: number,
  onCluster: (done: number, all: number) => void = () => undefined,
): Promise<readonly ClusterPlan[]> {
  // A family is planned by one thread; it goes by its first cluster's name.
  const ids = night.families.map((family) => family[0].clusterId);
  const all = night.clusters.length;
  const count =
    workers > 0
      ? Math.min(workers, WORKERS_MAX)
      : Math.min(availableParallelism(), Math.floor(all / CLUSTERS_WORTH_A_THREAD));
  let done = 0;
  const onPlan = (): void => onCluster(++done, all);
  if (count <= 1) {
    return night.families.flatMap((family) => {
      const plans = planFamily(night, family);
      for (let at = 0; at < plans.length; at++) onPlan();
      return plans;
    });
  }
  const shares = Array.from({ length: count }, (_, share) =>
    planShare(
      {
        given,
        options: night.options,
        familyIds: ids.filter((__, at) => at % count === share),
      },
      onPlan,
    ),
  );
  return (await Promise.all(shares)).flat();
}

function planShare(work: PlanWork, onPlan: () => void): Promise<readonly ClusterPlan[]> {
  const plans: ClusterPlan[] = [];
  let families = 0;
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./plan-worker.ts', import.meta.url), { workerData: work });
    worker.on('message', (family: readonly ClusterPlan[]) => {
      families++;
      plans.push(...family);
      for (let at = 0; at < family.length; at++) onPlan();
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      if (families === work.familyIds.length) resolve(plans);
      else reject(new Error(`a planning thread ended after ${families} families of clusters`));
    });
  });
}

/** What a thread does: prepares the same night and plans its share. */
export function runWork(
  work: PlanWork,
  night: PreparedNight,
  send: (plans: readonly ClusterPlan[]) => void,
): void {
  for (const familyId of work.familyIds) {
    const family = night.families.find(([first]) => first.clusterId === familyId);
    assert(family !== undefined, `the night has a family of ${familyId}`);
    send(planFamily(night, family));
  }
}
