/**
 * The reference playback service: HLS and DASH manifests whose every URL steering ranked and signed.
 *
 *   GET /play/<titleId>/master.m3u8, /play/<titleId>/manifest.mpd     start a viewing
 *   GET /hls/<session>/<pathwayId>/<fileId>.m3u8?title=<titleId>      one file on one box
 *   GET /play/<titleId>.json[?files=<fileId>,...]                     {session, play, listing}: for clients that play no video
 *
 * The viewer's address is the socket's. `?client=` and `?country=` stand in for it, for callers on loopback only.
 *
 * Errors: JSON {error, message}. 400 and 403 the caller's, 404 not there, 422 nothing to stream, and 502 when a neighbour
 *         is gone: this is a gateway to steering, the title is fine, and players ask for a manifest again on any 5xx (the
 *         rule "never 503" is for bytes, where a player would wait instead of leaving for the next box)
 */
import { randomBytes } from 'node:crypto';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { formatAddress, isLoopback, parseAddress } from '#base/address.ts';
import type { Clock } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { failed, messageOf, success, type Outcome } from '#base/outcome.ts';
import { SECOND_MS } from '#base/units.ts';
import { PLAY_FILES_MAX, type PlayRequest } from '#steering/contract.ts';
import type { PlaybackConfig } from '../config.ts';
import { FILE_ID, TITLE_ID, type FileId, type TitleListing } from '../contract.ts';
import { DASH_CONTENT_TYPE, mediaPresentation } from '../playback/dash.ts';
import { HLS_CONTENT_TYPE, mediaPlaylist, multivariantPlaylist } from '../playback/hls.ts';
import { SESSION_ID, Sessions, type Viewing } from '../playback/sessions.ts';
import { tracksOf, type Tracks } from '../playback/tracks.ts';
import { IndexReader } from './index-reader.ts';
import { problem, refuseManifest, sendManifest, type Manifest } from './playback-answer.ts';
import { PlaybackListings } from './playback-listings.ts';
import { ReleaseGate } from './release-gate.ts';
import { SteeringClient } from './steering-client.ts';

const HEADER_BYTES_MAX = 16 * 1024;
const BODY_BYTES_MAX = 1024; // nothing here takes a body
const REQUEST_TIMEOUT_MS = 10_000;
const PARAMETER_CHARACTERS_MAX = 128;
/** A player that asks for a pathway of a newer steering answer makes this service ask again, at most this often per session. */
const ASK_AGAIN_MS = 2000;

export interface PlaybackDeps {
  readonly config: PlaybackConfig;
  readonly clock: Clock;
  readonly log: Logger;
}

type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

/** Who watches: the address, and what of it the caller said instead of the socket (the playlists' URLs repeat that). */
interface Viewer {
  readonly address: string;
  readonly country: string | null;
  readonly said: string; // "", or "&client=..." and "&country=..."
}

export function createPlaybackServer(deps: PlaybackDeps): FastifyInstance {
  const { config, log } = deps;
  const service = new Playback(deps);
  const server = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: true,
    http: { maxHeaderSize: HEADER_BYTES_MAX },
    routerOptions: { maxParamLength: PARAMETER_CHARACTERS_MAX },
  });
  server.addHook('onRequest', async (_request, reply) => {
    void reply
      .header('access-control-allow-origin', '*')
      .header('timing-allow-origin', '*')
      .header('cache-control', 'no-store');
  });
  server.addHook('onListen', () => service.start());
  server.addHook('onClose', () => service.close());
  const answers = (make: (request: FastifyRequest) => Promise<Outcome<Manifest>>) => {
    return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      const made = await make(request);
      return made.ok
        ? sendManifest(request, reply, made.value)
        : refuseManifest(reply, made.failure, log);
    };
  };
  server.get(
    '/play/:titleId/master.m3u8',
    answers((request) => service.multivariant(request)),
  );
  server.get(
    '/play/:titleId/manifest.mpd',
    answers((request) => service.mpd(request)),
  );
  server.get(
    '/play/:name',
    answers((request) => service.json(request)),
  );
  server.get(
    '/hls/:session/:pathwayId/:name',
    answers((request) => service.media(request)),
  );
  server.get('/healthz', (_request, reply) => reply.send({ ok: true }));
  server.options('/*', (_request, reply) =>
    reply
      .header('access-control-allow-methods', 'GET, HEAD, OPTIONS')
      .header(
        'access-control-allow-headers',
        'CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, Range',
      )
      .header('access-control-max-age', '86400')
      .code(204)
      .send(),
  );
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: 'no-such-page',
      message: `${request.method} ${request.url.slice(0, 200)}: this service answers ${config.publicUrl}/play/<titleId>/master.m3u8, /play/<titleId>/manifest.mpd and /play/<titleId>.json`,
    }),
  );
  server.setErrorHandler((thrown, _request, reply) => {
    const status = (thrown as { statusCode?: number }).statusCode ?? 500;
    if (status >= 500) log.error({ event: 'request-failed', why: messageOf(thrown) }, 'a bug');
    return reply.code(status).send({ error: 'invalid', message: messageOf(thrown) });
  });
  return server;
}

class Playback {
  readonly #config: PlaybackConfig;
  readonly #clock: Clock;
  readonly #listings: PlaybackListings;
  readonly #releases: ReleaseGate;
  readonly #steering: SteeringClient;
  readonly #indexes: IndexReader;
  readonly #sessions: Sessions;

  constructor({ config, clock, log }: PlaybackDeps) {
    this.#config = config;
    this.#clock = clock;
    const { controlPlaneUrl, stateDir, listingMaxAgeMs } = config;
    this.#listings = new PlaybackListings({ controlPlaneUrl, stateDir, maxAgeMs: listingMaxAgeMs, clock, log }); // prettier-ignore
    this.#releases = new ReleaseGate({ controlPlaneUrl, policy: config.releasePolicy, clock, log });
    this.#steering = new SteeringClient(config.steeringUrl, config.steeringToken);
    this.#indexes = new IndexReader(config.indexesMax);
    const limits = { most: config.sessionsMax, ttlMs: config.sessionTtlSeconds * SECOND_MS };
    this.#sessions = new Sessions(limits, clock);
  }

  start(): void {
    this.#listings.start();
  }

  close(): Promise<void> {
    this.#listings.stop();
    return this.#indexes.close();
  }

  async multivariant(request: FastifyRequest): Promise<Outcome<Manifest>> {
    const begun = await this.#begin(request);
    if (!begun.ok) return begun;
    const { tracks, viewer, viewing } = begun.value;
    const { publicUrl } = this.#config;
    const { session, listing, pathways, answer } = viewing;
    const text = multivariantPlaylist({
      tracks,
      pathways,
      steeringUrl: answer.steering.hls,
      playlistUrl: (pathwayId, fileId) =>
        `${publicUrl}/hls/${session}/${pathwayId}/${fileId}.m3u8?title=${listing.titleId}${viewer.said}`,
    });
    return success({ contentType: HLS_CONTENT_TYPE, text });
  }

  async mpd(request: FastifyRequest): Promise<Outcome<Manifest>> {
    const begun = await this.#begin(request);
    if (!begun.ok) return begun;
    const { tracks, viewing } = begun.value;
    const { answer, listing, pathways } = viewing;
    const text = mediaPresentation({
      durationSeconds: listing.durationSeconds,
      tracks,
      pathways,
      steeringUrl: answer.steering.dash,
    });
    return success({ contentType: DASH_CONTENT_TYPE, text });
  }

  /** The raw answer, for clients that play no video: of the files that they name, or of the first ones. */
  async json(request: FastifyRequest): Promise<Outcome<Manifest>> {
    const name = parameter(request, 'name');
    if (!name.endsWith('.json')) {
      return failed(problem('unknown-title', `nothing is served at /play/${name}`));
    }
    const titleId = name.slice(0, -'.json'.length);
    const viewer = viewerOf(request);
    if (!viewer.ok) return viewer;
    const listing = await this.#listing(titleId);
    if (!listing.ok) return listing;
    const fileIds = wantedFiles(request, listing.value);
    if (!fileIds.ok) return fileIds;
    const viewing = await this.#ask(newSession(), listing.value, fileIds.value, viewer.value);
    if (!viewing.ok) return viewing;
    const { session, answer } = viewing.value;
    const text = JSON.stringify({ session, play: answer, listing: listing.value });
    return success({ contentType: 'application/json', text });
  }

  async media(request: FastifyRequest): Promise<Outcome<Manifest>> {
    const session = parameter(request, 'session');
    const pathwayId = parameter(request, 'pathwayId');
    const name = parameter(request, 'name');
    const fileId = name.endsWith('.m3u8') ? name.slice(0, -'.m3u8'.length) : '';
    if (!SESSION_ID.test(session) || !FILE_ID.test(fileId)) {
      const words =
        'a media playlist is /hls/<session>/<pathwayId>/<fileId>.m3u8?title=<titleId>, as the multivariant playlist writes it';
      return failed(problem('bad-request', words));
    }
    const found = await this.#resume(request, session, pathwayId);
    if (!found.ok) return found;
    const { answer, listing, pathways } = found.value;
    const tracks = streamable(listing);
    if (!tracks.ok) return tracks;
    const { video, audio } = tracks.value;
    const file = [...video, ...audio].find((candidate) => candidate.fileId === fileId);
    const url = pathways.find((pathway) => pathway.pathwayId === pathwayId)?.urls.get(fileId);
    if (file === undefined || url === undefined) {
      const words = `${pathwayId} is no pathway of file ${fileId} in this session: load the multivariant playlist again`;
      return failed(problem('unknown-file', words));
    }
    const ranked = answer.files.find((candidate) => candidate.fileId === fileId);
    const index = await this.#indexes.read(file, ranked?.urls ?? []);
    if (!index.ok) return index;
    return success({ contentType: HLS_CONTENT_TYPE, text: mediaPlaylist(file, index.value, url) });
  }

  /** A new viewing of something that streams. */
  async #begin(
    request: FastifyRequest,
  ): Promise<Outcome<{ viewing: Viewing; tracks: Tracks; viewer: Viewer }>> {
    const viewer = viewerOf(request);
    if (!viewer.ok) return viewer;
    const listing = await this.#listing(parameter(request, 'titleId'));
    if (!listing.ok) return listing;
    const tracks = streamable(listing.value);
    if (!tracks.ok) return tracks;
    const fileIds = fileIdsOf(tracks.value);
    const viewing = await this.#ask(newSession(), listing.value, fileIds, viewer.value);
    if (!viewing.ok) return viewing;
    return success({ viewing: viewing.value, tracks: tracks.value, viewer: viewer.value });
  }

  /** The viewing that a playlist's URL names. Forgotten, or of an older answer than the pathway: steering is asked again. */
  async #resume(
    request: FastifyRequest,
    session: string,
    pathwayId: string,
  ): Promise<Outcome<Viewing>> {
    const titleId = queryOf(request, 'title');
    const known = this.#sessions.find(session);
    const isOfTitle = known !== null && (titleId === null || known.listing.titleId === titleId);
    if (isOfTitle) {
      const hasPathway = known.pathways.some((pathway) => pathway.pathwayId === pathwayId);
      const isFresh = this.#clock.monotonicMs() - known.askedAtMs < ASK_AGAIN_MS;
      if (hasPathway || isFresh) return success(known);
    }
    if (titleId === null) {
      const words =
        'this session is not known here (any more) and the URL does not say its title: load the multivariant playlist again';
      return failed(problem('unknown-session', words));
    }
    const viewer = viewerOf(request);
    if (!viewer.ok) return viewer;
    const listing = await this.#listing(titleId);
    if (!listing.ok) return listing;
    const tracks = streamable(listing.value);
    if (!tracks.ok) return tracks;
    return this.#ask(session, listing.value, fileIdsOf(tracks.value), viewer.value);
  }

  async #listing(titleId: string): Promise<Outcome<TitleListing>> {
    if (!TITLE_ID.test(titleId)) {
      return failed(problem('unknown-title', `"${titleId}" is no title id`));
    }
    const listing = await this.#listings.listing(titleId);
    if (!listing.ok) return listing;
    const refusal = await this.#releases.refusal(listing.value);
    return refusal === null ? listing : failed(problem('not-released', refusal));
  }

  async #ask(
    session: string,
    listing: TitleListing,
    fileIds: readonly FileId[],
    viewer: Viewer,
  ): Promise<Outcome<Viewing>> {
    const { titleId } = listing;
    const ask: PlayRequest = {
      titleId,
      fileIds: [...fileIds],
      clientAddress: viewer.address,
      session,
      playlistTemplate: `${this.#config.publicUrl}/hls/${session}/{applianceId}/{fileId}.m3u8?title=${titleId}${viewer.said}`,
      ...(viewer.country === null ? {} : { country: viewer.country }),
    };
    const answer = await this.#steering.play(ask);
    return answer.ok ? success(this.#sessions.keep(session, listing, answer.value)) : answer;
  }
}

function streamable(listing: TitleListing): Outcome<Tracks> {
  const tracks = tracksOf(listing);
  if (typeof tracks !== 'string') return success(tracks);
  const why =
    tracks === 'opaque'
      ? 'it is opaque bytes, no video'
      : 'none of its files is video or audio with a segment index';
  const words = `title ${listing.titleId} cannot be streamed: ${why}. /play/${listing.titleId}.json has the URLs of its files`;
  return failed(problem('not-streamable', words));
}

function fileIdsOf({ video, audio }: Tracks): readonly FileId[] {
  return [...video, ...audio].map(({ fileId }) => fileId);
}

function wantedFiles(request: FastifyRequest, listing: TitleListing): Outcome<readonly FileId[]> {
  const wanted = queryOf(request, 'files');
  if (wanted === null) {
    return success(listing.files.slice(0, PLAY_FILES_MAX).map(({ fileId }) => fileId));
  }
  const fileIds = wanted.split(',');
  if (fileIds.length > PLAY_FILES_MAX || !fileIds.every((fileId) => FILE_ID.test(fileId))) {
    const words = `files= takes 1 to ${PLAY_FILES_MAX} file ids, separated by commas`;
    return failed(problem('bad-request', words));
  }
  return success(fileIds);
}

function viewerOf(request: FastifyRequest): Outcome<Viewer> {
  const socketAddress = parseAddress(request.socket.remoteAddress ?? '');
  const own = socketAddress === null ? '' : formatAddress(socketAddress);
  const client = queryOf(request, 'client');
  const country = queryOf(request, 'country');
  if (client === null && country === null) {
    return success({ address: own, country: null, said: '' });
  }
  if (!isLoopback(own)) {
    const words = `client= and country= are taken from callers on loopback only, not from ${own}`;
    return failed(problem('client-not-allowed', words));
  }
  const given = client === null ? socketAddress : parseAddress(client);
  if (given === null) {
    return failed(problem('bad-request', `client=${client} is no IPv4 or IPv6 address`));
  }
  if (country !== null && !/^[A-Z]{2}$/.test(country)) {
    return failed(problem('bad-request', `country=${country} is not two capital letters`));
  }
  const said =
    (client === null ? '' : `&client=${encodeURIComponent(client)}`) +
    (country === null ? '' : `&country=${country}`);
  return success({ address: formatAddress(given), country, said });
}

function newSession(): string {
  return randomBytes(16).toString('base64url');
}

function parameter(request: FastifyRequest, name: string): string {
  return (request.params as Readonly<Record<string, string>>)[name] ?? '';
}

/** A query field; where it stands several times the first one counts. */
function queryOf(request: FastifyRequest, name: string): string | null {
  const value = (request.query as Query)[name];
  return (typeof value === 'string' ? value : value?.[0]) ?? null;
}
