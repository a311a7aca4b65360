/**
 * How the playback service answers: a manifest, gzip-encoded where the player takes it, or JSON {error, message}.
 */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from '#base/log.ts';
import type { Failure } from '#base/outcome.ts';

export interface Manifest {
  readonly contentType: string;
  readonly text: string;
}

const GZIP_BYTES_MIN = 512;
const GATEWAY_STATUS = 502;

const STATUS_OF: Readonly<Record<string, number>> = {
  'bad-request': 400,
  'client-not-allowed': 403,
  'not-available': 403,
  'not-released': 403,
  'unknown-title': 404,
  'unknown-file': 404,
  'unknown-session': 404,
  'not-streamable': 422,
};

const gzipAsync = promisify(gzip);

export async function sendManifest(
  request: FastifyRequest,
  reply: FastifyReply,
  { contentType, text }: Manifest,
): Promise<FastifyReply> {
  void reply.type(contentType).header('vary', 'Accept-Encoding');
  const takesGzip = /\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/.test(
    request.headers['accept-encoding'] ?? '',
  );
  if (!takesGzip || text.length < GZIP_BYTES_MIN) return reply.send(text);
  return reply.header('content-encoding', 'gzip').send(await gzipAsync(text));
}

export function refuseManifest(reply: FastifyReply, failure: Failure, log: Logger): FastifyReply {
  const status = STATUS_OF[failure.code] ?? GATEWAY_STATUS;
  if (status === GATEWAY_STATUS) {
    log.warn({ event: 'neighbour-gone', code: failure.code, why: failure.detail }, 'no manifest');
  }
  return reply.code(status).send({ error: failure.code, message: failure.detail });
}

export function problem(code: string, detail: string): Failure {
  return { code, source: 'downstream', retry: 'never', detail };
}
