/**
 * Why a client is sent where it is: every box that came into question, with its verdict and what it was judged by.
 *
 * For operators only: never on answers that players or resolvers see.
 *
 * Shape:      explainPlay(world, request) -> Explanation | PlayRefusal; the very decision that `decidePlay` takes
 * Invariants: (1) lists and reasons are those of the decision itself, not a second opinion
 *             (2) every box of every tier that was looked at is there once, chosen or passed over with the reason
 */
import type { Reason } from '#appliance/contract.ts';
import type { AddressFamily } from '#base/address.ts';
import type { ApplianceStanding } from '#control-plane/contract.ts';
import { decidePlay, pathwayOf, type PlayRefusal } from './answer.ts';
import { candidatesFor, type Candidate, type PassedOver, type World } from './candidates.ts';
import type { PlayAnswer, PlayRequest } from './contract.ts';
import type { EvidenceName } from './evidence.ts';
import { hashText } from './hashing.ts';
import { holds } from './holdings.ts';
import { evidenceOf } from './load.ts';
import { coverOf } from './place.ts';
import { rankFiles } from './ranking.ts';

export interface ExplainedBox {
  readonly applianceId: string;
  readonly clusterId: string;
  readonly siteId: string;
  readonly tier: number; // 0: nearest
  readonly isHome: boolean;
  readonly verdict: 'chosen' | PassedOver;
  readonly rank: number | null; // place in the list, from 1
  readonly holdsFile: boolean;
  readonly standing: ApplianceStanding;
  readonly reasons: readonly string[]; // of its standing, as the control plane tells them
  readonly evidence: EvidenceName;
  readonly useShare: number | null; // effective load by serving limit; null where it told no limit
  readonly isBusy: boolean; // above the bounded load of its tier
  readonly weight: number;
}

export interface Explanation {
  readonly kind: 'explanation';
  readonly titleId: string;
  readonly home: string;
  readonly country: string | null;
  readonly covering: readonly (readonly string[])[]; // clusters by prefixes, most specific first
  readonly epochs: PlayAnswer['epochs'];
  readonly decidedAtMs: number;
  readonly isDegraded: boolean;
  readonly files: readonly {
    readonly fileId: string;
    readonly reason: Reason;
    readonly list: readonly string[]; // pathway ids
    readonly boxes: readonly ExplainedBox[];
  }[];
}

export function explainPlay(world: World, request: PlayRequest): Explanation | PlayRefusal {
  const decision = decidePlay(world, request);
  if (decision.kind === 'refused') return decision;
  const { fleet } = world;
  const { place, title } = decision;
  const candidates = candidatesFor(world, place);
  return {
    kind: 'explanation',
    titleId: title.title.titleId,
    home: decision.home,
    country: place.country,
    covering: coverOf(fleet.prefixes, place.coverId).map((tier) =>
      tier.map((cluster) => fleet.clusters[cluster].clusterId),
    ),
    epochs: decision.epochs,
    decidedAtMs: world.load.frozenAtMs,
    isDegraded: decision.isDegraded,
    files: decision.files.flatMap(({ fileId }) => {
      const file = title.fileOf.get(fileId);
      if (file === undefined) return [];
      // Once more by itself: files that share a ranking were passed over by the same boxes for other reasons.
      const [ranking] = rankFiles(world, candidates, [file], hashText(request.session));
      const list = ranking.candidates.map(pathwayOf);
      const why = new Map(ranking.passedOver.map((one) => [one.applianceId, one.why]));
      const home = candidates.home.all;
      const boxes = candidates.all().flatMap(({ all }, tier) =>
        all.map((candidate) =>
          explainBox(world, candidate, {
            tier,
            isHome: home.includes(candidate),
            verdict: why.get(candidate.appliance.applianceId) ?? 'chosen',
            rank: list.indexOf(candidate.appliance.applianceId) + 1,
            holdsFile: holds(candidate.appliance.holdings, file.ordinal),
            family: place.family,
          }),
        ),
      );
      return [{ fileId, reason: ranking.reason, list, boxes }];
    }),
  };
}

function explainBox(
  { fleet, load }: World,
  { appliance, isBusy }: Candidate,
  found: {
    readonly tier: number;
    readonly isHome: boolean;
    readonly verdict: ExplainedBox['verdict'];
    readonly rank: number; // 0: not in the list
    readonly holdsFile: boolean;
    readonly family: AddressFamily;
  },
): ExplainedBox {
  const { applianceId, entry, siteId, cluster, index } = appliance;
  const { rank, family, ...verdict } = found;
  return {
    applianceId,
    clusterId: fleet.clusters[cluster].clusterId,
    siteId,
    ...verdict,
    rank: rank === 0 ? null : rank,
    standing: entry.standing,
    reasons: entry.reasons,
    evidence: evidenceOf(load, appliance, family),
    useShare: entry.servingBps === 0 ? null : load.effectiveBps[index] / entry.servingBps,
    isBusy,
    weight: entry.weight,
  };
}

/** For a person at a terminal. */
export function explanationText(one: Explanation): string {
  const covering = one.covering.map((tier) => tier.join('+')).join(' < ') || 'no prefix';
  const { snapshot, prefixes, holdings, load } = one.epochs;
  const lines = [
    `title ${one.titleId}, client at home in ${one.home} (${covering}), country ${one.country ?? 'unknown'}`,
    `decided at ${new Date(one.decidedAtMs).toISOString()} by snapshot ${snapshot}, prefixes ${prefixes}, holdings ${holdings}, load ${load}`,
  ];
  for (const { fileId, reason, list, boxes } of one.files) {
    lines.push('', `file ${fileId}: ${reason} -> ${list.join(', ')}`);
    for (const box of boxes) {
      const use = box.useShare === null ? '' : `, ${Math.round(box.useShare * 100)} % used`;
      const facts = [
        `tier ${box.tier}${box.isHome ? ' (home)' : ''}`,
        `${box.standing}${box.reasons.length > 0 ? ` (${box.reasons.join('; ')})` : ''}`,
        `probes: ${box.evidence}`,
        `${box.holdsFile ? 'holds' : 'lacks'} the file${use}${box.isBusy ? ', busier than its peers' : ''}`,
      ];
      const verdict = box.rank === null ? box.verdict : `no. ${box.rank}`;
      lines.push(`  ${box.applianceId.padEnd(20)} ${verdict.padEnd(13)} ${facts.join(', ')}`);
    }
  }
  return lines.join('\n');
}
