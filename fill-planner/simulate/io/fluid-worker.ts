/**
 * A thread of a fluid run: does the step for the country that it is told.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '#base/outcome.ts';
import { FluidThread, fluidInput, type FluidMemory, type Step } from '../fluid/fluid-run.ts';
import type { TopologySite } from '../network/topology.ts';
import type { Scenario } from '../scenario.ts';

export interface FluidThreadData {
  readonly scenario: Scenario;
  readonly topology: readonly TopologySite[];
  readonly seed: number;
  readonly memory: FluidMemory;
}

const data = workerData as FluidThreadData;
assert(parentPort !== null, 'a simulating thread has a parent');
const port = parentPort;
const input = fluidInput(data.scenario, data.topology, data.seed);
assert(input.ok, input.ok ? '' : input.failure);
const thread = new FluidThread(input.value, data.memory);

port.on('message', (job: { readonly step: Step; readonly country: string } | null) => {
  if (job === null) {
    port.close();
    return;
  }
  thread.run(job.step, job.country);
  port.postMessage(null);
});
