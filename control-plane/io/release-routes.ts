/**
 * Releases as operators and playback look at them: title liveness, and the fast track for what cannot wait for the night.
 */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { FILE_ID_PATTERN, TITLE_ID_PATTERN, type TitleListing } from '#upstream/contract.ts';
import { HOUR_MS } from '#base/units.ts';
import { CLUSTER_ID_PATTERN, type FastTrackEntry } from '../contract.ts';
import { titleLiveness, type LivenessCluster, type TitleLiveness } from '../liveness.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const FILES_PER_CALL_MAX = 500;
const HOURS_MAX = 72;

export function releaseRoutes(server: Server, plane: Plane): void {
  const { authentication, catalogue, fastTrack } = plane;
  const allowed = (request: FastifyRequest): string =>
    authentication.serviceOfAny(request, ['operator', 'planner']);
  const operatorOrPlanner = {
    onRequest: (request: FastifyRequest, _reply: unknown, done: () => void) => {
      allowed(request);
      done();
    },
  };

  server.get(
    '/v1/titles/:titleId/liveness',
    { schema: { params: Type.Object({ titleId: Type.String({ pattern: TITLE_ID_PATTERN }) }) } },
    (request): TitleLiveness => {
      const title = catalogue.title(request.params.titleId);
      if (title === undefined) {
        throw new HttpProblem(404, 'title-unknown', `there is no title ${request.params.titleId}`);
      }
      return livenessOf(plane, title.listing);
    },
  );

  server.get('/v1/fast-track', operatorOrPlanner, () => fastTrack.list);

  server.post(
    '/v1/fast-track',
    {
      schema: {
        body: Type.Object(
          {
            titleId: Type.String({ pattern: TITLE_ID_PATTERN }),
            fileIds: Type.Optional(
              Type.Array(Type.String({ pattern: FILE_ID_PATTERN }), {
                minItems: 1,
                maxItems: FILES_PER_CALL_MAX,
                description: 'absent: the whole title, where it is that small',
              }),
            ),
            clusters: Type.Optional(
              Type.Array(Type.String({ pattern: CLUSTER_ID_PATTERN }), { maxItems: 1000 }),
            ),
            hours: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: HOURS_MAX })),
            why: Type.String({ minLength: 1, maxLength: 120 }),
          },
          { additionalProperties: false },
        ),
      },
      ...operatorOrPlanner,
    },
    async (request, reply) => {
      const who = allowed(request);
      const { titleId, fileIds, clusters, hours, why } = request.body;
      const untilMs = plane.clock.wallMs() + (hours ?? 24) * HOUR_MS;
      const entries = fastTrackEntries(plane, titleId, fileIds).map((entry): FastTrackEntry => ({
        ...entry,
        clusters: clusters ?? [],
        untilMs: Math.floor(untilMs),
        why,
      }));
      if (!(await fastTrack.add(entries, who))) {
        throw new HttpProblem(
          409,
          'fast-track-full',
          'the fast track has no room for that: DELETE /v1/fast-track, or wait until entries end',
        );
      }
      plane.audit(who, 'fast track', `${titleId}: ${entries.length} files, ${why}`);
      return reply.code(201).send({ version: fastTrack.list.version, files: entries.length });
    },
  );

  server.delete('/v1/fast-track', operatorOrPlanner, async (request, reply) => {
    const who = allowed(request);
    await fastTrack.clear();
    plane.audit(who, 'fast track cleared', '');
    return reply.code(204).send();
  });
}

export function livenessOf(plane: Plane, listing: TitleListing): TitleLiveness {
  const { catalogue, config } = plane;
  const ordinals = listing.files.flatMap(({ fileId }) => catalogue.ordinalOf(fileId) ?? []);
  return titleLiveness(listing, ordinals, livenessClusters(plane), config.releaseCopies);
}

function fastTrackEntries(
  plane: Plane,
  titleId: string,
  fileIds: readonly string[] | undefined,
): readonly Pick<FastTrackEntry, 'fileId' | 'sizeBytes' | 'titles'>[] {
  const title = plane.catalogue.title(titleId);
  if (title === undefined || plane.denials.current.has('title', titleId)) {
    throw new HttpProblem(404, 'title-unknown', `there is no title ${titleId} that may be served`);
  }
  const listed = new Set(title.listing.files.map(({ fileId }) => fileId));
  const wanted = fileIds ?? [...listed];
  const stranger = wanted.find((fileId) => !listed.has(fileId));
  if (stranger !== undefined) {
    throw new HttpProblem(400, 'file-not-of-title', `file ${stranger} is not of title ${titleId}`);
  }
  if (wanted.length > FILES_PER_CALL_MAX) {
    throw new HttpProblem(
      400,
      'too-many-files',
      `title ${titleId} has ${wanted.length} files, ${FILES_PER_CALL_MAX} at most go on the fast track at once: name the ones that are asked for`,
    );
  }
  return wanted.flatMap((fileId) => {
    const { catalogue, denials } = plane;
    const titles = denials.current.titlesOf(fileId, catalogue.titlesOf(fileId)).slice(0, 64);
    return titles.length === 0
      ? []
      : [{ fileId, sizeBytes: catalogue.sizeOf(fileId), titles: [...titles] }];
  });
}

function livenessClusters({ fleet, manifests }: Plane): readonly LivenessCluster[] {
  const boxesOf = Map.groupBy(fleet.boxes(), ({ record }) => record.clusterId);
  return fleet.sites().flatMap(({ site }) =>
    site.clusters.map(({ clusterId }) => ({
      clusterId,
      country: site.country,
      boxes: (boxesOf.get(clusterId) ?? []).map(
        ({ record: { applianceId }, health, heartbeat, holdings }) => ({
          applianceId,
          isServing: health.standing === 'serving',
          should: (ordinal: number) => manifests.has(applianceId, ordinal),
          does: (ordinal: number) => holdings.ordinals.has(ordinal),
          answer: answerOf(heartbeat?.fill ?? null),
        }),
      ),
    })),
  );
}

function answerOf(
  fill: { readonly waitingFor: string | null; readonly problem: string | null } | null,
): string | null {
  if (fill === null) return 'it has not been heard';
  return fill.problem ?? (fill.waitingFor === null ? null : `waits for ${fill.waitingFor}`);
}
