/**
 * The reference playback service: HLS and DASH manifests whose every URL steering ranked and signed.
 *
 *   GET /play/<titleId>/master.m3u8, /play/<titleId>/manifest.mpd    start a viewing
 *   GET /hls/<session>/<pathwayId>/<fileId>.m3u8?title=<titleId>     one file on one appliance
 *   GET /play/<titleId>.json                                         {play, listing}: for clients that play no video
 *
 * The client's address is the socket's; `?client=` is taken from loopback callers only. A 502 says that a neighbour is
 * gone, never that the title is: players retry it, and nothing caches it.
 */
import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { isLoopback, parseAddress } from '#base/address.ts';
import type { Logger } from '#base/log.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import { PLAY_FILES_MAX } from '#steering/contract.ts';
import type { PlaybackConfig } from '../config.ts';
import { FILE_ID, TITLE_ID, type FileEntry } from '../contract.ts';
import { mpd } from '../playback/dash.ts';
import { mediaPlaylist, multivariantPlaylist } from '../playback/hls.ts';
import {
  commonPathways,
  durationSecondsOf,
  type Presentation,
  type Rendition,
} from '../playback/presentation.ts';
import { Sessions, urlOn, type Viewing } from '../playback/sessions.ts';
import type { PlaybackSources } from './playback-sources.ts';

const SESSION = /^[A-Za-z0-9_-]{1,64}$/;
const PATHWAYS_MAX = 4;
const GZIP_BYTES_MIN = 512;
const HLS_TYPE = 'application/vnd.apple.mpegurl';
const DASH_TYPE = 'application/dash+xml';

const STATUS_OF: Readonly<Record<string, number>> = {
  'bad-request': 400,
  'not-available': 403,
  'unknown-title': 404,
  'unknown-file': 404,
  'not-playable': 422,
};

interface Asked {
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly query: Readonly<Record<string, string | undefined>>;
}

export function createPlaybackServer(deps: {
  readonly config: PlaybackConfig;
  readonly sources: PlaybackSources;
  readonly log: Logger;
}): FastifyInstance {
  const { config, sources, log } = deps;
  const sessions = new Sessions({
    most: config.sessionsMax,
    ttlMs: config.sessionTtlSeconds * 1000,
  });
  const server = Fastify({ logger: false, routerOptions: { maxParamLength: 128 } });

  server.addHook('onSend', (_request, reply, payload, done) => {
    void reply.header('access-control-allow-origin', '*').header('cache-control', 'no-store');
    done(null, payload);
  });

  server.get('/play/:titleId(^[A-Za-z0-9_-]+).json', async (request, reply) => {
    const viewing = await begin(request);
    if (!viewing.ok) return refuse(reply, viewing.failure);
    const { answer, listing } = viewing.value;
    return send(request, reply, 'application/json', JSON.stringify({ play: answer, listing }));
  });

  server.get('/play/:titleId/master.m3u8', async (request, reply) => {
    const viewing = await begin(request);
    if (!viewing.ok) return refuse(reply, viewing.failure);
    const presentation = await present(viewing.value);
    if (!presentation.ok) return refuse(reply, presentation.failure);
    const text = multivariantPlaylist({
      presentation: presentation.value,
      pathways: commonPathways(playableFiles(viewing.value), PATHWAYS_MAX),
      steeringUri: viewing.value.answer.steering.hls,
      mediaPlaylistUrl: (pathwayId, fileId) => playlistUrl(viewing.value, pathwayId, fileId),
    });
    return send(request, reply, HLS_TYPE, text);
  });

  server.get('/play/:titleId/manifest.mpd', async (request, reply) => {
    const viewing = await begin(request);
    if (!viewing.ok) return refuse(reply, viewing.failure);
    const presentation = await present(viewing.value);
    if (!presentation.ok) return refuse(reply, presentation.failure);
    const files = playableFiles(viewing.value);
    const directoryOn = (pathwayId: string): string => {
      const url = urlOn(viewing.value, pathwayId, files[0].fileId) ?? '';
      return url.slice(0, url.lastIndexOf('/') + 1);
    };
    const text = mpd({
      presentation: presentation.value,
      pathways: commonPathways(files, PATHWAYS_MAX).map((pathwayId) => ({
        pathwayId,
        directoryUrl: directoryOn(pathwayId),
      })),
      steeringUri: viewing.value.answer.steering.dash,
    });
    return send(request, reply, DASH_TYPE, text);
  });

  server.get('/hls/:session/:pathwayId/:fileId(^[A-Za-z0-9_-]+).m3u8', async (request, reply) => {
    const { params } = askedOf(request);
    const viewing = await resume(request);
    if (!viewing.ok) return refuse(reply, viewing.failure);
    const fileId = params['fileId'] ?? '';
    const pathwayId = params['pathwayId'] ?? '';
    const url = urlOn(viewing.value, pathwayId, fileId);
    const file = viewing.value.listing.files.find((one) => one.fileId === fileId);
    if (url === null || file === undefined) {
      const what = `${pathwayId} is no pathway of file ${fileId} in this session; load the multivariant playlist again`;
      return refuse(reply, problem('unknown-file', what));
    }
    const rendition = await renditionOf(viewing.value, file);
    if (!rendition.ok) return refuse(reply, rendition.failure);
    return send(request, reply, HLS_TYPE, mediaPlaylist(rendition.value, url));
  });

  /** A new viewing: a listing, a session id, an answer of steering. */
  async function begin(request: FastifyRequest): Promise<Outcome<Viewing>> {
    const titleId = askedOf(request).params['titleId'] ?? '';
    return ask(request, titleId, randomBytes(12).toString('base64url'));
  }

  /** The viewing that a playlist URL names; asked again where it was forgotten. */
  async function resume(request: FastifyRequest): Promise<Outcome<Viewing>> {
    const { params, query } = askedOf(request);
    const session = params['session'] ?? '';
    const titleId = query['title'] ?? '';
    if (
      !SESSION.test(session) ||
      !TITLE_ID.test(titleId) ||
      !FILE_ID.test(params['fileId'] ?? '')
    ) {
      const what = 'a media playlist is /hls/<session>/<pathwayId>/<fileId>.m3u8?title=<titleId>';
      return failed(problem('bad-request', what));
    }
    const known = sessions.find(session, titleId);
    return known === null ? ask(request, titleId, session) : success(known);
  }

  async function ask(
    request: FastifyRequest,
    titleId: string,
    session: string,
  ): Promise<Outcome<Viewing>> {
    const client = clientAddressOf(request);
    if (!client.ok) return client;
    if (!TITLE_ID.test(titleId))
      return failed(problem('unknown-title', `"${titleId}" is no title id`));
    const listing = await sources.listing(titleId);
    if (!listing.ok) return listing;
    const country = askedOf(request).query['country'];
    if (country !== undefined && !/^[A-Z]{2}$/.test(country)) {
      return failed(problem('bad-request', `country "${country}" is not two capital letters`));
    }
    const play = {
      titleId,
      fileIds: listing.value.files.slice(0, PLAY_FILES_MAX).map((file) => file.fileId),
      clientAddress: client.value,
      session,
      playlistTemplate: `${config.publicUrl}/hls/${session}/{applianceId}/{fileId}.m3u8?title=${titleId}`,
      ...(country === undefined ? {} : { country }),
    };
    const answer = await sources.play(play);
    if (!answer.ok) return answer;
    const viewing = { request: play, answer: answer.value, listing: listing.value };
    sessions.keep(viewing);
    return success(viewing);
  }

  async function present(viewing: Viewing): Promise<Outcome<Presentation>> {
    const { listing } = viewing;
    const renditions: Rendition[] = [];
    for (const file of listing.files.filter(isPlayable)) {
      const rendition = await renditionOf(viewing, file);
      if (!rendition.ok) return rendition;
      renditions.push(rendition.value);
    }
    if (renditions.length === 0) {
      const what = `title ${listing.titleId} (${listing.kind}) has no video or audio file; /play/${listing.titleId}.json has its URLs`;
      return failed(problem('not-playable', what));
    }
    const byBitrate = (a: Rendition, b: Rendition): number =>
      (a.file.bitrateBps ?? 0) - (b.file.bitrateBps ?? 0);
    return success({
      titleId: listing.titleId,
      durationSeconds: Math.max(...renditions.map(({ index }) => durationSecondsOf(index))),
      video: renditions.filter(({ file }) => file.kind === 'video').sort(byBitrate),
      audio: renditions.filter(({ file }) => file.kind === 'audio').sort(byBitrate),
    });
  }

  async function renditionOf(viewing: Viewing, file: FileEntry): Promise<Outcome<Rendition>> {
    const urls = viewing.answer.files.find((one) => one.fileId === file.fileId)?.urls ?? [];
    const index = await sources.index(file, urls);
    return index.ok ? success({ file, index: index.value }) : index;
  }

  function playlistUrl({ request, listing }: Viewing, pathwayId: string, fileId: string): string {
    const client = encodeURIComponent(request.clientAddress);
    return `${config.publicUrl}/hls/${request.session}/${pathwayId}/${fileId}.m3u8?title=${listing.titleId}&client=${client}`;
  }

  function refuse(reply: FastifyReply, failure: Failure): FastifyReply {
    const status = STATUS_OF[failure.code] ?? 502;
    if (status === 502)
      log.warn({ code: failure.code, detail: failure.detail }, 'a viewing could not be answered');
    return reply.code(status).send({ error: failure.code, message: failure.detail });
  }

  return server;
}

function playableFiles(viewing: Viewing): Viewing['answer']['files'] {
  const playable = new Set(viewing.listing.files.filter(isPlayable).map((file) => file.fileId));
  return viewing.answer.files.filter((file) => playable.has(file.fileId));
}

function isPlayable(file: FileEntry): boolean {
  return (file.kind === 'video' || file.kind === 'audio') && file.index !== undefined;
}

function clientAddressOf(request: FastifyRequest): Outcome<string> {
  const given = askedOf(request).query['client'];
  const peer = request.ip;
  if (given === undefined || !isLoopback(peer)) return success(peer);
  if (parseAddress(given) === null) {
    return failed(problem('bad-request', `client "${given}" is no IPv4 or IPv6 address`));
  }
  return success(given);
}

function askedOf(request: FastifyRequest): Asked {
  return { params: request.params as Asked['params'], query: request.query as Asked['query'] };
}

function send(
  request: FastifyRequest,
  reply: FastifyReply,
  type: string,
  text: string,
): FastifyReply {
  void reply.type(type).header('vary', 'accept-encoding');
  const takesGzip = /\bgzip\b/.test(request.headers['accept-encoding'] ?? '');
  if (!takesGzip || text.length < GZIP_BYTES_MIN) return reply.send(text);
  return reply.header('content-encoding', 'gzip').send(gzipSync(text));
}

function problem(code: string, detail: string): Failure {
  return { code, source: 'downstream', retry: 'never', detail };
}
