/**
 * Which boxes get a client, for one file, best first, and why not the others.
 *
 * Shape:      rankFile(world, candidates, ask) -> Ranking; rankBoxes(...) the same without a file
 * Invariants: (1) never empty: the origin stands last in every list
 *             (2) boxes in a list are distinct; at most APPLIANCES_MAX of them
 *             (3) a box that holds the whole file stands before every box that does not, unless the holder is full or worse
 *             (4) nothing but (world, candidates, ask) decides: the same four epochs and request give the same answer
 *             (5) a box that joins or leaves a tier moves only its own share of the keys
 * Source:     standards: weighted rendezvous with bounded load inside the best tier; architecture.md, Home and reason
 */
import type { Reason } from '#appliance/contract.ts';
import type { ApplianceId } from '#control-plane/contract.ts';
import type { Candidate, Candidates, PassedOver, Usability, World } from './candidates.ts';
import { mix32, type FleetAppliance } from './fleet.ts';
import { holds } from './holdings.ts';

/** With the origin that makes URLS_PER_FILE_MAX. */
export const APPLIANCES_MAX = 3;
/** With fewer holders than this, boxes that would have to fetch the file follow. */
const HOLDERS_ENOUGH = 2;

export interface ApplianceTarget {
  readonly kind: 'appliance';
  readonly appliance: FleetAppliance;
  readonly isHome: boolean;
  readonly holdsFile: boolean;
}
export type Target = ApplianceTarget | { readonly kind: 'origin' };

export interface Ranking {
  readonly candidates: readonly Target[]; // best first; the last is the origin
  readonly passedOver: readonly { readonly applianceId: ApplianceId; readonly why: PassedOver }[];
  readonly reason: Reason;
  readonly snapshotVersion: number;
}

export interface FileAsk {
  readonly ordinal: number;
  readonly fileHash: number; // hashText of the file id
  readonly sessionHash: number; // hashText of the session
}

const ORIGIN: Target = { kind: 'origin' };

export function rankFile(world: World, candidates: Candidates, ask: FileAsk): Ranking {
  const has = (candidate: Candidate): boolean => holds(candidate.appliance.holdings, ask.ordinal);
  const picked = new Picked();
  // Holders by tier. Where every box of a tier has the file the session chooses, so that one viewer stays on one
  // box; where they differ the file chooses, so that each box's memory holds its own part.
  for (const usable of candidates.usable) {
    if (usable.length === 0) continue;
    const holders = usable.filter(has);
    if (holders.length === 0) continue;
    const key = holders.length === usable.length ? ask.sessionHash : ask.fileHash;
    picked.add(inOrder(holders, key), true);
    if (picked.isEnough()) break;
  }
  if (picked.count < HOLDERS_ENOUGH) {
    const lacks = (candidate: Candidate): boolean => !has(candidate);
    addByTier(picked, candidates, 'usable', lacks, ask.fileHash, false);
    if (picked.count < HOLDERS_ENOUGH) {
      addByTier(picked, candidates, 'full', has, ask.fileHash, true);
      addByTier(picked, candidates, 'full', lacks, ask.fileHash, false);
    }
    if (picked.count < HOLDERS_ENOUGH) {
      addByTier(picked, candidates, 'suspect', has, ask.fileHash, true);
      addByTier(picked, candidates, 'suspect', lacks, ask.fileHash, false);
    }
    if (picked.count === 0) {
      addByTier(picked, candidates, 'last-resort', has, ask.fileHash, true);
      addByTier(picked, candidates, 'last-resort', lacks, ask.fileHash, false);
    }
  }
  const targets = picked.targets();
  return conclude(world, candidates, targets, has);
}

/** The best boxes for a client irrespective of the file, of those that `fits` allows: what DNS answers. */
export function rankBoxes(
  world: World,
  candidates: Candidates,
  key: number,
  fits: (candidate: Candidate) => boolean,
): Ranking {
  const picked = new Picked();
  for (const usability of ['usable', 'full', 'suspect', 'last-resort'] as const) {
    if (picked.count > 0) break;
    addByTier(picked, candidates, usability, fits, key, false);
  }
  return conclude(world, candidates, picked.targets(), fits);
}

function conclude(
  world: World,
  candidates: Candidates,
  targets: readonly ApplianceTarget[],
  has: (candidate: Candidate) => boolean,
): Ranking {
  return {
    candidates: [...targets, ORIGIN],
    // Worked out only where somebody asks: most answers are never explained.
    get passedOver() {
      return passedOver(candidates, targets, has);
    },
    reason: reasonOf(candidates, targets[0], has),
    snapshotVersion: world.fleet.epochs.snapshot,
  };
}

/** Weighted rendezvous: score = -w / ln(h), h uniform in (0, 1) by (key, box). Boxes over the bounded load come after the others. */
export function inOrder(members: readonly Candidate[], key: number): readonly Candidate[] {
  if (members.length < 2) return members;
  const scored = members.map((candidate) => ({ candidate, score: scoreOf(candidate, key) }));
  scored.sort(
    (a, b) =>
      Number(a.candidate.isBusy) - Number(b.candidate.isBusy) ||
      b.score - a.score ||
      (a.candidate.appliance.applianceId < b.candidate.appliance.applianceId ? -1 : 1),
  );
  return scored.map(({ candidate }) => candidate);
}

function scoreOf({ appliance }: Candidate, key: number): number {
  const unit = (mix32(Math.imul(key, 0x9e3779b1) ^ appliance.hash) + 0.5) / 4294967296;
  // Weight 0 ("send nothing new") still orders full boxes among themselves.
  return -Math.max(appliance.entry.weight, 1e-9) / Math.log(unit);
}

function addByTier(
  picked: Picked,
  candidates: Candidates,
  usability: Usability,
  fits: (candidate: Candidate) => boolean,
  key: number,
  holdsFile: boolean,
): void {
  for (const tier of candidates.tiers) {
    if (picked.isEnough()) return;
    const members = tier.filter((one) => one.usability === usability && fits(one));
    picked.add(inOrder(members, key), holdsFile);
  }
}

/** Collects boxes best first until there are enough of them in at least two sites, or no more. */
class Picked {
  readonly #found: { candidate: Candidate; holdsFile: boolean }[] = [];
  #hasSecondSite = false;

  get count(): number {
    return this.#found.length;
  }

  add(ordered: readonly Candidate[], holdsFile: boolean): void {
    for (const candidate of ordered) {
      this.#found.push({ candidate, holdsFile });
      const { siteId } = this.#found[0].candidate.appliance;
      if (candidate.appliance.siteId !== siteId) this.#hasSecondSite = true;
    }
  }

  isEnough(): boolean {
    return this.#found.length >= APPLIANCES_MAX && this.#hasSecondSite;
  }

  /** The best ones; the last place goes to another site than the first, where there is one: sites fail as a whole. */
  targets(): readonly ApplianceTarget[] {
    const best = this.#found.slice(0, APPLIANCES_MAX);
    const site = best[0]?.candidate.appliance.siteId;
    const isElsewhere = ({ candidate }: { candidate: Candidate }): boolean =>
      candidate.appliance.siteId !== site;
    if (best.length === APPLIANCES_MAX && !best.some(isElsewhere)) {
      const elsewhere = this.#found.find(isElsewhere);
      if (elsewhere !== undefined) best[APPLIANCES_MAX - 1] = elsewhere;
    }
    return best.map(({ candidate, holdsFile }) => ({
      kind: 'appliance',
      appliance: candidate.appliance,
      isHome: candidate.isHome,
      holdsFile,
    }));
  }
}

function passedOver(
  candidates: Candidates,
  targets: readonly ApplianceTarget[],
  has: (candidate: Candidate) => boolean,
): Ranking['passedOver'] {
  const chosen = new Set(targets.map(({ appliance }) => appliance.index));
  return candidates.tiers.flatMap((tier) =>
    tier.flatMap((candidate) => {
      const { applianceId, index } = candidate.appliance;
      if (chosen.has(index)) return [];
      const why = candidate.why ?? (has(candidate) ? 'not-needed' : 'lacks-file');
      return [{ applianceId, why }];
    }),
  );
}

/** `home` where a home box stands first; else what kept the home boxes from it. */
function reasonOf(
  { tiers, place }: Candidates,
  first: Target | undefined,
  has: (candidate: Candidate) => boolean,
): Reason {
  if (first?.kind === 'appliance' && first.isHome) return 'home';
  const homeTier = (tiers[0] ?? []).filter(({ isHome }) => isHome);
  if (place.home === null || homeTier.length === 0) return 'other';
  if (!homeTier.some(has)) {
    // With nobody usable at home the file is not what was missing, unless somebody else has it.
    const someHomeUsable = homeTier.some(({ usability }) => usability === 'usable');
    return someHomeUsable || (first?.kind === 'appliance' && first.holdsFile)
      ? 'content'
      : 'health';
  }
  return 'health';
}
