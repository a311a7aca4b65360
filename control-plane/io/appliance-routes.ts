/**
 * What a box asks for with its access token: manifest, sources, grant; and what it hands in: view records.
 */
import {
  PathQualitySchema,
  VIEW_RECORDS_PER_POST_MAX,
  ViewRecordBatchSchema,
} from '#appliance/contract.ts';
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import {
  MANIFEST_CONTENT_TYPE,
  SourcesRequestSchema,
  type FillSources,
  type SourcesRequest,
} from '../contract.ts';
import type { Box } from '../fleet.ts';
import { fillWindowAt } from '../fill-window.ts';
import { NO_ESCALATION, rankSources } from '../sources.ts';
import { signFillGrant } from '../trust.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const VIEW_RECORD_BYTES_MAX = 400; // one record as JSON
const PATH_QUALITY_BYTES_MAX = 10_000 * 400; // the contract's most, one aggregate as JSON
const VIEW_RECORDS_BYTES_MAX = VIEW_RECORDS_PER_POST_MAX * VIEW_RECORD_BYTES_MAX;

const manifestQuery = Type.Object(
  { base: Type.Optional(Type.Integer({ minimum: 1 })) },
  { additionalProperties: false },
);

export function applianceRoutes(server: Server, plane: Plane): void {
  const { authentication, clock, keys, manifests } = plane;

  server.get('/v1/manifest', { schema: { querystring: manifestQuery } }, async (request, reply) => {
    const { record } = await authentication.box(request);
    const { base } = request.query;
    const manifest =
      base === undefined
        ? await manifests.current(record.applianceId)
        : await manifests.currentFrom(record.applianceId, base);
    if (manifest === null) {
      throw new HttpProblem(
        404,
        'no-plan',
        `no plan has been made for ${record.applianceId} yet: the next nightly plan will hold it, or POST /v1/plan-now`,
      );
    }
    const etag = `"${manifest.version}"`;
    void reply.header('etag', etag).header('cache-control', 'no-cache');
    if (request.headers['if-none-match'] === etag) return reply.code(304).send();
    void reply.type(MANIFEST_CONTENT_TYPE).header('content-length', manifest.sizeBytes);
    return reply.send(Readable.from(manifest.parts));
  });

  server.post(
    '/v1/sources',
    { schema: { body: SourcesRequestSchema } },
    async (request): Promise<FillSources> => {
      const box = await authentication.box(request);
      return sourcesFor(plane, box, request.body);
    },
  );

  server.get('/v1/grant', async (request, reply) => {
    const { record } = await authentication.box(request);
    const nowSeconds = Math.floor(clock.wallMs() / 1000);
    const { applianceId, thumbprint } = record;
    const grant = await signFillGrant(keys.grantKey, applianceId, thumbprint, nowSeconds);
    return reply.header('cache-control', 'no-store').send({ grant });
  });

  server.post(
    '/v1/path-quality',
    {
      schema: { body: PathQualitySchema },
      bodyLimit: PATH_QUALITY_BYTES_MAX,
      onRequest: async (request) => {
        await authentication.box(request); // before megabytes are read from a stranger
      },
    },
    async (request) => {
      const { record } = await authentication.box(request);
      const { applianceId, clusterId } = record;
      const nowSeconds = Math.floor(clock.wallMs() / 1000);
      return { result: plane.paths.take(applianceId, clusterId, request.body, nowSeconds) };
    },
  );

  server.post(
    '/v1/view-records',
    {
      schema: { body: ViewRecordBatchSchema },
      bodyLimit: VIEW_RECORDS_BYTES_MAX,
      onRequest: async (request) => {
        await authentication.box(request); // before megabytes are read from a stranger
      },
    },
    async (request) => {
      const { record } = await authentication.box(request);
      const ingest = plane.demand.ingest(
        record.applianceId,
        request.body,
        (fileId) => plane.catalogue.ordinalOf(fileId),
        clock.wallMs(),
      );
      if (ingest.dropped > 0) {
        plane.log.warn(
          { applianceId: record.applianceId, dropped: ingest.dropped },
          'view records of unknown files, or of a time that cannot be, were dropped',
        );
      }
      return { acknowledged: ingest.acknowledged };
    },
  );
}

function sourcesFor(plane: Plane, box: Box, wanted: SourcesRequest): FillSources {
  const { catalogue, clock, config, denials, fleet, manifests } = plane;
  const asker = fleet.sourceBox(box.record);
  const { standard, sites } = config.fillEscalation;
  // A viewer waits for a miss: nothing is put off for it.
  const policy = wanted.purpose === 'miss' ? NO_ESCALATION : (sites[asker.siteId] ?? standard);
  const filling = new Set(
    fleet
      .sites()
      .filter(({ site }) => fillWindowAt(site.fillWindow, clock.wallMs()).open)
      .map(({ site }) => site.siteId),
  );
  return {
    version: fleet.sourcesVersion,
    neighbours: [...fleet.neighboursOf(asker.siteId)].filter(({ id }) => id !== asker.applianceId),
    files: wanted.fileIds.map((fileId) => {
      const file = catalogue.file(fileId);
      // A file of no title has no source: nobody may fetch what nobody may show.
      const titles = denials.current.titlesOf(fileId, file?.titles ?? []);
      if (file === undefined || titles.length === 0) {
        return { fileId, titles: [], sources: [] };
      }
      const { ordinal } = file;
      const candidates =
        wanted.purpose === 'miss'
          ? []
          : fleet.candidatesFor(
              ordinal,
              ({ applianceId, siteId }) =>
                filling.has(siteId) && manifests.has(applianceId, ordinal),
              clock.monotonicMs(),
            );
      const holders = fleet.holdersOf(ordinal);
      const origin = config.origin.baseUrl;
      return {
        fileId,
        titles: titles.slice(0, 64),
        sources: [...rankSources(asker, fileId, holders, origin, candidates, policy)],
      };
    }),
  };
}
