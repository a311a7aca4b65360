/**
 * Which boxes a client may be sent to, in tiers by nearness, each with what speaks for and against it. No file is looked at yet.
 *
 * Shape:      locate(fleet, address, country) -> place; candidatesFor(world, place) -> tiers of candidates
 * Invariants: (1) tiers: clusters of the longest covering prefix, then of shorter ones, then the rest by (site, country, distance)
 *             (2) a box is in exactly one tier
 *             (3) tiers are cut short only after enough usable boxes were seen: with none usable, all are looked at
 *             (4) the same place in the same world gives the same tiers: they are computed once per load epoch
 * Source:     open-connect.md, Steering (longest match first, embedded boxes first)
 */
import type { FleetAppliance, Fleet } from './fleet.ts';
import type { LoadFrame } from './load.ts';
import { coverOf, homeOf, lookUp, unmapped } from './place.ts';

/** Why a box does not stand in an answer, or not further up. The same word in type, log and metric. */
export type PassedOver =
  | 'lacks-file'
  | 'full' // at its serving limit
  | 'draining'
  | 'down' // the box says so
  | 'gone' // its connection to the control plane closed and no probe of ours has answered yet
  | 'silent' // no heartbeat in time, and no probe of ours has answered yet
  | 'unreachable' // our own probes: refused, or silent
  | 'suspect' // our probes time out, as do too many others: the fault may be ours, so it stays, last
  | 'wrong-family' // the client has IPv4, the box IPv6 only
  | 'not-needed'; // good, but the list was full with better ones

/** usable: new clients; full, then suspect: after all usable ones; last-resort: before nothing; excluded: never. */
export type Usability = 'usable' | 'full' | 'suspect' | 'last-resort' | 'excluded';

export interface Candidate {
  readonly appliance: FleetAppliance;
  readonly tier: number;
  readonly isHome: boolean;
  readonly usability: Usability;
  readonly why: PassedOver | null; // null where usable
  readonly isBusy: boolean; // above the bounded load of its tier: behind its peers
}

export interface Place {
  readonly home: number | null; // cluster index: proximity rank 0
  readonly coverId: number; // of the prefix table
  readonly country: string | null;
  readonly family: 4 | 6;
}

export interface Candidates {
  readonly place: Place;
  readonly tiers: readonly (readonly Candidate[])[];
  readonly usable: readonly (readonly Candidate[])[]; // the usable ones of each tier
  readonly isHomeWell: boolean; // every box of the home cluster is usable
}

/** Everything one decision may look at. */
export interface World {
  readonly fleet: Fleet;
  readonly load: LoadFrame;
  readonly failOpen: ReadonlySet<string>; // countries where soft evidence is not believed
  readonly memo: Map<string, Candidates>;
}

/** A box takes up to (1 + this) of its tier's mean use before its peers go first. */
const BOUNDED_LOAD_EPSILON = 0.25;
/** Below this share of its limit a box is never too busy: affinity is worth more than evenness. */
const BUSY_SHARE_MIN = 0.1;
const FULL_SHARE = 0.95;
/** Of a country's boxes, soft evidence may take at most this share out. More at once is more likely our own fault. */
const EJECTED_SHARE_MAX = 0.4;
const USABLE_ENOUGH = 24;
const TIERS_MAX = 64;
const MEMO_ENTRIES_MAX = 16_384;

export function createWorld(fleet: Fleet, load: LoadFrame): World {
  return { fleet, load, failOpen: failOpenCountries(fleet, load), memo: new Map() };
}

/**
 * Where more boxes are suspected than may be taken out, none is: they are put last instead (the panic rule). In a
 * small country that is soon: of two boxes none may go on soft evidence alone.
 */
function failOpenCountries(fleet: Fleet, load: LoadFrame): ReadonlySet<string> {
  const boxes = new Map<string, { all: number; suspects: number }>();
  if (!load.evidence.includes('suspect')) return new Set();
  for (const { cluster, index } of fleet.appliances) {
    const { country } = fleet.clusters[cluster];
    const count = boxes.get(country) ?? { all: 0, suspects: 0 };
    count.all++;
    if (load.evidence[index] === 'suspect') count.suspects++;
    boxes.set(country, count);
  }
  const open = new Set<string>();
  for (const [country, { all, suspects }] of boxes) {
    if (suspects > Math.floor(all * EJECTED_SHARE_MAX)) open.add(country);
  }
  return open;
}

/** `country` as told by the playback service wins over that of the home cluster. */
export function locate(fleet: Fleet, address: Uint8Array, country: string | null): Place {
  return placeOf(
    fleet,
    lookUp(fleet.prefixes, address),
    unmapped(address).length === 4 ? 4 : 6,
    country,
  );
}

export function placeOf(
  fleet: Fleet,
  coverId: number,
  family: 4 | 6,
  country: string | null,
): Place {
  const home = homeOf(fleet.prefixes, coverId);
  return {
    home,
    coverId,
    country: country ?? (home === null ? null : fleet.clusters[home].country),
    family,
  };
}

export function candidatesFor(world: World, place: Place): Candidates {
  const key = `${place.coverId}|${place.country ?? ''}|${place.family}`;
  const known = world.memo.get(key);
  if (known !== undefined) return known;
  const made = lookAround(world, place);
  if (world.memo.size >= MEMO_ENTRIES_MAX) world.memo.clear();
  world.memo.set(key, made);
  return made;
}

function lookAround(world: World, place: Place): Candidates {
  const { fleet } = world;
  const tiers: Candidate[][] = [];
  const seen = new Set<number>();
  let usable = 0;
  const addTier = (clusters: readonly number[], isHome: boolean): void => {
    const members: FleetAppliance[] = [];
    for (const cluster of clusters) {
      if (seen.has(cluster)) continue;
      seen.add(cluster);
      for (const index of fleet.clusters[cluster].members) members.push(fleet.appliances[index]);
    }
    if (members.length === 0) return;
    const tier = judgeTier(world, members, tiers.length, isHome, place.family);
    usable += tier.reduce((sum, { usability }) => sum + (usability === 'usable' ? 1 : 0), 0);
    tiers.push(tier);
  };
  coverOf(fleet.prefixes, place.coverId).forEach((clusters, at) => addTier(clusters, at === 0));
  const addFrom = (clusters: Uint32Array): void => {
    for (const cluster of clusters) {
      if (usable >= USABLE_ENOUGH || (usable > 0 && tiers.length >= TIERS_MAX)) return;
      addTier([cluster], false);
    }
  };
  addFrom(fleet.neighbourhood.nearest(place.home, place.country));
  // Nobody near: then somebody far. Rare, and worth looking at every cluster there is.
  if (usable === 0) addFrom(fleet.neighbourhood.all(place.home, place.country));
  const homeTier = tiers[0] ?? [];
  return {
    place,
    tiers,
    usable: tiers.map((tier) => tier.filter(({ usability }) => usability === 'usable')),
    isHomeWell:
      homeTier.length > 0 &&
      homeTier.every(({ isHome, usability }) => isHome && usability === 'usable'),
  };
}

function judgeTier(
  world: World,
  members: readonly FleetAppliance[],
  tier: number,
  isHome: boolean,
  family: 4 | 6,
): Candidate[] {
  let load = 0;
  let limit = 0;
  const verdicts = members.map((appliance) => {
    const verdict = judge(world, appliance, family);
    if (verdict.usability === 'usable') {
      load += world.load.effectiveBps[appliance.index];
      limit += appliance.entry.servingBps;
    }
    return verdict;
  });
  const busyShare = Math.max(
    BUSY_SHARE_MIN,
    limit === 0 ? Infinity : (load / limit) * (1 + BOUNDED_LOAD_EPSILON),
  );
  return members.map((appliance, at) => ({
    appliance,
    tier,
    isHome,
    ...verdicts[at],
    isBusy: useOf(world, appliance) > busyShare,
  }));
}

/** Share of its serving limit that a box uses; 0 where it told no limit. */
function useOf(world: World, { index, entry }: FleetAppliance): number {
  return entry.servingBps === 0 ? 0 : world.load.effectiveBps[index] / entry.servingBps;
}

type Verdict = Pick<Candidate, 'usability' | 'why'>;

/**
 * One box, judged by its standing (the control plane's word) and our own evidence.
 *
 * A box whose connection to the control plane is gone but that answers our probe is usable: boxes serve without the
 * control plane, and the loss of its link alone must not empty a site.
 */
export function judge(world: World, appliance: FleetAppliance, family: 4 | 6): Verdict {
  const evidence = world.load.evidence[appliance.index];
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
  if (isSuspect) return { usability: 'suspect', why: 'suspect' };
  if (standing !== 'serving' && evidence !== 'reachable') {
    return { usability: 'last-resort', why: standing === 'gone-hard' ? 'gone' : 'silent' };
  }
  if (weight === 0 || useOf(world, appliance) >= FULL_SHARE) {
    return { usability: 'full', why: 'full' };
  }
  return { usability: 'usable', why: null };
}
