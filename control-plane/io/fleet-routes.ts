/**
 * The fleet as it stands: pushed to steering, shown to people, heard from boxes.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { HOLDINGS_FRAME_BYTES_MAX } from '#appliance/contract.ts';
import { MIB, SECOND_MS } from '#base/units.ts';
import { HttpProblem } from './http-problem.ts';
import type { HeartbeatConnections } from './heartbeat-connections.ts';
import { createMetrics } from './metrics.ts';
import type { Plane, Server } from './plane.ts';
import { SUBSCRIBERS_MAX } from './snapshot-publisher.ts';

const LIVE_PERIOD_MS = SECOND_MS;
const LIVE_WATCHERS_MAX = 64;
const LIVE_BACKLOG_BYTES_MAX = 8 * MIB;

export const HEARTBEAT_SOCKET = { maxPayload: HOLDINGS_FRAME_BYTES_MAX };

export function fleetRoutes(server: Server, plane: Plane, boxes: HeartbeatConnections): void {
  const { authentication, clock, publisher } = plane;

  server.get('/v1/health', () => ({ status: 'up', heartbeatConnections: boxes.count }));

  server.get(
    '/v1/heartbeat',
    {
      websocket: true,
      onRequest: async (request) => {
        authentication.limitAddress(request);
        await authentication.box(request);
      },
    },
    (socket, request) => {
      // Verified by the hook a moment ago; the answer is kept with the request.
      authentication.box(request).then(
        ({ record }) => boxes.accept(record.applianceId, socket),
        () => socket.terminate(),
      );
    },
  );

  server.get('/v1/fleet/stream', (request, reply) => {
    const who = authentication.service(request, 'steering');
    if (publisher.connections >= SUBSCRIBERS_MAX) {
      throw new HttpProblem(
        429,
        'too-many-streams',
        `${SUBSCRIBERS_MAX} steering processes are connected already`,
        { 'retry-after': '5' },
      );
    }
    const stream = openEventStream(request, reply);
    plane.log.info({ who }, 'steering connected');
    const end = publisher.subscribe({
      write: (text) => void stream.write(text),
      close: () => void stream.end(),
      get backlogBytes() {
        return stream.writableLength;
      },
    });
    stream.once('close', () => {
      end();
      plane.log.info({ who }, 'steering disconnected');
    });
  });

  const person = (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
    authentication.person(request);
    done();
  };

  // A program has no password: an operator's token opens what a person's password opens.
  const personOrProgram = (
    request: FastifyRequest,
    _reply: FastifyReply,
    done: () => void,
  ): void => {
    if ((request.headers.authorization ?? '').startsWith('Bearer ')) {
      authentication.service(request, 'operator');
    } else authentication.person(request);
    done();
  };
  server.get('/v1/fleet/view', { onRequest: personOrProgram }, () => plane.view());

  const metrics = createMetrics(plane, () => boxes.count);
  server.get('/metrics', { onRequest: personOrProgram }, async (_request, reply) => {
    void reply.header('cache-control', 'no-store').type(metrics.contentType);
    return metrics.metrics();
  });

  let watchers = 0;
  server.get('/v1/fleet/live', { onRequest: person }, (request, reply) => {
    if (watchers >= LIVE_WATCHERS_MAX) {
      throw new HttpProblem(
        429,
        'too-many-watchers',
        `${LIVE_WATCHERS_MAX} pages watch the fleet already: close one`,
        { 'retry-after': '5' },
      );
    }
    watchers++;
    const stream = openEventStream(request, reply);
    const send = (): void => {
      if (stream.writableLength > LIVE_BACKLOG_BYTES_MAX) return; // it gets the next one it can take
      stream.write(`data: ${JSON.stringify(plane.view())}\n\n`);
    };
    send();
    const timer = clock.every(LIVE_PERIOD_MS, send);
    stream.once('close', () => {
      watchers--;
      timer.cancel();
    });
  });
}

/** Takes the connection out of Fastify's hands and makes it a stream of events. */
function openEventStream(request: FastifyRequest, reply: FastifyReply): FastifyReply['raw'] {
  reply.hijack();
  const { raw } = reply;
  request.socket.setNoDelay(true);
  raw.on('error', () => raw.destroy()); // the other side went away: 'close' follows
  raw.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  raw.write(': connected\n\n');
  return raw;
}
