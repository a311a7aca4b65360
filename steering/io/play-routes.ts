/**
 * What playback services and operators ask: play requests, one or many, explanations, and the description of all of it.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Milliseconds } from '#base/clock.ts';
import { messageOf } from '#base/outcome.ts';
import type { ServiceRole, ServiceToken } from '#control-plane/contract.ts';
import type { PlayRefusal } from '../answer.ts';
import { checkExplainRequest, checkPlayBatch, checkPlayRequest } from '../contract.ts';
import { OPENAPI } from '../openapi.ts';
import type { HttpFace } from './http-server.ts';
import type { PlayReply } from './play-lane.ts';

const BATCH_BYTES_MAX = 4 * 1024 * 1024;

export const PLAY_PATH = '/v1/play';
const JSON_TYPE = 'application/json; charset=utf-8';

export function addPlayRoutes(app: FastifyInstance, face: HttpFace): void {
  app.post(PLAY_PATH, async (request, reply) => {
    return send(reply, await playReply(face, request.headers.authorization, () => request.body));
  });
  app.post('/v1/play/batch', { bodyLimit: BATCH_BYTES_MAX }, async (request, reply) => {
    const caller = callerOf(face.serviceTokens, request, 'playback');
    if (caller === null) return unauthorised(reply, 'playback');
    const checked = checkPlayBatch(request.body);
    if (!checked.ok) return invalid(reply, checked.failure);
    const { requests } = checked.value;
    const waitMs = face.playBudget.take(caller, requests.length, face.nowMs());
    if (waitMs > 0) return send(reply, limitedReply(face, waitMs));
    const answers = await Promise.all(requests.map((one) => Promise.resolve(face.play(one))));
    const texts: string[] = [];
    for (const answer of answers) {
      if (answer === null) return send(reply, notReadyReply());
      const [status, body] =
        typeof answer === 'string'
          ? [200, answer]
          : [answer.status, JSON.stringify(refusalOf(answer))];
      texts.push(`{"status":${status},"body":${body}}`);
    }
    return reply
      .header('cache-control', 'no-store')
      .type('application/json; charset=utf-8')
      .send(`{"answers":[${texts.join()}]}`);
  });
  app.get('/v1/openapi.json', (_request, reply) => reply.send(OPENAPI));
  app.post('/v1/explain', (request, reply) => {
    if (callerOf(face.serviceTokens, request, 'operator') === null) {
      return unauthorised(reply, 'operator');
    }
    const checked = checkExplainRequest(request.body);
    if (!checked.ok) return invalid(reply, checked.failure);
    const answer = face.explain(checked.value);
    if (answer === 'not-ready') return send(reply, notReadyReply());
    if (answer.kind === 'refused') return send(reply, answeredReply(answer));
    return reply.header('cache-control', 'no-store').send(answer);
  });
}

/** `read` throws SyntaxError where the body is no JSON. Not a promise where nothing has to be waited for. */
export function playReply(
  face: HttpFace,
  authorization: string | undefined,
  read: () => unknown,
): PlayReply | Promise<PlayReply> {
  const caller = callerNamed(face.serviceTokens, authorization, 'playback');
  if (caller === null) return unauthorisedReply('playback');
  const waitMs = face.playBudget.take(caller, 1, face.nowMs());
  if (waitMs > 0) return limitedReply(face, waitMs);
  let body: unknown;
  try {
    body = read();
  } catch {
    return jsonReply(400, {
      error: 'invalid',
      message: "Body is not valid JSON but content-type is set to 'application/json'",
      problems: [],
    });
  }
  const checked = checkPlayRequest(body);
  if (!checked.ok) return invalidReply(checked.failure);
  const answer = face.play(checked.value);
  return answer instanceof Promise ? answer.then(answeredReply) : answeredReply(answer);
}

const ANSWERED: PlayReply['headers'] = { 'cache-control': 'no-store', 'content-type': JSON_TYPE };

function answeredReply(answer: string | PlayRefusal | null): PlayReply {
  if (answer === null) return notReadyReply();
  if (typeof answer !== 'string') return jsonReply(answer.status, refusalOf(answer));
  return { status: 200, headers: ANSWERED, body: answer };
}

export function failedReply(thrown: unknown): PlayReply {
  return jsonReply(500, { error: 'failed', message: messageOf(thrown), problems: [] });
}

function jsonReply(status: number, body: unknown, headers: PlayReply['headers'] = {}): PlayReply {
  return {
    status,
    headers: { ...headers, 'content-type': JSON_TYPE },
    body: JSON.stringify(body),
  };
}

function send(reply: FastifyReply, { body, headers, status }: PlayReply): FastifyReply {
  return reply.code(status).headers(headers).send(body);
}

export function invalid(reply: FastifyReply, problems: readonly string[]): FastifyReply {
  return send(reply, invalidReply(problems));
}

function invalidReply(problems: readonly string[]): PlayReply {
  return jsonReply(400, { error: 'invalid', message: 'the request is not valid', problems });
}

function notReadyReply(): PlayReply {
  return jsonReply(
    503,
    {
      error: 'not-ready',
      message:
        'no fleet snapshot yet: the control plane has not been reached since this node was set up',
      problems: [],
    },
    { 'retry-after': '1' },
  );
}

/** Playback services wait and ask again; players never see this. */
function limitedReply(face: HttpFace, waitMs: Milliseconds): PlayReply {
  face.onLimited();
  return jsonReply(
    429,
    {
      error: 'too-many-calls',
      message: `this service token has used up its calls: ask again in ${waitMs} ms, or have playPerSecondMax raised`,
      problems: [],
    },
    { 'retry-after': String(Math.ceil(waitMs / 1000)) },
  );
}

function refusalOf({ error, message, problems }: PlayRefusal): unknown {
  return { error, message, problems };
}

export function unauthorised(reply: FastifyReply, role: ServiceRole): FastifyReply {
  return send(reply, unauthorisedReply(role));
}

function unauthorisedReply(role: ServiceRole): PlayReply {
  return jsonReply(
    401,
    {
      error: 'unauthorised',
      message: `this needs "Authorization: Bearer <token>" with a service token of role "${role}"`,
      problems: [],
    },
    { 'www-authenticate': 'Bearer' },
  );
}

/** The name of the token that a request carries, null where none of that role fits. Compares all digests, in constant time. */
export function callerOf(
  tokens: readonly ServiceToken[],
  { headers }: FastifyRequest,
  role: ServiceRole,
): string | null {
  return callerNamed(tokens, headers.authorization, role);
}

function callerNamed(
  tokens: readonly ServiceToken[],
  authorization: string | undefined,
  role: ServiceRole,
): string | null {
  if (authorization?.startsWith('Bearer ') !== true) return null;
  const digest = hash('sha256', authorization.slice('Bearer '.length), 'buffer');
  let caller: string | null = null;
  for (const token of tokens) {
    const isIt = timingSafeEqual(digest, digestOf(token));
    if (isIt && token.role === role) caller = token.name;
  }
  return caller;
}

const digests = new WeakMap<ServiceToken, Buffer>();

/** Tokens come from the configuration: their digests are read once. */
function digestOf(token: ServiceToken): Buffer {
  let digest = digests.get(token);
  if (digest === undefined) {
    digest = Buffer.from(token.sha256, 'base64url');
    digests.set(token, digest);
  }
  return digest;
}
