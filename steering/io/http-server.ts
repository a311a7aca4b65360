/**
 * The HTTP face: play requests of the playback service, steering manifests of players, status and metrics of operators.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { isLoopback, parseAddress } from '#base/address.ts';
import { codeOf, messageOf } from '#base/outcome.ts';
import type { ServiceRole, ServiceToken } from '#control-plane/contract.ts';
import {
  checkExplainRequest,
  checkPlayRequest,
  STEERING_CONTENT_TYPE,
  type ExplainRequest,
} from '../contract.ts';
import type { Explanation } from '../explain.ts';
import type { PlayRefusal } from '../answer.ts';
import { parseHints, type PlayerHints } from '../content-steering.ts';
import type { PlayRequest, SteeringManifest } from '../contract.ts';

export interface HttpFace {
  readonly serviceTokens: readonly ServiceToken[];
  readonly isOpenAdmin: boolean; // bound to loopback: status and metrics need no token
  /** The answer as JSON text; null before the first snapshot. */
  play(request: PlayRequest): string | Promise<string> | PlayRefusal | null;
  explain(request: ExplainRequest): Explanation | PlayRefusal | 'not-ready';
  steer(
    kind: 'hls' | 'dash',
    blob: string,
    caller: Uint8Array | null,
    hints: PlayerHints,
  ): SteeringManifest;
  status(): unknown;
  metrics(): Promise<{ readonly text: string; readonly contentType: string }>;
}

const BODY_BYTES_MAX = 64 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;

export function createHttpServer(face: HttpFace): FastifyInstance {
  const app = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    http: { maxHeaderSize: HEADER_BYTES_MAX },
    routerOptions: { maxParamLength: 2048 },
    requestTimeout: 10_000,
    forceCloseConnections: true,
  });
  app.setErrorHandler((thrown, _request, reply) => {
    const status = statusOf(thrown);
    if (status >= 500) throw thrown;
    return reply.code(status).send({ error: 'invalid', message: messageOf(thrown), problems: [] });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: 'no-such-page',
      message: `${request.method} ${request.url.slice(0, 200)}: steering answers POST /v1/play, POST /v1/explain, GET /v1/hls/:session, GET /v1/dash/:session, GET /status, GET /metrics`,
      problems: [],
    }),
  );
  addPlay(app, face);
  addContentSteering(app, face);
  addAdmin(app, face);
  return app;
}

function addPlay(app: FastifyInstance, face: HttpFace): void {
  app.post('/v1/play', async (request, reply) => {
    if (!mayCall(face.serviceTokens, request, 'playback')) return unauthorised(reply, 'playback');
    const checked = checkPlayRequest(request.body);
    if (!checked.ok) return invalid(reply, checked.failure);
    const answer = await face.play(checked.value);
    if (answer === null) return notReady(reply);
    if (typeof answer !== 'string') return refused(reply, answer);
    return reply
      .header('cache-control', 'no-store')
      .type('application/json; charset=utf-8')
      .send(answer);
  });
  app.post('/v1/explain', (request, reply) => {
    if (!mayCall(face.serviceTokens, request, 'operator')) return unauthorised(reply, 'operator');
    const checked = checkExplainRequest(request.body);
    if (!checked.ok) return invalid(reply, checked.failure);
    const answer = face.explain(checked.value);
    if (answer === 'not-ready') return notReady(reply);
    if (answer.kind === 'refused') return refused(reply, answer);
    return reply.header('cache-control', 'no-store').send(answer);
  });
}

function invalid(reply: FastifyReply, problems: readonly string[]): FastifyReply {
  return reply.code(400).send({ error: 'invalid', message: 'the request is not valid', problems });
}

function notReady(reply: FastifyReply): FastifyReply {
  return reply.code(503).header('retry-after', '1').send({
    error: 'not-ready',
    message:
      'no fleet snapshot yet: the control plane has not been reached since this node was set up',
    problems: [],
  });
}

function refused(
  reply: FastifyReply,
  { status, error, message, problems }: PlayRefusal,
): FastifyReply {
  return reply.code(status).send({ error, message, problems });
}

function addContentSteering(app: FastifyInstance, face: HttpFace): void {
  for (const kind of ['hls', 'dash'] as const) {
    app.get<{ Params: { blob: string } }>(`/v1/${kind}/:blob`, (request, reply) => {
      const query = request.url.indexOf('?');
      const hints = parseHints(query === -1 ? '' : request.url.slice(query + 1));
      const caller = parseAddress(request.ip);
      const body = face.steer(kind, request.params.blob, caller, hints);
      return playerHeaders(reply).type(STEERING_CONTENT_TYPE).send(JSON.stringify(body));
    });
    app.options(`/v1/${kind}/:blob`, (_request, reply) =>
      playerHeaders(reply)
        .header('access-control-allow-methods', 'GET, HEAD, OPTIONS')
        .header(
          'access-control-allow-headers',
          'CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status, Range',
        )
        .header('access-control-max-age', '86400')
        .code(204)
        .send(),
    );
  }
}

function playerHeaders(reply: FastifyReply): FastifyReply {
  return reply
    .header('cache-control', 'no-store')
    .header('access-control-allow-origin', '*')
    .header('access-control-expose-headers', 'Retry-After')
    .header('timing-allow-origin', '*');
}

function addAdmin(app: FastifyInstance, face: HttpFace): void {
  const mayLook = (request: FastifyRequest): boolean =>
    (face.isOpenAdmin && isLoopback(request.ip)) ||
    mayCall(face.serviceTokens, request, 'operator');
  app.get('/status', (request, reply) =>
    mayLook(request)
      ? reply.header('cache-control', 'no-store').send(face.status())
      : unauthorised(reply, 'operator'),
  );
  app.get('/metrics', async (request, reply) => {
    if (!mayLook(request)) return unauthorised(reply, 'operator');
    const { text, contentType } = await face.metrics();
    return reply.header('content-type', contentType).send(text);
  });
}

function unauthorised(reply: FastifyReply, role: ServiceRole): FastifyReply {
  return reply
    .code(401)
    .header('www-authenticate', 'Bearer')
    .send({
      error: 'unauthorised',
      message: `this needs "Authorization: Bearer <token>" with a service token of role "${role}"`,
      problems: [],
    });
}

/** Compares digests in constant time, and all of them, so that time tells nothing. */
function mayCall(
  tokens: readonly ServiceToken[],
  request: FastifyRequest,
  role: ServiceRole,
): boolean {
  const header = request.headers.authorization ?? '';
  if (!header.startsWith('Bearer ')) return false;
  const digest = createHash('sha256').update(header.slice('Bearer '.length)).digest();
  let fits = false;
  for (const token of tokens) {
    const isIt = timingSafeEqual(digest, Buffer.from(token.sha256, 'base64url'));
    if (isIt && token.role === role) fits = true;
  }
  return fits;
}

function statusOf(thrown: unknown): number {
  const status =
    typeof thrown === 'object' && thrown !== null && 'statusCode' in thrown
      ? Number(thrown.statusCode)
      : 500;
  return codeOf(thrown).startsWith('FST_') || status < 500 ? status : 500;
}
