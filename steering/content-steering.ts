/**
 * The steering manifest that players reload: where the session's pathways stand now.
 *
 * Every answer is 200 with a body that no player chokes on. What players do with anything else is why: hls.js stops
 * steering for good on 410, 429 or another VERSION and loops hot without TTL; VHS loops hot when its first request
 * fails; dash.js stops on 404; a DASH client ends playback when no pathway is one of its own. So:
 *   a blob of ours                        -> its pathways, by what is known of the boxes now
 *   a blob that is well-formed, not ours  -> its own list back, in its own order (keys may have changed; it steers only itself)
 *   anything else                         -> the pathway that the player says it uses, boxes near its address, the origin
 *
 * Shape:      (world, session, random) -> SteeringManifest
 * Invariants: (1) VERSION 1; integer TTL >= 5; at least two pathways, all different; RELOAD-URI absolute
 *             (2) the origin stands behind every box that is well, and before boxes that are not
 *             (3) among boxes that are well the order of the assignment is kept: nobody moves without a reason
 *             (4) load moves the sessions that the weight loop takes from a box, nobody else: a box that is full keeps the others
 * Source:     draft-pantos-content-steering; ETSI TS 103 998; RFC 8216bis
 */
import type { Random } from '#base/random.ts';
import { ORIGIN_PATHWAY_ID } from '#control-plane/contract.ts';
import { admits, candidatesFor, judge, locate, type World } from './candidates.ts';
import { PLAY_FILES_MAX, type SteeringManifest } from './contract.ts';
import { hashText } from './hashing.ts';
import { pathwayOf } from './answer.ts';
import { rankBoxes, rankFiles } from './ranking.ts';
import type { Session } from './session-blob.ts';

export interface TtlPolicy {
  readonly steadySeconds: number;
  readonly degradedSeconds: number;
}

/** What the player says about itself. Hints: supplied by the client, never trusted. */
export interface PlayerHints {
  readonly pathways: readonly { readonly id: string; readonly throughputBps: number | null }[];
}

const TTL_SECONDS_MIN = 5;
const TTL_SECONDS_MAX = 3600;
const TTL_JITTER = 0.2;
const HINTS_MAX = 16;
const HINT_CHARACTERS_MAX = 1024;
const PATHWAY_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;
/** Fills a list of one: players ignore ids that they do not know, but hls.js fails over only with two or more. */
export const STANDBY_PATHWAY_ID = 'standby';

/** TTL by policy, spread by 20 % either way so that players do not come back together. */
export function jitteredTtl(policy: TtlPolicy, isDegraded: boolean, random: Random): number {
  const base = isDegraded ? policy.degradedSeconds : policy.steadySeconds;
  const ttl = Math.round(base * (1 + TTL_JITTER * (2 * random.next() - 1)));
  return Math.min(TTL_SECONDS_MAX, Math.max(TTL_SECONDS_MIN, ttl));
}

/** For a session of ours. */
export function steerSession(
  world: World,
  kind: 'hls' | 'dash',
  session: Session,
  reloadUri: string,
  policy: TtlPolicy,
  random: Random,
): SteeringManifest {
  const family = session.client.family;
  const judged = session.assigned.map((id) => rankOf(world, id, family));
  const isDegraded = judged.some(
    (rank) => rank !== RANK.well && rank !== RANK.external && rank !== RANK.origin,
  );
  const classes = session.assigned.map((id, at) => {
    const rank = judged[at] <= RANK.full ? shedRank(world, session, id) : judged[at];
    return { id, at, rank };
  });
  classes.sort((a, b) => a.rank - b.rank || a.at - b.at);
  const well = classes.filter(({ rank }) => rank === RANK.well).map(({ id }) => id);
  const clones = clonesFor(world, kind, session, WELL_ENOUGH - well.length);
  const others = classes.filter(({ rank }) => rank !== RANK.well).map(({ id }) => id);
  return {
    ...manifest(
      [...well, ...clones.map(({ ID }) => ID), ...others],
      jitteredTtl(policy, isDegraded, random),
      reloadUri,
    ),
    ...(clones.length === 0 ? {} : { 'PATHWAY-CLONES': clones }),
  };
}

type Clone = NonNullable<SteeringManifest['PATHWAY-CLONES']>[number];

/**
 * Boxes that are in no initial playlist, where those of the playlist are not well any more. HLS players are told each playlist of
 * the box, which the playback service writes; DASH players the host, since the path is the same on every box.
 */
function clonesFor(world: World, kind: 'hls' | 'dash', session: Session, wanted: number): Clone[] {
  const title = world.fleet.titles.get(session.titleId);
  const base = session.assigned[0];
  if (wanted <= 0 || title === undefined || (kind === 'hls' && session.template === null))
    return [];
  const place = locate(world.fleet, session.client.bytes, session.country);
  const files = title.files.slice(0, PLAY_FILES_MAX);
  const rankings = rankFiles(world, candidatesFor(world, place), files, hashText(session.session));
  const clones: Clone[] = [];
  for (const target of new Set(rankings).values().flatMap(({ candidates }) => candidates)) {
    if (clones.length >= wanted) break;
    if (target.kind !== 'appliance' || !target.holdsFile) continue;
    const { applianceId: id, baseUrl } = target.appliance;
    if (session.assigned.includes(id) || clones.some(({ ID }) => ID === id)) continue;
    const uris = (): Record<string, string> =>
      Object.fromEntries(
        files.map(({ fileId }) => [fileId, playlistOf(session.template ?? '', id, fileId)]),
      );
    const replacement =
      kind === 'dash'
        ? { HOST: hostFor(world, base, baseUrl) }
        : { 'PER-VARIANT-URIS': uris(), 'PER-RENDITION-URIS': uris() };
    clones.push({ 'BASE-ID': base, ID: id, 'URI-REPLACEMENT': replacement });
  }
  return clones;
}

/** Host and port: the path and the scheme are the base pathway's. Where the schemes differ, the whole base URL, which dash.js takes. */
function hostFor({ fleet }: World, base: string, baseUrl: string): string {
  const own =
    fleet.appliances[fleet.indexOf.get(base) ?? -1]?.baseUrl ?? fleet.snapshot.origin.baseUrl;
  const url = URL.parse(baseUrl);
  return url !== null && url.protocol === URL.parse(own)?.protocol ? url.host : baseUrl;
}

function playlistOf(template: string, applianceId: string, fileId: string): string {
  return template.replaceAll('{applianceId}', applianceId).replaceAll('{fileId}', fileId);
}

/** For a blob that reads well but is not signed by us. */
export function steerUnverified(
  session: Session,
  reloadUri: string,
  policy: TtlPolicy,
  random: Random,
): SteeringManifest {
  return manifest(session.assigned, jitteredTtl(policy, false, random), reloadUri);
}

/** For anything else. `address` is the caller's own. Without a snapshot (`world` null) there are no boxes to name. */
export function steerUnknown(
  world: World | null,
  address: Uint8Array | null,
  hints: PlayerHints,
  reloadUri: string,
  policy: TtlPolicy,
  random: Random,
): SteeringManifest {
  const ids = hints.pathways.map(({ id }) => id);
  if (world !== null && address !== null) {
    const candidates = candidatesFor(world, locate(world.fleet, address, null));
    const ranking = rankBoxes(world, candidates, hashText(address.join('.')), () => true);
    ids.push(...ranking.candidates.map(pathwayOf));
  }
  return manifest([...ids, ORIGIN_PATHWAY_ID], jitteredTtl(policy, false, random), reloadUri);
}

/**
 * `_HLS_pathway`, `_HLS_throughput`, `_DASH_pathway`, `_DASH_throughput` as players really send them: quoted or not,
 * one id or a list, throughputs by position, some of them empty.
 */
export function parseHints(query: string): PlayerHints {
  const ids = listOf(query, 'pathway');
  const rates = listOf(query, 'throughput');
  const pathways: PlayerHints['pathways'][number][] = [];
  for (let at = 0; at < Math.min(ids.length, HINTS_MAX); at++) {
    if (!PATHWAY_ID.test(ids[at])) continue;
    const rate = rates[at] ?? '';
    const bps = /^\d{1,15}(\.\d+)?$/.test(rate) ? Math.round(Number(rate)) : null;
    pathways.push({ id: ids[at], throughputBps: bps });
  }
  return { pathways };
}

function listOf(query: string, what: 'pathway' | 'throughput'): readonly string[] {
  for (const part of query.split('&', 64)) {
    const equals = part.indexOf('=');
    if (equals === -1 || part.length > HINT_CHARACTERS_MAX) continue;
    const name = part.slice(0, equals);
    if (name !== `_HLS_${what}` && name !== `_DASH_${what}`) continue;
    const text = decode(part.slice(equals + 1));
    const bare = text.length >= 2 && text.startsWith('"') && text.endsWith('"');
    return (bare ? text.slice(1, -1) : text).split(',', HINTS_MAX).map((item) => item.trim());
  }
  return [];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** With fewer boxes of the playlist well than this, others are offered. */
const WELL_ENOUGH = 2;
/** A session is not moved again within this, unless its box is gone. */
const DWELL_SECONDS_MIN = 60;

const RANK = {
  well: 0,
  full: 1,
  suspect: 2,
  external: 3,
  origin: 4,
  draining: 5,
  doubtful: 6,
  dead: 7,
} as const;

function rankOf(world: World, pathwayId: string, family: 4 | 6): number {
  if (pathwayId === ORIGIN_PATHWAY_ID) return RANK.origin;
  const index = world.fleet.indexOf.get(pathwayId);
  if (index === undefined) {
    const { externals } = world.fleet.snapshot;
    const at = externals?.findIndex(({ externalId }) => externalId === pathwayId) ?? -1;
    if (at === -1) return RANK.dead;
    const evidence = world.load.externals.at(at)?.evidence;
    return evidence === 'unreachable' || evidence === 'suspect' ? RANK.dead : RANK.external;
  }
  const { usability, why } = judge(world, world.fleet.appliances[index], family);
  if (usability === 'usable') return RANK.well;
  if (usability === 'full') return RANK.full;
  if (usability === 'suspect') return RANK.suspect;
  if (usability === 'excluded') return RANK.dead;
  return why === 'draining' ? RANK.draining : RANK.doubtful;
}

/**
 * A box above its limit, or that is to have fewer sessions, loses those that are not its own any more: not all at once, and
 * none that has only just come.
 */
function shedRank(world: World, session: Session, pathwayId: string): number {
  const appliance = world.fleet.appliances[world.fleet.indexOf.get(pathwayId) ?? -1];
  if (appliance === undefined) return RANK.well;
  const { admit = 1 } = appliance.entry;
  const stayedSeconds = world.load.frozenAtMs / 1000 - session.issuedAtSeconds;
  if (stayedSeconds < DWELL_SECONDS_MIN) return RANK.well;
  return admits(appliance, admit, hashText(session.session)) ? RANK.well : RANK.full;
}

function manifest(
  pathways: readonly string[],
  ttlSeconds: number,
  reloadUri: string,
): SteeringManifest {
  const unique = [...new Set(pathways)].slice(0, HINTS_MAX);
  if (unique.length < 2) unique.push(STANDBY_PATHWAY_ID);
  return { VERSION: 1, TTL: ttlSeconds, 'RELOAD-URI': reloadUri, 'PATHWAY-PRIORITY': unique };
}
