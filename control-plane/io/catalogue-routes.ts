/**
 * Keys and titles: what anybody may read, and what a publisher may add.
 */
import { Type } from 'typebox';
import { signCompact } from '#base/jws.ts';
import {
  LISTING_BYTES_MAX,
  TITLE_ID_PATTERN,
  TitleListingSchema,
  type TitleListing,
} from '#upstream/contract.ts';
import { contentKeyOfListing, type CatalogueTitle, type Intake } from '../catalogue.ts';
import { JWS_TYPE, type KeysAnswer } from '../contract.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const titleParams = Type.Object({ titleId: Type.String({ pattern: TITLE_ID_PATTERN }) });

export function catalogueRoutes(server: Server, plane: Plane): void {
  const { authentication, catalogue, keys, signedClock } = plane;
  server.get('/v1/keys', (): KeysAnswer => keys.answer);

  server.get('/v1/time', async () => ({ signedTime: await signedClock.now() }));

  server.post(
    '/v1/titles',
    {
      schema: { body: TitleListingSchema },
      bodyLimit: LISTING_BYTES_MAX,
      onRequest: (request, _reply, done) => {
        authentication.service(request, 'publish');
        done();
      },
    },
    async (request, reply) => {
      const listing = request.body;
      const isNew = await takeTitle(plane, listing, authentication.service(request, 'publish'));
      return reply.code(isNew ? 201 : 200).send({
        titleId: listing.titleId,
        version: listing.version,
        epoch: catalogue.epoch,
        firstOrdinal: catalogue.ordinalOf(listing.files[0].fileId) ?? 0,
      });
    },
  );

  server.get('/v1/titles', () => ({ titles: titleSummaries(plane) }));

  server.get('/v1/titles/:titleId', { schema: { params: titleParams } }, (request) => {
    return titleOr404(plane, request.params.titleId).listing;
  });

  server.get('/t/:titleId/listing', { schema: { params: titleParams } }, (request, reply) => {
    const { signed } = titleOr404(plane, request.params.titleId);
    return reply.type('application/jose').header('cache-control', 'no-cache').send(signed);
  });
}

export interface TitleSummary {
  readonly titleId: string;
  readonly name: string;
  readonly kind: TitleListing['kind'];
  readonly version: number;
  readonly files: number;
  readonly bytes: number;
  readonly durationSeconds: number;
  readonly takenInAtMs: number;
}

export function titleSummaries(plane: Plane): readonly TitleSummary[] {
  const denied = plane.denials.current;
  const titles = [...plane.catalogue.titles()].filter(
    ({ listing }) => !denied.has('title', listing.titleId),
  );
  return titles.map(({ listing, takenInAtMs }) => ({
    titleId: listing.titleId,
    name: listing.name,
    kind: listing.kind,
    version: listing.version,
    files: listing.files.length,
    bytes: listing.files.reduce((sum, file) => sum + file.sizeBytes, 0),
    durationSeconds: listing.durationSeconds,
    takenInAtMs,
  }));
}

/** Signs, stores and announces a listing. False where exactly it is there already. */
async function takeTitle(plane: Plane, listing: TitleListing, who: string): Promise<boolean> {
  const { catalogue, clock, fleet, keys, publisher, store } = plane;
  if (decide(plane, listing).verdict === 'same') return false;
  const signed = await signCompact(keys.manifestKey, JWS_TYPE.listing, listing);
  // Signing took a moment: another listing may have come in meanwhile, so the decision is made again.
  const intake = decide(plane, listing);
  if (intake.verdict === 'same') return false;
  const title: CatalogueTitle = {
    listing,
    signed,
    takenInAtMs: catalogue.title(listing.titleId)?.takenInAtMs ?? clock.wallMs(),
    contentKey: contentKeyOfListing(listing),
  };
  store.putTitle({ ...title, signedBy: keys.manifestKey.kid }, intake.newFiles);
  catalogue.apply(title, intake.newFiles);
  fleet.adopt(intake.newFiles.map((file) => file.fileId));
  publisher.changed('soon');
  plane.audit(who, 'title taken in', `${listing.titleId} version ${listing.version}`);
  return true;
}

function decide(plane: Plane, listing: TitleListing): Exclude<Intake, { verdict: 'refuse' }> {
  const intake = plane.catalogue.decide(listing);
  if (intake.verdict !== 'refuse') return intake;
  throw new HttpProblem(
    intake.why === 'file-twice' ? 400 : 409,
    intake.why,
    `title ${listing.titleId} is not taken in: ${intake.detail}`,
  );
}

function titleOr404(plane: Plane, titleId: string): CatalogueTitle {
  const title = plane.catalogue.title(titleId);
  if (plane.denials.current.has('title', titleId)) {
    throw new HttpProblem(
      403,
      'title-denied',
      `title ${titleId} was taken down: "nightfill takedown --list" says why, "--lift" allows it again`,
    );
  }
  if (title !== undefined) return title;
  throw new HttpProblem(
    404,
    'title-unknown',
    `there is no title ${titleId} in the catalogue: GET /v1/titles lists them, "nightfill publish" adds one`,
  );
}
