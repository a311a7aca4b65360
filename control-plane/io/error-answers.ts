/**
 * Every refusal in one form: {error, message}. `error` is stable; `message` says what is refused, why, where, what to do.
 */
import type { FastifyError } from 'fastify';
import type { Logger } from '#base/log.ts';
import { HttpProblem } from './http-problem.ts';
import type { Server } from './plane.ts';

const PROBLEMS_TOLD_MAX = 10;

export function answerProblems(server: Server, log: Logger): void {
  server.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: 'no-such-route',
      message: `${request.method} ${pathOf(request.url)} is nothing that the control plane answers`,
    }),
  );
  server.setErrorHandler((thrown: FastifyError | HttpProblem, request, reply) => {
    const where = `${request.method} ${pathOf(request.url)}`;
    if (thrown instanceof HttpProblem) {
      return reply
        .code(thrown.status)
        .headers(thrown.headers)
        .send({ error: thrown.error, message: thrown.message });
    }
    if (thrown.validation !== undefined) {
      const part = thrown.validationContext ?? 'request';
      const problems = thrown.validation
        .slice(0, PROBLEMS_TOLD_MAX)
        .map(({ instancePath, message }) => `${part}${instancePath}: ${message ?? 'is not valid'}`);
      return reply.code(400).send({
        error: 'request-not-valid',
        message: `${where}: ${problems.join('; ')}`,
      });
    }
    const status = thrown.statusCode ?? 500;
    if (status < 500) {
      return reply
        .code(status)
        .send({ error: wordOf(thrown.code), message: `${where}: ${thrown.message}` });
    }
    log.error({ where, why: thrown.message, stack: thrown.stack }, 'a request failed');
    return reply.code(500).send({
      error: 'internal',
      message: `${where} failed inside the control plane; its log says why`,
    });
  });
}

/** FST_ERR_CTP_BODY_TOO_LARGE -> body-too-large */
function wordOf(code: string | undefined): string {
  return (code ?? 'refused')
    .replace(/^FST_ERR_(CTP_)?/, '')
    .toLowerCase()
    .replaceAll('_', '-');
}

/** Without the query: it may hold a token. */
function pathOf(url: string): string {
  return url.split('?')[0].slice(0, 200);
}
