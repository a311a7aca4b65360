/**
 * One thread of the DNS: listens on the shared port and answers from the worlds that the main thread sends.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#base/clock.ts';
import { assert, codeOf, messageOf } from '#base/outcome.ts';
import { createWorld, type World } from '../candidates.ts';
import { createFleet, type Fleet } from '../fleet.ts';
import { createResponder, type DnsPlan, type PoolMessage, type WorkerMessage } from './dns-pool.ts';
import { DnsServer } from './dns-server.ts';

const COUNTERS_PERIOD_MS = 1000;

const port = parentPort;
assert(port !== null, 'dns-worker.ts runs as a thread');
const plan = workerData as DnsPlan;
const responder = createResponder(plan);
let fleet: Fleet | null = null;
let world: World | null = null;
const server = new DnsServer({
  ...plan,
  responder,
  world: () => world,
  clock: systemClock,
  onFault: (detail) => tell({ kind: 'fault', detail }),
});

port.on('message', (message: PoolMessage) => {
  if (message.kind === 'fleet') {
    fleet = createFleet(message.snapshot, fleet, message.prefixes);
  } else if (message.kind === 'frame') {
    if (fleet !== null) world = createWorld(fleet, message.frame);
  } else {
    void server.stop().then(() => {
      counting.cancel();
      port.close();
    });
  }
});
const counting = systemClock.every(COUNTERS_PERIOD_MS, () =>
  tell({ kind: 'counters', counters: responder.counters }),
);
server.start().then(
  (bound) => tell({ kind: 'listening', port: bound }),
  (thrown: unknown) => {
    tell({ kind: 'failed', message: messageOf(thrown), code: codeOf(thrown) });
    counting.cancel();
    port.close();
  },
);

function tell(message: WorkerMessage): void {
  port?.postMessage(message);
}
