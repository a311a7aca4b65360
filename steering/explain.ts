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
import type { ApplianceStanding } from '#control-plane/contract.ts';
import { decidePlay, pathwayOf, type PlayRefusal } from './answer.ts';
import { candidatesFor, type PassedOver, type World } from './candidates.ts';
import type { PlayAnswer, PlayRequest } from './contract.ts';
import type { EvidenceName } from './evidence.ts';
import { holds } from './holdings.ts';
import { coverOf } from './place.ts';

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
    files: decision.files.map(({ fileId, ranking }) => {
      const list = ranking.candidates.map(pathwayOf);
      const why = new Map(ranking.passedOver.map((one) => [one.applianceId, one.why]));
      const ordinal = title.ordinalOf.get(fileId) ?? 0;
      const boxes = candidates.tiers.flat().map((candidate): ExplainedBox => {
        const { applianceId, entry, siteId, cluster, index, holdings } = candidate.appliance;
        const rank = list.indexOf(applianceId);
        return {
          applianceId,
          clusterId: fleet.clusters[cluster].clusterId,
          siteId,
          tier: candidate.tier,
          isHome: candidate.isHome,
          verdict: why.get(applianceId) ?? 'chosen',
          rank: rank === -1 ? null : rank + 1,
          holdsFile: holds(holdings, ordinal),
          standing: entry.standing,
          reasons: entry.reasons,
          evidence: world.load.evidence[index],
          useShare:
            entry.servingBps === 0 ? null : world.load.effectiveBps[index] / entry.servingBps,
          isBusy: candidate.isBusy,
          weight: entry.weight,
        };
      });
      return { fileId, reason: ranking.reason, list, boxes };
    }),
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
