/**
 * Routes of routers, over HTTP: boxes hand theirs in, operators look at what became of them.
 */
import { RouteBatchSchema, ROUTES_PER_POST_MAX } from '#appliance/contract.ts';
import type { Plane, Server } from './plane.ts';

const ROUTE_BYTES_MAX = 400; // one route as JSON, names at their longest

export function routeRoutes(server: Server, plane: Plane): void {
  const { authentication, fleet, routes } = plane;

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

  server.get('/v1/prefixes', (request) => {
    authentication.service(request, 'operator');
    const { clusters, prefixesVersion } = fleet.parts(plane.config.origin.baseUrl);
    const view = plane.view();
    return {
      version: prefixesVersion,
      clusters,
      sites: fleet.sites().map(({ site }) => {
        const boxes = view.sites.find(({ siteId }) => siteId === site.siteId)?.appliances ?? [];
        return {
          site: { ...site, clusters: [] },
          viewerBps: boxes.reduce((sum, { viewerBps }) => sum + viewerBps, 0),
          capacityBps: boxes.reduce((sum, box) => sum + (box.heartbeat?.load.servingBps ?? 0), 0),
        };
      }),
    };
  });

  server.get('/v1/routes', (request) => {
    authentication.service(request, 'operator');
    return routes.view();
  });
}
