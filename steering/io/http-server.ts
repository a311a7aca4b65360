/**
 * The HTTP face: play requests of the playback service, steering manifests of players, status and metrics of operators.
 */
import http from 'node:http';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { isLoopback, parseAddress } from '#base/address.ts';
import type { Milliseconds } from '#base/clock.ts';
import { codeOf, messageOf } from '#base/outcome.ts';
import type { ServiceToken } from '#control-plane/contract.ts';
import type { PlayRefusal } from '../answer.ts';
import type { CallBudget } from '../call-budget.ts';
import { parseHints, type PlayerHints } from '../content-steering.ts';
import {
  checkPlayerReport,
  STEERING_CONTENT_TYPE,
  type ExplainRequest,
  type PlayerReportMessage,
  type PlayRequest,
  type SteeringManifest,
} from '../contract.ts';
import type { Explanation } from '../explain.ts';
import { PlayLane } from './play-lane.ts';
import {
  addPlayRoutes,
  callerOf,
  failedReply,
  invalid,
  PLAY_PATH,
  playReply,
  unauthorised,
} from './play-routes.ts';

export interface HttpFace {
  readonly serviceTokens: readonly ServiceToken[];
  readonly isOpenAdmin: boolean; // bound to loopback: status and metrics need no token
  readonly playBudget: CallBudget; // by service token
  nowMs(): Milliseconds; // monotonic
  onLimited(): void;
  /** Whether a player's report counts. */
  report(message: PlayerReportMessage): Promise<boolean>;
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
const REPORT_BYTES_MAX = 8 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;

export function createHttpServer(face: HttpFace): FastifyInstance {
  const lanes: PlayLane[] = [];
  const app = Fastify({
    bodyLimit: BODY_BYTES_MAX,
    serverFactory: (answer) => {
      const options = { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS };
      const server = http.createServer(options, answer);
      lanes.push(layLane(server, face));
      return server;
    },
    routerOptions: { maxParamLength: 2048 },
    forceCloseConnections: true,
  });
  app.addHook('preClose', (done) => {
    for (const lane of lanes) lane.close();
    done();
  });
  app.setErrorHandler((thrown, _request, reply) => {
    const status = statusOf(thrown);
    if (status >= 500) throw thrown;
    return reply.code(status).send({ error: 'invalid', message: messageOf(thrown), problems: [] });
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: 'no-such-page',
      message: `${request.method} ${request.url.slice(0, 200)}: steering answers POST /v1/play, POST /v1/play/batch, POST /v1/explain, POST /v1/reports, GET /v1/openapi.json, GET /v1/hls/:session, GET /v1/dash/:session, GET /status, GET /metrics`,
      problems: [],
    }),
  );
  addPlayRoutes(app, face);
  addContentSteering(app, face);
  addReports(app, face);
  addAdmin(app, face);
  return app;
}

function layLane(server: http.Server, face: HttpFace): PlayLane {
  return new PlayLane(server, {
    path: PLAY_PATH,
    bodyBytesMax: BODY_BYTES_MAX,
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    answer: (authorization, read) => playReply(face, authorization, read),
    fail: failedReply,
  });
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

/** Players tell nobody else: the answer is the same whether their word counts or not. */
function addReports(app: FastifyInstance, face: HttpFace): void {
  app.post('/v1/reports', { bodyLimit: REPORT_BYTES_MAX }, async (request, reply) => {
    const checked = checkPlayerReport(request.body);
    if (!checked.ok) return invalid(playerHeaders(reply), checked.failure);
    await face.report(checked.value);
    return playerHeaders(reply).code(204).send();
  });
  app.options('/v1/reports', (_request, reply) =>
    playerHeaders(reply)
      .header('access-control-allow-methods', 'POST, OPTIONS')
      .header('access-control-allow-headers', 'Content-Type')
      .header('access-control-max-age', '86400')
      .code(204)
      .send(),
  );
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
    callerOf(face.serviceTokens, request, 'operator') !== null;
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

function statusOf(thrown: unknown): number {
  const status =
    typeof thrown === 'object' && thrown !== null && 'statusCode' in thrown
      ? Number(thrown.statusCode)
      : 500;
  return codeOf(thrown).startsWith('FST_') || status < 500 ? status : 500;
}
