/**
 * What playback services and operators ask: play requests, one or many, explanations, and the description of all of it.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Milliseconds } from '#base/clock.ts';
import type { ServiceRole, ServiceToken } from '#control-plane/contract.ts';
import type { PlayRefusal } from '../answer.ts';
import { checkExplainRequest, checkPlayBatch, checkPlayRequest } from '../contract.ts';
import { OPENAPI } from '../openapi.ts';
import type { HttpFace } from './http-server.ts';

const BATCH_BYTES_MAX = 4 * 1024 * 1024;

export function addPlayRoutes(app: FastifyInstance, face: HttpFace): void {
  app.post('/v1/play', async (request, reply) => {
    const caller = callerOf(face.serviceTokens, request, 'playback');
    if (caller === null) return unauthorised(reply, 'playback');
    const waitMs = face.playBudget.take(caller, 1, face.nowMs());
    if (waitMs > 0) return limited(reply, face, waitMs);
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
  app.post('/v1/play/batch', { bodyLimit: BATCH_BYTES_MAX }, async (request, reply) => {
    const caller = callerOf(face.serviceTokens, request, 'playback');
    if (caller === null) return unauthorised(reply, 'playback');
    const checked = checkPlayBatch(request.body);
    if (!checked.ok) return invalid(reply, checked.failure);
    const { requests } = checked.value;
    const waitMs = face.playBudget.take(caller, requests.length, face.nowMs());
    if (waitMs > 0) return limited(reply, face, waitMs);
    const answers = await Promise.all(requests.map((one) => Promise.resolve(face.play(one))));
    const texts: string[] = [];
    for (const answer of answers) {
      if (answer === null) return notReady(reply);
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
    if (answer === 'not-ready') return notReady(reply);
    if (answer.kind === 'refused') return refused(reply, answer);
    return reply.header('cache-control', 'no-store').send(answer);
  });
}

export function invalid(reply: FastifyReply, problems: readonly string[]): FastifyReply {
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

/** Playback services wait and ask again; players never see this. */
function limited(reply: FastifyReply, face: HttpFace, waitMs: Milliseconds): FastifyReply {
  face.onLimited();
  return reply
    .code(429)
    .header('retry-after', String(Math.ceil(waitMs / 1000)))
    .send({
      error: 'too-many-calls',
      message: `this service token has used up its calls: ask again in ${waitMs} ms, or have playPerSecondMax raised`,
      problems: [],
    });
}

function refusalOf({ error, message, problems }: PlayRefusal): unknown {
  return { error, message, problems };
}

function refused(reply: FastifyReply, refusal: PlayRefusal): FastifyReply {
  return reply.code(refusal.status).send(refusalOf(refusal));
}

export function unauthorised(reply: FastifyReply, role: ServiceRole): FastifyReply {
  return reply
    .code(401)
    .header('www-authenticate', 'Bearer')
    .send({
      error: 'unauthorised',
      message: `this needs "Authorization: Bearer <token>" with a service token of role "${role}"`,
      problems: [],
    });
}

/** The name of the token that a request carries, null where none of that role fits. Compares all digests, in constant time. */
export function callerOf(
  tokens: readonly ServiceToken[],
  request: FastifyRequest,
  role: ServiceRole,
): string | null {
  const header = request.headers.authorization ?? '';
  if (!header.startsWith('Bearer ')) return null;
  const digest = createHash('sha256').update(header.slice('Bearer '.length)).digest();
  let caller: string | null = null;
  for (const token of tokens) {
    const isIt = timingSafeEqual(digest, Buffer.from(token.sha256, 'base64url'));
    if (isIt && token.role === role) caller = token.name;
  }
  return caller;
}
