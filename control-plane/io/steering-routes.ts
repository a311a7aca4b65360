/**
 * What steering nodes tell: that they live, and what their own probes say of boxes in doubt.
 */
import { SteeringReportSchema } from '../contract.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const REPORT_BYTES_MAX = 256 * 1024; // STEERING_VERDICTS_MAX verdicts as JSON

export function steeringRoutes(server: Server, plane: Plane): void {
  const { authentication, clock, publisher, steeringNodes } = plane;

  server.post(
    '/v1/steering/verdicts',
    {
      schema: { body: SteeringReportSchema },
      bodyLimit: REPORT_BYTES_MAX,
      onRequest: (request, _reply, done) => {
        authentication.service(request, 'steering');
        done();
      },
    },
    (request, reply) => {
      const taken = steeringNodes.take(request.body, clock.monotonicMs());
      if (taken === 'too-many') {
        throw new HttpProblem(
          429,
          'too-many-nodes',
          'more steering nodes than are listened to: stop some, or wait until one has been silent for 5 s',
          { 'retry-after': '5' },
        );
      }
      if (taken) publisher.changed('now'); // a box may be waiting for a majority
      return reply.code(204).send();
    },
  );
}
