/**
 * Which boxes a client may be sent to, in tiers by nearness, each with what speaks for and against it. No file is looked at yet.
 *
 * Shape:      locate(fleet, address, country) -> place; candidatesFor(world, place) -> tiers, judged as far as somebody asks
 * Invariants: (1) tiers: clusters of the longest covering prefix, then of shorter ones, then the rest by (site, country, distance)
 *             (2) a box is in exactly one tier
 *             (3) tiers are cut short only after enough usable boxes were seen: with none usable, all are looked at
 *             (4) the same place in the same world gives the same tiers; a group of clusters is judged once per load epoch,
 *                 whoever asks; which groups a place has is worked out once per prefix table
 *             (5) a demoted cluster stands behind the tier that follows its own
 * Source:     open-connect.md, Steering (longest match first, embedded boxes first)
 */
import type { AddressFamily } from '#base/address.ts';
import type { SiteId } from '#control-plane/contract.ts';
import type { FleetAppliance, Fleet } from './fleet.ts';
import { mix32 } from './hashing.ts';
import type { Holdings } from './holdings.ts';
import { evidenceOf, isKnownAs, type LoadFrame } from './load.ts';
import { aggregateOf, demotionsOf } from './path-quality.ts';
import { coverOf, homeOf, lookUp, unmapped, type Cover, type PrefixTable } from './place.ts';

/** Why a box does not stand in an answer, or not further up. The same word in type, log and metric. */
export type PassedOver =
  | 'lacks-file'
  | 'full' // at its serving limit
  | 'draining'
  | 'down' // the box says so
  | 'gone' // its connection to the control plane closed and no probe of ours has answered yet
  | 'silent' // no heartbeat in time, and no probe of ours has answered yet
  | 'unreachable' // our own probes: refused, or silent
  | 'shedding' // it is to have fewer sessions, and this is one of the others
  | 'suspect' // probes time out, but here only, or at too many boxes: the fault may be ours, so it stays, last
  | 'wrong-family' // the client has IPv4, the box IPv6 only
  | 'not-needed'; // good, but the list was full with better ones

/** usable: new clients; full, then suspect: after all usable ones; last-resort: before nothing; excluded: never. */
export type Usability = 'usable' | 'full' | 'suspect' | 'last-resort' | 'excluded';

export interface Candidate {
  readonly appliance: FleetAppliance;
  readonly usability: Usability;
  readonly why: PassedOver | null; // null where usable
  readonly isBusy: boolean; // above the bounded load of its tier, or complained of: behind its peers
  readonly admit: number; // share of sessions that it is to have
  // Of its appliance, what ranking looks at: boxes of a tier then lie side by side in memory, and nothing further off is touched.
  readonly siteId: SiteId;
  readonly hash: number;
  readonly weight: number;
  readonly holdings: Holdings;
}

/** The boxes of one or more clusters that are equally near, judged together. Shared by all places that see them so. */
export interface Tier {
  readonly all: readonly Candidate[];
  readonly usable: readonly Candidate[];
  readonly sheds: boolean; // one of them is not to have all its sessions
}

export interface Place {
  readonly home: number | null; // cluster index: proximity rank 0
  readonly coverId: number; // of the prefix table
  readonly country: string | null;
  readonly family: AddressFamily;
  readonly demoted: readonly number[]; // clusters that are badly reached from there
}

/** Everything one decision may look at. */
export interface World {
  readonly fleet: Fleet;
  readonly load: LoadFrame;
  readonly failOpen: ReadonlySet<string>; // countries where soft evidence is not believed
  readonly memo: WorldMemo;
}

/** What was judged for this world already. Places are not kept: there are too many, and each takes a few of these. */
export interface WorldMemo {
  readonly tiers: readonly [v4: (Tier | undefined)[], v6: (Tier | undefined)[]]; // by cluster
  readonly groups: readonly [v4: TierGroups, v6: TierGroups]; // of several clusters
}

/** By the very list of clusters: lists live as long as the prefix table. */
type TierGroups = Map<readonly number[], Tier>;

/** A box takes up to (1 + this) of its tier's mean use before its peers go first. */
const BOUNDED_LOAD_EPSILON = 0.25;
/** Below this share of its limit a box is never too busy: affinity is worth more than evenness. */
const BUSY_SHARE_MIN = 0.1;
const FULL_SHARE = 0.95;
/** Of a country's boxes, soft evidence may take at most this share out. More at once is more likely our own fault. */
const EJECTED_SHARE_MAX = 0.4;
/** In a country of fewer boxes it takes none out: there a share says nothing, and each box is much of what there is. */
const EJECTION_BOXES_MIN = 10;
const USABLE_ENOUGH = 24;
const TIERS_MAX = 64;
const MEMO_ENTRIES_MAX = 16_384;
const COVERS_KEPT_MAX = 131_072;
const NOBODY: readonly number[] = [];
const NO_TIER: Tier = { all: [], usable: [], sheds: false };

export function createWorld(fleet: Fleet, load: LoadFrame): World {
  const { length } = fleet.clusters;
  const memo: WorldMemo = {
    tiers: [Array<Tier | undefined>(length), Array<Tier | undefined>(length)],
    groups: [new Map(), new Map()],
  };
  return { fleet, load, failOpen: failOpenCountries(fleet, load), memo };
}

/**
 * Where more boxes are suspected than may be taken out, none is: they are put last instead (the panic rule). In a small country
 * soft evidence alone takes none out at all.
 */
function failOpenCountries(fleet: Fleet, load: LoadFrame): ReadonlySet<string> {
  const suspects = new Map<string, number>();
  for (let index = 0; index < fleet.appliances.length; index++) {
    if (load.evidence[index * 2] === 0 && load.evidence[index * 2 + 1] === 0) continue;
    if (!isKnownAs(load, index, 'suspect')) continue;
    const { country } = fleet.clusters[fleet.appliances[index].cluster];
    suspects.set(country, (suspects.get(country) ?? 0) + 1);
  }
  if (suspects.size === 0) return new Set();
  const boxes = new Map<string, number>();
  for (const { country, members } of fleet.clusters) {
    boxes.set(country, (boxes.get(country) ?? 0) + members.length);
  }
  const open = new Set<string>();
  for (const [country, count] of suspects) {
    const all = boxes.get(country) ?? 0;
    if (all < EJECTION_BOXES_MIN || count > all * EJECTED_SHARE_MAX) open.add(country);
  }
  return open;
}

/** `country` as told by the playback service wins over that of the home cluster. */
export function locate(
  fleet: Fleet,
  address: Uint8Array,
  country: string | null,
  explores = false,
): Place {
  const place = placeOf(
    fleet,
    lookUp(fleet.prefixes, address),
    unmapped(address).length === 4 ? 4 : 6,
    country,
  );
  if (explores) return place;
  const demotions = demotionsOf(fleet.snapshot.paths);
  if (demotions.size === 0) return place;
  const clusters = demotions.get(aggregateOf(address));
  if (clusters === undefined) return place;
  const demoted = clusters.flatMap((id) => fleet.clusterIndex.get(id) ?? []);
  return { ...place, demoted };
}

export function placeOf(
  fleet: Fleet,
  coverId: number,
  family: AddressFamily,
  country: string | null,
): Place {
  const home = homeOf(fleet.prefixes, coverId);
  return {
    home,
    coverId,
    country: country ?? (home === null ? null : fleet.clusters[home].country),
    family,
    demoted: NOBODY,
  };
}

export function candidatesFor(world: World, place: Place): Candidates {
  return new Candidates(world, place);
}

/** The tiers of one place, nearest first, each judged when it is first looked at: most answers need two or three. */
export class Candidates {
  readonly place: Place;
  readonly #world: World;
  readonly #tiers: Tier[] = [];
  readonly #covering: readonly (readonly number[])[];
  readonly #trailing: readonly number[]; // demoted ones of the last covering tier: they follow the first that does not cover
  #hasTrailing: boolean;
  #nextCovering = 0;
  #nearest: Uint32Array | null = null;
  #nextNearest = 0;
  #reach: 'country' | 'near' | 'anywhere' = 'country';
  #usable = 0;
  #isComplete = false;

  constructor(world: World, place: Place) {
    this.place = place;
    this.#world = world;
    const { tiers, last } = demote(coveringOf(world.fleet.prefixes, place.coverId), place.demoted);
    this.#covering = tiers;
    this.#trailing = last;
    this.#hasTrailing = last.length > 0;
  }

  /** From 0, the nearest; undefined behind the last. */
  tierAt(at: number): Tier | undefined {
    while (this.#tiers.length <= at && !this.#isComplete) this.#grow();
    return this.#tiers[at];
  }

  /** The tiers that somebody has asked for so far. */
  judged(): readonly Tier[] {
    return this.#tiers.slice();
  }

  /** Whether the last tier is among them. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  all(): readonly Tier[] {
    while (!this.#isComplete) this.#grow();
    return this.#tiers;
  }

  /** The boxes of the home cluster and of those that share its very prefix; demoted ones are not first any more. */
  get home(): Tier {
    if (this.#covering.length === 0 || this.isHomeDemoted) return NO_TIER;
    // A home cluster without boxes makes no tier: what stands first then is somebody else.
    const first = this.#covering[0].some(
      (cluster) => this.#world.fleet.clusters[cluster].members.length > 0,
    );
    return first ? (this.tierAt(0) ?? NO_TIER) : NO_TIER;
  }

  get isHomeDemoted(): boolean {
    return this.place.home !== null && this.place.demoted.includes(this.place.home);
  }

  get isHomeWell(): boolean {
    const { all, usable } = this.home;
    return all.length > 0 && all.length === usable.length;
  }

  #grow(): void {
    if (this.#nextCovering < this.#covering.length) {
      this.#add(this.#covering[this.#nextCovering++]);
      return;
    }
    const { neighbourhood } = this.#world.fleet;
    const { home, country } = this.place;
    if (this.#nearest === null) {
      this.#nearest = neighbourhood.inCountry(home, country);
    }
    const isEnough =
      this.#usable >= USABLE_ENOUGH || (this.#usable > 0 && this.#tiers.length >= TIERS_MAX);
    if (!isEnough && this.#nextNearest < this.#nearest.length) {
      const cluster = this.#nearest[this.#nextNearest++];
      if (!this.#isCovering(cluster) && this.#addOne(cluster)) this.#addDemoted();
      return;
    }
    // Too few near: then further away, at last anywhere. Each list goes on where the one before it ended.
    if (!isEnough && this.#reach === 'country') {
      this.#reach = 'near';
      this.#nearest = neighbourhood.nearest(home, country);
      return;
    }
    if (this.#usable === 0 && this.#reach === 'near') {
      this.#reach = 'anywhere';
      this.#nearest = neighbourhood.all(home, country);
      return;
    }
    this.#addDemoted();
    this.#isComplete = true;
  }

  #isCovering(cluster: number): boolean {
    for (const tier of this.#covering) if (tier.includes(cluster)) return true;
    return this.#trailing.includes(cluster);
  }

  #addDemoted(): void {
    if (this.#hasTrailing) this.#add(this.#trailing);
    this.#hasTrailing = false;
  }

  #add(clusters: readonly number[]): boolean {
    return this.#push(tierOf(this.#world, clusters, this.place.family));
  }

  #addOne(cluster: number): boolean {
    return this.#push(tierOfOne(this.#world, cluster, this.place.family));
  }

  #push(tier: Tier): boolean {
    if (tier.all.length === 0) return false;
    this.#usable += tier.usable.length;
    this.#tiers.push(tier);
    return true;
  }
}

const covers = new WeakMap<PrefixTable, Map<number, Cover>>();

/** The tiers of a cover, read once: the same few ten thousand covers are asked for all the time. */
function coveringOf(prefixes: PrefixTable, coverId: number): Cover {
  let known = covers.get(prefixes);
  if (known === undefined) {
    known = new Map();
    covers.set(prefixes, known);
  }
  let cover = known.get(coverId);
  if (cover === undefined) {
    cover = coverOf(prefixes, coverId);
    if (known.size >= COVERS_KEPT_MAX) known.clear();
    known.set(coverId, cover);
  }
  return cover;
}

/** Takes demoted clusters out of their tier and puts them behind the next one; `last`: there was no next one. */
function demote(
  tiers: readonly (readonly number[])[],
  demoted: readonly number[],
): { readonly tiers: readonly (readonly number[])[]; readonly last: readonly number[] } {
  if (demoted.length === 0) return { tiers, last: NOBODY };
  const result: (readonly number[])[] = [];
  let waiting: readonly number[] = NOBODY;
  for (const tier of tiers) {
    const kept = tier.filter((cluster) => !demoted.includes(cluster));
    if (kept.length > 0) result.push(kept);
    if (waiting.length > 0) result.push(waiting);
    waiting = tier.filter((cluster) => demoted.includes(cluster));
  }
  return { tiers: result, last: waiting };
}

function tierOf(world: World, clusters: readonly number[], family: AddressFamily): Tier {
  const { groups } = world.memo;
  const at = family === 4 ? 0 : 1;
  if (clusters.length === 1) return tierOfOne(world, clusters[0], family);
  let tier = groups[at].get(clusters);
  if (tier === undefined) {
    tier = judgeTier(world, clusters, family);
    if (groups[at].size >= MEMO_ENTRIES_MAX) groups[at].clear();
    groups[at].set(clusters, tier);
  }
  return tier;
}

function tierOfOne(world: World, cluster: number, family: AddressFamily): Tier {
  const tiers = world.memo.tiers[family === 4 ? 0 : 1];
  return (tiers[cluster] ??= judgeTier(world, [cluster], family));
}

function judgeTier(world: World, clusters: readonly number[], family: AddressFamily): Tier {
  const { fleet } = world;
  const members = clusters.flatMap((cluster) => fleet.clusters[cluster].members);
  let load = 0;
  let limit = 0;
  const verdicts = members.map((index) => {
    const appliance = fleet.appliances[index];
    const verdict = judge(world, appliance, family);
    if (verdict.usability === 'usable') {
      load += world.load.effectiveBps[index];
      limit += appliance.entry.servingBps;
    }
    return verdict;
  });
  const busyShare = Math.max(
    BUSY_SHARE_MIN,
    limit === 0 ? Infinity : (load / limit) * (1 + BOUNDED_LOAD_EPSILON),
  );
  const all = members.map((index, at): Candidate => {
    const appliance = fleet.appliances[index];
    const { usability, why } = verdicts[at];
    const { hash, holdings, siteId } = appliance;
    const { admit = 1, weight } = appliance.entry;
    const isBusy = useOf(world, appliance) > busyShare || world.load.demoted.includes(index);
    return { appliance, usability, why, isBusy, admit, siteId, hash, weight, holdings };
  });
  const usable = all.filter(({ usability }) => usability === 'usable');
  return {
    all,
    usable: usable.length === all.length ? all : usable,
    sheds: usable.some(({ admit }) => admit < 1),
  };
}

/** Whether a session is one of those that a box is to have: the same ones while its share stands, more of them as it grows. */
export function admits(
  { hash }: Pick<FleetAppliance, 'hash'>,
  admit: number,
  sessionHash: number,
): boolean {
  return admit >= 1 || mix32(sessionHash ^ Math.imul(hash, 0x85ebca77)) < admit * 4294967296;
}

/** Share of its serving limit that a box uses; 0 where it told no limit. */
function useOf(world: World, { index, entry }: FleetAppliance): number {
  return entry.servingBps === 0 ? 0 : world.load.effectiveBps[index] / entry.servingBps;
}

type Verdict = Pick<Candidate, 'usability' | 'why'>;

const USABLE: Verdict = { usability: 'usable', why: null };

/**
 * One box, judged by its standing (the control plane's word) and our own evidence.
 *
 * A box whose connection to the control plane is gone but that answers our probe is usable: boxes serve without the
 * control plane, and the loss of its link alone must not empty a site.
 */
export function judge(world: World, appliance: FleetAppliance, family: AddressFamily): Verdict {
  const evidence = evidenceOf(world.load, appliance, family);
  const { standing, weight } = appliance.entry;
  if (evidence === 'unreachable') return { usability: 'excluded', why: 'unreachable' };
  const isSuspect = evidence === 'suspect';
  if (isSuspect && !world.failOpen.has(world.fleet.clusters[appliance.cluster].country)) {
    return { usability: 'excluded', why: 'unreachable' };
  }
  if (family === 4 && appliance.address?.length === 16) {
    return { usability: 'excluded', why: 'wrong-family' };
  }
  if (standing === 'draining') return { usability: 'last-resort', why: 'draining' };
  if (standing === 'down') return { usability: 'last-resort', why: 'down' };
  if (isSuspect || evidence === 'doubted') return { usability: 'suspect', why: 'suspect' };
  if (standing !== 'serving' && evidence !== 'reachable') {
    return { usability: 'last-resort', why: standing === 'gone-hard' ? 'gone' : 'silent' };
  }
  if (weight === 0 || useOf(world, appliance) >= FULL_SHARE) {
    return { usability: 'full', why: 'full' };
  }
  return USABLE;
}
