/**
 * One play request: who gets the viewer, file by file, or why nobody may.
 *
 * Shape:      decidePlay(world, request) -> PlayDecision | PlayRefusal; pure: answer-text.ts makes tokens and URLs of the decision
 * Errors:     a refusal names all that is wrong, with the status code that carries it
 * Invariants: (1) the same world and request give the same decision
 *             (2) every file of an answer has at least one URL; an external CDN or the origin is in the last place of each
 *             (3) nothing is answered for a title that may not be shown in the client's country now
 */
import type { Reason } from '#appliance/contract.ts';
import { parseAddress } from '#base/address.ts';
import {
  HOME_UNKNOWN,
  ORIGIN_PATHWAY_ID,
  type ApplianceId,
  type ExternalCdn,
} from '#control-plane/contract.ts';
import { candidatesFor, locate, type Candidates, type Place, type World } from './candidates.ts';
import { PATHWAYS_MAX, PLAY_FILES_MAX, type PlayAnswer, type PlayRequest } from './contract.ts';
import type { FleetFile, FleetTitle } from './fleet.ts';
import { hashText } from './hashing.ts';
import { explores } from './path-quality.ts';
import { rankFiles, type Ranking, type Target } from './ranking.ts';
import { clientBlock, type Session } from './session-blob.ts';

export interface PlayDecision {
  readonly kind: 'play';
  readonly title: FleetTitle;
  readonly place: Place;
  readonly home: string;
  readonly files: readonly { readonly fileId: string; readonly ranking: Ranking }[];
  readonly reasons: readonly Reason[]; // distinct: one token each
  readonly session: Session;
  readonly isDegraded: boolean;
  readonly epochs: PlayAnswer['epochs'];
}

export interface PlayRefusal {
  readonly kind: 'refused';
  readonly status: 400 | 403 | 404;
  readonly error: 'invalid' | 'not-available' | 'unknown-title' | 'unknown-file';
  readonly message: string;
  readonly problems: readonly string[];
}

export function decidePlay(world: World, request: PlayRequest): PlayDecision | PlayRefusal {
  const address = parseAddress(request.clientAddress);
  if (address === null) {
    return refuse(400, 'invalid', 'the request is not valid', [
      `/clientAddress: "${request.clientAddress}" is no IPv4 or IPv6 address`,
    ]);
  }
  const { fleet } = world;
  const title = fleet.titles.get(request.titleId);
  if (title === undefined) {
    return refuse(
      404,
      'unknown-title',
      `title ${request.titleId} is not in the catalogue of snapshot ${fleet.epochs.snapshot}`,
    );
  }
  const sessionHash = hashText(request.session);
  const place = locate(fleet, address, request.country ?? null, explores(sessionHash));
  const refusal = availabilityRefusal(world, request, title, place);
  if (refusal !== null) return refusal;
  const wanted = filesOf(title, request);
  if ('kind' in wanted) return wanted;
  const candidates = candidatesFor(world, place);
  const rankings = rankFiles(world, candidates, wanted, sessionHash);
  const files = wanted.map(({ fileId }, at) => ({ fileId, ranking: rankings[at] }));
  return {
    kind: 'play',
    title,
    place,
    home: place.home === null ? HOME_UNKNOWN : fleet.clusters[place.home].clusterId,
    files,
    reasons: reasonsOf(rankings),
    session: {
      session: request.session,
      client: clientBlock(address),
      country: request.country ?? null,
      titleId: request.titleId,
      assigned: pathwaysOf(rankings),
      snapshot: fleet.epochs.snapshot,
      issuedAtSeconds: Math.floor(world.load.frozenAtMs / 1000),
      template: request.playlistTemplate ?? null,
    },
    isDegraded: isDegraded(candidates),
    epochs: { ...fleet.epochs, load: world.load.epoch },
  };
}

/**
 * What each first box, or external CDN, will have to carry for this session: its share of the expected bitrate. A full box refuses:
 * who stands behind it is who carries, or caps and budgets would not see what overflows.
 */
export function expectedLoad(decision: PlayDecision): {
  readonly boxes: ReadonlyMap<ApplianceId, number>;
  readonly external: ReadonlyMap<ExternalCdn, number>;
} {
  const boxes = new Map<ApplianceId, number>();
  const external = new Map<ExternalCdn, number>();
  const share = decision.title.expectedBps / decision.files.length;
  for (const { ranking } of decision.files) {
    const { candidates } = ranking;
    const first =
      candidates.find((target) => target.kind !== 'appliance' || !target.isFull) ?? candidates[0];
    if (first.kind === 'appliance') {
      const { applianceId } = first.appliance;
      boxes.set(applianceId, (boxes.get(applianceId) ?? 0) + share);
    } else if (first.kind === 'external') {
      external.set(first.external, (external.get(first.external) ?? 0) + share);
    }
  }
  return { boxes, external };
}

export function pathwayOf(target: Target): string {
  if (target.kind === 'appliance') return target.appliance.applianceId;
  return target.kind === 'external' ? target.external.externalId : ORIGIN_PATHWAY_ID;
}

/** A player comes back soon while its home is not well: nothing usable there, or not all of it. */
function isDegraded(candidates: Candidates): boolean {
  if (candidates.place.home !== null) return !candidates.isHomeWell;
  for (let at = 0; ; at++) {
    const tier = candidates.tierAt(at);
    if (tier === undefined) return true;
    if (tier.usable.length > 0) return false;
  }
}

function availabilityRefusal(
  world: World,
  request: PlayRequest,
  { title, rules }: FleetTitle,
  place: Place,
): PlayRefusal | null {
  const atMs = world.load.frozenAtMs;
  const { country } = place;
  for (const { isAnywhere, countries, fromMs, untilMs } of rules) {
    const isThere = isAnywhere || (country !== null && countries.has(country));
    if (isThere && fromMs <= atMs && atMs < untilMs) return null;
  }
  const from =
    request.country !== undefined
      ? 'as the request says'
      : place.country === null
        ? 'its address is in no prefix and the request names none'
        : 'by its prefix';
  return refuse(
    403,
    'not-available',
    `title ${title.titleId} may not be shown in ${place.country ?? 'an unknown country'} (${from}) at ` +
      new Date(world.load.frozenAtMs).toISOString(),
    title.availability.map((rule) => {
      const since = rule.from === undefined ? '' : ` from ${rule.from}`;
      const until = rule.until === undefined ? '' : ` until ${rule.until}`;
      return `allowed: ${rule.countries.join(', ')}${since}${until}`;
    }),
  );
}

function filesOf(
  { files, fileOf }: FleetTitle,
  { fileIds, titleId }: PlayRequest,
): readonly FleetFile[] | PlayRefusal {
  if (fileIds === undefined) {
    return files.length <= PLAY_FILES_MAX ? files : files.slice(0, PLAY_FILES_MAX);
  }
  const wanted: FleetFile[] = [];
  const unknown: string[] = [];
  for (const fileId of fileIds) {
    const file = fileOf.get(fileId);
    if (file === undefined) unknown.push(`file ${fileId} does not belong to title ${titleId}`);
    else if (!wanted.includes(file)) wanted.push(file); // at most PLAY_FILES_MAX
  }
  if (unknown.length === 0) return wanted;
  return refuse(404, 'unknown-file', `title ${titleId} has no such file`, unknown);
}

function reasonsOf(rankings: readonly Ranking[]): readonly Reason[] {
  const reasons: Reason[] = [];
  for (const { reason } of rankings) if (!reasons.includes(reason)) reasons.push(reason);
  return reasons;
}

/** The pathways that a playlist shows: by how many files they stand first for, then in order of appearance; the origin last. */
function pathwaysOf(rankings: readonly Ranking[]): readonly string[] {
  if (rankings.every((ranking) => ranking === rankings[0])) return pathwaysOfOne(rankings[0]);
  const firsts = new Map<string, number>();
  // Most files share one ranking: it is looked into once.
  for (const ranking of new Set(rankings)) {
    const files = rankings.reduce((sum, one) => sum + (one === ranking ? 1 : 0), 0);
    ranking.candidates.forEach((target, at) => {
      if (target.kind === 'origin') return;
      const id = pathwayOf(target);
      firsts.set(id, (firsts.get(id) ?? 0) + (at === 0 ? files : 0));
    });
  }
  const ids = [...firsts.keys()];
  if (ids.length > 1) ids.sort((a, b) => (firsts.get(b) ?? 0) - (firsts.get(a) ?? 0));
  if (ids.length >= PATHWAYS_MAX) ids.length = PATHWAYS_MAX - 1;
  ids.push(ORIGIN_PATHWAY_ID);
  return ids;
}

/** The usual case: all files have one ranking, whose boxes are few and distinct. */
function pathwaysOfOne({ candidates }: Ranking): readonly string[] {
  const ids: string[] = [];
  for (const target of candidates) if (target.kind !== 'origin') ids.push(pathwayOf(target));
  ids.push(ORIGIN_PATHWAY_ID);
  return ids;
}

function refuse(
  status: PlayRefusal['status'],
  error: PlayRefusal['error'],
  message: string,
  problems: readonly string[] = [],
): PlayRefusal {
  return { kind: 'refused', status, error, message, problems };
}
