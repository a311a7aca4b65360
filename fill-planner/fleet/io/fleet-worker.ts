/**
 * A fleet planning thread: reads its slices of the catalogue, then plans one part of a region after another, writes its order and its
 * signed plans, and reports.
 */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { parentPort } from 'node:worker_threads';
import type { SigningKey } from '#base/jws.ts';
import { assert } from '#base/outcome.ts';
import { planPart, regionBaseOf, STAGES, type RegionBase, type Stage } from '../region-job.ts';
import { readRegion, readSlice } from './fleet-disk.ts';
import type {
  FleetThreadData,
  PartResult,
  RegionPart,
  ThreadAnswer,
  ThreadOrder,
} from './fleet-pool.ts';

assert(parentPort !== null, 'a planning thread has a parent');
const port = parentPort;
let data: FleetThreadData | null = null;
let key: SigningKey | null = null;
let base: RegionBase | null = null; // of the region planned last: its other parts are often next

async function planAndWrite({ region, part, largestBytes }: RegionPart): Promise<PartResult> {
  assert(data !== null, 'a thread is told what to plan with before what to plan');
  const { directory, fleet, out } = data;
  const seconds = Object.fromEntries(STAGES.map((stage) => [stage, 0])) as Record<Stage, number>;
  let lapMs = performance.now();
  const onStage = (stage: Stage): void => {
    const nowMs = performance.now();
    seconds[stage] += (nowMs - lapMs) / 1000;
    lapMs = nowMs;
  };
  if (base?.regionId !== region.regionId) {
    base = null; // two regions at once are memory for nothing
    const rollup = readRegion(directory, fleet, region.regionId);
    onStage('read');
    base = regionBaseOf({ ...data, region, largestBytes, rollup, onStage });
  }
  const { order, orderVersion, candidates } = base;
  const clusters = planPart(base, { ...data, clusters: region.clusters, onStage });
  // Loaded when the first plan is there to be signed: a thread starts in a fraction of the time.
  const { importSigningKey, signCompact } = await import('#base/jws.ts');
  key ??= await importSigningKey(data.planKey);
  const lines: string[] = [];
  for (const { plans } of clusters) {
    for (const plan of plans) lines.push(await signCompact(key, data.planType, plan));
  }
  const plansText = `${lines.join('\n')}\n`;
  const factors = new Float32Array(order.titles.length + order.variants.length);
  factors.set(order.titles);
  factors.set(order.variants, order.titles.length);
  const orderBytes = new Uint8Array(factors.buffer);
  if (part === 0) writeFileSync(path.join(out, `${region.regionId}.order.f32`), orderBytes);
  writeFileSync(path.join(out, `${region.regionId}.${part}.plans.jws`), plansText);
  const sha256 = createHash('sha256').update(orderBytes).update(plansText).digest('base64url');
  onStage('sign');
  return {
    regionId: region.regionId,
    orderVersion,
    part,
    parts: 1,
    candidates: candidates.count,
    appliances: lines.length,
    sha256,
    clusters: clusters.map((cluster) => ({ ...cluster, plans: undefined })),
    seconds,
  };
}

async function carryOut(order: ThreadOrder): Promise<ThreadAnswer | null> {
  if (order === null) return null;
  switch (order.kind) {
    case 'read': {
      const startMs = performance.now();
      order.slices.forEach(readSlice);
      return { kind: 'read', seconds: (performance.now() - startMs) / 1000 };
    }
    case 'data':
      data = order.data;
      return null;
    case 'part':
      return { kind: 'part', result: await planAndWrite(order.part) };
  }
}

port.on('message', (order: ThreadOrder) => {
  void carryOut(order).then((answer) => {
    if (answer !== null) port.postMessage(answer);
  });
});
