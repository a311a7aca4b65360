/**
 * Routes of routers, over HTTP: boxes hand theirs in, operators look at what became of them.
 */
import { RouteBatchSchema, ROUTES_PER_POST_MAX } from '#appliance/contract.ts';
import type { Plane, Server } from './plane.ts';

const ROUTE_BYTES_MAX = 400; // one route as JSON, names at their longest

export function routeRoutes(server: Server, plane: Plane): void {
  const { authentication, routes } = plane;

  server.post(
    '/v1/routes',
    {
      schema: { body: RouteBatchSchema },
      bodyLimit: ROUTES_PER_POST_MAX * ROUTE_BYTES_MAX,
      onRequest: async (request) => {
        await authentication.box(request); // before megabytes are read from a stranger
      },
    },
    async (request) => {
      const { record } = await authentication.box(request);
      return routes.take(record.applianceId, request.body);
    },
  );

  server.get('/v1/routes', (request) => {
    authentication.service(request, 'operator');
    return routes.view();
  });
}
