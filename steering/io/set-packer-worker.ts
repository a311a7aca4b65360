/**
 * The thread that packs sets of holdings.
 */
import { parentPort } from 'node:worker_threads';
import { assert } from '#base/outcome.ts';
import { packed } from '../holdings.ts';
import type { PackAnswer, PackRequest } from './set-packer.ts';

assert(parentPort !== null, 'this is a thread of the service');
const port = parentPort;
port.on('message', ({ applianceId, holdings }: PackRequest) => {
  const answer: PackAnswer = { applianceId, base: packed(holdings) };
  port.postMessage(answer);
});
