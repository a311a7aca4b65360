/**
 * Which boxes get a client, for each file, best first, and why not the others.
 *
 * Shape:      rankFiles(world, candidates, files, session hash) -> a Ranking per file; rankBoxes(...) the same without a file
 * Invariants: (1) never empty: an external CDN or the origin stands last in every list
 *             (2) boxes in a list are distinct; at most APPLIANCES_MAX of them
 *             (3) a box that holds the whole file stands before every box that does not, unless the holder is full or worse
 *             (4) nothing but (world, candidates, files, session) decides: the same four epochs and request give the same answer
 *             (5) a box that joins or leaves a tier moves only its own share of the keys
 *             (6) an external CDN stands behind every box; the origin behind both
 * Source:     standards: weighted rendezvous with bounded load inside the best tier; architecture.md, Home and reason
 */
import type { Reason } from '#appliance/contract.ts';
import type { ApplianceId, ExternalCdn } from '#control-plane/contract.ts';
import {
  admits,
  type Candidate,
  type Candidates,
  type PassedOver,
  type Tier,
  type Usability,
  type World,
} from './candidates.ts';
import { rankExternals } from './externals.ts';
import type { FleetAppliance, FleetFile } from './fleet.ts';
import { mix32 } from './hashing.ts';
import { holdersAmong, holds, markUnlike } from './holdings.ts';

/** With what stands last that makes URLS_PER_FILE_MAX. */
export const APPLIANCES_MAX = 3;
/** With fewer holders than this, boxes that would have to fetch the file follow. */
const HOLDERS_ENOUGH = 2;
/** Tiers up to this size are sorted in place, without an array of scores and boxes. */
const SMALL_TIER = 16;

export interface ApplianceTarget {
  readonly kind: 'appliance';
  readonly appliance: FleetAppliance;
  readonly isHome: boolean;
  readonly holdsFile: boolean;
  readonly isFull: boolean; // it will refuse, and the player goes on to the next
}
export interface ExternalTarget {
  readonly kind: 'external';
  readonly external: ExternalCdn;
}
export type Target = ApplianceTarget | ExternalTarget | { readonly kind: 'origin' };

export interface Ranking {
  readonly candidates: readonly Target[]; // best first; the last is an external CDN or the origin
  readonly passedOver: readonly { readonly applianceId: ApplianceId; readonly why: PassedOver }[];
  readonly reason: Reason;
  readonly snapshotVersion: number;
}

const ORIGIN: Target = { kind: 'origin' };
type Has = (candidate: Candidate) => boolean;

/**
 * Files that the boxes looked at hold alike share one ranking, where none of their tiers is mixed: it depends on the session alone.
 * Most files of most titles are such, and a title has many.
 */
export function rankFiles(
  world: World,
  candidates: Candidates,
  files: readonly FleetFile[],
  sessionHash: number,
): readonly Ranking[] {
  let shared: { readonly ranking: Ranking; readonly unlike: Uint8Array } | null = null;
  return files.map((file, place) => {
    if (shared !== null && shared.unlike[place] === 0) return shared.ranking;
    const { ordinal } = file;
    const has: Has = (candidate) => holds(candidate.holdings, ordinal);
    const picked = new Picked();
    const looked: Candidate[] = [];
    let isMixed = false;
    // Holders by tier. Where every box of a tier has the file the session chooses, so that one viewer stays on one
    // box; where they differ the file chooses, so that each box's memory holds its own part.
    for (let at = 0; !picked.isEnough(); at++) {
      const tier = candidates.tierAt(at);
      if (tier === undefined) break;
      const usable = tier.sheds ? admitting(tier, sessionHash) : tier.usable;
      if (usable.length === 0) continue;
      const holders = holdersAmong(usable, ordinal);
      if (place + 1 < files.length) looked.push(...usable);
      if (holders.length === usable.length) {
        picked.add(inOrder(usable, sessionHash), true);
      } else if (holders.length > 0) {
        isMixed = true;
        picked.add(inOrder(holders, file.hash), true);
      }
    }
    const isShareable = !isMixed && picked.count >= HOLDERS_ENOUGH && place + 1 < files.length;
    if (picked.count < HOLDERS_ENOUGH) addShedding(picked, candidates, has, sessionHash);
    if (picked.count < HOLDERS_ENOUGH) addOthers(picked, candidates, has, file.hash);
    const ranking = conclude(world, candidates, picked, has, sessionHash);
    if (isShareable) shared = { ranking, unlike: unlikeOf(candidates, looked, files, place) };
    return ranking;
  });
}

/** Files behind a place whose ranking may be another than that of the file there. */
function unlikeOf(
  { home }: Candidates,
  looked: readonly Candidate[],
  files: readonly FleetFile[],
  place: number,
): Uint8Array {
  const unlike = new Uint8Array(files.length);
  for (const { holdings } of looked) markUnlike(holdings, files, place, unlike);
  // The reason asks all boxes of the home, well or not.
  for (const candidate of home.all) {
    if (!looked.includes(candidate)) markUnlike(candidate.holdings, files, place, unlike);
  }
  return unlike;
}

/** The best boxes for a client irrespective of the file, of those that `fits` allows: what DNS answers. */
export function rankBoxes(
  world: World,
  candidates: Candidates,
  key: number,
  fits: (candidate: Candidate) => boolean,
): Ranking {
  const picked = new Picked();
  for (let at = 0; !picked.isEnough(); at++) {
    const usable = candidates.tierAt(at)?.usable;
    if (usable === undefined) break;
    picked.add(inOrder(usable.filter(fits), key), false); // DNS has no session to hold back
  }
  for (const usability of ['full', 'suspect', 'last-resort'] as const) {
    if (picked.count > 0) break;
    addByTier(picked, candidates, usability, fits, key, false);
  }
  return conclude(world, candidates, picked, fits, key);
}

function admitting({ usable }: Tier, sessionHash: number): readonly Candidate[] {
  return usable.filter((one) => admits(one, one.admit, sessionHash));
}

/** Holders that are to have fewer sessions come before boxes that lack the file: better than a fetch. */
function addShedding(picked: Picked, candidates: Candidates, has: Has, sessionHash: number): void {
  for (let at = 0; !picked.isEnough(); at++) {
    const tier = candidates.tierAt(at);
    if (tier === undefined) return;
    if (!tier.sheds) continue;
    const others = tier.usable.filter((one) => !admits(one, one.admit, sessionHash) && has(one));
    picked.add(inOrder(others, sessionHash), true);
  }
}

/** Too few holders are well: boxes that would have to fetch the file, then boxes that are not well, holders first. */
function addOthers(picked: Picked, candidates: Candidates, has: Has, key: number): void {
  const lacks: Has = (candidate) => !has(candidate);
  addByTier(picked, candidates, 'usable', lacks, key, false);
  for (const usability of ['full', 'suspect', 'last-resort'] as const) {
    if (picked.count >= (usability === 'last-resort' ? 1 : HOLDERS_ENOUGH)) return;
    addByTier(picked, candidates, usability, has, key, true);
    addByTier(picked, candidates, usability, lacks, key, false);
  }
}

function conclude(
  world: World,
  candidates: Candidates,
  picked: Picked,
  has: Has,
  sessionHash: number,
): Ranking {
  const boxes = picked.targets(candidates.home);
  const { externals } = world.fleet.snapshot;
  const others =
    externals === undefined
      ? []
      : rankExternals(externals, world.load.externals, candidates.place.country);
  const targets: Target[] = boxes;
  if (others.length > 0) targets.push({ kind: 'external', external: others[0] });
  // The origin is nobody's CDN: it stands last where no other does, and behind an external one that has no box before it.
  if (others.length === 0 || picked.count === 0) targets.push(ORIGIN);
  return new Concluded(
    targets,
    reasonOf(candidates, targets[0], has),
    world.fleet.epochs.snapshot,
    candidates,
    has,
    sessionHash,
  );
}

class Concluded implements Ranking {
  readonly candidates: readonly Target[];
  readonly reason: Reason;
  readonly snapshotVersion: number;
  readonly #of: Candidates;
  readonly #has: Has;
  readonly #sessionHash: number;

  constructor(
    targets: readonly Target[],
    reason: Reason,
    snapshotVersion: number,
    of: Candidates,
    has: Has,
    sessionHash: number,
  ) {
    this.candidates = targets;
    this.reason = reason;
    this.snapshotVersion = snapshotVersion;
    this.#of = of;
    this.#has = has;
    this.#sessionHash = sessionHash;
  }

  #whyNot(candidate: Candidate): PassedOver {
    if (!this.#has(candidate)) return 'lacks-file';
    return admits(candidate, candidate.admit, this.#sessionHash) ? 'not-needed' : 'shedding';
  }

  /** Worked out only where somebody asks: most answers are never explained. */
  get passedOver(): Ranking['passedOver'] {
    const chosen = new Set(
      this.candidates.flatMap((one) => (one.kind === 'appliance' ? [one.appliance.index] : [])),
    );
    return this.#of.all().flatMap(({ all }) =>
      all.flatMap((candidate) => {
        const { applianceId, index } = candidate.appliance;
        if (chosen.has(index)) return [];
        return [
          {
            applianceId,
            why: candidate.why ?? this.#whyNot(candidate),
          } as const,
        ];
      }),
    );
  }
}

/** Weighted rendezvous: score = -w / ln(h), h uniform in (0, 1) by (key, box). Boxes over the bounded load come after the others. */
export function inOrder(members: readonly Candidate[], key: number): readonly Candidate[] {
  const count = members.length;
  if (count < 2) return members;
  const scores = members.map((candidate) => scoreOf(candidate, key));
  if (count > SMALL_TIER) {
    const order = members.map((_, at) => at);
    order.sort((a, b) => (isBefore(members[a], scores[a], members[b], scores[b]) ? -1 : 1));
    return order.map((at) => members[at]);
  }
  const sorted = members.slice();
  for (let at = 1; at < count; at++) {
    const candidate = sorted[at];
    const score = scores[at];
    let to = at;
    for (; to > 0 && isBefore(candidate, score, sorted[to - 1], scores[to - 1]); to--) {
      sorted[to] = sorted[to - 1];
      scores[to] = scores[to - 1];
    }
    sorted[to] = candidate;
    scores[to] = score;
  }
  return sorted;
}

function isBefore(a: Candidate, scoreA: number, b: Candidate, scoreB: number): boolean {
  if (a.isBusy !== b.isBusy) return b.isBusy;
  if (scoreA !== scoreB) return scoreA > scoreB;
  return a.appliance.applianceId < b.appliance.applianceId;
}

function scoreOf({ hash, weight }: Candidate, key: number): number {
  const unit = (mix32(Math.imul(key, 0x9e3779b1) ^ hash) + 0.5) / 4294967296;
  // Weight 0 ("send nothing new") still orders full boxes among themselves.
  return -Math.max(weight, 1e-9) / Math.log(unit);
}

function addByTier(
  picked: Picked,
  candidates: Candidates,
  usability: Usability,
  fits: Has,
  key: number,
  holdsFile: boolean,
): void {
  for (let at = 0; !picked.isEnough(); at++) {
    const tier = candidates.tierAt(at);
    if (tier === undefined) return;
    const members = tier.all.filter((one) => one.usability === usability && fits(one));
    picked.add(inOrder(members, key), holdsFile);
  }
}

/** Collects boxes best first until there are enough of them in at least two sites, or no more. */
class Picked {
  readonly #found: Candidate[] = [];
  readonly #holds: boolean[] = [];
  #hasSecondSite = false;

  get count(): number {
    return this.#found.length;
  }

  add(ordered: readonly Candidate[], holdsFile: boolean): void {
    for (const candidate of ordered) {
      this.#found.push(candidate);
      this.#holds.push(holdsFile);
      if (candidate.siteId !== this.#found[0].siteId) this.#hasSecondSite = true;
    }
  }

  isEnough(): boolean {
    return this.#found.length >= APPLIANCES_MAX && this.#hasSecondSite;
  }

  /** The best ones; the last place goes to another site than the first, where there is one: sites fail as a whole. */
  targets(home: Tier): Target[] {
    const count = Math.min(APPLIANCES_MAX, this.#found.length);
    const site = this.#found[0]?.siteId;
    let last = count - 1;
    let isSpread = count < APPLIANCES_MAX;
    for (let at = 1; at < count; at++) {
      if (this.#found[at].siteId !== site) isSpread = true;
    }
    if (!isSpread) {
      const elsewhere = this.#found.findIndex(({ siteId }) => siteId !== site);
      if (elsewhere !== -1) last = elsewhere;
    }
    const targets: Target[] = [];
    const homeBoxes = home.all;
    for (let place = 0; place < count; place++) {
      const at = place === count - 1 ? last : place;
      const candidate = this.#found[at];
      const { appliance } = candidate;
      const isHome = homeBoxes.includes(candidate);
      const isFull = candidate.usability === 'full';
      targets.push({ kind: 'appliance', appliance, isHome, holdsFile: this.#holds[at], isFull });
    }
    return targets;
  }
}

/** `home` where a home box stands first; else what kept the home boxes from it. */
function reasonOf(candidates: Candidates, first: Target | undefined, has: Has): Reason {
  if (first?.kind === 'appliance' && first.isHome) return 'home';
  const home = candidates.home;
  if (candidates.place.home === null || home.all.length === 0) return 'other';
  if (!home.all.some(has)) {
    // With nobody usable at home the file is not what was missing, unless somebody else has it.
    return home.usable.length > 0 || (first?.kind === 'appliance' && first.holdsFile)
      ? 'content'
      : 'health';
  }
  return 'health';
}
