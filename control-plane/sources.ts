/**
 * Ranks where a box may fetch a file from, and says from when on: peers, then tiers, then the origin.
 *
 * Escalation: one copy crosses the origin link for a file, and one each link between sites. Among the sites where
 * living boxes are planned to hold the file, one is the root; within each site some boxes are the file's fill
 * masters. Masters of the root fetch from the origin at once; masters elsewhere from the root's boxes; the other boxes wait
 * for a master of their own site to become a source. Whoever waits for a box whose fill moves waits with patience: a
 * night's queue is long, and going to the origin meanwhile would only take the link from the box that is waited for. Whoever
 * waits for a box that stands still goes further after the delay of the step.
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
  /** How long a box is waited for while its fill moves; absent: no longer than one that stands still. */
  readonly patienceMs?: number;
}

/** A box that is to hold the file. `isMoving`: bytes of its fill came in lately, or it rightly waits for others. */
export interface SourceCandidate {
  readonly applianceId: ApplianceId;
  readonly siteId: string;
  readonly isMoving?: boolean;
}

type Place = Pick<SourceBox, 'applianceId' | 'siteId' | 'clusterId' | 'country'>;

/** `candidates`: living boxes that are to hold the file: they hold it, or it is in their manifest and they may fill now. */
export function rankSources(
  asker: Place,
  fileId: FileId,
  holders: Iterable<SourceBox>,
  originBaseUrl: string,
  candidates: Iterable<SourceCandidate>,
  policy: EscalationPolicy,
): readonly FillSource[] {
  const wait = waitOf(asker, fileId, candidates, policy);
  const spread = spreader(fileId);
  const ranked = (box: SourceBox, distance: number): Ranked => ({
    box,
    distance,
    spread: spread(box.applianceId),
  });
  const peers: Ranked[] = [];
  const tiers: Ranked[] = [];
  for (const box of holders) {
    if (box.applianceId === asker.applianceId) continue;
    if (box.siteId === asker.siteId) {
      keepBest(peers, ranked(box, box.clusterId === asker.clusterId ? 0 : 1), PEERS_MAX);
    } else if (stepTo(box).allowed) {
      keepBest(tiers, ranked(box, box.country === asker.country ? 0 : 1), TIERS_MAX);
    }
  }
  const sources = [
    ...peers.map(({ box }) => sourceOf('peer', box, 0)),
    ...tiers.map(({ box }) =>
      sourceOf('tier', box, wait.siteMs === null ? 0 : Math.max(wait.siteMs, stepTo(box).delayMs)),
    ),
  ];
  if (wait.originMs > 0 && !policy.origin.allowed) return sources;
  const origin = { kind: 'origin', id: ORIGIN_PATHWAY_ID, baseUrl: originBaseUrl } as const;
  return [...sources, { ...origin, delayMs: wait.originMs }];

  function stepTo(box: SourceBox): EscalationStep {
    return box.country === asker.country ? policy.tier : policy.network;
  }
}

/**
 * Whom the asker waits for: nobody, the root site, the masters of its site, or both in turn. `siteMs`: how long for a box of its
 * own site; null: it is a master.
 */
function waitOf(
  asker: Place,
  fileId: FileId,
  candidates: Iterable<SourceCandidate>,
  policy: EscalationPolicy,
): { readonly siteMs: number | null; readonly originMs: number } {
  const spread = spreader(fileId);
  const spreadOfAsker = spread(asker.applianceId);
  const spreadOfSite = spread(asker.siteId);
  const patienceMs = policy.patienceMs ?? 0;
  let isSiteBefore = false;
  let isSiteMoving = false;
  let boxesBefore = 0; // of the asker's site, ahead in the order of masters
  let boxesMoving = 0; // among them
  for (const { applianceId, siteId, isMoving } of candidates) {
    if (isSiteMoving && boxesMoving >= policy.fillMasters) break; // the rest changes nothing
    if (applianceId === asker.applianceId) continue;
    if (siteId === asker.siteId) {
      if (spread(applianceId) >= spreadOfAsker) continue;
      boxesBefore++;
      if (isMoving === true) boxesMoving++;
    } else if (!isSiteMoving && spread(siteId) < spreadOfSite) {
      isSiteBefore = true;
      isSiteMoving = isMoving === true;
    }
  }
  const waitFor = (isMoving: boolean, step: EscalationStep): number =>
    isMoving ? Math.max(patienceMs, step.delayMs) : step.delayMs;
  const rootMs = isSiteBefore ? waitFor(isSiteMoving, policy.tier) : 0;
  if (boxesBefore < policy.fillMasters) return { siteMs: null, originMs: rootMs };
  const isMasterMoving = boxesMoving >= policy.fillMasters;
  return {
    siteMs: isMasterMoving ? patienceMs : 0,
    originMs: rootMs + waitFor(isMasterMoving, policy.origin),
  };
}

/**
 * Of a file's candidates the few that decide for every asker of another site: whoever asks, the first site of the order and the first that
 * moves tell as much as all of them. Two of each: one may be the asker's own.
 */
export function decisiveCandidates(
  fileId: FileId,
  candidates: Iterable<SourceCandidate>,
): readonly SourceCandidate[] {
  const spread = spreader(fileId);
  const first: SpreadCandidate[] = [];
  const moving: SpreadCandidate[] = [];
  for (const candidate of candidates) {
    const next = { candidate, spread: spread(candidate.siteId) };
    keepSite(first, next);
    if (candidate.isMoving === true) keepSite(moving, next);
  }
  return [...new Set([...moving, ...first].map(({ candidate }) => candidate))];
}

interface SpreadCandidate {
  readonly candidate: SourceCandidate;
  readonly spread: number;
}

const SITES_DECISIVE = 2;

function keepSite(best: SpreadCandidate[], next: SpreadCandidate): void {
  if (best.some(({ candidate }) => candidate.siteId === next.candidate.siteId)) return;
  let at = best.length;
  while (at > 0 && next.spread < best[at - 1].spread) at--;
  if (at >= SITES_DECISIVE) return;
  best.splice(at, 0, next);
  best.length = Math.min(best.length, SITES_DECISIVE);
}

/** Of one country's holders those that are among the first TIERS_MAX of any asker of another site. */
export function firstHolders(fileId: FileId, holders: Iterable<SourceBox>): readonly SourceBox[] {
  const spread = spreader(fileId);
  const ranked = [...holders]
    .map((box): Ranked => ({ box, distance: 0, spread: spread(box.applianceId) }))
    .sort(compare);
  const perSite = new Map<string, number>();
  const first: SourceBox[] = [];
  for (const { box } of ranked) {
    if (first.length >= 2 * TIERS_MAX) break;
    const ofSite = perSite.get(box.siteId) ?? 0;
    if (ofSite >= TIERS_MAX) continue;
    perSite.set(box.siteId, ofSite + 1);
    first.push(box);
  }
  return first;
}

interface Ranked {
  readonly box: SourceBox;
  readonly distance: number;
  readonly spread: number;
}

/** Rendezvous hashing: a place in an order that each file has for itself. */
function spreader(fileId: FileId): (name: string) => number {
  const seed = seedOf(fileId);
  return (name) => {
    let hash = seed ^ knownSeedOf(name);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  };
}

const SEEDS_MAX = 100_000;
const seeds = new Map<string, number>(); // of boxes and sites: a ranking looks at thousands of them

function knownSeedOf(name: string): number {
  let seed = seeds.get(name);
  if (seed === undefined) {
    seed = seedOf(name);
    if (seeds.size >= SEEDS_MAX) seeds.clear();
    seeds.set(name, seed);
  }
  return seed;
}

/** FNV-1a, mixed: spreads, proves nothing. */
function seedOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  return hash ^ (hash >>> 15);
}

/** Keeps `best` the first `max` of what was offered, in order: thousands of boxes may hold a file. */
function keepBest(best: Ranked[], next: Ranked, max: number): void {
  let at = best.length;
  while (at > 0 && compare(next, best[at - 1]) < 0) at--;
  if (at >= max) return;
  best.splice(at, 0, next);
  if (best.length > max) best.length = max;
}

function compare(a: Ranked, b: Ranked): number {
  return (
    a.distance - b.distance ||
    a.spread - b.spread ||
    (a.box.applianceId < b.box.applianceId ? -1 : 1)
  );
}

function sourceOf(kind: 'peer' | 'tier', box: SourceBox, delayMs: number): FillSource {
  return { kind, id: box.applianceId, baseUrl: box.baseUrl, delayMs };
}

const NEIGHBOUR_PEERS_MAX = 16;
const NEIGHBOUR_TIERS_MAX = 16;
/** Of them at least so many abroad, where there are any: what is for the whole world may be in one country only. */
const NEIGHBOUR_TIERS_ABROAD = 4;

/** Boxes to remember for the day when nobody ranks sources: those of the site, and some of others, different ones for each site. */
export function neighboursOf(siteId: string, boxes: Iterable<SourceBox>): readonly FillSource[] {
  const country = [...boxes].find((box) => box.siteId === siteId)?.country;
  const spread = spreader(siteId);
  const peers: Ranked[] = [];
  const home: Ranked[] = [];
  const abroad: Ranked[] = [];
  for (const box of boxes) {
    const next = { box, distance: 0, spread: spread(box.applianceId) };
    if (box.siteId === siteId) keepBest(peers, next, NEIGHBOUR_PEERS_MAX);
    else keepBest(box.country === country ? home : abroad, next, NEIGHBOUR_TIERS_MAX);
  }
  const abroadCount = Math.min(
    abroad.length,
    Math.max(NEIGHBOUR_TIERS_ABROAD, NEIGHBOUR_TIERS_MAX - home.length),
  );
  const tiers = [
    ...home.slice(0, NEIGHBOUR_TIERS_MAX - abroadCount),
    ...abroad.slice(0, abroadCount),
  ];
  return [
    ...peers.map(({ box }) => sourceOf('peer', box, 0)),
    ...tiers.map(({ box }) => sourceOf('tier', box, 0)),
  ];
}

/** For a viewer who waits: nobody is waited for. */
export const NO_ESCALATION: EscalationPolicy = {
  fillMasters: Number.MAX_SAFE_INTEGER,
  tier: { allowed: true, delayMs: 0 },
  network: { allowed: true, delayMs: 0 },
  origin: { allowed: true, delayMs: 0 },
};
