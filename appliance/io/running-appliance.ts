/**
 * One running box: every part made, wired and started; and stopped again.
 *
 * Serving comes first: the content listener is up as soon as the store is, whoever else is away.
 */
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { Type } from 'typebox';
import type { ApplianceStatus, Heartbeat, RouteBatch } from '#appliance/contract.ts';
import { checker } from '#base/config.ts';
import type { Clock, Timer } from '#base/clock.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import { openCompact } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import type { Outcome } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import { checkSignedTime, JWS_TYPE, type HeartbeatAnswer } from '#control-plane/contract.ts';
import { createKeyRing, type KeyRingHolder } from '#control-plane/control-plane.ts';
import { TITLE_ID } from '#upstream/contract.ts';
import { adminTokenFile, type ApplianceConfig } from '../config.ts';
import { BelongingRegister } from '../fill/belonging.ts';
import type { ManifestSet } from '../fill/manifest-set.ts';
import { MissPath } from '../fill/miss-path.ts';
import { makeHeartbeat } from '../report/heartbeat.ts';
import { isWindowOpen, NOTHING_TOLD, takeAnswer } from '../report/plane-state.ts';
import { RateMeter } from '../report/rate-meter.ts';
import { startTime, takeSignedTime, timeAt, timeProblems } from '../report/trusted-time.ts';
import { ViewReporter } from '../report/view-reporter.ts';
import { Counters } from '../serve/counters.ts';
import { DenyRegister } from '../serve/deny-list.ts';
import type { ListenAddress } from '../serve/sender.ts';
import { ViewLedger } from '../serve/view-ledger.ts';
import { Integrity } from '../store/integrity.ts';
import { Store } from '../store/store.ts';
import { actOn } from './admin-actions.ts';
import { AdminListener, openAdminToken } from './admin-listener.ts';
import { BoxFill } from './box-fill.ts';
import { readCertificate } from './certificate.ts';
import { ControlPlaneClient } from './control-plane-client.ts';
import { DenialIntake } from './denial-intake.ts';
import { FastTrackIntake } from './fast-track-intake.ts';
import { HeartbeatConnection } from './heartbeat-connection.ts';
import { KEYS_FILE, openIdentity, type Identity } from './identity.ts';
import { KeptDocuments } from './kept-documents.ts';
import { ManifestIntake } from './manifest-intake.ts';
import { createMetrics } from './metrics.ts';
import { RouteMonitor } from './route-monitor.ts';
import { Serving } from './serving.ts';
import { ViewSpool } from './view-spool.ts';
import { VolumeRegister } from './volume-register.ts';

export const STATE_FORMAT = '1';
const STOP_GRACE_MS = 1500;
const KEEP_TIME_MS = 60_000;
const SAVE_HEAT_MS = 30_000;
const GRANT_RENEW_MS = 24 * 3600 * 1000;
const GRANT_RETRY_MS = 5000;
const PATH_QUALITY_MS = 5000; // looked at so often; a minute is sent once
const LISTING_NAME_MAX = 64;
/** What `reload` takes over; of `fill`, the share of peers needs a restart. */
const RELOADABLE: readonly (keyof ApplianceConfig)[] = ['fill', 'servingBps', 'logLevel'];

const checkKeptTime = checker(Type.Object({ nowMs: Type.Integer({ minimum: 0 }) }));
const checkKeptGrant = checker(Type.Object({ grant: Type.String() }));

export interface ApplianceDeps {
  readonly config: ApplianceConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signal: AbortSignal; // ends a start that waits for its control plane
}

export interface RunningAppliance {
  readonly content: ListenAddress;
  readonly tls: ListenAddress | null; // null: not configured
  readonly admin: ListenAddress;
  readonly identity: Identity;
  readonly store: Store;
  readonly denials: DenyRegister;
  status(): ApplianceStatus;
  /** New viewers go elsewhere at once, the others after `durationMs`. */
  drain(durationMs?: number): void;
  undrain(): void;
  /** Takes over what may change while it runs; names what needs a restart. */
  reload(config: ApplianceConfig): readonly string[];
  /** Graceful: what runs may finish for a moment, everything written is durable. */
  stop(): Promise<void>;
}

/** Starts a box. Throws an error for the operator where the configuration, the disk or the enrolment forbids it. */
export async function startAppliance(deps: ApplianceDeps): Promise<RunningAppliance> {
  openStateDir(deps.config.stateDir, STATE_FORMAT);
  // Before anything is enrolled or opened: an operator's mistake costs a second.
  if (deps.config.tls !== undefined) orThrow(readCertificate(deps.config.tls));
  const { identity, key } = await openIdentity({
    applianceId: deps.config.applianceId,
    stateDir: deps.config.stateDir,
    tokenFile: deps.config.enrolmentTokenFile,
    baseUrl: deps.config.publicBaseUrl,
    applianceClass: deps.config.applianceClass,
    storageBytes: Math.floor(
      deps.config.volumes.reduce((sum, volume) => sum + volume.capacityBytes, 0) *
        (1 - deps.config.reactiveShare),
    ),
    servingBps: deps.config.servingBps,
    clock: deps.clock,
    log: deps.log,
    signal: deps.signal,
  });
  const kept = new KeptDocuments(deps.config.stateDir, deps.log);
  const box = new Box(deps, identity, kept);
  const client = new ControlPlaneClient({
    url: identity.controlPlaneUrl,
    applianceId: identity.applianceId,
    key,
    nowMs: () => box.nowMs(),
    monotonicMs: () => deps.clock.monotonicMs(),
  });
  await box.start(client);
  return box;
}

class Box implements RunningAppliance {
  readonly identity: Identity;
  readonly #deps: ApplianceDeps;
  readonly #kept: KeptDocuments;
  readonly #bootId = randomUUID();
  #config: ApplianceConfig;
  /** What may not be served any more: swapped by whoever opens the signed list. */
  readonly denials = new DenyRegister();
  readonly #counters = new Counters();
  readonly #views = new ViewLedger();
  readonly #keys: KeyRingHolder;
  readonly #timers: Timer[] = [];
  readonly #viewerRate = new RateMeter();
  readonly #fillRate = new RateMeter();
  #time;
  #told = NOTHING_TOLD;
  #grant: string | null = null;
  #isStarting = true;
  #warmingUp: Promise<void> = Promise.resolve();
  #isStopping = false;
  // Made by `start`, in the order in which they need each other.
  #client!: ControlPlaneClient;
  #store!: Store;
  #register!: VolumeRegister;
  #manifests!: ManifestIntake;
  #integrity!: Integrity;
  #missPath!: MissPath;
  #fill!: BoxFill;
  #belonging!: BelongingRegister;
  #spool!: ViewSpool;
  #reporter!: ViewReporter;
  #serving!: Serving;
  #denialIntake!: DenialIntake;
  #fastTrack!: FastTrackIntake;
  #heartbeats!: HeartbeatConnection;
  #adminListener!: AdminListener;
  #routes: RouteMonitor | null = null;
  #admin: ListenAddress = { address: '', port: 0 };

  constructor(deps: ApplianceDeps, identity: Identity, kept: KeptDocuments) {
    this.#deps = deps;
    this.#config = deps.config;
    this.identity = identity;
    this.#kept = kept;
    const keptTime = checkKeptTime(kept.readJson('trusted-time.json'));
    this.#time = startTime(
      keptTime.ok ? keptTime.value.nowMs : null,
      deps.clock.wallMs(),
      deps.clock.monotonicMs(),
    );
    this.#keys = createKeyRing({
      controlPlaneUrl: identity.controlPlaneUrl,
      rootFingerprint: identity.rootFingerprint,
      lastGoodPath: path.join(deps.config.stateDir, KEYS_FILE),
      clock: deps.clock,
      log: deps.log,
    });
  }

  get content(): ListenAddress {
    return this.#serving.content;
  }

  get tls(): ListenAddress | null {
    return this.#serving.tls;
  }

  get admin(): ListenAddress {
    return this.#admin;
  }

  get store(): Store {
    return this.#store;
  }

  /** Trusted Unix time in milliseconds. */
  nowMs(): number {
    return timeAt(this.#time, this.#deps.clock.monotonicMs());
  }

  async start(client: ControlPlaneClient): Promise<void> {
    this.#client = client;
    this.#openStore();
    this.#makeFill();
    await this.#keys.loaded;
    this.#keys.start();
    this.#makeReports();
    await this.#denialIntake.loadKept(); // before anybody is served
    await this.#listen();
    // From here on viewers are served; everything else catches up behind them.
    this.#reporter.start();
    this.#heartbeats.start();
    const { clock } = this.#deps;
    this.#timers.push(
      clock.every(KEEP_TIME_MS, () => this.#keepTime()),
      clock.every(SAVE_HEAT_MS, () => this.#store.saveHeat()),
      clock.every(GRANT_RETRY_MS, () => void this.#renewGrant()),
      clock.every(PATH_QUALITY_MS, () => void this.#sendPathQuality()),
    );
    void this.#renewGrant();
    await this.#monitorRoutes();
    this.#warmingUp = this.#warmUp();
  }

  async #monitorRoutes(): Promise<void> {
    const { clock, config, log } = this.#deps;
    if (config.bmp === undefined) return;
    const post = (batch: RouteBatch) => this.#client.postRoutes(batch);
    this.#routes = new RouteMonitor(config.bmp, { clock, log, post });
    const { address, port } = orThrow(await this.#routes.listen());
    log.info({ event: 'bmp-listens', address, port }, 'routers may tell their routes here');
  }

  /** The control plane is told nothing before the holdings are known: half of them would look like a loss. */
  async #warmUp(): Promise<void> {
    await this.#store.load();
    await this.#manifests.loadKept();
    await this.#denialIntake.storeLoaded();
    await this.#fastTrack.start();
    if (this.#isStopping) return;
    this.#isStarting = false;
    this.#fill.filler.start();
    this.#integrity.start();
    this.#heartbeats.connect();
    const removed = await this.#store.sweepStrays();
    if (removed > 0)
      this.#deps.log.info({ event: 'strays-removed', removed }, 'files without a row were removed');
  }

  status(): ApplianceStatus {
    return {
      applianceId: this.identity.applianceId,
      heartbeat: this.#heartbeats.lastHeartbeat,
      connectedToControlPlane: this.#heartbeats.isConnected,
      atMs: Math.floor(this.nowMs()),
    };
  }

  drain(durationMs?: number): void {
    this.#serving.drain(durationMs);
  }

  undrain(): void {
    this.#serving.undrain();
  }

  reload(next: ApplianceConfig): readonly string[] {
    const before = this.#config;
    const needRestart = (Object.keys(next) as (keyof ApplianceConfig)[]).filter(
      (field) =>
        !RELOADABLE.includes(field) &&
        JSON.stringify(next[field]) !== JSON.stringify(before[field]),
    );
    this.#config = {
      ...before,
      fill: { ...next.fill, peerShare: before.fill.peerShare },
      servingBps: next.servingBps,
      logLevel: next.logLevel,
    };
    this.#fill.reload(this.#config);
    this.#serving.setServingBps(next.servingBps);
    this.#serving.reloadCertificate();
    this.#deps.log.level = next.logLevel;
    this.#deps.log.info({ event: 'reloaded', needRestart }, 'configuration reloaded');
    return needRestart;
  }

  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    for (const timer of this.#timers) timer.cancel();
    await this.#warmingUp;
    this.#heartbeats.stop();
    this.#fastTrack.stop();
    await this.#routes?.stop();
    this.#integrity.stop();
    this.#keys.stop();
    await Promise.all([
      this.#serving.close(STOP_GRACE_MS),
      this.#fill.stop(),
      this.#adminListener.close(),
    ]);
    await withDeadline(this.#deps.clock, this.#reporter.stop(), 500);
    await this.#fill.sources.close();
    await this.#client.close();
    this.#keepTime();
    await this.#store.close();
    this.#spool.close();
  }

  // ---------------------------------------------------------------- making the parts

  #openStore(): void {
    const { config, clock, log } = this.#deps;
    this.#register = new VolumeRegister(this.#kept, log);
    const volumes = this.#register.open(config.volumes);
    this.#store = new Store({
      volumes,
      clock,
      nowMs: () => this.nowMs(),
      log,
      loads: 'later',
      onVolumeOut: (volume, why) => this.#register.remember(volume, why),
    });
    this.#integrity = new Integrity({
      clock,
      log,
      store: this.#store,
      bytesPerSecondMax: config.integrity.scrubBytesPerSecond,
      onDropped: () => this.#fill.filler.recheck(),
    });
    this.#manifests = new ManifestIntake({
      identity: this.identity,
      kept: this.#kept,
      log,
      keys: () => this.#keys.current(),
      fetch: (version, mayBeDelta) => this.#client.manifest(version, mayBeDelta),
      isHeld: (fileId) => this.#store.find(fileId)?.isWhole === true,
      roomBytes: () => this.#store.plannableBytes(config.reactiveShare),
      use: (manifest) => this.#useManifest(manifest),
    });
  }

  #makeFill(): void {
    const { config, clock, log } = this.#deps;
    const store = this.#store;
    this.#fill = new BoxFill({
      applianceId: this.identity.applianceId,
      config,
      clock,
      random: this.#deps.random,
      log,
      store,
      kept: this.#kept,
      counters: this.#counters,
      nowMs: () => this.nowMs(),
      ask: (request) => this.#client.sources(request),
      grant: () => this.#grant,
      possession: (sourceId) => this.#client.possession(sourceId),
    });
    const { fetcher } = this.#fill;
    this.#missPath = new MissPath({
      clock,
      log,
      store,
      fetcher,
      flightsMax: config.miss.flightsMax,
    });
    this.#belonging = new BelongingRegister({
      log,
      store,
      manifest: () => this.#manifests.current,
      keys: () => this.#keys.current(),
      listingTexts: (titleId) => this.#listingTexts(titleId),
      kept: (titleId) => this.#keptListing(titleId),
      keep: (titleId, text) => this.#kept.write(`listings/${titleId}`, text),
    });
    const grant = checkKeptGrant(this.#kept.readJson('grant.json'));
    if (grant.ok) this.#grant = grant.value.grant;
  }

  async #listen(): Promise<void> {
    const { config } = this.#deps;
    this.#serving = new Serving({
      ...this.#deps,
      nowMs: () => this.nowMs(),
      keys: () => this.#keys.current(),
      denials: this.denials,
      store: this.#store,
      belonging: this.#belonging,
      missPath: this.#missPath,
      counters: this.#counters,
      views: this.#views,
      listingText: (titleId) => this.#keptListing(titleId),
      sample: (fileId, index) => this.#integrity.sample(fileId, index),
    });
    await this.#serving.listen();
    const metrics = createMetrics(() => ({
      heartbeat: this.#heartbeats.lastHeartbeat,
      sender: this.#serving.stats(),
      store: this.#store.figures(),
      missFlights: this.#missPath.flights,
      isConnected: this.#heartbeats.isConnected,
      hotChunks: this.#serving.hotChunks,
      pool: this.#serving.pool,
      gate: this.#serving.gate,
      certificateNotAfterMs: this.#serving.certificateNotAfterMs,
      quality: this.#serving.quality,
      denials: this.denials.current,
    }));
    this.#adminListener = new AdminListener(
      {
        status: () => this.status(),
        metrics,
        act: (name, query) =>
          actOn(
            {
              serving: this.#serving,
              store: this.#store,
              register: this.#register,
              manifests: this.#manifests,
              integrity: this.#integrity,
              fill: this.#fill,
              routes: this.#routes,
              log: this.#deps.log,
              nowMs: () => this.nowMs(),
            },
            name,
            query,
          ),
      },
      openAdminToken(adminTokenFile(config)),
    );
    this.#admin = orThrow(await this.#adminListener.listen(config.admin));
  }

  #makeReports(): void {
    const { config, clock, log, random } = this.#deps;
    this.#spool = new ViewSpool(path.join(config.stateDir, 'views.sqlite'));
    this.#reporter = new ViewReporter({
      clock,
      log,
      ledger: this.#views,
      spool: this.#spool,
      nowSeconds: () => Math.floor(this.nowMs() / 1000),
      post: (batch) => this.#client.postViews(batch),
    });
    this.#fastTrack = new FastTrackIntake({
      clusterId: this.identity.clusterId,
      kept: this.#kept,
      clock,
      log,
      keys: () => this.#keys.current(),
      nowMs: () => this.nowMs(),
      isHeld: (fileId) => this.#store.find(fileId)?.isWhole === true,
      onChange: () => void this.#useManifest(this.#manifests.current),
    });
    this.#denialIntake = new DenialIntake({
      applianceId: this.identity.applianceId,
      kept: this.#kept,
      log,
      keys: () => this.#keys.current(),
      nowMs: () => this.nowMs(),
      register: this.denials,
      store: this.#store,
      sign: (proof) => this.#client.sign(JWS_TYPE.denialProof, proof),
      send: (frame) => this.#heartbeats.send(frame),
      onApplied: () => this.#useManifest(this.#manifests.current),
    });
    this.#heartbeats = new HeartbeatConnection({
      clock,
      random,
      log,
      client: this.#client,
      holdings: this.#store.holdings,
      makeHeartbeat: (sequence) => this.#makeHeartbeat(sequence),
      onAnswer: (answer) => void this.#answered(answer),
      onPushed: ({ type, document }) => {
        if (type === 'denials') void this.#denialIntake.take(document);
        else void this.#fastTrack.take(document);
      },
      onConnected: () => this.#denialIntake.connected(),
    });
  }

  // ---------------------------------------------------------------- each second

  #makeHeartbeat(sequence: number): Heartbeat {
    const { clock } = this.#deps;
    const now = clock.monotonicMs();
    const counters = this.#counters;
    const fillBytes = sum(counters.fillBytes);
    const { egressBps, requestsPerSecond, loopDelayMs } = this.#serving.look();
    const fill = this.#fill.second({
      window: this.#told.fillWindow,
      isWindowOpen: isWindowOpen(this.#told, this.nowMs()),
      heat: {
        viewerRequestsPerSecond: this.#viewerRate.feed(counters.viewerRequests, now),
        egressShare: egressBps / this.#config.servingBps,
        loopDelayMs,
        diskReadMs: this.#slowestReadMs(),
      },
    });
    return makeHeartbeat({
      sequence,
      nowMs: this.nowMs(),
      bootId: this.#bootId,
      isStarting: this.#isStarting,
      isDraining: this.#serving.isDraining,
      isStoreUsable: this.#store.isUsable,
      problems: [
        ...this.#register.problems,
        ...this.#store.problems(),
        ...timeProblems(this.#time, clock.wallMs(), now),
        ...this.#serving.problems,
        ...this.#fill.problems(),
        ...(this.#reporter.problem === null ? [] : [this.#reporter.problem]),
      ],
      servingBps: this.#serving.offeredBps,
      egressBps,
      requestsPerSecond,
      fillBps: Math.round(this.#fillRate.feed(fillBytes, now) * 8),
      sender: this.#serving.stats(),
      store: this.#store.figures(),
      fill: { ...fill, problem: this.#manifests.problem ?? fill.problem },
      fillExtras: this.#fill.extras(),
      isTurningUp: this.#fill.turnUp === 'filling',
      counters,
      holdings: this.#store.holdings,
      keysVersion: this.#keys.current()?.version ?? 0,
      denialsVersion: this.denials.current.version,
    });
  }

  #slowestReadMs(): number | null {
    const known = this.#store.volumes().map(({ speed }) => speed.lastP90Ms);
    return known.reduce(
      (slowest, ms) => (ms === null ? slowest : Math.max(slowest ?? 0, ms)),
      null,
    );
  }

  async #answered(answer: HeartbeatAnswer): Promise<void> {
    await this.#takeTime(answer.signedTime);
    const have = {
      manifest: this.#manifests.latestKnown,
      keys: this.#keys.current()?.version ?? 0,
    };
    const { state, pulls } = takeAnswer(this.#told, answer, have);
    this.#told = state;
    if (pulls.keys) await this.#keys.refresh();
    if (pulls.sources) this.#fill.book.forgetRankings();
    if (pulls.manifest) await this.#manifests.pull();
  }

  async #takeTime(text: string): Promise<void> {
    const ring = this.#keys.current();
    if (ring === null) return;
    const opened = await openCompact(text, ring.byUse.manifest, JWS_TYPE.time);
    const checked = opened.ok ? checkSignedTime(opened.value.payload) : null;
    if (checked?.ok !== true) {
      this.#deps.log.warn(
        { event: 'time-refused' },
        'a signed time that does not verify was ignored',
      );
      return;
    }
    this.#time = takeSignedTime(this.#time, checked.value.nowMs, this.#deps.clock.monotonicMs());
  }

  /** What is denied is not wanted, whatever the manifest says. */
  async #useManifest(manifest: ManifestSet): Promise<void> {
    const allowed = manifest
      .withUrgent(this.#fastTrack.urgent)
      .without(({ fileId, titles }) => this.#denialIntake.isDenied(fileId, titles));
    await this.#store.setWanted(allowed.files, allowed.fillDensity);
    this.#fill.setManifest(allowed);
  }

  // ---------------------------------------------------------------- small things

  /** A signed listing from the control plane, else from any source that this box knows. */
  async *#listingTexts(titleId: string): AsyncIterable<Outcome<string>> {
    yield await this.#client.listing(titleId);
    for (const source of this.#fill.book.known()) {
      if (this.#fill.book.isUsable(source)) yield await this.#fill.sources.listing(source, titleId);
    }
  }

  #keptListing(titleId: string): string | null {
    if (!TITLE_ID.test(titleId) || titleId.length > LISTING_NAME_MAX) return null;
    return this.#kept.read(`listings/${titleId}`)?.toString('latin1') ?? null;
  }

  #grantAtMs = -Infinity;

  /** A day before it is stale is soon enough: a grant lives 7 days. */
  async #renewGrant(): Promise<void> {
    const now = this.#deps.clock.monotonicMs();
    if (now - this.#grantAtMs < GRANT_RENEW_MS) return;
    const outcome = await this.#client.grant();
    if (!outcome.ok) return; // the old one is used; tried again in a moment
    this.#grant = outcome.value;
    this.#grantAtMs = now;
    this.#kept.write('grant.json', JSON.stringify({ grant: outcome.value }));
  }

  /** What paths to viewers did in the minute that is over. Lost where the control plane is away: the next minute says as much. */
  async #sendPathQuality(): Promise<void> {
    const minute = this.#serving.quality.take(Math.floor(this.nowMs() / 1000));
    if (minute === null || !this.#heartbeats.isConnected) return;
    const sent = await this.#client.postPathQuality(minute);
    if (sent.ok) return;
    this.#deps.log.debug({ event: 'path-quality-lost', why: sent.failure.detail }, 'not sent');
  }

  #keepTime(): void {
    this.#kept.write('trusted-time.json', JSON.stringify({ nowMs: Math.floor(this.nowMs()) }));
  }
}

function orThrow<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value;
  throw new Error(outcome.failure.detail, { cause: outcome.failure.cause });
}

function sum(byKind: Readonly<Record<string, number>>): number {
  return Object.values(byKind).reduce((total, part) => total + part, 0);
}

async function withDeadline(clock: Clock, work: Promise<void>, deadlineMs: number): Promise<void> {
  let timer: Timer | null = null;
  const late = new Promise<void>((resolve) => {
    timer = clock.after(deadlineMs, resolve);
  });
  await Promise.race([work, late]);
  (timer as Timer | null)?.cancel();
}
