/**
 * The sender that copies nothing: its own listening socket, requests parsed here, bodies by sendfile, all in Node's own event loop.
 *
 * Sockets live in one inner epoll set, edge-triggered; that set's descriptor is watched by one uv_poll, so that no epoll_ctl happens per
 * request and Node's timers, promises and other servers keep running. Whatever is not the plain common case goes to its adopter
 * (node:http), with the bytes already read.
 *
 * Invariants: (1) an event acts on the connection that it was registered for: slot and generation, never a bare descriptor
 *             (2) one connection gets at most TURN_BYTES_MAX and pipelinedMax requests per turn, then the others
 *             (3) nothing that needs ticks or promises happens inside a native callback: it waits for the next immediate
 *             (4) the connections here and at the adopter together are at most connectionsMax
 */
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  type EpollEvents,
} from '#base/io/linux-abi.ts';
import type { Linux, Watch } from '#base/io/linux.ts';
import { assert, type Outcome } from '#base/outcome.ts';
import type {
  Answer,
  CutReason,
  Handler,
  ListenAddress,
  Sender,
  SenderLimits,
  SenderStats,
} from '../serve/sender.ts';
import { judgeDelivery } from '../serve/zero-copy-delivery.ts';
import { headText } from '../serve/zero-copy-head.ts';
import { BodyMover } from './zero-copy-body.ts';
import { ColdReader } from './zero-copy-cold.ts';
import { ConnectionTable, type ZeroCopyConnection } from './zero-copy-connection.ts';
import { ConnectionEnds } from './zero-copy-ends.ts';
import { LISTENER_SLOT, ZeroCopyListener } from './zero-copy-listener.ts';
import { RequestReader } from './zero-copy-reader.ts';

const TURN_BYTES_MAX = 4 * 1024 * 1024;
const EVENTS_PER_TURN = 256;
const LINGER_MS_MAX = 1000; // for a client to read a last answer before the connection is closed
const DATE_MS_MAX = 500; // age of the Date that answers carry

/** Takes over the connections whose requests are not plain. */
export interface Adopter {
  listenForAdopted(): Promise<Outcome<null>>;
  /** `bytes` were read of it and are the adopter's now. Called outside of native callbacks. */
  adopt(fd: number, bytes: Buffer): void;
  readonly connectionCount: number;
  stats(): SenderStats;
  close(graceMs: number): Promise<void>;
}

/** How many connections there may be, where that is not this sender's alone to say. */
export interface Room {
  /** False: there is none for another one. */
  enter(): boolean;
  left(): void; // closed here, not handed over
}

export interface ZeroCopyOptions {
  /** A socket that listens already, and is its owner's to close: `listen` binds nothing. */
  readonly listenFd?: number;
  /** Absent: this sender's connections and its adopter's, up to connectionsMax. */
  readonly room?: Room;
}

export class ZeroCopySender implements Sender {
  readonly kind = 'zero-copy';
  readonly #handle: Handler;
  readonly #limits: SenderLimits;
  readonly #linux: Linux;
  readonly #adopter: Adopter;
  readonly #room: Room;
  readonly #options: ZeroCopyOptions;
  readonly #mover: BodyMover;
  readonly #events: EpollEvents;
  readonly #cold: ColdReader;
  readonly #reader: RequestReader;
  readonly #ends: ConnectionEnds;
  readonly #table = new ConnectionTable();
  readonly #cut: Record<CutReason, number> = {
    'connections-full': 0,
    'header-limit': 0,
    'slow-client': 0,
    malformed: 0,
  };
  readonly #listener: ZeroCopyListener;
  #epoll = -1;
  #watch: Watch | null = null;
  #ticks: NodeJS.Timeout | null = null;
  #queue: ZeroCopyConnection[] = [];
  #handedOver: { readonly fd: number; readonly bytes: Buffer }[] = [];
  #isImmediateSet = false;
  #reading = 0; // cold reads under way: their answers have not ended
  #requests = 0;
  #bytesSent = 0;
  #isClosing = false;
  #onEmpty: (() => void) | null = null;
  #nowMs = performance.now();
  #date = '';
  #dateMs = -Infinity;

  /** `adopter` must be this sender's own: it is opened and closed with it. */
  constructor(
    handle: Handler,
    limits: SenderLimits,
    linux: Linux,
    adopter: Adopter,
    options: ZeroCopyOptions = {},
  ) {
    this.#handle = handle;
    this.#limits = limits;
    this.#linux = linux;
    this.#adopter = adopter;
    this.#options = options;
    this.#room = options.room ?? {
      enter: () => this.#connections < limits.connectionsMax,
      left: () => {},
    };
    this.#cold = new ColdReader(linux);
    this.#mover = new BodyMover(linux, this.#cold);
    this.#reader = new RequestReader(linux, limits.headerBytesMax);
    this.#listener = new ZeroCopyListener(linux);
    this.#events = linux.epollEvents(EVENTS_PER_TURN);
    this.#ends = new ConnectionEnds(
      linux,
      this.#cold,
      this.#table,
      () => this.#room.left(),
      () => {
        if (this.#isEmpty) this.#onEmpty?.();
      },
    );
  }

  async listen(at: ListenAddress): Promise<Outcome<ListenAddress>> {
    const linux = this.#linux;
    const { listenFd } = this.#options;
    const bound = listenFd === undefined ? this.#listener.bind(at) : this.#listener.use(listenFd);
    if (!bound.ok) return bound;
    const adopting = await this.#adopter.listenForAdopted();
    if (!adopting.ok) {
      this.#listener.close();
      return adopting;
    }
    this.#epoll = linux.epollCreate();
    assert(this.#epoll >= 0, 'an epoll descriptor');
    this.#ends.use(this.#epoll);
    this.#listener.watch(this.#epoll);
    this.#watch = linux.watchReadable(this.#epoll, () => this.#turn());
    this.#ticks = setInterval(() => this.#tick(), tickPeriodMs(this.#limits));
    this.#ticks.unref();
    return bound;
  }

  stats(): SenderStats {
    const adopted = this.#adopter.stats();
    const cut = { ...adopted.cut };
    for (const reason of Object.keys(this.#cut) as CutReason[]) cut[reason] += this.#cut[reason];
    return {
      connections: this.#table.count + this.#handedOver.length + adopted.connections,
      requests: this.#requests + adopted.requests,
      bytesSent: this.#bytesSent + adopted.bytesSent,
      cut,
    };
  }

  async close(graceMs: number): Promise<void> {
    this.#isClosing = true;
    this.#listener.close();
    this.#adoptHandedOver();
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    for (const connection of this.#table.all()) {
      if (connection.phase === 'idle') this.#ends.close(connection);
    }
    const grace = setTimeout(() => {
      for (const connection of this.#table.all()) this.#ends.drop(connection, 'closed');
    }, graceMs);
    if (!this.#isEmpty) await Promise.all([empty, this.#adopter.close(graceMs)]);
    else await this.#adopter.close(graceMs);
    clearTimeout(grace);
    if (this.#ticks !== null) clearInterval(this.#ticks);
    await this.#watch?.close();
    this.#watch = null;
    this.#cold.closeIdle(Infinity);
    if (this.#epoll >= 0) this.#linux.close(this.#epoll);
    this.#epoll = -1;
  }

  // ---------------------------------------------------------------- events

  /** Called from C (invariant 3). */
  #turn(): void {
    this.#now();
    const events = this.#events;
    const count = this.#linux.epollWait(this.#epoll, events, 0);
    for (let at = 0; at < count; at++) {
      const slot = events.slot(at);
      if (slot === LISTENER_SLOT) {
        this.#accept();
        continue;
      }
      const connection = this.#table.find(slot, events.generation(at));
      if (connection !== null) this.#happened(connection, events.mask(at));
    }
  }

  #happened(connection: ZeroCopyConnection, mask: number): void {
    if ((mask & (EPOLLERR | EPOLLHUP)) !== 0) {
      if (connection.phase === 'lingering') this.#ends.close(connection);
      else this.#ends.drop(connection, 'aborted');
      return;
    }
    if ((mask & EPOLLIN) !== 0) connection.isReadable = true;
    if ((mask & EPOLLRDHUP) !== 0) connection.isHalfClosed = true;
    if ((mask & EPOLLOUT) !== 0) connection.isBlocked = false;
    if (!connection.isBlocked && !connection.isQueued) this.#run(connection);
  }

  #accept(): void {
    this.#cut['connections-full'] += this.#listener.accept(
      () => this.#room.enter(),
      (fd, remoteAddress) => {
        const connection = this.#table.add(fd, remoteAddress, this.#nowMs);
        const mask = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        this.#linux.epollAdd(this.#epoll, fd, mask, connection.slot, connection.generation);
      },
    );
  }

  /** Here and at the adopter. */
  get #connections(): number {
    return this.#table.count + this.#handedOver.length + this.#adopter.connectionCount;
  }

  /** Goes on until it must wait: for the client, the handler, a source, or its next turn. */
  #run(connection: ZeroCopyConnection): void {
    let requests = 0;
    let budget = TURN_BYTES_MAX;
    for (;;) {
      switch (connection.phase) {
        case 'idle':
          if (connection.fd < 0) return;
          if (requests++ === this.#limits.pipelinedMax) return this.#later(connection);
          switch (this.#reader.read(connection, this.#nowMs)) {
            case 'request':
              this.#decide(connection);
              break;
            case 'not-plain':
              return this.#handOver(connection);
            case 'closed':
              return this.#ends.close(connection);
            case 'wait':
              return;
          }
          break;
        case 'sending': {
          if (connection.answer?.isWithdrawn() === true)
            return this.#ends.drop(connection, 'withdrawn');
          const before = connection.bodySent;
          const pushed = this.#mover.push(connection, budget, this.#nowMs);
          budget -= connection.bodySent - before;
          this.#bytesSent += connection.bodySent - before;
          if (pushed === 'blocked') {
            connection.isBlocked = true;
            return;
          }
          if (pushed === 'spent') return this.#later(connection);
          if (pushed === 'cold') return this.#readCold(connection);
          if (pushed === 'gone') return this.#ends.drop(connection, 'aborted');
          if (pushed === 'failed') return this.#ends.drop(connection, 'failed');
          if (connection.stream !== null) return this.#pull(connection);
          this.#finish(connection);
          break;
        }
        case 'lingering':
          return this.#ends.discard(connection);
        default:
          return; // a promise or a read wakes it
      }
    }
  }

  #later(connection: ZeroCopyConnection): void {
    connection.isQueued = true;
    this.#queue.push(connection);
    this.#soon();
  }

  /** An immediate runs in the same turn of the event loop, with ticks and promises behind it. */
  #soon(): void {
    if (this.#isImmediateSet) return;
    this.#isImmediateSet = true;
    setImmediate(() => {
      this.#isImmediateSet = false;
      this.#now();
      this.#adoptHandedOver();
      const queue = this.#queue;
      this.#queue = [];
      for (const connection of queue) {
        connection.isQueued = false;
        if (connection.fd >= 0) this.#run(connection);
      }
    });
  }

  #now(): void {
    this.#nowMs = performance.now();
    if (this.#nowMs - this.#dateMs < DATE_MS_MAX) return;
    this.#dateMs = this.#nowMs;
    this.#date = new Date().toUTCString();
  }

  // ---------------------------------------------------------------- requests

  #decide(connection: ZeroCopyConnection): void {
    this.#requests++;
    connection.hadRequest = true;
    connection.phase = 'deciding';
    const decided = this.#handle(connection.request);
    if (!(decided instanceof Promise)) {
      this.#begin(connection, decided);
      return;
    }
    this.#soon();
    decided.then((answer) => {
      this.#now();
      if (connection.fd < 0) answer.ended(this.#isClosing ? 'closed' : 'aborted');
      else {
        this.#begin(connection, answer);
        this.#run(connection);
      }
    }, throwBug);
  }

  #begin(connection: ZeroCopyConnection, answer: Answer): void {
    connection.answer = answer;
    connection.phase = 'sending';
    connection.isBlocked = false;
    connection.windowSinceMs = this.#nowMs;
    connection.windowBytes = 0;
    const head = headText(answer, this.#date, this.#isClosing);
    if (!this.#mover.begin(connection, answer, head)) this.#ends.drop(connection, 'aborted');
  }

  #pull(connection: ZeroCopyConnection): void {
    const { stream, answer } = connection;
    assert(stream !== null, 'only a stream is pulled');
    connection.phase = 'pulling';
    this.#soon();
    stream.next().then((outcome) => {
      if (connection.answer !== answer || connection.phase !== 'pulling') return; // it was dropped
      this.#now();
      if (!outcome.ok) {
        this.#ends.drop(connection, 'failed');
        return;
      }
      connection.phase = 'sending';
      connection.windowSinceMs = this.#nowMs;
      connection.windowBytes = connection.bodySent;
      if (outcome.value === null) connection.stream = null;
      else this.#mover.part(connection, outcome.value);
      if (!connection.isQueued) this.#run(connection);
    }, throwBug);
  }

  #readCold(connection: ZeroCopyConnection): void {
    const { file } = connection;
    assert(file !== null, 'only a file is read');
    connection.phase = 'reading';
    this.#reading++;
    this.#cold.read(file, connection.position, connection.end - connection.position, (result) => {
      this.#reading--;
      this.#now();
      if (connection.fd < 0) {
        const { answer, droppedAs } = connection;
        connection.answer = null;
        if (result.ok) this.#cold.giveBack(result.slice);
        answer?.ended(droppedAs ?? 'aborted');
        if (this.#isEmpty) this.#onEmpty?.();
        return;
      }
      connection.phase = 'sending';
      if (!result.ok) {
        file.readFailed(result.offset, result.code);
        this.#ends.drop(connection, 'failed');
        return;
      }
      connection.cold = result.slice;
      connection.windowSinceMs = this.#nowMs;
      connection.windowBytes = connection.bodySent;
      if (!connection.isQueued) this.#run(connection);
    });
  }

  #finish(connection: ZeroCopyConnection): void {
    const { answer } = connection;
    assert(answer !== null, 'an answer was sent');
    if (answer.body !== null && connection.bodySent !== answer.contentLength) {
      this.#ends.drop(connection, 'failed');
      return;
    }
    connection.answer = null;
    connection.phase = 'idle';
    connection.sinceMs = this.#nowMs;
    answer.ended('complete');
    if (this.#isClosing) this.#ends.linger(connection, this.#nowMs);
  }

  /** What is not plain is node:http's, with every byte that was read of it. */
  #handOver(connection: ZeroCopyConnection): void {
    assert(connection.input !== null, 'there is something to hand over');
    const bytes = Buffer.from(connection.input.subarray(connection.inputAt));
    this.#handedOver.push({ fd: this.#ends.letGo(connection), bytes });
    this.#soon();
  }

  #adoptHandedOver(): void {
    for (const { fd, bytes } of this.#handedOver.splice(0)) this.#adopter.adopt(fd, bytes);
  }

  // ---------------------------------------------------------------- ends

  /** Once in a while: what nobody's event brings. */
  #tick(): void {
    this.#now();
    this.#listener.resume();
    for (const connection of this.#table.all()) this.#look(connection);
    this.#cold.closeIdle(this.#nowMs);
  }

  get #isEmpty(): boolean {
    return this.#table.count === 0 && this.#reading === 0;
  }

  #look(connection: ZeroCopyConnection): void {
    const quietMs = this.#nowMs - connection.sinceMs;
    if (connection.phase === 'idle') {
      const isMidHead = connection.input !== null;
      const { headersTimeoutMs, keepAliveTimeoutMs } = this.#limits;
      const isFresh = isMidHead || !connection.hadRequest;
      if (quietMs < (isFresh ? headersTimeoutMs : keepAliveTimeoutMs)) return;
      if (isMidHead) {
        this.#cut['header-limit']++;
        this.#ends.timeOut(connection, this.#nowMs);
      } else {
        this.#ends.close(connection);
      }
    } else if (connection.phase === 'lingering') {
      if (quietMs >= LINGER_MS_MAX) this.#ends.close(connection);
    } else if (connection.phase === 'sending' && connection.isBlocked) {
      const bytes = connection.bodySent - connection.windowBytes;
      const verdict = judgeDelivery(connection.windowSinceMs, bytes, this.#nowMs, this.#limits);
      if (verdict === 'cut') {
        this.#cut['slow-client']++;
        this.#ends.drop(connection, 'slow');
        return;
      }
      if (verdict === 'new-window') {
        connection.windowSinceMs = this.#nowMs;
        connection.windowBytes = connection.bodySent;
      }
      if (connection.answer?.isWithdrawn() === true) {
        this.#ends.drop(connection, 'withdrawn');
        return;
      }
      if (connection.cold !== null && this.#cold.isShort) {
        // Others wait for a buffer, this client does not take what is in its one: it is read again when it does.
        this.#cold.giveBack(connection.cold);
        connection.cold = null;
        return;
      }
      this.#run(connection); // a short sendfile need not be followed by an edge
    }
  }
}

function tickPeriodMs(limits: SenderLimits): number {
  const least = Math.min(
    limits.headersTimeoutMs,
    limits.keepAliveTimeoutMs,
    limits.deliveryGraceMs,
    4000,
  );
  return Math.max(50, least / 4);
}

function throwBug(bug: unknown): void {
  // A handler never rejects: this ends the process where nobody can miss it.
  process.nextTick(() => {
    throw bug;
  });
}
