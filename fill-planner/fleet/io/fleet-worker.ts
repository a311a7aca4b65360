/**
 * A fleet planning thread: takes one region after another, writes its order and its signed plans, and reports.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { importSigningKey, signCompact } from '#base/jws.ts';
import { assert } from '#base/outcome.ts';
import { JWS_TYPE } from '#control-plane/contract.ts';
import { planRegion, STAGES, type Stage } from '../region-job.ts';
import { readRegion } from './fleet-disk.ts';
import type { FleetThreadData, PartResult, RegionPart } from './fleet-pool.ts';

const data = workerData as FleetThreadData;
assert(parentPort !== null, 'a planning thread has a parent');
const port = parentPort;
const key = await importSigningKey(data.planKey);

async function planAndWrite({ region, part, largestBytes }: RegionPart): Promise<PartResult> {
  const seconds = Object.fromEntries(STAGES.map((stage) => [stage, 0])) as Record<Stage, number>;
  let lapMs = performance.now();
  const onStage = (stage: Stage): void => {
    const nowMs = performance.now();
    seconds[stage] += (nowMs - lapMs) / 1000;
    lapMs = nowMs;
  };
  const rollup = readRegion(data.directory, data.fleet, region.regionId);
  onStage('read');
  const { order, orderVersion, candidates, clusters } = planRegion({
    ...data,
    region,
    largestBytes,
    rollup,
    onStage,
  });
  const lines: string[] = [];
  for (const { plans } of clusters) {
    for (const plan of plans) lines.push(await signCompact(key, JWS_TYPE.plan, plan));
  }
  const plansText = `${lines.join('\n')}\n`;
  const factors = new Float32Array(order.titles.length + order.variants.length);
  factors.set(order.titles);
  factors.set(order.variants, order.titles.length);
  const orderBytes = new Uint8Array(factors.buffer);
  if (part === 0) writeFileSync(path.join(data.out, `${region.regionId}.order.f32`), orderBytes);
  writeFileSync(path.join(data.out, `${region.regionId}.${part}.plans.jws`), plansText);
  const sha256 = createHash('sha256').update(orderBytes).update(plansText).digest('base64url');
  onStage('sign');
  return {
    regionId: region.regionId,
    orderVersion,
    part,
    parts: 1,
    candidates,
    appliances: lines.length,
    sha256,
    clusters: clusters.map((cluster) => ({ ...cluster, plans: undefined })),
    seconds,
  };
}

port.on('message', (part: RegionPart | null) => {
  if (part === null) {
    port.close();
    return;
  }
  void planAndWrite(part).then((result) => port.postMessage(result));
});
