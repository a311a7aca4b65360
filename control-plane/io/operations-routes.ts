/**
 * What people look at beside the fleet itself: releases, takedowns, the rollout, inventories, prefixes in quarantine, steering nodes
 * and external CDNs.
 *
 * Made at most once in VIEW_KEPT_MS however many pages ask, and with a bound on the work: a control plane that shows things
 * is still the one that hears heartbeats.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { SECOND_MS } from '#base/units.ts';
import { APPLIANCE_ID_PATTERN } from '../contract.ts';
import {
  externalView,
  inventoryViews,
  quarantineViews,
  RELEASE_AHEAD_MS,
  RELEASE_BEHIND_MS,
  RELEASES_SHOWN_MAX,
  releaseView,
  steeringNodeViews,
  TAKEDOWNS_SHOWN_MAX,
  takedownView,
  type OperationsView,
  type ReleaseView,
} from '../dashboard/operations-view.ts';
import { denialView } from './denial-routes.ts';
import { boxOr404, inventoryAnswer, type InventoryAnswer } from './inventory-routes.ts';
import type { Plane, Server } from './plane.ts';
import { livenessOf } from './release-routes.ts';

const VIEW_KEPT_MS = 2 * SECOND_MS;
/** Files x boxes that are compared for one view: some 0.1 s. Titles past it are shown without their liveness. */
const LIVENESS_CELLS_MAX = 1_000_000;

export function operationsRoutes(server: Server, plane: Plane): void {
  const { authentication, clock } = plane;
  const person = {
    onRequest: (request: FastifyRequest, _reply: FastifyReply, done: () => void): void => {
      authentication.person(request);
      done();
    },
  };
  let kept: { readonly madeAtMs: number; readonly view: OperationsView } | null = null;

  server.get('/v1/operations/view', person, (): OperationsView => {
    const nowMs = clock.monotonicMs();
    if (kept === null || nowMs - kept.madeAtMs >= VIEW_KEPT_MS) {
      kept = { madeAtMs: nowMs, view: operationsView(plane) };
    }
    return kept.view;
  });

  server.get(
    '/v1/operations/inventory/:applianceId',
    {
      schema: {
        params: Type.Object({ applianceId: Type.String({ pattern: APPLIANCE_ID_PATTERN }) }),
      },
      ...person,
    },
    (request): Promise<InventoryAnswer> =>
      inventoryAnswer(plane, boxOr404(plane, request.params.applianceId)),
  );
}

function operationsView(plane: Plane): OperationsView {
  const { clock, denialStore, denials, externals, fastTrack, fleet, manifests, rollout, routes } =
    plane;
  denials.flush();
  const { quarantined } = routes;
  const { shown, leftOut } = inventoryViews(
    fleet.boxes(),
    (applianceId) => manifests.versionOf(applianceId),
    clock.monotonicMs(),
  );
  const { entries } = fastTrack.list;
  const { steeringNodes } = plane;
  const nodes = steeringNodeViews(steeringNodes.seen(clock.monotonicMs()));
  return {
    atMs: clock.wallMs(),
    ...releases(plane),
    fastTrack: {
      files: entries.length,
      bytes: entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    },
    takedowns: denialStore
      .records(TAKEDOWNS_SHOWN_MAX)
      .map((record) => takedownView(denialView(plane, record))),
    rollout: rollout.view,
    inventories: shown,
    inventoriesLeftOut: leftOut,
    quarantined: quarantineViews(quarantined),
    quarantinedCount: quarantined.length,
    steeringNodesLive: steeringNodes.entries?.length ?? null,
    steeringNodes: nodes.shown,
    steeringNodesLeftOut: nodes.leftOut,
    externals: externals.list.map(externalView),
  };
}

/** The next ones first, then those that are out. */
function releases(plane: Plane): Pick<OperationsView, 'releases' | 'releasesLeftOut'> {
  const nowMs = plane.clock.wallMs();
  const near = [...plane.catalogue.titles()]
    .flatMap(({ listing }) => {
      const atMs = listing.release === undefined ? NaN : Date.parse(listing.release.at);
      const isNear = atMs > nowMs - RELEASE_BEHIND_MS && atMs < nowMs + RELEASE_AHEAD_MS;
      return isNear && !plane.denials.current.has('title', listing.titleId)
        ? [{ listing, atMs }]
        : [];
    })
    .sort((a, b) => Number(a.atMs < nowMs) - Number(b.atMs < nowMs) || a.atMs - b.atMs);
  const boxes = plane.fleet.boxes().length;
  let cells = 0;
  const shown = near.slice(0, RELEASES_SHOWN_MAX).map(({ listing, atMs }): ReleaseView => {
    cells += boxes * listing.files.length;
    return releaseView(
      listing.titleId,
      atMs,
      cells > LIVENESS_CELLS_MAX ? null : livenessOf(plane, listing),
    );
  });
  return { releases: shown, releasesLeftOut: near.length - shown.length };
}
