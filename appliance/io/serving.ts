/**
 * The serving half of a box: the content handler, the senders in front of it, TLS, and the gate that lets new viewers in.
 *
 * It needs the store and the miss path, and nothing of the control plane: it is up first, and stays up alone.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import type { FileId } from '#upstream/contract.ts';
import type { ApplianceConfig } from '../config.ts';
import type { BelongingRegister } from '../fill/belonging.ts';
import type { MissPath } from '../fill/miss-path.ts';
import { RateMeter } from '../report/rate-meter.ts';
import { admittedShare, OPEN, stepGate, type Gate } from '../serve/admission-gate.ts';
import { Answers } from '../serve/answers.ts';
import { ContentHandler } from '../serve/content-handler.ts';
import type { Counters } from '../serve/counters.ts';
import type { DenyRegister } from '../serve/deny-list.ts';
import { DRAIN_MS_DEFAULT, DrainWatch, type DrainProgress } from '../serve/drain-watch.ts';
import { GrantVerdicts, PeerBudget } from '../serve/grant-verdicts.ts';
import { QualityLedger } from '../serve/quality.ts';
import type { CutReason, ListenAddress, Sender, SenderStats } from '../serve/sender.ts';
import type { ViewLedger } from '../serve/view-ledger.ts';
import { ViewerVerdicts } from '../serve/viewer-verdicts.ts';
import type { Store } from '../store/store.ts';
import { CertificateWatch, expiryProblem, readCertificate } from './certificate.ts';
import { HotChunks } from './hot-chunks.ts';
import { PortableSender } from './portable-sender.ts';
import { chooseSender } from './zero-copy-choice.ts';

const PEER_ANSWERS_MAX = 256;

export interface ServingDeps {
  readonly config: ApplianceConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly nowSeconds: () => number; // trusted
  readonly keys: () => KeyRing | null;
  readonly store: Store;
  readonly belonging: BelongingRegister;
  readonly missPath: MissPath;
  readonly denials: DenyRegister;
  readonly counters: Counters;
  readonly views: ViewLedger;
  readonly listingText: (titleId: string) => string | null;
  readonly onServed: (fileId: FileId, chunkIndex: number) => void;
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
    const handler = this.#handler();
    this.#sender = orThrow(
      chooseSender(config.sender, handler.handle, config.limits, this.hotChunks),
    );
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

  #handler(): ContentHandler {
    const { config, clock, random, nowSeconds, keys } = this.#deps;
    return new ContentHandler({
      ...this.#deps,
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

  /** From here on viewers are served. Throws where an address cannot be bound. */
  async listen(): Promise<void> {
    const { config } = this.#deps;
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
    const loopDelayMs = this.#loopDelay.max / 1e6;
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
