/**
 * Ranks where a box may fetch a file from: peers, then tiers, then the origin.
 *
 * Shape:      (who asks, file, boxes that hold it whole) -> sources, best first; the origin is always the last
 * Invariants: (1) no box is its own source; only serving boxes that are connected are sources
 *             (2) same cluster before same site before another site; among equals the order is a hash of
 *                 (file, box), so that different files ask different boxes
 *             (3) at most PEERS_MAX peers, TIERS_MAX tiers and the origin
 * `delayMs` is 0 for all: the escalation policy (fill masters first) will set it.
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

export function rankSources(
  asker: Pick<SourceBox, 'applianceId' | 'siteId' | 'clusterId' | 'country'>,
  fileId: FileId,
  holders: Iterable<SourceBox>,
  originBaseUrl: string,
): readonly FillSource[] {
  const peers: Ranked[] = [];
  const tiers: Ranked[] = [];
  for (const box of holders) {
    if (box.applianceId === asker.applianceId) continue;
    if (box.siteId === asker.siteId) {
      peers.push(ranked(box, fileId, box.clusterId === asker.clusterId ? 0 : 1));
    } else {
      tiers.push(ranked(box, fileId, box.country === asker.country ? 0 : 1));
    }
  }
  const best = (boxes: Ranked[], max: number): Ranked[] => boxes.sort(compare).slice(0, max);
  return [
    ...best(peers, PEERS_MAX).map(({ box }) => sourceOf('peer', box)),
    ...best(tiers, TIERS_MAX).map(({ box }) => sourceOf('tier', box)),
    { kind: 'origin', id: ORIGIN_PATHWAY_ID, baseUrl: originBaseUrl, delayMs: 0 },
  ];
}

interface Ranked {
  readonly box: SourceBox;
  readonly distance: number;
  readonly spread: string;
}

function ranked(box: SourceBox, fileId: FileId, distance: number): Ranked {
  const spread = createHash('sha256').update(`${fileId} ${box.applianceId}`).digest('latin1');
  return { box, distance, spread };
}

function compare(a: Ranked, b: Ranked): number {
  return a.distance - b.distance || (a.spread < b.spread ? -1 : 1);
}

function sourceOf(kind: 'peer' | 'tier', box: SourceBox): FillSource {
  return { kind, id: box.applianceId, baseUrl: box.baseUrl, delayMs: 0 };
}
