/**
 * Ranks where a box may fetch a file from, and says from when on: peers, then tiers, then the origin.
 *
 * Escalation: one copy crosses the origin link for a file, and one each link between sites. Among the sites where
 * living boxes are planned to hold the file, one is the root; within each site some boxes are the file's fill
 * masters. Masters of the root fetch from the origin at once; masters elsewhere from the root's boxes, and from the
 * origin after the tier delay; the other boxes wait for a master of their own site to become a source.
 *
 * Shape:      (who asks, file, holders, candidates, policy) -> sources, best first; the origin is the last
 * Units:      delayMs counts from when the box first asked for the file
 * Invariants: (1) no box is its own source; only serving boxes that are connected are sources
 *             (2) same cluster before same site before another site; among equals the order is a hash of
 *                 (file, box), so that different files ask different boxes
 *             (3) at most PEERS_MAX peers, TIERS_MAX tiers and the origin
 *             (4) a box waits only while another living box is to hold the file: alone, it gets all at once
 *             (5) of the boxes that wait for each other, one is told not to wait: root and masters are the
 *                 first in an order of hashes that all of them share
 */
import { createHash } from 'node:crypto';
import type { FileId } from '#upstream/contract.ts';
import { ORIGIN_PATHWAY_ID, type ApplianceId, type FillSource } from './contract.ts';

export const PEERS_MAX = 8;
export const TIERS_MAX = 4;

export interface SourceBox {
  readonly applianceId: ApplianceId;
  readonly siteId: string;
  readonly clusterId: string;
  readonly country: string;
  readonly baseUrl: string;
}

/** May sources this far away be used, and how long after the first question. */
export interface EscalationStep {
  readonly allowed: boolean;
  readonly delayMs: number;
}

export interface EscalationPolicy {
  readonly fillMasters: number; // per file and site
  readonly tier: EscalationStep; // another site of the same country
  readonly network: EscalationStep; // any site
  readonly origin: EscalationStep;
}

type Place = Pick<SourceBox, 'applianceId' | 'siteId' | 'clusterId' | 'country'>;

/** `candidates`: living boxes that are to hold the file: they hold it, or it is in their manifest and they may fill now. */
export function rankSources(
  asker: Place,
  fileId: FileId,
  holders: Iterable<SourceBox>,
  originBaseUrl: string,
  candidates: Iterable<Pick<SourceBox, 'applianceId' | 'siteId'>>,
  policy: EscalationPolicy,
): readonly FillSource[] {
  const wait = waitOf(asker, fileId, candidates, policy);
  const peers: Ranked[] = [];
  const tiers: Ranked[] = [];
  for (const box of holders) {
    if (box.applianceId === asker.applianceId) continue;
    if (box.siteId === asker.siteId) {
      peers.push(ranked(box, fileId, box.clusterId === asker.clusterId ? 0 : 1));
    } else if (stepTo(box).allowed) {
      tiers.push(ranked(box, fileId, box.country === asker.country ? 0 : 1));
    }
  }
  const best = (boxes: Ranked[], max: number): Ranked[] => boxes.sort(compare).slice(0, max);
  const sources = [
    ...best(peers, PEERS_MAX).map(({ box }) => sourceOf('peer', box, 0)),
    ...best(tiers, TIERS_MAX).map(({ box }) =>
      sourceOf('tier', box, wait.isMaster ? 0 : stepTo(box).delayMs),
    ),
  ];
  if (wait.originMs > 0 && !policy.origin.allowed) return sources;
  const origin = { kind: 'origin', id: ORIGIN_PATHWAY_ID, baseUrl: originBaseUrl } as const;
  return [...sources, { ...origin, delayMs: wait.originMs }];

  function stepTo(box: SourceBox): EscalationStep {
    return box.country === asker.country ? policy.tier : policy.network;
  }
}

/** Whom the asker waits for: nobody, the root site, the masters of its site, or both in turn. */
function waitOf(
  asker: Place,
  fileId: FileId,
  candidates: Iterable<Pick<SourceBox, 'applianceId' | 'siteId'>>,
  policy: EscalationPolicy,
): { readonly isMaster: boolean; readonly originMs: number } {
  const spreadOfAsker = spreadOf(fileId, asker.applianceId);
  const spreadOfSite = spreadOf(fileId, asker.siteId);
  const sitesBefore = new Set<string>();
  let boxesBefore = 0; // of the asker's site, ahead in the order of masters
  for (const { applianceId, siteId } of candidates) {
    if (applianceId === asker.applianceId) continue;
    if (siteId !== asker.siteId) {
      if (spreadOf(fileId, siteId) < spreadOfSite) sitesBefore.add(siteId);
    } else if (spreadOf(fileId, applianceId) < spreadOfAsker) boxesBefore++;
  }
  const isMaster = boxesBefore < policy.fillMasters;
  const rootMs = sitesBefore.size > 0 ? policy.tier.delayMs : 0;
  return { isMaster, originMs: rootMs + (isMaster ? 0 : policy.origin.delayMs) };
}

interface Ranked {
  readonly box: SourceBox;
  readonly distance: number;
  readonly spread: string;
}

function ranked(box: SourceBox, fileId: FileId, distance: number): Ranked {
  return { box, distance, spread: spreadOf(fileId, box.applianceId) };
}

/** Rendezvous hashing: a place in an order that each file has for itself. */
function spreadOf(fileId: FileId, name: string): string {
  return createHash('sha256').update(`${fileId} ${name}`).digest('latin1');
}

function compare(a: Ranked, b: Ranked): number {
  return a.distance - b.distance || (a.spread < b.spread ? -1 : 1);
}

function sourceOf(kind: 'peer' | 'tier', box: SourceBox, delayMs: number): FillSource {
  return { kind, id: box.applianceId, baseUrl: box.baseUrl, delayMs };
}

/** For a viewer who waits: nobody is waited for. */
export const NO_ESCALATION: EscalationPolicy = {
  fillMasters: Number.MAX_SAFE_INTEGER,
  tier: { allowed: true, delayMs: 0 },
  network: { allowed: true, delayMs: 0 },
  origin: { allowed: true, delayMs: 0 },
};
