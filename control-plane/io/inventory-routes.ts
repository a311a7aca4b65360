/**
 * A box's manifests and holdings as an operator looks at them: history, difference, drift.
 */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { APPLIANCE_ID_PATTERN } from '../contract.ts';
import type { Box } from '../fleet.ts';
import { inventoryAlarm, inventoryOf, type Inventory } from '../inventory.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const params = Type.Object({ applianceId: Type.String({ pattern: APPLIANCE_ID_PATTERN }) });
const version = Type.Integer({ minimum: 1 });

export interface InventoryAnswer extends Inventory {
  readonly applianceId: string;
  readonly manifestVersion: number;
  readonly versionInUse: number; // as the box says
  readonly problem: string | null;
}

export function inventoryRoutes(server: Server, plane: Plane): void {
  const { authentication, manifests, plans } = plane;
  const operatorOnly = {
    onRequest: (request: FastifyRequest, _reply: unknown, done: () => void) => {
      authentication.service(request, 'operator');
      done();
    },
  };

  server.get(
    '/v1/appliances/:applianceId/inventory',
    { schema: { params }, ...operatorOnly },
    (request): Promise<InventoryAnswer> =>
      inventoryAnswer(plane, boxOr404(plane, request.params.applianceId)),
  );

  server.get(
    '/v1/appliances/:applianceId/manifests',
    { schema: { params }, ...operatorOnly },
    (request) => {
      const { applianceId } = boxOr404(plane, request.params.applianceId).record;
      return {
        applianceId,
        versions: plans.manifestHistory(applianceId).map(({ plan, ...rest }) => ({
          ...rest,
          planDate: plan.planDate,
        })),
      };
    },
  );

  server.get(
    '/v1/appliances/:applianceId/manifests/diff',
    {
      schema: {
        params,
        querystring: Type.Object({ from: version, to: version }, { additionalProperties: false }),
      },
      ...operatorOnly,
    },
    (request) => {
      const { applianceId } = boxOr404(plane, request.params.applianceId).record;
      const { from, to } = request.query;
      const difference = manifests.difference(applianceId, from, to);
      if (difference !== null) return difference;
      throw new HttpProblem(
        404,
        'manifest-version-unknown',
        `version ${from} or ${to} of ${applianceId} is not remembered: GET /v1/appliances/${applianceId}/manifests lists those that are`,
      );
    },
  );
}

/** Boxes that are not filled although a whole day went by. */
export function lookAtInventories({
  alarms,
  clock,
  fleet,
  plans,
}: Pick<Plane, 'alarms' | 'clock' | 'fleet' | 'plans'>): void {
  for (const { record, heartbeat, health } of fleet.boxes()) {
    if (heartbeat === null || !health.connected) continue;
    const [current] = plans.manifestHistory(record.applianceId);
    if (current === undefined) continue;
    const why = inventoryAlarm(heartbeat.fill, current, clock.wallMs());
    if (why === null) continue;
    alarms.raise(
      `${record.applianceId} is not filled: ${why}`,
      record.baseUrl,
      `"nightfill inventory ${record.applianceId}" names the files; "nightfill appliance status" there says what it waits for`,
      'inventory-low',
    );
  }
}

export async function inventoryAnswer(plane: Plane, box: Box): Promise<InventoryAnswer> {
  const { catalogue, manifests } = plane;
  const { applianceId } = box.record;
  const manifest = await manifests.current(applianceId);
  return {
    applianceId,
    manifestVersion: manifest?.version ?? 0,
    versionInUse: box.heartbeat?.fill.manifestVersion ?? 0,
    problem: box.heartbeat?.fill.problem ?? null,
    ...inventoryOf(manifests.wanted(applianceId), box.holdings.ordinals, catalogue),
  };
}

export function boxOr404(plane: Plane, applianceId: string): Box {
  const box = plane.fleet.box(applianceId);
  if (box !== undefined) return box;
  throw new HttpProblem(404, 'appliance-unknown', `there is no appliance ${applianceId}`);
}
