/**
 * Plans the clusters of a night on several threads. The answer does not depend on how many there are.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { assert } from '#base/outcome.ts';
import type { PlanningOptions } from '../config.ts';
import { planCluster, type ClusterPlan, type PreparedNight } from '../night.ts';

export const WORKERS_MAX = 64;
const CLUSTERS_WORTH_A_THREAD = 32; // below this, starting a thread costs more than it saves

export interface PlanWork {
  readonly given: unknown;
  readonly options: PlanningOptions;
  readonly clusterIds: readonly string[];
}

/** `workers` 0: as many as this machine and the number of clusters deserve. */
export async function planClusters(
  given: unknown,
  night: PreparedNight,
  workers: number,
  onCluster: (done: number, all: number) => void = () => undefined,
): Promise<readonly ClusterPlan[]> {
  const ids = night.clusters.map((cluster) => cluster.clusterId);
  const count =
    workers > 0
      ? Math.min(workers, WORKERS_MAX)
      : Math.min(availableParallelism(), Math.floor(ids.length / CLUSTERS_WORTH_A_THREAD));
  if (count <= 1) {
    return night.clusters.map((cluster, at) => {
      const plan = planCluster(night, cluster);
      onCluster(at + 1, ids.length);
      return plan;
    });
  }
  let done = 0;
  const shares = Array.from({ length: count }, (_, share) =>
    planShare(
      {
        given,
        options: night.options,
        clusterIds: ids.filter((__, at) => at % count === share),
      },
      () => onCluster(++done, ids.length),
    ),
  );
  return (await Promise.all(shares)).flat();
}

function planShare(work: PlanWork, onCluster: () => void): Promise<readonly ClusterPlan[]> {
  const plans: ClusterPlan[] = [];
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./plan-worker.ts', import.meta.url), { workerData: work });
    worker.on('message', (plan: ClusterPlan) => {
      plans.push(plan);
      onCluster();
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      if (plans.length === work.clusterIds.length) resolve(plans);
      else reject(new Error(`a planning thread ended after ${plans.length} clusters`));
    });
  });
}

/** What a thread does: prepares the same night and plans its share. */
export function runWork(work: PlanWork, night: PreparedNight, send: (plan: ClusterPlan) => void) {
  for (const clusterId of work.clusterIds) {
    const cluster = night.clusters.find((entry) => entry.clusterId === clusterId);
    assert(cluster !== undefined, `the night has a cluster ${clusterId}`);
    send(planCluster(night, cluster));
  }
}
