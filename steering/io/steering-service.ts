/**
 * Steering, put together: snapshots in, worlds swapped whole, answers out over HTTP and DNS.
 *
 * A world is made anew every 250 ms and at once when the snapshot or our evidence changes; every answer is decided on
 * one world from beginning to end.
 */
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { isLoopback } from '#base/address.ts';
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import type { SigningKey } from '#base/jws.ts';
import type { Logger } from '#base/log.ts';
import type { Random } from '#base/random.ts';
import type { ApplianceId, FleetDelta, FleetSnapshot, KeyRing } from '#control-plane/contract.ts';
import { decidePlay, expectedLoad, writeAnswer, type PlayRefusal } from '../answer.ts';
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
import type { ExplainRequest, PlayAnswer, PlayRequest, SteeringManifest } from '../contract.ts';
import type { ZoneOptions } from '../dns/zone.ts';
import { explainPlay, type Explanation } from '../explain.ts';
import { noEvidence, stepEvidence, type Evidence } from '../evidence.ts';
import { FleetHolder } from '../fleet-holder.ts';
import { LoadLedger, LOAD_EPOCH_MS } from '../load.ts';
import { openSession, sealSession } from '../session-blob.ts';
import { TokenMint } from '../signing.ts';
import { DnsPool } from './dns-pool.ts';
import { FleetStream } from './fleet-stream.ts';
import { createHttpServer } from './http-server.ts';
import { createMetrics } from './metrics.ts';
import { DecisionLogFile } from './decision-log-file.ts';
import { Prober, type ProbeTarget } from './prober.ts';
import { loadSnapshot, saveSnapshot } from './snapshot-file.ts';

export const STATE_FORMAT = '1';
const KEEP_PERIOD_MS = 5000; // a snapshot reaches the disk at most this long after it was taken
const STALE_MS = 5 * 60_000; // a snapshot this old is still answered from, and said to be stale (EDE 3)
const CONTROL_PLANE_GONE_MS = 2000; // not streaming for longer than this: look at the boxes ourselves

export interface SteeringDeps {
  readonly config: SteeringConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly signingKey: SigningKey;
  readonly blobSecret: Buffer;
  readonly keys: { current(): KeyRing | null; refresh(): Promise<unknown> };
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
  readonly #holder = new FleetHolder();
  readonly #ledger: LoadLedger;
  readonly #mint: TokenMint;
  readonly #evidence = new Map<ApplianceId, Evidence>();
  readonly #stream: FleetStream;
  readonly #prober: Prober;
  readonly #dns: DnsPool;
  readonly #decisions: DecisionLogFile;
  readonly #http: FastifyInstance;
  readonly #snapshotFile: string;
  readonly #ttl: TtlPolicy;
  readonly #startedAtMs: Milliseconds;
  readonly #counts = {
    play: 0,
    playRefused: 0,
    manifests: 0,
    manifestsUnverified: 0,
    manifestsUnknown: 0,
    refusedMessages: 0,
  };
  #world: World | null = null;
  #receivedAtMs: Milliseconds | null = null;
  #fromDisk = false;
  #isKept = true;
  #lastRefusal: string | null = null;
  #streamingUntilMs: Milliseconds;
  #timers: Timer[] = [];

  constructor(deps: SteeringDeps) {
    this.#deps = deps;
    const { config, clock, random, log } = deps;
    this.#startedAtMs = clock.wallMs();
    this.#streamingUntilMs = clock.monotonicMs();
    this.#ledger = new LoadLedger(config.liveNodes, clock.wallMs());
    this.#mint = new TokenMint(deps.signingKey);
    this.#ttl = {
      steadySeconds: config.steadyTtlSeconds,
      degradedSeconds: config.degradedTtlSeconds,
    };
    this.#snapshotFile = path.join(config.stateDir, 'snapshot');
    this.#stream = new FleetStream({
      url: `${config.controlPlaneUrl}/v1/fleet/stream`,
      bearer: config.controlPlaneToken,
      keys: deps.keys,
      clock,
      random,
      log,
      onMessage: (message) => this.#take(message),
    });
    this.#prober = new Prober({
      limits: config.probe,
      clock,
      targets: () => this.#probeTargets(),
      onResult: (applianceId, result) => this.#learn(applianceId, result),
    });
    const { address, port, workers, rateLimited } = config.dns;
    this.#dns = new DnsPool(
      {
        address,
        port,
        zone: zoneOf(config),
        cookieSecret: deps.blobSecret,
        rateLimited,
        seed: random.below(2 ** 31),
      },
      workers,
      clock,
      log,
    );
    this.#decisions = new DecisionLogFile({
      directory: path.join(config.stateDir, 'decisions'),
      ...config.decisionLog,
      clock,
      log,
    });
    const metrics = createMetrics(() => this.#figures());
    this.#http = createHttpServer({
      serviceTokens: config.serviceTokens,
      isOpenAdmin: isLoopback(config.listen.address),
      play: (request) => this.play(request),
      explain: (request) => this.explain(request),
      steer: (kind, blob, caller, hints) => this.steer(kind, blob, caller, hints),
      status: () => this.status(),
      metrics,
    });
  }

  /** Usable once this resolves; rejects where an address is taken or the state directory is of another format. */
  async start(): Promise<SteeringAddresses> {
    const { config, clock } = this.#deps;
    openStateDir(config.stateDir, STATE_FORMAT);
    this.#loadKept();
    await this.#http.listen({ host: config.listen.address, port: config.listen.port });
    const dnsPort = await this.#dns.start().catch(async (thrown: unknown) => {
      await this.#http.close();
      throw thrown;
    });
    this.#timers = [
      clock.every(LOAD_EPOCH_MS, () => this.#refreeze()),
      clock.every(KEEP_PERIOD_MS, () => this.#keep()),
    ];
    this.#stream.start();
    this.#prober.start();
    const listening = this.#http.server.address();
    const httpPort = typeof listening === 'object' && listening !== null ? listening.port : 0;
    return { httpPort, dnsPort };
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#prober.stop();
    await Promise.all([
      this.#stream.stop(),
      this.#http.close(),
      this.#dns.stop(),
      this.#decisions.stop(),
    ]);
    this.#keep();
  }

  async play(request: PlayRequest): Promise<PlayAnswer | PlayRefusal | 'not-ready'> {
    const world = this.#world;
    if (world === null) return 'not-ready';
    const { clock, config, random, blobSecret } = this.#deps;
    const decision = decidePlay(world, request);
    this.#decisions.play(world, request, decision);
    if (decision.kind === 'refused') {
      this.#counts.playRefused++;
      return decision;
    }
    this.#counts.play++;
    const nowMs = clock.wallMs();
    for (const [applianceId, bps] of expectedLoad(decision)) {
      this.#ledger.assigned(applianceId, bps, nowMs);
    }
    const { title, home } = decision;
    const { titleId, durationSeconds } = title.title;
    const nowSeconds = Math.floor(nowMs / 1000);
    const tokens = await Promise.all(
      decision.reasons.map(
        async (reason) =>
          [
            reason,
            await this.#mint.tokenFor({ titleId, durationSeconds, home, reason }, nowSeconds),
          ] as const,
      ),
    );
    const blob = sealSession(blobSecret, decision.session);
    return writeAnswer(
      world,
      decision,
      new Map(tokens),
      { hls: `${config.publicUrl}/v1/hls/${blob}`, dash: `${config.publicUrl}/v1/dash/${blob}` },
      jitteredTtl(this.#ttl, decision.isDegraded, random),
    );
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
    for (const [titleId, { ordinalOf }] of this.#world?.fleet.titles ?? []) {
      if (ordinalOf.has(fileId)) return titleId;
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
    return steerSession(this.#world, opened.session, reloadUri, this.#ttl, random);
  }

  /** Every figure with its age. */
  status(): unknown {
    const nowMs = this.#deps.clock.wallMs();
    const age = (atMs: Milliseconds | null): number | null => (atMs === null ? null : nowMs - atMs);
    const world = this.#world;
    const stream = this.#stream.status();
    return {
      atMs: nowMs,
      upMs: nowMs - this.#startedAtMs,
      controlPlane: {
        isGone: this.#isControlPlaneGone(),
        state: stream.state,
        sinceMs: stream.sinceMs,
        heardAgeMs: age(stream.lastHeardAtMs),
        messages: stream.messages,
        problem: stream.problem,
        lastRefusal: this.#lastRefusal,
      },
      keysVersion: this.#deps.keys.current()?.version ?? null,
      snapshot:
        world === null
          ? null
          : {
              version: world.fleet.epochs.snapshot,
              epoch: world.fleet.snapshot.epoch,
              issuedAgeMs: age(world.fleet.snapshot.issuedAtMs),
              receivedAgeMs: age(this.#receivedAtMs),
              fromDisk: this.#fromDisk,
              titles: world.fleet.titles.size,
              clusters: world.fleet.clusters.length,
              prefixes: world.fleet.prefixes.prefixes,
            },
      epochs: world === null ? null : { ...world.fleet.epochs, load: world.load.epoch },
      failOpenCountries: [...(world?.failOpen ?? [])],
      loadAgeMs: age(world?.load.frozenAtMs ?? null),
      appliances: world?.fleet.appliances.map(({ applianceId, index, entry, holdings }) => {
        const evidence = this.#evidence.get(applianceId);
        return {
          applianceId,
          clusterId: entry.clusterId,
          siteId: entry.siteId,
          standing: entry.standing,
          standingAgeMs: age(entry.since),
          reasons: entry.reasons,
          heartbeatAgeMs: age(entry.heartbeatAtMs),
          evidence: evidence?.name ?? 'unknown',
          evidenceAgeMs: age(evidence?.probedAtMs ?? null),
          lastProbe: evidence?.lastResult ?? null,
          effectiveBps: world.load.effectiveBps[index],
          servingBps: entry.servingBps,
          weight: entry.weight,
          filesHeld: holdings.size,
        };
      }),
      counts: { ...this.#counts, tokensSigned: this.#mint.signed, tokensReused: this.#mint.reused },
      probes: this.#prober.probes,
      decisionsLogged: this.#decisions.written,
      decisionsNotLogged: this.#decisions.leftOut,
      dns: this.#dns.counters,
    };
  }

  #figures(): Readonly<Record<string, number>> {
    const nowMs = this.#deps.clock.wallMs();
    const world = this.#world;
    const { counters } = this.#dns;
    return {
      play_answers_total: this.#counts.play,
      play_refused_total: this.#counts.playRefused,
      steering_manifests_total: this.#counts.manifests,
      steering_manifests_unverified_total: this.#counts.manifestsUnverified,
      steering_manifests_unknown_total: this.#counts.manifestsUnknown,
      snapshot_messages_refused_total: this.#counts.refusedMessages,
      tokens_signed_total: this.#mint.signed,
      tokens_reused_total: this.#mint.reused,
      probes_total: this.#prober.probes,
      dns_queries_total: counters.queries,
      dns_answers_total: counters.answered,
      dns_malformed_total: counters.malformed,
      dns_truncated_total: counters.truncated,
      dns_rate_limited_slipped_total: counters.slipped,
      dns_rate_limited_dropped_total: counters.dropped,
      dns_good_cookies_total: counters.goodCookies,
      control_plane_gone: this.#isControlPlaneGone() ? 1 : 0,
      snapshot_version: world?.fleet.epochs.snapshot ?? 0,
      snapshot_age_seconds: world === null ? -1 : (nowMs - world.fleet.snapshot.issuedAtMs) / 1000,
      appliances_suspect: world?.load.evidence.filter((name) => name === 'suspect').length ?? 0,
      countries_fail_open: world?.failOpen.size ?? 0,
      appliances_unreachable:
        world?.load.evidence.filter((name) => name === 'unreachable').length ?? 0,
    };
  }

  // -------------------------------------------------------------- snapshots

  #loadKept(): void {
    const { log, clock } = this.#deps;
    const kept = loadSnapshot(this.#snapshotFile);
    if (!kept.ok) {
      log.warn({ code: kept.failure.code }, kept.failure.detail);
      return;
    }
    if (kept.value === null) return;
    const offer = this.#holder.offer(kept.value.snapshot, clock.wallMs());
    if (offer.kind !== 'taken') {
      const why = 'why' in offer ? offer.why : offer.kind;
      log.warn({ file: this.#snapshotFile, why }, 'kept snapshot is not used');
      return;
    }
    this.#receivedAtMs = kept.value.receivedAtMs;
    this.#fromDisk = true;
    this.#refreeze();
    const { version } = kept.value.snapshot;
    log.info({ event: 'snapshot-from-disk', version }, 'answering from the last good snapshot');
  }

  #take(message: FleetSnapshot | FleetDelta): 'go-on' | 'reconnect' {
    const { clock, log } = this.#deps;
    const before = this.#holder.current;
    const offer = this.#holder.offer(message, clock.wallMs());
    if (offer.kind === 'same') this.#receivedAtMs = clock.wallMs();
    if (offer.kind === 'gap' || offer.kind === 'refused') {
      if (offer.kind === 'refused') this.#counts.refusedMessages++;
      if (offer.why !== this.#lastRefusal) {
        log.warn({ event: 'snapshot-refused', why: offer.why }, 'the held snapshot stands');
      }
      this.#lastRefusal = offer.why;
      return 'reconnect';
    }
    if (offer.kind === 'same') return 'go-on';
    this.#lastRefusal = null;
    this.#decisions.message(message);
    this.#receivedAtMs = clock.wallMs();
    this.#fromDisk = false;
    this.#isKept = false;
    for (const { applianceId, entry } of offer.fleet.appliances) {
      const old = before?.appliances[before.indexOf.get(applianceId) ?? -1]?.entry;
      if (old === undefined || old.standing === entry.standing) continue;
      // The control plane changed its mind: what we knew before says nothing about now.
      this.#evidence.delete(applianceId);
      this.#prober.hurry(applianceId);
    }
    for (const applianceId of this.#evidence.keys()) {
      if (!offer.fleet.indexOf.has(applianceId)) this.#evidence.delete(applianceId);
    }
    this.#refreeze();
    return 'go-on';
  }

  #keep(): void {
    const { log } = this.#deps;
    const fleet = this.#holder.current;
    if (this.#isKept || fleet === null || this.#receivedAtMs === null) return;
    const saved = saveSnapshot(this.#snapshotFile, fleet.snapshot, this.#receivedAtMs);
    if (saved.ok) this.#isKept = true;
    else log.warn({ code: saved.failure.code }, saved.failure.detail);
  }

  #refreeze(): void {
    if (this.#stream.status().state === 'streaming') {
      this.#streamingUntilMs = this.#deps.clock.monotonicMs();
    }
    const fleet = this.#holder.current;
    if (fleet === null) return;
    const nowMs = this.#deps.clock.wallMs();
    const frame = this.#ledger.freeze(
      fleet,
      (applianceId) => this.#evidence.get(applianceId)?.name ?? 'unknown',
      nowMs,
      this.#isControlPlaneGone() && nowMs - fleet.snapshot.issuedAtMs > STALE_MS,
    );
    this.#world = createWorld(fleet, frame);
    this.#dns.offer(this.#world);
  }

  // -------------------------------------------------------------- evidence

  #isControlPlaneGone(): boolean {
    return this.#deps.clock.monotonicMs() - this.#streamingUntilMs > CONTROL_PLANE_GONE_MS;
  }

  #probeTargets(): readonly ProbeTarget[] {
    const fleet = this.#holder.current;
    if (fleet === null) return [];
    const doubtful: ProbeTarget[] = [];
    const others: ProbeTarget[] = [];
    const everyone = this.#isControlPlaneGone();
    for (const appliance of fleet.appliances) {
      const evidence = this.#evidence.get(appliance.applianceId)?.name ?? 'unknown';
      const isOut = evidence === 'unreachable' || evidence === 'suspect';
      if (appliance.entry.standing !== 'serving' || isOut) {
        doubtful.push(appliance);
      } else if (everyone) others.push(appliance);
    }
    return [...doubtful, ...others];
  }

  #learn(applianceId: ApplianceId, result: 'answered' | 'refused' | 'timed-out'): void {
    const fleet = this.#holder.current;
    const index = fleet?.indexOf.get(applianceId);
    if (fleet === null || index === undefined) return;
    const nowMs = this.#deps.clock.wallMs();
    const before = this.#evidence.get(applianceId) ?? noEvidence(nowMs);
    const { standing } = fleet.appliances[index].entry;
    const corroborated = standing === 'gone-hard' || standing === 'gone-silent';
    const after = stepEvidence(before, { kind: 'probe', result, corroborated }, nowMs);
    this.#evidence.set(applianceId, after);
    if (after.name === before.name) return;
    this.#deps.log.info(
      { event: 'evidence', applianceId, from: before.name, to: after.name, result },
      'our own probes changed the verdict on a box',
    );
    // Bad news counts at once, good news with the next load epoch: a fleet that comes back is not worth a freeze a box.
    if (after.name === 'unreachable' || after.name === 'suspect') this.#refreeze();
  }
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
