/**
 * Steering, put together: snapshots in, worlds swapped whole, answers out over HTTP and DNS.
 *
 * A world is made anew every 250 ms and at once when the snapshot or our evidence changes; every answer is decided on
 * one world from beginning to end.
 */
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { formatPrefix, isLoopback } from '#base/address.ts';
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import type { SigningKey } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import type { Random } from '#base/random.ts';
import {
  HOME_UNKNOWN,
  type FleetDelta,
  type FleetSnapshot,
  type KeyRing,
} from '#control-plane/contract.ts';
import type { Reason } from '#appliance/contract.ts';
import { signedContentUrl } from '#upstream/contract.ts';
import { decidePlay, expectedLoad, type PlayDecision, type PlayRefusal } from '../answer.ts';
import { answerText } from '../answer-text.ts';
import { CallBudget } from '../call-budget.ts';
import { createWorld, type World } from '../candidates.ts';
import type { SteeringConfig } from '../config.ts';
import {
  jitteredTtl,
  steerSession,
  steerUnknown,
  steerUnverified,
  type PlayerHints,
  type TtlPolicy,
} from '../content-steering.ts';
import {
  verifyViewerToken,
  type ExplainRequest,
  type PlayerReportMessage,
  type PlayRequest,
  type SteeringManifest,
} from '../contract.ts';
import type { ZoneOptions } from '../dns/zone.ts';
import { explainPlay, type Explanation } from '../explain.ts';
import type { EvidenceName } from '../evidence.ts';
import { canSign, NO_EXTERNAL_KEYS, type ExternalKeys } from '../external-tokens.ts';
import { ExternalLedger } from '../externals.ts';
import type { Fleet, FleetTitle } from '../fleet.ts';
import { LoadLedger, LOAD_EPOCH_MS } from '../load.ts';
import { ReportBook } from '../player-reports.ts';
import { PanelKeeper } from '../panel-keeper.ts';
import { judgeTogether } from '../quorum.ts';
import { openSession, sealSession } from '../session-blob.ts';
import { TokenMint } from '../signing.ts';
import { DecisionLogFile } from './decision-log-file.ts';
import { withCountry, type CountryTable } from '../country-table.ts';
import { DnsPool, readCountries } from './dns-pool.ts';
import { FleetKeeper } from './fleet-keeper.ts';
import { FleetStream } from './fleet-stream.ts';
import { drawHeld, HashProbe } from './hash-probe.ts';
import { createHttpServer } from './http-server.ts';
import { createMetrics } from './metrics.ts';
import { nodeIdOf } from './node-id.ts';
import { OwnEvidence } from './own-evidence.ts';
import { figuresOf, statusOf, type StatusSources } from './service-status.ts';
import { VerdictReporter } from './verdict-reporter.ts';

export const STATE_FORMAT = '1';
const STALE_MS = 5 * 60_000; // a snapshot this old is still answered from, and said to be stale (EDE 3)
const CONTROL_PLANE_GONE_MS = 2000; // not streaming for longer than this: look at the boxes ourselves
const KEEP_TICK_MS = 1000;
const SUSPECTED_SHOWN_MAX = 100;

export interface SteeringDeps {
  readonly config: SteeringConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signingKey: SigningKey;
  readonly blobSecret: Buffer;
  readonly keys: { current(): KeyRing | null; refresh(): Promise<unknown> };
  readonly externalKeys?: ExternalKeys;
  readonly fleet?: Fleet; // to begin with, made elsewhere: for benches and simulations
}

export interface SteeringAddresses {
  readonly httpPort: number;
  readonly dnsPort: number;
}

export function createSteering(deps: SteeringDeps): SteeringService {
  return new SteeringService(deps);
}

export class SteeringService {
  readonly #deps: SteeringDeps;
  readonly #keeper: FleetKeeper;
  readonly #ledger: LoadLedger;
  readonly #externals: ExternalLedger;
  readonly #mint: TokenMint;
  readonly #evidence: OwnEvidence;
  readonly #stream: FleetStream;
  readonly #hashes: HashProbe;
  readonly #reporter: VerdictReporter;
  readonly #nodeId: string;
  readonly #panel: PanelKeeper;
  readonly #reports = new ReportBook();
  readonly #dns: DnsPool;
  readonly #countries: CountryTable | null;
  readonly #decisions: DecisionLogFile;
  readonly #http: FastifyInstance;
  readonly #ttl: TtlPolicy;
  readonly #status: StatusSources;
  readonly #counts = {
    play: 0,
    playRefused: 0,
    playLimited: 0,
    manifests: 0,
    manifestsUnverified: 0,
    manifestsUnknown: 0,
    reports: 0,
    reportsRefused: 0,
  };
  #world: World | null = null;
  /** Messages that no decision has looked at yet: they come into the log with the world that was made of them. */
  readonly #unlogged: (FleetSnapshot | FleetDelta)[] = [];
  #streamingUntilMs: Milliseconds;
  #timers: Timer[] = [];

  constructor(deps: SteeringDeps) {
    this.#deps = deps;
    const { config, clock, random, log } = deps;
    const { stateDir, liveNodes } = config;
    openStateDir(stateDir, STATE_FORMAT);
    this.#nodeId = nodeIdOf(stateDir, random);
    this.#panel = new PanelKeeper(this.#nodeId, liveNodes);
    this.#streamingUntilMs = clock.monotonicMs();
    this.#ledger = new LoadLedger(liveNodes, clock.wallMs());
    this.#externals = new ExternalLedger(liveNodes);
    this.#mint = new TokenMint(deps.signingKey);
    this.#ttl = {
      steadySeconds: config.steadyTtlSeconds,
      degradedSeconds: config.degradedTtlSeconds,
    };
    this.#keeper = new FleetKeeper({
      stateDir,
      fleet: deps.fleet,
      clock,
      log,
      onTaken: (message, before, after, changed) => {
        this.#unlogged.push(message);
        this.#evidence.fleetChanged(before, after, changed);
        // Who holds what may wait for the next load epoch: a night brings a message a box.
        if (!isHoldingsOnly(message)) this.#refreeze();
      },
    });
    this.#stream = new FleetStream({
      url: `${config.controlPlaneUrl}/v1/fleet/stream`,
      bearer: config.controlPlaneToken,
      keys: deps.keys,
      clock,
      random,
      log,
      onMessage: (message) => this.take(message),
    });
    this.#evidence = new OwnEvidence({
      limits: config.probe,
      clock,
      log,
      fleet: () => this.#keeper.current,
      isControlPlaneGone: () => this.#isControlPlaneGone(),
      pathOf: async (fleet, box) => {
        const held = drawHeld(fleet, box, random);
        if (held === null) return null;
        const token = await this.#probeToken(held.title);
        const { titleId } = held.title.title;
        return new URL(signedContentUrl(box.baseUrl, token, titleId, held.file.fileId)).pathname;
      },
      suspectedElsewhere: () => this.#panel.current.suspected,
      onWorse: () => {
        this.#refreeze();
        this.#reporter.hurry();
      },
    });
    this.#reporter = new VerdictReporter({
      url: `${config.controlPlaneUrl}/v1/steering/verdicts`,
      bearer: config.controlPlaneToken,
      nodeId: this.#nodeId,
      clock,
      log,
      verdicts: (nowMs) => this.#evidence.verdicts(nowMs),
    });
    this.#hashes = new HashProbe({
      nodeId: this.#nodeId,
      nodeIds: () => this.#panel.known ?? [],
      clock,
      random,
      fleet: () => this.#keeper.current,
      tokenFor: (title) => this.#probeToken(title),
      onResult: (applianceId, problem) => this.#evidence.hashed(applianceId, problem),
    });
    this.#countries = readCountries(deps.config.countryFile);
    this.#dns = createDns(deps);
    this.#decisions = new DecisionLogFile({
      directory: path.join(stateDir, 'decisions'),
      ...config.decisionLog,
      clock,
      log,
    });
    this.#status = this.#sources(clock.wallMs());
    this.#http = createHttpServer({
      serviceTokens: config.serviceTokens,
      isOpenAdmin: isLoopback(config.listen.address),
      playBudget: new CallBudget(config.playPerSecondMax),
      nowMs: () => clock.monotonicMs(),
      onLimited: () => this.#counts.playLimited++,
      report: (message) => this.report(message),
      play: (request) => this.play(request),
      explain: (request) => this.explain(request),
      steer: (kind, blob, caller, hints) => this.steer(kind, blob, caller, hints),
      status: () => statusOf(this.#status),
      metrics: createMetrics(() => figuresOf(this.#status)),
    });
  }

  /** What a viewer would show: a box is looked at as viewers see it. */
  #probeToken({ title: { titleId, durationSeconds } }: FleetTitle): Promise<string> {
    const scope = { titleId, durationSeconds, home: HOME_UNKNOWN, reason: 'other' } as const;
    const nowSeconds = Math.floor(this.#deps.clock.wallMs() / 1000);
    return Promise.resolve(this.#mint.tokenFor(scope, nowSeconds));
  }

  /** Usable once this resolves; rejects where an address is taken or the state directory is of another format. */
  async start(): Promise<SteeringAddresses> {
    const { config, clock } = this.#deps;
    this.#keeper.load();
    this.#refreeze();
    await this.#http.listen({ host: config.listen.address, port: config.listen.port });
    const dnsPort = await this.#dns.start().catch(async (thrown: unknown) => {
      await this.#http.close();
      throw thrown;
    });
    this.#timers = [
      clock.every(LOAD_EPOCH_MS, () => this.#refreeze()),
      clock.every(KEEP_TICK_MS, () => this.#keeper.keep()),
    ];
    this.#stream.start();
    this.#evidence.start();
    this.#reporter.start();
    this.#hashes.start();
    const listening = this.#http.server.address();
    const httpPort = typeof listening === 'object' && listening !== null ? listening.port : 0;
    return { httpPort, dnsPort };
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#evidence.stop();
    this.#reporter.stop();
    await Promise.all([
      this.#hashes.stop(),
      this.#stream.stop(),
      this.#http.close(),
      this.#dns.stop(),
      this.#decisions.stop(),
    ]);
    await this.#keeper.stop();
  }

  /** What the stream hands over, verified. */
  take(message: FleetSnapshot | FleetDelta): 'go-on' | 'reconnect' {
    return this.#keeper.take(message);
  }

  /** The answer as JSON text; a promise only where a signature has to be waited for. */
  play(request: PlayRequest): string | Promise<string> | PlayRefusal | null {
    const world = this.#world;
    if (world === null) return null;
    const { clock } = this.#deps;
    // What the country table says becomes a part of the request: a replay needs no such table.
    const located = withCountry(world.fleet, request, this.#countries);
    const decision = decidePlay(world, located);
    this.#decisions.play(world, located, decision);
    if (decision.kind === 'refused') {
      this.#counts.playRefused++;
      return decision;
    }
    this.#counts.play++;
    const nowMs = clock.wallMs();
    this.#assign(decision, nowMs);
    const nowSeconds = Math.floor(nowMs / 1000);
    const { titleId, durationSeconds } = decision.title.title;
    const tokens = new Map<Reason, string>();
    const waiting: Promise<void>[] = [];
    for (const reason of decision.reasons) {
      const scope = { titleId, durationSeconds, home: decision.home, reason };
      const token = this.#mint.tokenFor(scope, nowSeconds);
      if (typeof token === 'string') tokens.set(reason, token);
      else waiting.push(token.then((text) => void tokens.set(reason, text)));
    }
    if (waiting.length === 0) return this.#write(world, decision, tokens);
    return Promise.all(waiting).then(() => this.#write(world, decision, tokens));
  }

  #assign(decision: PlayDecision, nowMs: Milliseconds): void {
    const { boxes, external } = expectedLoad(decision);
    for (const [applianceId, bps] of boxes) this.#ledger.assigned(applianceId, bps, nowMs);
    for (const [cdn, bps] of external) {
      this.#externals.sent(cdn, decision.place.country, bps, nowMs);
    }
  }

  #write(world: World, decision: PlayDecision, tokens: ReadonlyMap<Reason, string>): string {
    const { config, random, blobSecret } = this.#deps;
    const blob = sealSession(blobSecret, decision.session);
    return answerText(
      world,
      decision,
      { tokens, externalKeys: this.#deps.externalKeys ?? NO_EXTERNAL_KEYS },
      { hls: `${config.publicUrl}/v1/hls/${blob}`, dash: `${config.publicUrl}/v1/dash/${blob}` },
      jitteredTtl(this.#ttl, decision.isDegraded, random),
    );
  }

  /** Whether a player's word counts: it holds a token of ours and a session of ours, and has not said so before. */
  async report(message: PlayerReportMessage): Promise<boolean> {
    const { blobSecret, keys, clock } = this.#deps;
    const opened = openSession(blobSecret, message.session);
    const ring = keys.current();
    const nowMs = clock.wallMs();
    const isOurs =
      opened?.isVerified === true &&
      opened.session.assigned.includes(message.pathwayId) &&
      ring !== null &&
      (await verifyViewerToken(message.token, ring, Math.floor(nowMs / 1000))).ok;
    const verdict =
      isOurs && this.#keeper.current?.indexOf.has(message.pathwayId) === true
        ? this.#reports.take(
            {
              applianceId: message.pathwayId,
              session: opened.session.session,
              block: formatPrefix(opened.session.client),
            },
            nowMs,
          )
        : 'not-ours';
    if (verdict === 'counted') {
      this.#counts.reports++;
      this.#evidence.doubt(message.pathwayId);
      return true;
    }
    this.#counts.reportsRefused++;
    return false;
  }

  /** What `play` would decide now, and why. Nothing is assigned by it. `titleId` may be left to the file. */
  explain(request: ExplainRequest): Explanation | PlayRefusal | 'not-ready' {
    if (this.#world === null) return 'not-ready';
    const { fileId, ...rest } = request;
    const titleId = request.titleId ?? this.#titleOf(fileId) ?? 'unknown';
    const fileIds = fileId === undefined ? {} : { fileIds: [fileId] };
    return explainPlay(this.#world, { session: 'explain', ...rest, ...fileIds, titleId });
  }

  #titleOf(fileId: string | undefined): string | null {
    if (fileId === undefined) return null;
    for (const [titleId, { fileOf }] of this.#world?.fleet.titles ?? []) {
      if (fileOf.has(fileId)) return titleId;
    }
    return null;
  }

  steer(
    kind: 'hls' | 'dash',
    blob: string,
    caller: Uint8Array | null,
    hints: PlayerHints,
  ): SteeringManifest {
    const { config, random, blobSecret } = this.#deps;
    const reloadUri = `${config.publicUrl}/v1/${kind}/${encodeURIComponent(blob)}`;
    const opened = openSession(blobSecret, blob);
    this.#counts.manifests++;
    if (opened === null) {
      this.#counts.manifestsUnknown++;
      return steerUnknown(this.#world, caller, hints, reloadUri, this.#ttl, random);
    }
    if (!opened.isVerified || this.#world === null) {
      this.#counts.manifestsUnverified++;
      return steerUnverified(opened.session, reloadUri, this.#ttl, random);
    }
    return steerSession(this.#world, kind, opened.session, reloadUri, this.#ttl, random);
  }

  #sources(startedAtMs: Milliseconds): StatusSources {
    const { clock, keys } = this.#deps;
    return {
      world: () => this.#world,
      keeper: this.#keeper,
      evidence: this.#evidence,
      stream: () => this.#stream.status(),
      mint: this.#mint,
      decisions: this.#decisions,
      dns: () => this.#dns.counters,
      counts: this.#counts,
      keysVersion: () => keys.current()?.version ?? null,
      isControlPlaneGone: () => this.#isControlPlaneGone(),
      startedAtMs,
      wallMs: () => clock.wallMs(),
      chunksHashed: () => this.#hashes.read,
      nodes: () => ({
        nodeId: this.#nodeId,
        live: this.#panel.current.liveNodes,
        known: this.#panel.known,
        suspectedElsewhere: [...this.#panel.current.suspected].slice(0, SUSPECTED_SHOWN_MAX),
        reportProblem: this.#reporter.problem,
      }),
    };
  }

  #refreeze(): void {
    if (this.#stream.status().state === 'streaming') {
      this.#streamingUntilMs = this.#deps.clock.monotonicMs();
    }
    const fleet = this.#keeper.current;
    if (fleet === null) return;
    for (const message of this.#unlogged.splice(0)) this.#decisions.message(message);
    const panel = this.#panel.look(fleet.snapshot.steeringNodes, this.#isControlPlaneGone());
    this.#ledger.liveNodes = panel.liveNodes;
    this.#externals.liveNodes = panel.liveNodes;
    const nowMs = this.#deps.clock.wallMs();
    const frame = this.#ledger.freeze(
      fleet,
      judgeTogether(this.#evidence.all(), panel),
      nowMs,
      this.#externals.freeze(
        fleet.snapshot.externals ?? [],
        (externalId) => this.#externalEvidence(externalId),
        nowMs,
      ),
      this.#isControlPlaneGone() && nowMs - fleet.snapshot.issuedAtMs > STALE_MS,
      this.#reports.demoted(nowMs),
    );
    this.#world = createWorld(fleet, frame);
    this.#dns.offer(this.#world);
  }

  /** One that we cannot sign for is as good as gone. */
  #externalEvidence(externalId: string): EvidenceName {
    const { externals } = this.#keeper.current?.snapshot ?? {};
    const external = externals?.find((one) => one.externalId === externalId);
    const isSignable =
      external !== undefined && canSign(external, this.#deps.externalKeys ?? NO_EXTERNAL_KEYS);
    return isSignable ? this.#evidence.ofExternal(externalId) : 'unreachable';
  }

  #isControlPlaneGone(): boolean {
    return this.#deps.clock.monotonicMs() - this.#streamingUntilMs > CONTROL_PLANE_GONE_MS;
  }
}

function isHoldingsOnly(message: FleetSnapshot | FleetDelta): boolean {
  if (message.kind === 'full' || message.holdings.length === 0) return false;
  const { appliances, appliancesRemoved, titles, titlesRemoved } = message;
  const { clusters, externals, paths, steeringNodes } = message;
  const lists = [appliances, appliancesRemoved, titles, titlesRemoved];
  return (
    lists.every(({ length }) => length === 0) &&
    clusters === undefined &&
    externals === undefined &&
    paths === undefined &&
    steeringNodes === undefined
  );
}

function createDns({ config, random, clock, log, blobSecret }: SteeringDeps): DnsPool {
  const { address, port, workers, rateLimited } = config.dns;
  return new DnsPool(
    {
      address,
      port,
      zone: zoneOf(config),
      cookieSecret: blobSecret,
      countryFile: config.countryFile,
      rateLimited,
      seed: random.below(2 ** 31),
    },
    workers,
    clock,
    log,
  );
}

function zoneOf(config: SteeringConfig): ZoneOptions {
  const { zone, address, steerAddresses, nameServers } = config.dns;
  const host = new URL(config.publicUrl).hostname.replace(/^\[|\]$/g, '');
  return {
    zone,
    steerAddresses: steerAddresses.length > 0 ? steerAddresses : [host],
    nameServers: nameServers.length > 0 ? nameServers : [{ name: 'ns1', addresses: [address] }],
  };
}
