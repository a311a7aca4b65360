/**
 * What operators see of a steering node: every figure with its age, on /status and /metrics.
 */
import type { Milliseconds } from '#base/clock.ts';
import { evidenceOf, isKnownAs } from '../load.ts';
import type { World } from '../candidates.ts';
import type { DnsCounters } from '../dns/tally.ts';
import { countOf } from '../holdings.ts';
import type { TokenMint } from '../signing.ts';
import type { DecisionLogFile } from './decision-log-file.ts';
import type { FleetKeeper } from './fleet-keeper.ts';
import type { StreamStatus } from './fleet-stream.ts';
import type { OwnEvidence } from './own-evidence.ts';

export interface ServiceCounts {
  play: number;
  playRefused: number;
  playLimited: number;
  manifests: number;
  manifestsUnverified: number;
  manifestsUnknown: number;
  reports: number;
  reportsRefused: number;
}

export interface StatusSources {
  readonly world: () => World | null;
  readonly keeper: FleetKeeper;
  readonly evidence: OwnEvidence;
  readonly stream: () => StreamStatus;
  readonly mint: TokenMint;
  readonly decisions: DecisionLogFile;
  readonly dns: () => DnsCounters;
  readonly counts: ServiceCounts;
  readonly keysVersion: () => number | null;
  readonly isControlPlaneGone: () => boolean;
  readonly startedAtMs: Milliseconds;
  readonly wallMs: () => Milliseconds;
  readonly chunksHashed: () => number;
  readonly nodes: () => {
    readonly nodeId: string;
    readonly live: number;
    readonly known: readonly string[] | null;
    readonly suspectedElsewhere: readonly string[];
    readonly reportProblem: string | null;
  };
}

export function statusOf(sources: StatusSources): unknown {
  const nowMs = sources.wallMs();
  const age = (atMs: Milliseconds | null): number | null => (atMs === null ? null : nowMs - atMs);
  const world = sources.world();
  const stream = sources.stream();
  const { lastRefusal, ...kept } = sources.keeper.state;
  return {
    atMs: nowMs,
    upMs: nowMs - sources.startedAtMs,
    controlPlane: {
      isGone: sources.isControlPlaneGone(),
      state: stream.state,
      sinceMs: stream.sinceMs,
      heardAgeMs: age(stream.lastHeardAtMs),
      messages: stream.messages,
      problem: stream.problem,
      lastRefusal,
    },
    nodes: sources.nodes(),
    keysVersion: sources.keysVersion(),
    snapshot:
      world === null
        ? null
        : {
            version: world.fleet.epochs.snapshot,
            epoch: world.fleet.snapshot.epoch,
            issuedAgeMs: age(world.fleet.snapshot.issuedAtMs),
            receivedAgeMs: age(kept.receivedAtMs),
            fromDisk: kept.fromDisk,
            titles: world.fleet.titles.size,
            clusters: world.fleet.clusters.length,
            prefixes: world.fleet.prefixes.prefixes,
            setsPacked: kept.setsPacked,
          },
    epochs: world === null ? null : { ...world.fleet.epochs, load: world.load.epoch },
    failOpenCountries: [...(world?.failOpen ?? [])],
    loadAgeMs: age(world?.load.frozenAtMs ?? null),
    appliances: world === null ? undefined : appliancesOf(world, sources.evidence, age),
    externals: world?.fleet.snapshot.externals?.map(({ externalId, name, costPerGb }, at) => ({
      externalId,
      name,
      costPerGb,
      ...world.load.externals.at(at),
    })),
    counts: {
      ...sources.counts,
      refusedMessages: sources.keeper.refused,
      tokensSigned: sources.mint.signed,
      tokensReused: sources.mint.reused,
    },
    probes: sources.evidence.probes,
    chunksHashed: sources.chunksHashed(),
    decisionsLogged: sources.decisions.written,
    decisionsNotLogged: sources.decisions.leftOut,
    dns: sources.dns(),
  };
}

function appliancesOf(
  { fleet, load }: World,
  evidence: OwnEvidence,
  age: (atMs: Milliseconds | null) => number | null,
): readonly unknown[] {
  return fleet.appliances.map((appliance) => {
    const { applianceId, index, entry, holdings } = appliance;
    const latest = evidence.latestOf(applianceId);
    return {
      applianceId,
      clusterId: entry.clusterId,
      siteId: entry.siteId,
      standing: entry.standing,
      standingAgeMs: age(entry.since),
      reasons: entry.reasons,
      heartbeatAgeMs: age(entry.heartbeatAtMs),
      evidence: latest?.name ?? 'unknown',
      evidenceByFamily: { v4: evidenceOf(load, appliance, 4), v6: evidenceOf(load, appliance, 6) },
      evidenceAgeMs: age(latest?.probedAtMs ?? null),
      lastProbe: latest?.lastResult ?? null,
      wrongBytes: evidence.corruptionOf(applianceId),
      effectiveBps: load.effectiveBps[index],
      servingBps: entry.servingBps,
      weight: entry.weight,
      filesHeld: countOf(holdings),
    };
  });
}

export function figuresOf(sources: StatusSources): Readonly<Record<string, number>> {
  const nowMs = sources.wallMs();
  const world = sources.world();
  const dns = sources.dns();
  const { counts, mint } = sources;
  const knownAs = (name: 'suspect' | 'doubted' | 'unreachable'): number =>
    world?.fleet.appliances.filter(({ index }) => isKnownAs(world.load, index, name)).length ?? 0;
  return {
    play_answers_total: counts.play,
    play_refused_total: counts.playRefused,
    play_rate_limited_total: counts.playLimited,
    steering_manifests_total: counts.manifests,
    steering_manifests_unverified_total: counts.manifestsUnverified,
    steering_manifests_unknown_total: counts.manifestsUnknown,
    player_reports_total: counts.reports,
    player_reports_refused_total: counts.reportsRefused,
    snapshot_messages_refused_total: sources.keeper.refused,
    holdings_packed_total: sources.keeper.state.setsPacked,
    tokens_signed_total: mint.signed,
    tokens_reused_total: mint.reused,
    probes_total: sources.evidence.probes,
    chunks_hashed_total: sources.chunksHashed(),
    dns_queries_total: dns.queries,
    dns_answers_total: dns.answered,
    dns_malformed_total: dns.malformed,
    dns_truncated_total: dns.truncated,
    dns_rate_limited_slipped_total: dns.slipped,
    dns_rate_limited_dropped_total: dns.dropped,
    dns_good_cookies_total: dns.goodCookies,
    control_plane_gone: sources.isControlPlaneGone() ? 1 : 0,
    snapshot_version: world?.fleet.epochs.snapshot ?? 0,
    snapshot_age_seconds: world === null ? -1 : (nowMs - world.fleet.snapshot.issuedAtMs) / 1000,
    live_nodes: sources.nodes().live,
    appliances_suspect: knownAs('suspect'),
    appliances_doubted: knownAs('doubted'),
    countries_fail_open: world?.failOpen.size ?? 0,
    appliances_unreachable: knownAs('unreachable'),
  };
}
