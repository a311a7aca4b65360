/**
 * One play request: who gets the viewer, file by file, or why nobody may.
 *
 * Shape:      decidePlay(world, request) -> PlayDecision | PlayRefusal; pure: tokens and URLs are made from the decision
 * Errors:     a refusal names all that is wrong, with the status code that carries it
 * Invariants: (1) the same world and request give the same decision
 *             (2) every file of an answer has at least one URL; the origin is in the last place of each
 *             (3) nothing is answered for a title that may not be shown in the client's country now
 */
import type { Reason } from '#appliance/contract.ts';
import { parseAddress } from '#base/address.ts';
import { HOME_UNKNOWN, ORIGIN_PATHWAY_ID, type ApplianceId } from '#control-plane/contract.ts';
import { isAvailable, signedContentUrl } from '#upstream/contract.ts';
import { candidatesFor, locate, type Candidates, type Place, type World } from './candidates.ts';
import { PLAY_FILES_MAX, type PlayAnswer, type PlayRequest, type PlayUrl } from './contract.ts';
import { hashText, type FleetTitle } from './fleet.ts';
import { rankFile, type Ranking, type Target } from './ranking.ts';
import { ASSIGNED_MAX, clientBlock, type Session } from './session-blob.ts';

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
  const place = locate(fleet, address, request.country ?? null);
  const refusal = availabilityRefusal(world, request, title, place);
  if (refusal !== null) return refusal;
  const fileIds = filesOf(title, request);
  const unknown = fileIds.filter((fileId) => !title.ordinalOf.has(fileId));
  if (unknown.length > 0) {
    return refuse(
      404,
      'unknown-file',
      `title ${request.titleId} has no such file`,
      unknown.map((fileId) => `file ${fileId} does not belong to title ${request.titleId}`),
    );
  }
  const candidates = candidatesFor(world, place);
  const sessionHash = hashText(request.session);
  const files = fileIds.map((fileId) => ({
    fileId,
    ranking: rankFile(world, candidates, {
      ordinal: title.ordinalOf.get(fileId) ?? 0,
      fileHash: hashText(fileId),
      sessionHash,
    }),
  }));
  return {
    kind: 'play',
    title,
    place,
    home: place.home === null ? HOME_UNKNOWN : fleet.clusters[place.home].clusterId,
    files,
    reasons: [...new Set(files.map(({ ranking }) => ranking.reason))],
    session: {
      session: request.session,
      client: clientBlock(address),
      country: request.country ?? null,
      titleId: request.titleId,
      assigned: pathwaysOf(files),
      snapshot: fleet.epochs.snapshot,
      issuedAtSeconds: Math.floor(world.load.frozenAtMs / 1000),
    },
    isDegraded: isDegraded(candidates),
    epochs: { ...fleet.epochs, load: world.load.epoch },
  };
}

/** The answer on the wire: URLs signed with the token of each file's reason. */
export function writeAnswer(
  world: World,
  decision: PlayDecision,
  tokens: ReadonlyMap<Reason, string>,
  steering: PlayAnswer['steering'],
  ttlSeconds: number,
): PlayAnswer {
  const { titleId } = decision.title.title;
  const originUrl = world.fleet.snapshot.origin.baseUrl;
  return {
    titleId,
    ttlSeconds,
    home: decision.home,
    epochs: decision.epochs,
    files: decision.files.map(({ fileId, ranking }) => {
      const token = tokens.get(ranking.reason) ?? '';
      const urlAt = (target: Target): PlayUrl => ({
        url: signedContentUrl(
          target.kind === 'origin' ? originUrl : target.appliance.baseUrl,
          token,
          titleId,
          fileId,
        ),
        pathwayId: pathwayOf(target),
        kind: target.kind,
      });
      return { fileId, reason: ranking.reason, urls: ranking.candidates.map(urlAt) };
    }),
    steering,
  };
}

/** What each first box will have to carry for this session: its share of the expected bitrate. */
export function expectedLoad(decision: PlayDecision): ReadonlyMap<ApplianceId, number> {
  const loads = new Map<ApplianceId, number>();
  const share = decision.title.expectedBps / decision.files.length;
  for (const { ranking } of decision.files) {
    const first = ranking.candidates[0];
    if (first.kind !== 'appliance') continue;
    const { applianceId } = first.appliance;
    loads.set(applianceId, (loads.get(applianceId) ?? 0) + share);
  }
  return loads;
}

export function pathwayOf(target: Target): string {
  return target.kind === 'origin' ? ORIGIN_PATHWAY_ID : target.appliance.applianceId;
}

/** A player comes back soon while its home is not well: nothing usable there, or not all of it. */
function isDegraded({ place, tiers, isHomeWell }: Candidates): boolean {
  if (place.home !== null) return !isHomeWell;
  return !tiers.some((tier) => tier.some(({ usability }) => usability === 'usable'));
}

function availabilityRefusal(
  world: World,
  request: PlayRequest,
  { title }: FleetTitle,
  place: Place,
): PlayRefusal | null {
  if (isAvailable(title.availability, place.country, world.load.frozenAtMs)) return null;
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

function filesOf({ title }: FleetTitle, request: PlayRequest): readonly string[] {
  if (request.fileIds !== undefined) return [...new Set(request.fileIds)];
  return title.files.slice(0, PLAY_FILES_MAX).map(({ fileId }) => fileId);
}

/** All pathways of an answer: by how many files they stand first for, then in order of appearance; the origin last. */
function pathwaysOf(files: PlayDecision['files']): readonly string[] {
  const firsts = new Map<string, number>();
  for (const { ranking } of files) {
    ranking.candidates.forEach((target, at) => {
      if (target.kind === 'origin') return;
      const id = pathwayOf(target);
      firsts.set(id, (firsts.get(id) ?? 0) + (at === 0 ? 1 : 0));
    });
  }
  const ids = [...firsts.keys()].sort((a, b) => (firsts.get(b) ?? 0) - (firsts.get(a) ?? 0));
  return [...ids.slice(0, ASSIGNED_MAX - 1), ORIGIN_PATHWAY_ID];
}

function refuse(
  status: PlayRefusal['status'],
  error: PlayRefusal['error'],
  message: string,
  problems: readonly string[] = [],
): PlayRefusal {
  return { kind: 'refused', status, error, message, problems };
}
