/**
 * One serving thread: its own listener, connections and passes; everything that it cannot decide goes to its owner (listener-pool.ts).
 *
 *   serving --close--> closing --last report--> gone
 *   serving --a bug--> failed: connections cut, poll closed --last report--> gone
 *
 * Invariants: (1) it never ends with its poll open: that would end the process
 *             (2) its last report is the last thing that it says: after it everything that it was lent is given back
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock, type Clock } from '#base/clock.ts';
import { loadLinux } from '#base/io/linux.ts';
import { assert } from '#base/outcome.ts';
import { systemRandom } from '#base/random.ts';
import { Counters } from '../serve/counters.ts';
import { OwnerLine, readFailedOf } from '../serve/owner-line.ts';
import { PassHandler } from '../serve/pass-handler.ts';
import { passKeyOf } from '../serve/pass.ts';
import { QualityLedger } from '../serve/quality.ts';
import { SharedWords } from '../serve/shared-words.ts';
import { AccessLedger, takeTally } from '../serve/tally.ts';
import type { OwnerMessage, ThreadMessage, ThreadPlan } from '../serve/thread-messages.ts';
import { ViewLedger } from '../serve/view-ledger.ts';
import { ZeroCopySender, type Adopter } from './zero-copy-sender.ts';

/** What a crash of the thread would lose of its accounts, at most. */
const REPORT_MS = 500;
const NO_STATS = {
  connections: 0,
  requests: 0,
  bytesSent: 0,
  cut: { 'connections-full': 0, 'header-limit': 0, 'slow-client': 0, malformed: 0 },
};

const port = parentPort;
assert(port !== null, 'listener-thread.ts runs as a thread');
const plan = workerData as ThreadPlan;
const linux = loadLinux();
assert(linux !== null, 'a serving thread is started where native calls work');
const words = new SharedWords(plan.words);
const clock = ownersClock(plan.clockAnchorMs);
const ledgers = {
  counters: new Counters(),
  views: new ViewLedger(),
  quality: new QualityLedger(false),
};
const accesses = new AccessLedger();
const passes = new PassHandler({
  applianceId: plan.applianceId,
  clock,
  random: systemRandom,
  words,
  ledgers,
  accesses,
  sampleOneIn: plan.sampleOneIn,
  readFailed: (serial, offset, code) => readFailedOf(tell, serial)(offset, code),
});
const line = new OwnerLine(tell, (key, host, pass) => passes.take(key, host, pass));
/** node:http runs at the owner's: a descriptor is the process's, so that its number is all that is handed over. */
const toOwner: Adopter = {
  listenForAdopted: () => Promise.resolve({ ok: true, value: null }),
  adopt: (fd, bytes) => tell({ kind: 'not-plain', fd, bytes: new Uint8Array(bytes) }), // not the pool around them
  connectionCount: 0,
  stats: () => NO_STATS,
  close: () => Promise.resolve(),
};
const sender = new ZeroCopySender(
  (request) => {
    const key = passKeyOf(request);
    return passes.handle(request, key) ?? line.ask(request, key);
  },
  plan.limits,
  linux,
  toOwner,
  {
    listenFd: plan.listenFd,
    room: {
      enter: () => words.enter(plan.limits.connectionsMax),
      left: () => words.left(),
    },
  },
);
const loopDelay = monitorEventLoopDelay({ resolution: 20 });
let isLeaving = false;

process.on('uncaughtException', (bug) => void fail(bug));
passes.stand(plan.standing);
port.on('message', (message: OwnerMessage) => {
  switch (message.kind) {
    case 'answer':
      return line.answered(message.id, message.answer, message.pass);
    case 'part':
      return line.part(message.id, message.part);
    case 'withdrawn':
      return line.withdrawn(message.id);
    case 'standing':
      return passes.stand(message.standing);
    case 'close':
      return void leave(message.graceMs);
  }
});
const reports = setInterval(() => {
  passes.sweep();
  report();
}, REPORT_MS);
loopDelay.enable();
const bound = await sender.listen({ address: '', port: 0 });
assert(bound.ok, 'a socket that listens is served');
tell({ kind: 'serving' });

function report(): void {
  tell({
    kind: 'report',
    report: {
      ...passes.takeNews(),
      tally: takeTally(ledgers, accesses, passes.nowSeconds),
      stats: sender.stats(),
      loopDelayMs: loopDelay.max / 1e6,
      sent: line.takeSent(),
    },
  });
  loopDelay.reset();
}

async function leave(graceMs: number): Promise<void> {
  if (isLeaving) return;
  isLeaving = true;
  await sender.close(graceMs);
  clearInterval(reports);
  loopDelay.disable();
  report();
  port?.close();
}

/** A bug of this thread ends this thread: what it serves is cut, and its players come back to another one or to its successor. */
async function fail(bug: unknown): Promise<void> {
  tell({ kind: 'failed', detail: bug instanceof Error ? (bug.stack ?? bug.message) : String(bug) });
  await leave(0);
}

function tell(message: ThreadMessage): void {
  port?.postMessage(message);
}

/** The owner's monotonic time, which tokens and the gate are stamped with. */
function ownersClock(anchorMs: number): Clock {
  const shiftMs = Number(process.hrtime.bigint()) / 1e6 - performance.now() - anchorMs;
  return { ...systemClock, monotonicMs: () => performance.now() + shiftMs };
}
