/**
 * Takedown as an operator sees it: deny, lift, and the proof box by box; and the signed list for whoever serves.
 */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { APPLIANCE_ID_PATTERN, DenialKindSchema, type DenialKind } from '../contract.ts';
import {
  boxDenialStatus,
  type BoxDenial,
  type BoxDenialStatus,
  type DenialRecord,
  type DenialView,
} from '../denials.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const RECORDS_SHOWN_MAX = 500;
const REASON_LENGTH_MAX = 500;

const idParams = Type.Object({ id: Type.Integer({ minimum: 1 }) });

export function denialRoutes(server: Server, plane: Plane): void {
  const { authentication, denials } = plane;
  const operatorOnly = {
    onRequest: (request: FastifyRequest, _reply: unknown, done: () => void) => {
      authentication.service(request, 'operator');
      done();
    },
  };

  server.post(
    '/v1/denials',
    {
      schema: {
        body: Type.Object(
          {
            kind: DenialKindSchema,
            value: Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9._-]+$' }),
            reason: Type.String({ minLength: 1, maxLength: REASON_LENGTH_MAX }),
          },
          { additionalProperties: false },
        ),
      },
      ...operatorOnly,
    },
    async (request, reply) => {
      const who = authentication.service(request, 'operator');
      const { kind, value, reason } = request.body;
      refuseUnknown(plane, kind, value);
      const { record, isNew } = await denials.deny(kind, value, reason, who);
      if (isNew) plane.audit(who, `${kind} denied`, `${value}: ${reason}`);
      return reply.code(isNew ? 201 : 200).send(denialView(plane, record));
    },
  );

  server.get('/v1/denials', operatorOnly, () => {
    denials.flush();
    return {
      version: denials.current.version,
      denials: plane.denialStore
        .records(RECORDS_SHOWN_MAX)
        .map((record) => ({ ...record, summary: summaryOf(boxesOf(plane, record)) })),
    };
  });

  server.get('/v1/denials/:id', { schema: { params: idParams }, ...operatorOnly }, (request) => {
    return denialView(plane, recordOf(plane, request.params.id));
  });

  server.delete(
    '/v1/denials/:id',
    { schema: { params: idParams }, ...operatorOnly },
    async (request) => {
      const who = authentication.service(request, 'operator');
      const before = recordOf(plane, request.params.id);
      const record = (await denials.lift(before.id, who)) ?? before;
      if (before.liftedAtMs === null)
        plane.audit(who, `${record.kind} allowed again`, record.value);
      return denialView(plane, record);
    },
  );

  // Signed: anybody may read it and pass it on. Origin and playback follow it.
  server.get('/v1/denials.jws', (request, reply) => {
    const { document, current } = denials;
    if (document === null) return reply.code(204).send();
    const etag = `"${current.version}"`;
    void reply.header('etag', etag).header('cache-control', 'no-cache');
    if (request.headers['if-none-match'] === etag) return reply.code(304).send();
    return reply.type('application/jose').send(document);
  });
}

/** A typing error must not look like a takedown that worked. */
function refuseUnknown(plane: Plane, kind: DenialKind, value: string): void {
  const { catalogue, fleet, keys } = plane;
  const isKnown =
    kind === 'title'
      ? catalogue.title(value) !== undefined
      : kind === 'file'
        ? catalogue.file(value) !== undefined
        : kind === 'appliance'
          ? new RegExp(APPLIANCE_ID_PATTERN).test(value) && fleet.box(value) !== undefined
          : kind === 'key'
            ? keys.ring.issuerOf.has(value)
            : true;
  if (isKnown) return;
  throw new HttpProblem(
    404,
    `${kind}-unknown`,
    `there is no ${kind} ${value}: nothing was denied. GET /v1/titles lists titles, "nightfill takedown --list" what is denied`,
  );
}

function recordOf(plane: Plane, id: number): DenialRecord {
  const record = plane.denialStore.record(id);
  if (record !== null) return record;
  throw new HttpProblem(
    404,
    'denial-unknown',
    `there is no denial ${id}; GET /v1/denials lists them`,
  );
}

export function denialView(plane: Plane, record: DenialRecord): DenialView {
  plane.denials.flush();
  const boxes = boxesOf(plane, record);
  return { ...record, summary: summaryOf(boxes), boxes };
}

function boxesOf(plane: Plane, record: DenialRecord): readonly BoxDenial[] {
  const acks = plane.denialStore.acksFrom(record.version);
  const deletions = plane.denialStore.deletionsOf(record.id);
  return plane.fleet.boxes().map(({ record: { applianceId, siteId }, health }) => {
    const acknowledgedAtMs = acks.get(applianceId) ?? null;
    const deletion = deletions.get(applianceId);
    const deletedAtMs = deletion?.atMs ?? null;
    const isConnected = health.connected;
    return {
      applianceId,
      siteId,
      status: boxDenialStatus({ acknowledgedAtMs, deletedAtMs, isConnected }),
      standing: health.standing,
      acknowledgedAtMs,
      deletedAtMs,
      files: deletion?.files ?? null,
      bytes: deletion?.bytes ?? null,
      proof: deletion?.proof ?? null,
    };
  });
}

function summaryOf(boxes: readonly BoxDenial[]): Readonly<Record<BoxDenialStatus, number>> {
  const summary = { deleted: 0, acknowledged: 0, waiting: 0, unreachable: 0 };
  for (const { status } of boxes) summary[status]++;
  return summary;
}
