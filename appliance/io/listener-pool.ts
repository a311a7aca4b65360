/**
 * Several zero-copy senders, each in a thread with a listener of its own; the kernel spreads connections over them (SO_REUSEPORT).
 *
 * This thread owns everything that is decided: store, keys, tokens, deny list, misses, accounts. Threads ask it, are answered, and with
 * the answer to a hit get a pass under which they answer the next ones alone (serve/pass.ts). What is not plain HTTP is served here.
 *
 *                 asked, pull, ended, report, not-plain
 *   thread 1..n  ---------------------------------------->  owner: handler, node:http, ledgers
 *                <----------------------------------------
 *                 answer (+ pass), part, withdrawn, standing
 *
 * Invariants: (1) a thread that fails is replaced, its listening socket and what waits in it is kept; what it was lent comes back when it is gone
 *             (2) what threads counted is in the box's ledgers within REPORT_MS (listener-thread.ts); a thread that fails says the rest too
 *             (3) more than FAILURES_MAX failures in FAILURES_MS, or a thread that does not end, are the process's: it ends
 *             (4) the connections of all threads and of node:http here are at most connectionsMax
 */
import { Worker } from 'node:worker_threads';
import type { Clock, Timer } from '#base/clock.ts';
import type { Linux } from '#base/io/linux.ts';
import type { Logger } from '#base/log.ts';
import { assert, success, type Outcome } from '#base/outcome.ts';
import type { FileId } from '#upstream/contract.ts';
import type { Gate } from '../serve/admission-gate.ts';
import { OPEN } from '../serve/admission-gate.ts';
import { AnswerDesk, WITHDRAWN_LOOK_MS } from '../serve/answer-desk.ts';
import type { Hit } from '../serve/content-handler.ts';
import { NOTHING_DENIED, type DenyList } from '../serve/deny-list.ts';
import { LentFiles, PassOffice } from '../serve/pass-office.ts';
import type {
  Answer,
  CutReason,
  Handler,
  ListenAddress,
  Sender,
  SenderLimits,
  SenderStats,
} from '../serve/sender.ts';
import { SharedWords } from '../serve/shared-words.ts';
import type { Tally } from '../serve/tally.ts';
import type {
  OwnerMessage,
  Standing,
  ThreadMessage,
  ThreadPlan,
  ThreadReport,
} from '../serve/thread-messages.ts';
import type { OpenFile } from '../store/open-files.ts';
import type { PortableSender } from './portable-sender.ts';
import { ZeroCopyListener } from './zero-copy-listener.ts';

const FAILURES_MAX = 5;
const FAILURES_MS = 60_000;
const DRIFT_MS_MAX = 100; // of trusted time, before threads are told: tokens count seconds
/** A thread that failed cuts its connections and ends; one that does not may hold anything. */
const END_MS_MAX = 10_000;

export interface ListenerPoolDeps {
  readonly applianceId: string;
  readonly listeners: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly handle: Handler;
  readonly limits: SenderLimits;
  readonly linux: Linux;
  readonly portable: PortableSender; // this pool's own
  readonly sampleOneIn: number;
  /** What an answer of `handle` may be passed on with. */
  readonly hitOf: (answer: Answer) => Hit | undefined;
  readonly retain: (file: OpenFile) => void;
  readonly release: (file: OpenFile) => void;
  readonly counted: (tally: Tally, underWayBefore: number) => void;
  readonly kept: (session: object) => void;
  readonly sample: (fileId: FileId, chunkIndex: number) => void;
}

export interface PoolFigures {
  readonly threads: number;
  readonly failures: number; // threads that ended with a bug and were replaced
  readonly asked: number; // requests that threads did not decide alone
  readonly filesLent: number;
}

export class ListenerPool implements Sender {
  readonly kind = 'zero-copy';
  readonly #deps: ListenerPoolDeps;
  readonly #words = new SharedWords();
  readonly #files: LentFiles;
  readonly #sockets: ZeroCopyListener[] = [];
  readonly #threads: ListenerThread[] = [];
  readonly #failedAtMs: number[] = [];
  #standing: Standing = { version: 0, gate: OPEN, denials: null, trustedLessMonotonicMs: 0 };
  #denials: DenyList = NOTHING_DENIED;
  #looks: Timer | null = null;
  #isClosing = false;
  #past: SenderStats = noStats(); // of threads that are gone
  #pastAsked = 0;
  #failures = 0;

  constructor(deps: ListenerPoolDeps) {
    this.#deps = deps;
    this.#files = new LentFiles(this.#words, deps.retain, deps.release);
  }

  async listen(at: ListenAddress): Promise<Outcome<ListenAddress>> {
    const { linux, listeners, portable, clock } = this.#deps;
    // With SO_REUSEPORT another process of this user on the address would not be noticed: asked for alone first.
    const alone = new ZeroCopyListener(linux);
    const isFree = alone.bind(at);
    alone.close();
    if (!isFree.ok) return isFree;
    let bound = at;
    for (let n = 0; n < listeners; n++) {
      const socket = new ZeroCopyListener(linux);
      const outcome = socket.bind(bound, true);
      if (!outcome.ok) {
        this.#closeSockets();
        return outcome;
      }
      bound = outcome.value;
      this.#sockets.push(socket);
    }
    const adopting = await portable.listenForAdopted();
    if (!adopting.ok) {
      this.#closeSockets();
      return adopting;
    }
    this.#looks = clock.every(WITHDRAWN_LOOK_MS, () => this.#look());
    for (const socket of this.#sockets) this.#threads.push(this.#start(socket));
    await Promise.all(this.#threads.map((thread) => thread.serving));
    return success(bound);
  }

  stats(): SenderStats {
    const { portable } = this.#deps;
    const parts = [this.#past, portable.stats(), ...this.#threads.map((thread) => thread.stats)];
    const sum = parts.reduce(added, noStats());
    return { ...sum, connections: this.#words.connections };
  }

  get figures(): PoolFigures {
    const desks = this.#threads.map(({ desk }) => desk);
    return {
      threads: this.#threads.length,
      failures: this.#failures,
      asked: this.#pastAsked + desks.reduce((sum, { askedCount }) => sum + askedCount, 0),
      filesLent: this.#files.count,
    };
  }

  /** What holds for all threads from now on. `trustedLessMonotonicMs`: trusted time less this thread's monotonic time. */
  stand(gate: Gate, denials: DenyList, trustedLessMonotonicMs: number): void {
    const before = this.#standing;
    const isNewList = denials !== this.#denials;
    const isSame = gate === before.gate && !isNewList;
    const driftMs = Math.abs(trustedLessMonotonicMs - before.trustedLessMonotonicMs);
    if (isSame && driftMs < DRIFT_MS_MAX) return;
    this.#denials = denials;
    const set = isNewList ? denials.toSet() : before.denials;
    // What a thread does not know yet it asks; of the time it may be told later.
    const version = isSame ? before.version : this.#words.nextStanding();
    this.#standing = { version, gate, denials: set, trustedLessMonotonicMs };
    const standing = isNewList ? this.#standing : { ...this.#standing, denials: null };
    for (const thread of this.#threads) thread.tell({ kind: 'standing', standing });
    if (isNewList) this.#look();
  }

  /** Keys changed: what was decided under the old ones is asked again. */
  forgetPasses(): void {
    this.#words.nextEpoch();
  }

  /** The longest that a thread's event loop was late since the last call. */
  takeLoopDelayMs(): number {
    return Math.max(0, ...this.#threads.map((thread) => thread.takeLoopDelayMs()));
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    for (const socket of this.#sockets) socket.stop();
    await Promise.all(this.#threads.map((thread) => thread.close(graceMs)));
    await this.#deps.portable.close(graceMs);
    this.#looks?.cancel();
    this.#closeSockets();
  }

  #closeSockets(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  #look(): void {
    for (const thread of this.#threads) thread.desk.lookForWithdrawn();
  }

  #start(socket: ZeroCopyListener): ListenerThread {
    const { applianceId, limits, sampleOneIn, clock } = this.#deps;
    const plan: ThreadPlan = {
      applianceId,
      limits,
      words: this.#words.memory,
      listenFd: socket.fd,
      clockAnchorMs: Number(process.hrtime.bigint()) / 1e6 - clock.monotonicMs(),
      sampleOneIn,
      standing: this.#standing,
    };
    const office = new PassOffice(this.#files, this.#words);
    return new ListenerThread(plan, this.#deps, this.#words, office, (thread) => {
      this.#past = added(this.#past, thread.stats);
      this.#pastAsked += thread.desk.askedCount;
      const at = this.#threads.indexOf(thread);
      if (this.#isClosing) {
        this.#threads.splice(at, 1);
        return;
      }
      this.#noteFailure();
      this.#threads[at] = this.#start(socket);
    });
  }

  #noteFailure(): void {
    const { clock, log } = this.#deps;
    const nowMs = clock.monotonicMs();
    this.#failures++;
    this.#failedAtMs.push(nowMs);
    while (nowMs - this.#failedAtMs[0] > FAILURES_MS) this.#failedAtMs.shift();
    assert(
      this.#failedAtMs.length <= FAILURES_MAX,
      `serving threads failed ${FAILURES_MAX} times in a minute`,
    );
    log.error({ event: 'listener-restarted' }, 'a serving thread ended; another takes its place');
  }
}

class ListenerThread {
  readonly desk: AnswerDesk;
  readonly serving: Promise<void>;
  readonly #deps: ListenerPoolDeps;
  readonly #words: SharedWords;
  readonly #office: PassOffice;
  readonly #worker: Worker;
  readonly #gone: Promise<void>;
  #isServing: () => void = () => {};
  #loopDelayMs = 0;
  #underWay = 0;
  stats: SenderStats = noStats();

  constructor(
    plan: ThreadPlan,
    deps: ListenerPoolDeps,
    words: SharedWords,
    office: PassOffice,
    onGone: (thread: ListenerThread) => void,
  ) {
    this.#deps = deps;
    this.#words = words;
    this.#office = office;
    this.#worker = new Worker(new URL('./listener-thread.ts', import.meta.url), {
      workerData: plan,
    });
    this.desk = new AnswerDesk(deps.handle, deps.hitOf, office, (message) => this.tell(message));
    this.#worker.on('message', (message: ThreadMessage) => this.#told(message));
    // Before its handler for bugs is there, or beyond it: what it holds is not known.
    this.#worker.on('error', (bug) => {
      throw bug;
    });
    this.serving = new Promise((resolve) => {
      this.#isServing = resolve;
    });
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.desk.close();
        this.#isServing(); // nobody waits for it any more: its successor serves
        onGone(this);
        resolve();
      });
    });
  }

  tell(message: OwnerMessage): void {
    this.#worker.postMessage(message);
  }

  async close(graceMs: number): Promise<void> {
    this.tell({ kind: 'close', graceMs });
    await this.#gone;
  }

  takeLoopDelayMs(): number {
    const longest = this.#loopDelayMs;
    this.#loopDelayMs = 0;
    return longest;
  }

  #told(message: ThreadMessage): void {
    switch (message.kind) {
      case 'serving':
        return this.#isServing();
      case 'asked':
        return this.desk.asked(message.id, message.request);
      case 'pull':
        return this.desk.pull(message.id);
      case 'ended':
        return this.desk.ended(message.id, message.how, message.bytes);
      case 'read-failed':
        return this.#readFailed(message.serial, message.offset, message.code);
      case 'not-plain':
        return this.#deps.portable.adopt(message.fd, message.bytes, () => this.#words.left());
      case 'report':
        return this.#reported(message.report);
      case 'failed':
        return this.#failed(message.detail);
    }
  }

  #readFailed(serial: number, offset: number, code: string): void {
    const file = this.desk.fileOf(serial) ?? this.#office.fileOf(serial);
    file?.readFailed(offset, code);
  }

  #reported(report: ThreadReport): void {
    const { counted, kept, sample } = this.#deps;
    for (const [id, bytes] of report.sent) this.desk.sent(id, bytes);
    counted(report.tally, this.#underWay);
    this.#underWay = report.tally.viewersUnderWay;
    this.stats = { ...report.stats, connections: 0 }; // words.connections is exact
    this.#loopDelayMs = Math.max(this.#loopDelayMs, report.loopDelayMs);
    for (const id of report.kept) {
      const holder = this.#office.holder(id);
      if (holder !== null) kept(holder);
    }
    for (const [fileId, chunkIndex] of report.samples) sample(fileId, chunkIndex);
    this.#office.givenBack(report.passesBack);
  }

  #failed(detail: string): void {
    const { log, clock } = this.#deps;
    log.error({ event: 'listener-failed', detail }, 'a bug ended a serving thread');
    const late = clock.after(END_MS_MAX, () => assert(false, 'a serving thread does not end'));
    void this.#gone.then(() => late.cancel());
  }
}

function noStats(): SenderStats {
  const cut = { 'connections-full': 0, 'header-limit': 0, 'slow-client': 0, malformed: 0 };
  return { connections: 0, requests: 0, bytesSent: 0, cut };
}

function added(one: SenderStats, other: SenderStats): SenderStats {
  const cut = { ...one.cut };
  for (const reason of Object.keys(cut) as CutReason[]) cut[reason] += other.cut[reason];
  return {
    connections: one.connections + other.connections,
    requests: one.requests + other.requests,
    bytesSent: one.bytesSent + other.bytesSent,
    cut,
  };
}
