/**
 * Which of the routes that boxes hear may steer clients, and why not the others.
 *
 * Shape:      judgeRoutes(tables, sites, policy, incumbents) -> accepted, quarantined
 * Invariants: (1) a quarantined route steers nobody
 *             (2) a site gets no client of another site's prefix, nor of a part of it, without that site's name in
 *                 its own `mayAnnounceFor`; an operator's prefix outranks every route
 *             (3) what was accepted stays so when another site announces something around it or the same: the newcomer waits
 *             (4) the same tables, sites, policy and incumbents give the same verdicts, in whatever order they come
 * Source:     RFC 6890 and 6666 (bogons), RFC 6811 (origins)
 */
import type { Route } from '#appliance/contract.ts';
import { parsePrefix, type Prefix } from '#base/address.ts';
import type { ApplianceId, ClusterId, Site, SiteId } from '../contract.ts';
import { PrefixIndex } from './prefix-index.ts';
import { validityOf, type RoaTable } from './roa.ts';

/** Why a route steers nobody. The same word in view, alarm and log. */
export type Quarantine =
  | 'malformed'
  | 'default-route'
  | 'length'
  | 'bogon'
  | 'own-space'
  | 'peer-maximum' // its peer announces more than the site allows
  | 'site-allows-nothing' // the site lists neither origins nor prefixes
  | 'origin-not-allowed'
  | 'prefix-not-allowed'
  | 'rpki-invalid'
  | 'prefix-of-other-site';

export interface RoutePolicy {
  readonly lengths4: readonly [number, number];
  readonly lengths6: readonly [number, number];
  readonly ownPrefixes: readonly Prefix[];
  readonly roas: RoaTable;
}

export interface BoxTable {
  readonly applianceId: ApplianceId;
  readonly siteId: SiteId;
  readonly clusterId: ClusterId;
  readonly routes: Iterable<Route>;
}

export interface AcceptedRoute {
  readonly clusterId: ClusterId;
  readonly siteId: SiteId;
  readonly prefix: string;
  readonly rank: number; // smaller is better; 0 is an operator's prefix
  readonly heardBy: readonly ApplianceId[];
}

export interface QuarantinedRoute {
  readonly applianceId: ApplianceId;
  readonly siteId: SiteId;
  readonly route: Route;
  readonly why: Quarantine;
  readonly detail: string;
}

export interface Verdicts {
  readonly accepted: readonly AcceptedRoute[];
  readonly quarantined: readonly QuarantinedRoute[];
}

const PEER_ROUTES_MAX_DEFAULT = 5000;
const MED_VALUES = 2 ** 32;
const ORIGIN_VALUES = 3;

export const DEFAULT_LENGTHS = { lengths4: [8, 31], lengths6: [19, 64] } as const;

const BOGONS = (
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 ' +
  '192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 ' +
  '2001::/23 2001:db8::/32 2002::/16 3fff::/20'
)
  .split(' ')
  .map((text) => parsePrefix(text)!);
const GLOBAL_UNICAST = parsePrefix('2000::/3')!;

/** How good a route is, as one number: AS path, then origin, then MED. */
export function rankOf({
  asPathLength,
  origin,
  med,
}: Omit<Route, 'peer' | 'prefix' | 'originAs'>): number {
  return 1 + (asPathLength * ORIGIN_VALUES + origin) * MED_VALUES + med;
}

export function incumbentKey(siteId: SiteId, prefix: string): string {
  return `${siteId} ${prefix}`;
}

interface Sound {
  readonly table: BoxTable;
  readonly route: Route;
  readonly prefix: Prefix;
}

/** `incumbents`: by `incumbentKey`, what was accepted the last time. */
export function judgeRoutes(
  tables: Iterable<BoxTable>,
  sites: readonly Site[],
  policy: RoutePolicy,
  incumbents: ReadonlySet<string>,
): Verdicts {
  const quarantined: QuarantinedRoute[] = [];
  const sound: Sound[] = [];
  const siteOf = new Map(sites.map((site) => [site.siteId, site]));
  for (const table of tables) {
    const site = siteOf.get(table.siteId);
    if (site === undefined) continue;
    const rules = rulesOf(site, policy);
    for (const route of table.routes) {
      const refusal = judgeAlone(rules, route);
      if (typeof refusal === 'object') sound.push({ table, route, prefix: refusal.prefix });
      else quarantined.push(quarantine(table, route, refusal, rules));
    }
  }
  return { ...judgeTogether(sound, siteOf, incumbents, quarantined), quarantined };
}

// ---------------------------------------------------------------- a route by itself

interface Rules {
  readonly policy: RoutePolicy;
  readonly site: Site;
  readonly origins: ReadonlySet<number> | null;
  readonly prefixSet: PrefixIndex<SetEntry> | null;
  readonly peerMax: number;
  readonly ofPeer: Map<string, number>;
}

interface SetEntry {
  readonly min: number;
  readonly max: number;
}

function rulesOf(site: Site, policy: RoutePolicy): Rules {
  const { originAs = [], prefixSet = [], peerRoutesMax } = site.routes ?? {};
  return {
    policy,
    site,
    origins: originAs.length === 0 ? null : new Set(originAs),
    prefixSet: prefixSet.length === 0 ? null : indexPrefixSet(prefixSet),
    peerMax: peerRoutesMax ?? PEER_ROUTES_MAX_DEFAULT,
    ofPeer: new Map(),
  };
}

const SET_LINE = /^(\S+\/\d+)(?:\s+ge\s+(\d+))?(?:\s+le\s+(\d+))?$/;

/** "23.0.0.0/16", "23.0.0.0/16 le 24", "2a00::/20 ge 32 le 48"; null where a line is none of these. */
export function readSetLine(
  line: string,
): { readonly prefix: Prefix; readonly entry: SetEntry } | null {
  const found = SET_LINE.exec(line.trim());
  const prefix = found === null ? null : parsePrefix(found[1]);
  if (found === null || prefix === null) return null;
  const min = Number(found[2] ?? prefix.length);
  const max = Number(
    found[3] ?? (found[2] === undefined ? prefix.length : prefix.bytes.length * 8),
  );
  return min < prefix.length || max < min ? null : { prefix, entry: { min, max } };
}

function indexPrefixSet(lines: readonly string[]): PrefixIndex<SetEntry> {
  const index = new PrefixIndex<SetEntry>();
  for (const line of lines) {
    const read = readSetLine(line);
    if (read !== null) index.set(read.prefix, read.entry);
  }
  return index;
}

function judgeAlone(rules: Rules, route: Route): Quarantine | { readonly prefix: Prefix } {
  const { policy, origins, prefixSet, peerMax, ofPeer } = rules;
  const prefix = parsePrefix(route.prefix);
  if (prefix === null) return 'malformed';
  const { family, length } = prefix;
  if (length === 0) return 'default-route';
  const [min, max] = family === 4 ? policy.lengths4 : policy.lengths6;
  if (length < min || length > max) return 'length';
  if (BOGONS.some((bogon) => overlap(bogon, prefix))) return 'bogon';
  if (family === 6 && !isInside(prefix, GLOBAL_UNICAST)) return 'bogon';
  if (policy.ownPrefixes.some((own) => overlap(own, prefix))) return 'own-space';
  const count = (ofPeer.get(route.peer) ?? 0) + 1;
  ofPeer.set(route.peer, count);
  if (count > peerMax) return 'peer-maximum';
  if (origins === null && prefixSet === null) return 'site-allows-nothing';
  if (origins !== null && !origins.has(route.originAs)) return 'origin-not-allowed';
  if (prefixSet !== null && !isInSet(prefixSet, prefix)) return 'prefix-not-allowed';
  if (validityOf(policy.roas, prefix, route.originAs) === 'invalid') return 'rpki-invalid';
  return { prefix };
}

function isInSet(set: PrefixIndex<SetEntry>, prefix: Prefix): boolean {
  const allows = ({ min, max }: SetEntry): boolean => prefix.length >= min && prefix.length <= max;
  const exact = set.get(prefix);
  if (exact !== undefined && allows(exact)) return true;
  for (const entry of set.covering(prefix)) if (allows(entry)) return true;
  return false;
}

function overlap(a: Prefix, b: Prefix): boolean {
  return isInside(a, b) || isInside(b, a);
}

function isInside(inner: Prefix, outer: Prefix): boolean {
  if (inner.family !== outer.family || inner.length < outer.length) return false;
  for (let bit = 0; bit < outer.length; bit += 8) {
    const mask = outer.length - bit >= 8 ? 0xff : 0xff << (8 - (outer.length - bit));
    if (((inner.bytes[bit >>> 3] ^ outer.bytes[bit >>> 3]) & mask & 0xff) !== 0) return false;
  }
  return true;
}

// ---------------------------------------------------------------- routes of several sites

interface Claim {
  readonly site: Site;
  readonly prefix: Prefix;
  readonly text: string;
  readonly isIncumbent: boolean;
  readonly heard: { readonly table: BoxTable; readonly route: Route }[];
}

function judgeTogether(
  sound: readonly Sound[],
  siteOf: ReadonlyMap<SiteId, Site>,
  incumbents: ReadonlySet<string>,
  quarantined: QuarantinedRoute[],
): { accepted: readonly AcceptedRoute[] } {
  const owners = new PrefixIndex<SiteId[]>();
  const own = (prefix: Prefix, siteId: SiteId): void => {
    const known = owners.get(prefix);
    if (known === undefined) owners.set(prefix, [siteId]);
    else if (!known.includes(siteId)) known.push(siteId);
  };
  const fixed = new PrefixIndex<readonly SiteId[]>();
  for (const site of siteOf.values()) {
    for (const text of site.clusters.flatMap(({ prefixes }) => prefixes)) {
      const prefix = parsePrefix(text);
      if (prefix === null) continue;
      own(prefix, site.siteId);
      fixed.set(prefix, [site.siteId]);
    }
  }
  const accepted: AcceptedRoute[] = [];
  for (const claim of claimsOf(sound, siteOf, incumbents)) {
    const rival = rivalOf(claim, owners, fixed);
    if (rival === null) {
      own(claim.prefix, claim.site.siteId);
      accepted.push(...acceptedOf(claim));
      continue;
    }
    for (const { table, route } of claim.heard) {
      const detail = `${claim.text} is of site ${rival.siteId}${rival.isPart ? ', or a part of it' : ''}: allow it by mayAnnounceFor`;
      quarantined.push({ ...namesOf(table), route, why: 'prefix-of-other-site', detail });
    }
  }
  return { accepted };
}

/** One per site and prefix: incumbents first, short prefixes first, so that a part is judged by what it is a part of. */
function claimsOf(
  sound: readonly Sound[],
  siteOf: ReadonlyMap<SiteId, Site>,
  incumbents: ReadonlySet<string>,
): readonly Claim[] {
  const claims = new Map<string, Claim>();
  for (const { table, route, prefix } of sound) {
    const key = incumbentKey(table.siteId, route.prefix);
    let claim = claims.get(key);
    if (claim === undefined) {
      const site = siteOf.get(table.siteId)!;
      claim = { site, prefix, text: route.prefix, isIncumbent: incumbents.has(key), heard: [] };
      claims.set(key, claim);
    }
    claim.heard.push({ table, route });
  }
  return [...claims.values()].sort(
    (a, b) =>
      Number(b.isIncumbent) - Number(a.isIncumbent) ||
      a.prefix.length - b.prefix.length ||
      (a.site.siteId < b.site.siteId
        ? -1
        : a.site.siteId > b.site.siteId
          ? 1
          : a.text < b.text
            ? -1
            : 1),
  );
}

/** Another site whose prefix this is, or is a part of, and that did not allow it. */
function rivalOf(
  { site, prefix, isIncumbent }: Claim,
  owners: PrefixIndex<SiteId[]>,
  fixed: PrefixIndex<readonly SiteId[]>,
): { readonly siteId: SiteId; readonly isPart: boolean } | null {
  const allowed = new Set([site.siteId, ...(site.routes?.mayAnnounceFor ?? [])]);
  const same = owners.get(prefix)?.find((siteId) => !allowed.has(siteId));
  if (same !== undefined) return { siteId: same, isPart: false };
  for (const holders of (isIncumbent ? fixed : owners).covering(prefix)) {
    // The nearest prefix around it says whose it is: a site may cut its own prefix into parts.
    if (holders.includes(site.siteId)) return null;
    const other = holders.find((siteId) => !allowed.has(siteId));
    if (other !== undefined) return { siteId: other, isPart: true };
  }
  return null;
}

function acceptedOf({ site, text, heard }: Claim): readonly AcceptedRoute[] {
  const byCluster = new Map<ClusterId, { rank: number; heardBy: ApplianceId[] }>();
  for (const { table, route } of heard) {
    const rank = rankOf(route);
    const known = byCluster.get(table.clusterId);
    if (known === undefined) byCluster.set(table.clusterId, { rank, heardBy: [table.applianceId] });
    else {
      known.rank = Math.min(known.rank, rank);
      if (!known.heardBy.includes(table.applianceId)) known.heardBy.push(table.applianceId);
    }
  }
  return [...byCluster].map(([clusterId, { rank, heardBy }]) => ({
    clusterId,
    siteId: site.siteId,
    prefix: text,
    rank,
    heardBy,
  }));
}

// ---------------------------------------------------------------- words

function namesOf({
  applianceId,
  siteId,
}: BoxTable): Pick<QuarantinedRoute, 'applianceId' | 'siteId'> {
  return { applianceId, siteId };
}

function quarantine(
  table: BoxTable,
  route: Route,
  why: Quarantine,
  rules: Rules,
): QuarantinedRoute {
  return { ...namesOf(table), route, why, detail: detailOf(why, route, rules) };
}

function detailOf(
  why: Quarantine,
  { originAs, peer }: Route,
  { policy, peerMax, site }: Rules,
): string {
  switch (why) {
    case 'malformed':
      return 'it is no prefix';
    case 'default-route':
      return 'a default route names no clients';
    case 'length':
      return `lengths /${policy.lengths4.join('-/')} (IPv4) and /${policy.lengths6.join('-/')} (IPv6) are taken`;
    case 'bogon':
      return 'nobody on the Internet has such an address';
    case 'own-space':
      return 'these are addresses of the CDN itself';
    case 'peer-maximum':
      return `${peer} announces more than ${peerMax} prefixes`;
    case 'site-allows-nothing':
      return `site ${site.siteId} lists neither origin AS numbers nor prefixes: set routes.originAs or routes.prefixSet`;
    case 'origin-not-allowed':
      return originAs === 0
        ? 'its path does not say who originates it'
        : `AS${originAs} is not among the origins of site ${site.siteId}`;
    case 'prefix-not-allowed':
      return `it is outside the prefix set of site ${site.siteId}`;
    case 'rpki-invalid':
      return `a ROA covers it and does not allow AS${originAs} at this length`;
    case 'prefix-of-other-site':
      return 'it is another site’s';
  }
}
