/**
 * External CDNs as an operator registers them: what they cost, how much may go there, and how viewers' URLs are signed for them.
 */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import {
  APPLIANCE_ID_PATTERN,
  ExternalCdnSchema,
  EXTERNALS_MAX,
  ORIGIN_PATHWAY_ID,
  type ExternalCdn,
} from '../contract.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const [region] = [ExternalCdnSchema.properties.regions.items];

/** As published, and nothing else: a secret that somebody sends along is refused, not kept. */
const RegistrationSchema = Type.Object(
  {
    ...ExternalCdnSchema.properties,
    regions: Type.Array(Type.Object(region.properties, { additionalProperties: false }), {
      minItems: 1,
      maxItems: 300,
    }),
  },
  { additionalProperties: false },
);

export function externalRoutes(server: Server, plane: Plane): void {
  const { authentication, externals, publisher } = plane;
  const operatorOnly = {
    onRequest: (request: FastifyRequest, _reply: unknown, done: () => void) => {
      authentication.service(request, 'operator');
      done();
    },
  };

  server.get('/v1/externals', operatorOnly, () => ({ externals: externals.list }));

  server.post(
    '/v1/externals',
    { schema: { body: RegistrationSchema }, ...operatorOnly },
    (request, reply) => {
      const who = authentication.service(request, 'operator');
      const external = request.body;
      refuseContradictions(plane, external);
      const done = externals.put(external);
      if (done !== 'same') {
        publisher.changed('now');
        plane.audit(who, `external CDN ${done}`, wordsOf(external));
      }
      return reply.code(done === 'added' ? 201 : 200).send(external);
    },
  );

  server.delete(
    '/v1/externals/:externalId',
    {
      schema: {
        params: Type.Object({ externalId: Type.String({ pattern: APPLIANCE_ID_PATTERN }) }),
      },
      ...operatorOnly,
    },
    (request, reply) => {
      const who = authentication.service(request, 'operator');
      const { externalId } = request.params;
      if (!externals.remove(externalId)) {
        throw new HttpProblem(404, 'external-unknown', `there is no external CDN ${externalId}`);
      }
      publisher.changed('now');
      plane.audit(who, 'external CDN removed', externalId);
      return reply.code(204).send();
    },
  );
}

function refuseContradictions({ externals, fleet }: Plane, external: ExternalCdn): void {
  const { externalId, baseUrl, regions } = external;
  const isNew = !externals.list.some((one) => one.externalId === externalId);
  if (isNew && externals.list.length >= EXTERNALS_MAX) {
    throw new HttpProblem(
      409,
      'externals-full',
      `${EXTERNALS_MAX} external CDNs are registered, no more are told to steering: remove one first`,
    );
  }
  if (externalId === ORIGIN_PATHWAY_ID || fleet.box(externalId) !== undefined) {
    throw new HttpProblem(
      409,
      'external-id-taken',
      `"${externalId}" is the name of ${externalId === ORIGIN_PATHWAY_ID ? 'the origin' : 'an appliance'}: players tell pathways apart by it, so choose another`,
    );
  }
  const other = externals.list.find(
    (one) => one.externalId !== externalId && one.baseUrl === baseUrl,
  );
  if (other !== undefined) {
    throw new HttpProblem(
      409,
      'external-url-taken',
      `${baseUrl} is ${other.externalId} already: one CDN twice would have two caps and two budgets`,
    );
  }
  const wrong = regions.find(({ commitBps, capBps }) => commitBps > capBps);
  if (wrong !== undefined) {
    throw new HttpProblem(
      400,
      'external-cap-below-commit',
      `external CDN ${externalId}, ${wrong.countries.join()}: the commit of ${wrong.commitBps} bit/s is above the cap of ${wrong.capBps}`,
    );
  }
}

function wordsOf({
  externalId,
  baseUrl,
  tokens,
  costPerGb,
  regions,
  budgetPerDay,
}: ExternalCdn): string {
  const where = regions.map(
    ({ countries, commitBps, capBps }) => `${countries.join('+')} ${commitBps}..${capBps} bit/s`,
  );
  return `${externalId}: ${baseUrl}, ${tokens}, ${costPerGb} a GB, ${budgetPerDay ?? 'no budget'} a day, ${where.join(', ')}`;
}
