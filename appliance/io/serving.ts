/**
 * The serving half of a box: the content handler, the senders in front of it, TLS, and the gate that lets new viewers in.
 *
 * It needs the store and the miss path, and nothing of the control plane: it is up first, and stays up alone.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '#base/clock.ts';
import type { Linux } from '#base/io/linux.ts';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import type { ApplianceConfig } from '../config.ts';
import type { BelongingRegister } from '../fill/belonging.ts';
import { MissBody } from '../fill/miss-body.ts';
import type { MissPath } from '../fill/miss-path.ts';
import { RateMeter } from '../report/rate-meter.ts';
import { admittedShare, OPEN, stepGate, type Gate } from '../serve/admission-gate.ts';
import { Answers } from '../serve/answers.ts';
import { ContentHandler, type Hit } from '../serve/content-handler.ts';
import type { Counters } from '../serve/counters.ts';
import type { DenyRegister } from '../serve/deny-list.ts';
import { DRAIN_MS_DEFAULT, DrainWatch, type DrainProgress } from '../serve/drain-watch.ts';
import { GrantVerdicts, PeerBudget } from '../serve/grant-verdicts.ts';
import { QualityLedger } from '../serve/quality.ts';
import type { Answer, CutReason, ListenAddress, Sender, SenderStats } from '../serve/sender.ts';
import { addTally } from '../serve/tally.ts';
import type { ViewLedger } from '../serve/view-ledger.ts';
import { ViewerVerdicts } from '../serve/viewer-verdicts.ts';
import type { Store } from '../store/store.ts';
import { CertificateWatch, expiryProblem, readCertificate } from './certificate.ts';
import { HotChunks } from './hot-chunks.ts';
import { ListenerPool, type PoolFigures } from './listener-pool.ts';
import { PortableSender } from './portable-sender.ts';
import { chooseSender, listenersOf, type MakePool } from './zero-copy-choice.ts';

const PEER_ANSWERS_MAX = 256;

export interface ServingDeps {
  readonly config: ApplianceConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly nowMs: () => number; // trusted
  readonly keys: () => KeyRing | null;
  readonly store: Store;
  readonly belonging: BelongingRegister;
  readonly missPath: MissPath;
  readonly denials: DenyRegister;
  readonly counters: Counters;
  readonly views: ViewLedger;
  readonly listingText: (titleId: string) => string | null;
  /** A chunk that a viewer was served is to be read back. */
  readonly sample: (fileId: FileId, chunkIndex: number) => void;
}

/** Of the last second. */
export interface Look {
  readonly egressBps: number;
  readonly requestsPerSecond: number;
  readonly loopDelayMs: number; // the longest that the event loop was late
}

export class Serving {
  readonly quality = new QualityLedger();
  readonly hotChunks: HotChunks;
  readonly #deps: ServingDeps;
  readonly #sender: Sender;
  readonly #tls: PortableSender | null;
  readonly #certificate: CertificateWatch | null;
  readonly #egress = new RateMeter();
  readonly #requests = new RateMeter();
  readonly #loopDelay = monitorEventLoopDelay({ resolution: 20 });
  readonly #drain = new DrainWatch();
  #pool: ListenerPool | null = null; // the sender, where it has several threads
  readonly #hits = new WeakMap<Answer, Hit>();
  #keysVersion = -1;
  #answersServed = 0;
  #gate: Gate = OPEN;
  #servingBps: number;
  #content: ListenAddress = { address: '', port: 0 };
  #tlsContent: ListenAddress | null = null;

  /** Throws an error for the operator where the sender or the certificate cannot be had. */
  constructor(deps: ServingDeps) {
    const { config, clock, log } = deps;
    this.#deps = deps;
    this.#servingBps = config.servingBps;
    this.hotChunks = new HotChunks(config.hotCacheBytes);
    const listeners = listenersOf(config.listeners);
    const handler = this.#handler(listeners > 1);
    const makePool: MakePool = (count, linux, portable) => {
      this.#pool = this.#makePool(count, linux, portable, handler.handle);
      return this.#pool;
    };
    this.#sender = orThrow(
      chooseSender(
        config.sender,
        handler.handle,
        config.limits,
        this.hotChunks,
        listeners,
        makePool,
      ),
    );
    if (listeners > 1 && this.#pool === null) {
      log.warn({ event: 'one-listener', listeners }, 'only the zero-copy sender has more than one');
    }
    if (config.tls === undefined) {
      this.#tls = null;
      this.#certificate = null;
      return;
    }
    const certificate = orThrow(readCertificate(config.tls));
    const tls = new PortableSender(handler.handle, config.limits, this.hotChunks, certificate);
    this.#tls = tls;
    this.#certificate = new CertificateWatch(
      { files: config.tls, clock, log, use: (next) => tls.useIdentity(next) },
      certificate,
    );
  }

  /** `isLent`: what is found for a hit may be passed on to serving threads. */
  #handler(isLent: boolean): ContentHandler {
    const { config, clock, random, nowMs, keys, store, missPath } = this.#deps;
    const nowSeconds = (): number => Math.floor(nowMs() / 1000);
    return new ContentHandler({
      ...this.#deps,
      nowSeconds,
      accessed: (fileId, bytes) => this.#accessed(fileId, bytes),
      missBody: (missed, start, endInclusive) =>
        new MissBody(store, missPath, missed, start, endInclusive),
      onServed: (fileId, chunkIndex) => {
        const { sampleOneIn } = config.integrity;
        if (++this.#answersServed % sampleOneIn === 0) this.#deps.sample(fileId, chunkIndex);
      },
      onHit: isLent ? (answer, hit) => void this.#hits.set(answer, hit) : null,
      answers: new Answers(config.applianceId),
      verdicts: new ViewerVerdicts(clock, random, keys, nowSeconds),
      grants: new GrantVerdicts(config.applianceId, keys, nowSeconds),
      quality: this.quality,
      peerBudget: new PeerBudget(
        clock,
        config.servingBps * config.fill.peerShare,
        PEER_ANSWERS_MAX,
      ),
      onMiss: config.miss.onMiss,
      onMissByClass: config.miss.onMissByClass,
      firstByteMsMax: config.miss.firstByteMsMax,
      gate: () => this.#gate,
      onKept: (session) => {
        if (this.#drain.isDraining) this.#drain.note(session, clock.monotonicMs());
      },
    });
  }

  #makePool(
    listeners: number,
    linux: Linux,
    portable: PortableSender,
    handle: ContentHandler['handle'],
  ): ListenerPool {
    const { config, clock, log, store, counters, views, nowMs, sample } = this.#deps;
    const ledgers = { counters, views, quality: this.quality };
    return new ListenerPool({
      applianceId: config.applianceId,
      listeners,
      clock,
      log,
      handle,
      limits: config.limits,
      linux,
      portable,
      sampleOneIn: config.integrity.sampleOneIn,
      hitOf: (answer) => this.#hits.get(answer),
      retain: (file) => store.retain(file),
      release: (file) => store.release(file),
      counted: (tally, underWayBefore) => {
        addTally(ledgers, tally, Math.floor(nowMs() / 1000));
        counters.viewersUnderWay += tally.viewersUnderWay - underWayBefore;
        for (const [fileId, bytes] of tally.accessed) this.#accessed(fileId, bytes);
      },
      kept: (session) => {
        if (this.#drain.isDraining) this.#drain.note(session, clock.monotonicMs());
      },
      sample,
    });
  }

  #accessed(fileId: FileId, bytes: number): void {
    const { store } = this.#deps;
    const entry = store.find(fileId);
    if (entry !== undefined) store.accessed(entry, bytes);
  }

  /** Tells serving threads what holds now. */
  #stand(): void {
    if (this.#pool === null) return;
    const { clock, denials, keys, nowMs } = this.#deps;
    const keysVersion = keys()?.version ?? 0;
    if (keysVersion !== this.#keysVersion) this.#pool.forgetPasses();
    this.#keysVersion = keysVersion;
    this.#pool.stand(this.#gate, denials.current, nowMs() - clock.monotonicMs());
  }

  /** From here on viewers are served. Throws where an address cannot be bound. */
  async listen(): Promise<void> {
    const { config, denials } = this.#deps;
    this.#stand();
    denials.onChange(() => this.#stand());
    this.#content = orThrow(await this.#sender.listen(config.listen));
    if (config.tls !== undefined && this.#tls !== null) {
      const bound = await this.#tls.listen(config.tls.listen);
      if (!bound.ok) await this.#sender.close(0);
      this.#tlsContent = orThrow(bound);
      this.#certificate?.start();
    }
    this.#loopDelay.enable();
  }

  async close(graceMs: number): Promise<void> {
    this.#certificate?.stop();
    this.#loopDelay.disable();
    await Promise.all([this.#sender.close(graceMs), this.#tls?.close(graceMs)]);
  }

  get content(): ListenAddress {
    return this.#content;
  }

  /** Null without TLS. */
  get tls(): ListenAddress | null {
    return this.#tlsContent;
  }

  /** Null without TLS. */
  get certificateNotAfterMs(): number | null {
    return this.#certificate?.current.notAfterMs ?? null;
  }

  get gate(): Gate {
    return this.#gate;
  }

  /** Null where one thread serves. */
  get pool(): PoolFigures | null {
    return this.#pool?.figures ?? null;
  }

  /** Of all listeners. */
  stats(): SenderStats {
    const plain = this.#sender.stats();
    const tls = this.#tls?.stats();
    if (tls === undefined) return plain;
    const cut = { ...plain.cut };
    for (const reason of Object.keys(cut) as CutReason[]) cut[reason] += tls.cut[reason];
    return {
      connections: plain.connections + tls.connections,
      requests: plain.requests + tls.requests,
      bytesSent: plain.bytesSent + tls.bytesSent,
      cut,
    };
  }

  // ---------------------------------------------------------------- each second

  /** Measures the load of the last second and steps the gate. */
  look(): Look {
    const { clock, counters } = this.#deps;
    const now = clock.monotonicMs();
    const sentBytes = counters.viewerBytes + counters.peerBytesServed;
    const egressBps = Math.round(this.#egress.feed(sentBytes, now) * 8);
    const requestsPerSecond = this.#requests.feed(this.stats().requests, now);
    return { egressBps, requestsPerSecond, loopDelayMs: this.#stepGate(egressBps) };
  }

  /** What steering may count on: while the box ramps up, the share of it that new sessions get. */
  get offeredBps(): number {
    const isRamping = this.#gate.name === 'ramping';
    return isRamping ? this.#servingBps * admittedShare(this.#gate) : this.#servingBps;
  }

  get problems(): readonly string[] {
    const problems: string[] = [];
    if (this.#gate.name === 'closed' && this.#gate.reason === 'full') {
      problems.push('full: new viewers are sent to the next box');
    }
    if (this.#certificate !== null) {
      const problem = expiryProblem(this.#certificate.current, this.#deps.clock.wallMs());
      if (problem !== null) problems.push(problem);
    }
    return problems;
  }

  /** Answers how far the event loop lagged since the last look. */
  #stepGate(egressBps: number): number {
    const { clock, config, store } = this.#deps;
    const threadsMs = this.#pool?.takeLoopDelayMs() ?? 0;
    const loopDelayMs = Math.max(this.#loopDelay.max / 1e6, threadsMs);
    this.#loopDelay.reset();
    const nowMs = clock.monotonicMs();
    const probes = store
      .volumes()
      .map(({ speed }) => speed.lastP90Ms)
      .filter((ms) => ms !== null);
    this.#gate = stepGate(
      this.#gate,
      {
        isDraining: this.#drain.isDraining,
        isDrainOverdue: this.#drain.isOverdue(nowMs),
        rampMs: config.undrainRampMs,
        egressBps,
        servingBps: this.#servingBps,
        connectionsShare: this.stats().connections / config.limits.connectionsMax,
        diskMs: probes.length === 0 ? null : Math.min(...probes),
        loopDelayMs,
      },
      nowMs,
    );
    this.#stand();
    return loopDelayMs;
  }

  // ---------------------------------------------------------------- an operator's words

  /** New viewers go elsewhere at once, the others after `durationMs`. */
  drain(durationMs = DRAIN_MS_DEFAULT): void {
    this.#drain.start(this.#deps.clock.monotonicMs(), durationMs);
    this.#stepGate(0);
    this.#deps.log.info(
      { event: 'draining', durationMs },
      'draining: new viewers are sent elsewhere',
    );
  }

  undrain(): void {
    const rampMs = this.#drain.isDraining ? this.#deps.config.undrainRampMs : 0;
    this.#drain.stop();
    this.#stepGate(0);
    this.#deps.log.info({ event: 'undrained', rampMs }, 'taking new viewers again');
  }

  get isDraining(): boolean {
    return this.#drain.isDraining;
  }

  drainProgress(): DrainProgress {
    const { clock, counters } = this.#deps;
    return this.#drain.progress(clock.monotonicMs(), counters.viewersUnderWay);
  }

  setServingBps(servingBps: number): void {
    this.#servingBps = servingBps;
  }

  /** SIGHUP: the certificate is read now; a bad one leaves the old one in use. */
  reloadCertificate(): void {
    this.#certificate?.reload();
  }
}

function orThrow<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.failure.detail, { cause: outcome.failure.cause });
}
