/**
 * What our zone says: the boxes by name, the best boxes for a client, steering itself.
 *
 *   <zone>                       SOA, NS
 *   <name server>.<zone>         A, AAAA
 *   steer.<zone>                 A, AAAA of this service
 *   v.<zone>                     the best boxes for the client, irrespective of the file: 2-3 addresses, TTL 20
 *   <applianceId>.oca.<zone>     A, AAAA of that box, TTL 300
 *
 * The client is the prefix that its resolver passed on (client subnet), else the resolver itself.
 *
 * Shape:      answer(zone, world, query, resolver address) -> Response; pure
 * Invariants: (1) an answer depends on the client only below v.<zone>, and on no more of its address than the scope says
 *             (2) every query with a client subnet gets one back; only address answers of v.<zone> have a scope above 0
 *             (3) the scope depends on the prefix table alone: health changes the answer, never the scope
 * Source:     RFC 1034, 2308 (negatives), 7871, 8482 (ANY), 8914
 */
import { parseAddress } from '#base/address.ts';
import {
  candidatesFor,
  placeOf,
  type Candidate,
  type Candidates,
  type World,
} from '../candidates.ts';
import type { CountryTable } from '../country-table.ts';
import { addressOf, type Fleet } from '../fleet.ts';
import { mix32 } from '../hashing.ts';
import { homeOf, lookUp, lookUpScoped, unmapped } from '../place.ts';
import { rankBoxes } from '../ranking.ts';
import {
  CLASS_IN,
  EMPTY_RESPONSE,
  lowerCase,
  type ClientSubnet,
  RCODE,
  TYPE,
  type Query,
  type ResourceRecord,
  type Response,
} from './message.ts';

export const TTL_SECONDS = {
  best: 20,
  appliance: 300,
  steer: 20,
  nameServer: 3600,
  ns: 86_400,
  soa: 3600,
  negative: 30,
  any: 3600,
} as const;
const EDE = { stale: 3, notReady: 14, notAuthoritative: 20 } as const;
export const BEST_LABEL = 'v';
const NO_DATA = new Uint8Array(0);
const HINFO_DATA = Buffer.from('\x07RFC8482\x00', 'latin1');

export interface Zone {
  /** Where a client is that no prefix covers; null: only prefixes tell. */
  readonly countries: CountryTable | null;
  readonly labels: readonly string[]; // lower case
  readonly nameServers: readonly NameServer[];
  readonly steerAddresses: readonly Uint8Array[];
}

export interface NameServer {
  readonly labels: readonly string[]; // absolute
  readonly addresses: readonly Uint8Array[];
}

export interface ZoneOptions {
  readonly zone: string;
  readonly nameServers: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly steerAddresses: readonly string[];
}

export function createZone(options: ZoneOptions, countries: CountryTable | null = null): Zone {
  const labels = lowerCase(options.zone).split('.');
  return {
    countries,
    labels,
    nameServers: options.nameServers.map(({ name, addresses }) => ({
      labels: [...lowerCase(name).split('.'), ...labels],
      addresses: addresses.flatMap(bytesOfAddress),
    })),
    steerAddresses: options.steerAddresses.flatMap(bytesOfAddress),
  };
}

function bytesOfAddress(text: string): Uint8Array[] {
  const bytes = parseAddress(text);
  return bytes === null ? [] : [bytes];
}

/** `resolver`: the address that the query came from. `world` is null until a first snapshot is there. */
export function answerQuery(
  zone: Zone,
  world: World | null,
  query: Query,
  resolver: Uint8Array,
): Response {
  const scopeBits = query.edns?.subnet == null ? null : 0;
  const base = { ...EMPTY_RESPONSE, scopeBits };
  if (query.opcode !== 0) return { ...base, rcode: RCODE.notImp };
  if (query.edns !== null && query.edns.version > 0) {
    return { ...base, rcode: RCODE.badVers, scopeBits: null };
  }
  if (query.name === null) return base; // no question, a cookie: RFC 7873 5.4
  const relative = relativeTo(zone, query.name.labels);
  if (relative === null || query.class !== CLASS_IN) {
    return { ...base, rcode: RCODE.refused, ede: EDE.notAuthoritative };
  }
  if (query.type === TYPE.AXFR || query.type === TYPE.IXFR) {
    return { ...base, rcode: RCODE.refused };
  }
  return atName(zone, world, query, resolver, relative, { ...base, authoritative: true });
}

function atName(
  zone: Zone,
  world: World | null,
  query: Query,
  resolver: Uint8Array,
  relative: readonly string[],
  base: Response,
): Response {
  const name = relative.join('.');
  const owner = query.name?.labels ?? [];
  const found = (records: readonly ResourceRecord[], extra: Partial<Response> = {}): Response => {
    if (query.type === TYPE.ANY) {
      return { ...base, answers: [hinfo(owner)] };
    }
    const answers = records.filter(({ type }) => type === query.type);
    if (answers.length === 0) return negative(zone, world, base, RCODE.noError);
    return { ...base, ...extra, answers };
  };
  if (name === '') return found([soa(zone, world), ...nsRecords(zone)], { additional: glue(zone) });
  if (name === 'steer') return found(addressRecords(owner, zone.steerAddresses, TTL_SECONDS.steer));
  const server = zone.nameServers.find(({ labels }) =>
    sameLabels(labels, query.name?.labels ?? []),
  );
  if (server !== undefined) {
    return found(addressRecords(owner, server.addresses, TTL_SECONDS.nameServer));
  }
  if (name === 'oca') return found([]);
  const isApplianceName = relative.length === 2 && relative[1] === 'oca';
  if (name === BEST_LABEL || isApplianceName) {
    if (world === null) return { ...base, rcode: RCODE.servFail, ede: EDE.notReady };
    if (name === BEST_LABEL) {
      if (query.type !== TYPE.A && query.type !== TYPE.AAAA) return found([]);
      const { addresses, scopeBits } = bestBoxes(zone, world, query, resolver);
      return bestResponse(zone, world, owner, addresses, {
        ...base,
        scopeBits: base.scopeBits === null ? null : scopeBits,
      });
    }
    const address = applianceAddresses(world.fleet).get(relative[0]);
    if (address !== undefined) {
      return found(address === null ? [] : addressRecords(owner, [address], TTL_SECONDS.appliance));
    }
  }
  // A name server two labels down makes the label between them exist, empty.
  const isParent = zone.nameServers.some(
    ({ labels }) =>
      labels.length > (query.name?.labels.length ?? 0) &&
      sameLabels(labels.slice(-(query.name?.labels.length ?? 0)), query.name?.labels ?? []),
  );
  if (isParent) return found([]);
  return negative(zone, world, base, RCODE.nxDomain);
}

/** The answer with these boxes, or that there are none of the family that was asked for: that holds for everybody. */
export function bestResponse(
  zone: Zone,
  world: World,
  owner: readonly string[],
  addresses: readonly Uint8Array[],
  base: Response,
): Response {
  if (addresses.length === 0) {
    const scopeBits = base.scopeBits === null ? null : 0;
    return negative(zone, world, { ...base, scopeBits }, RCODE.noError);
  }
  return {
    ...base,
    answers: addressRecords(owner, addresses, TTL_SECONDS.best),
    ede: world.load.isStale ? EDE.stale : null,
    mayTrim: true,
  };
}

/** The boxes for the client behind a query, in order of preference. */
function bestBoxes(
  { countries }: Zone,
  world: World,
  query: Query,
  resolver: Uint8Array,
): { addresses: readonly Uint8Array[]; scopeBits: number } {
  const { prefixes } = world.fleet;
  const subnet = query.edns?.subnet ?? null;
  const bytesWanted = query.type === TYPE.AAAA ? 16 : 4;
  // A source of 0 bits asks for privacy: the resolver's own address, and an answer good for everybody behind it.
  const isAnonymous = subnet === null || subnet.sourceBits === 0;
  const scoped = isAnonymous
    ? { cover: lookUp(prefixes, resolver), scopeBits: 0 }
    : lookUpScoped(prefixes, subnet.address, subnet.sourceBits);
  const located =
    countries === null || homeOf(prefixes, scoped.cover) !== null
      ? NOWHERE
      : countries.look(isAnonymous ? unmapped(resolver) : subnet.address);
  // Leaves of both tables cut the address space: the deeper of the two overlaps no other answer either.
  const scopeBits = isAnonymous ? 0 : deeper(scoped.scopeBits, located.bits, subnet);
  const client = isAnonymous ? unmapped(resolver) : subnet.address;
  const kind = clientKind(
    client,
    0,
    isAnonymous ? client.length * 8 : Math.min(scopeBits, subnet.sourceBits),
  );
  if (located.country !== null) {
    const candidates = boxesFor(world, scoped.cover, located.country);
    return { addresses: boxAddresses(world, candidates, kind, bytesWanted), scopeBits };
  }
  const memoKey = (scoped.cover * CLIENT_KINDS + kind) * 2 + (bytesWanted >>> 4);
  const memo = memoOf(world);
  let addresses = memo.get(memoKey);
  if (addresses === undefined) {
    addresses = boxAddresses(world, boxesFor(world, scoped.cover, null), kind, bytesWanted);
    if (memo.size < MEMO_ENTRIES_MAX) memo.set(memoKey, addresses);
  }
  return { addresses, scopeBits };
}

/**
 * Which of CLIENT_KINDS kinds of client the first `bits` bits make: kinds spread over a site's few boxes well enough,
 * and an answer is worked out for each only once.
 */
export function clientKind(bytes: Uint8Array, from: number, bits: number): number {
  let hash = 0x811c9dc5;
  const whole = from + (bits >>> 3);
  for (let at = from; at < whole; at++) hash = Math.imul(hash ^ bytes[at], 0x01000193);
  const rest = bits & 7;
  if (rest > 0) hash = Math.imul(hash ^ (bytes[whole] & (0xff00 >> rest)), 0x01000193);
  return mix32(hash) & (CLIENT_KINDS - 1);
}

/** The boxes that come into question for clients in a place, whatever the family. */
export function boxesFor(world: World, cover: number, country: string | null): Candidates {
  return candidatesFor(world, placeOf(world.fleet, cover, 6, country));
}

/**
 * The addresses of one family for a kind of client. The family of an answer is what was asked for: A for
 * IPv4, AAAA for IPv6; the client has both or would not ask.
 */
export function boxAddresses(
  world: World,
  candidates: Candidates,
  kind: number,
  bytesWanted: 4 | 16,
): readonly Uint8Array[] {
  const isOfFamily = ({ appliance }: Candidate): boolean =>
    appliance.address?.length === bytesWanted;
  const ranking = rankBoxes(world, candidates, mix32(kind + 1), isOfFamily);
  const addresses: Uint8Array[] = [];
  let siteId: string | null = null;
  for (const target of ranking.candidates) {
    if (target.kind !== 'appliance' || target.appliance.address === null) continue;
    // One site only: resolvers shuffle the addresses of an answer, so a second site would get viewers of a healthy first.
    siteId ??= target.appliance.siteId;
    if (target.appliance.siteId === siteId) addresses.push(target.appliance.address);
  }
  if (addresses.length === 0) {
    const origin = addressOf(world.fleet.snapshot.origin.baseUrl);
    if (origin?.length === bytesWanted) addresses.push(origin);
  }
  return addresses;
}

export const CLIENT_KINDS = 128; // each of ten boxes of a site gets a dozen
const MEMO_ENTRIES_MAX = 65_536;
const memos = new WeakMap<World, Map<number, readonly Uint8Array[]>>();

/** Best boxes by cover, kind of client and family: good for one world, which lives 250 ms. */
function memoOf(world: World): Map<number, readonly Uint8Array[]> {
  let memo = memos.get(world);
  if (memo === undefined) memos.set(world, (memo = new Map()));
  return memo;
}

const NOWHERE = { country: null, bits: 0 } as const;
const SCOPE_BITS_MAX = { 4: 24, 16: 56 } as const; // what resolvers send, and what privacy asks for

function deeper(prefixBits: number, countryBits: number, { address }: ClientSubnet): number {
  const most = SCOPE_BITS_MAX[address.length === 4 ? 4 : 16];
  return Math.max(prefixBits, Math.min(countryBits, most));
}

const addressesOfFleet = new WeakMap<Fleet, ReadonlyMap<string, Uint8Array | null>>();

/** Box names in lower case, as DNS compares them; null where a box has no address of its own. */
function applianceAddresses(fleet: Fleet): ReadonlyMap<string, Uint8Array | null> {
  let known = addressesOfFleet.get(fleet);
  if (known === undefined) {
    known = new Map(
      fleet.appliances.map(({ applianceId, address }) => [lowerCase(applianceId), address]),
    );
    addressesOfFleet.set(fleet, known);
  }
  return known;
}

function relativeTo(zone: Zone, labels: readonly string[]): readonly string[] | null {
  const extra = labels.length - zone.labels.length;
  if (extra < 0 || !sameLabels(labels.slice(extra), zone.labels)) return null;
  return labels.slice(0, extra);
}

function sameLabels(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((label, at) => label === b[at]);
}

function negative(zone: Zone, world: World | null, base: Response, rcode: number): Response {
  return { ...base, rcode, authority: [{ ...soa(zone, world), ttl: TTL_SECONDS.negative }] };
}

function addressRecords(
  owner: readonly string[],
  addresses: readonly Uint8Array[],
  ttl: number,
): ResourceRecord[] {
  return addresses.map((data) => ({
    owner,
    type: data.length === 4 ? TYPE.A : TYPE.AAAA,
    ttl,
    names: [],
    data,
  }));
}

function nsRecords(zone: Zone): ResourceRecord[] {
  return zone.nameServers.map(({ labels }) => ({
    owner: zone.labels,
    type: TYPE.NS,
    ttl: TTL_SECONDS.ns,
    names: [labels],
    data: NO_DATA,
  }));
}

function glue(zone: Zone): ResourceRecord[] {
  return zone.nameServers.flatMap(({ labels, addresses }) =>
    addressRecords(labels, addresses, TTL_SECONDS.nameServer),
  );
}

/** The serial is the snapshot's version, as far as it fits. */
function soa(zone: Zone, world: World | null): ResourceRecord {
  const numbers = Buffer.alloc(20);
  const serial = (world?.fleet.epochs.snapshot ?? 0) % 2 ** 32;
  [serial, 3600, 600, 86_400, TTL_SECONDS.negative].forEach((value, at) => {
    numbers.writeUInt32BE(value, at * 4);
  });
  const primary = zone.nameServers[0]?.labels ?? zone.labels;
  return {
    owner: zone.labels,
    type: TYPE.SOA,
    ttl: TTL_SECONDS.soa,
    names: [primary, ['hostmaster', ...zone.labels]],
    data: numbers,
  };
}

function hinfo(owner: readonly string[]): ResourceRecord {
  return { owner, type: TYPE.HINFO, ttl: TTL_SECONDS.any, names: [], data: HINFO_DATA };
}
