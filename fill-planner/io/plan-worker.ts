/**
 * A planning thread: prepares the night from the same input as everybody and plans its share of the clusters.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '#base/outcome.ts';
import { prepareNight } from '../night.ts';
import { runWork, type PlanWork } from './plan-pool.ts';

const work = workerData as PlanWork;
const prepared = prepareNight(work.given, work.options);
assert(prepared.ok && parentPort !== null, 'a thread is given an input that was taken in before');
const port = parentPort;
runWork(work, prepared.value, (plans) => port.postMessage(plans));
