/**
 * Enrolment and access tokens: how a box becomes one of ours, and proves it afterwards.
 *
 *   operator: enrolment token (24 h, one box, one use)      box: token + own key -> enrolled -> access tokens
 */
import { randomUUID } from 'node:crypto';
import { Type } from 'typebox';
import { importVerifyingKey } from '#base/jws.ts';
import {
  ACCESS_TOKEN_LIFE_SECONDS,
  APPLIANCE_ID_PATTERN,
  ASSERTION_GRANT_TYPE,
  CLUSTER_ID_PATTERN,
  ENROLMENT_TOKEN_LIFE_MS,
  EnrolRequestSchema,
  ORIGIN_PATHWAY_ID,
  SITE_ID_PATTERN,
  type EnrolAnswer,
  type EnrolmentClaims,
  type EnrolRequest,
} from '../contract.ts';
import type { BoxRecord } from '../fleet.ts';
import { enrolledHealth } from '../health-machine.ts';
import { ReplayCache } from '../replay-cache.ts';
import {
  assertionSubject,
  boxKeyOf,
  openAssertion,
  openEnrolmentToken,
  signAccessToken,
  signEnrolmentToken,
} from '../trust.ts';
import { HttpProblem } from './http-problem.ts';
import type { Plane, Server } from './plane.ts';

const REPLAY_IDS_MAX = 100_000;
const MILLISECONDS = 1000;

export function enrolmentRoutes(server: Server, plane: Plane): void {
  const { authentication } = plane;
  const replays = new ReplayCache(REPLAY_IDS_MAX);

  server.post(
    '/v1/enrolment-tokens',
    {
      schema: {
        body: Type.Object(
          {
            applianceId: Type.String({ pattern: APPLIANCE_ID_PATTERN }),
            siteId: Type.String({ pattern: SITE_ID_PATTERN }),
            clusterId: Type.String({ pattern: CLUSTER_ID_PATTERN }),
          },
          { additionalProperties: false },
        ),
      },
      onRequest: (request, _reply, done) => {
        authentication.service(request, 'operator');
        done();
      },
    },
    async (request, reply) => {
      const who = authentication.service(request, 'operator');
      const issued = await issueEnrolmentToken(plane, request.body, who);
      return reply.code(201).header('cache-control', 'no-store').send(issued);
    },
  );

  server.post('/v1/enrol', { schema: { body: EnrolRequestSchema } }, async (request, reply) => {
    authentication.limitAddress(request);
    const answer = await enrol(plane, request.body);
    return reply.header('cache-control', 'no-store').send(answer);
  });

  server.post(
    '/v1/token',
    {
      schema: {
        body: Type.Object(
          {
            grant_type: Type.Literal(ASSERTION_GRANT_TYPE),
            assertion: Type.String({ maxLength: 4096 }),
          },
          { additionalProperties: false },
        ),
      },
    },
    async (request, reply) => {
      authentication.limitAddress(request);
      const accessToken = await accessTokenFor(plane, replays, request.body.assertion);
      return reply.header('cache-control', 'no-store').send({
        access_token: accessToken,
        token_type: 'Bearer',
        expires_in: ACCESS_TOKEN_LIFE_SECONDS,
      });
    },
  );
}

async function issueEnrolmentToken(
  plane: Plane,
  wanted: { readonly applianceId: string; readonly siteId: string; readonly clusterId: string },
  who: string,
): Promise<{ token: string; expiresAtMs: number }> {
  const { applianceId, siteId, clusterId } = wanted;
  requirePlace(plane, siteId, clusterId, 404);
  if (applianceId === ORIGIN_PATHWAY_ID) {
    throw new HttpProblem(
      400,
      'appliance-id-reserved',
      `"${applianceId}" is the origin's own name`,
    );
  }
  if (plane.externals.list.some(({ externalId }) => externalId === applianceId)) {
    throw new HttpProblem(
      409,
      'appliance-id-reserved',
      `"${applianceId}" is an external CDN: players tell pathways apart by name, so choose another`,
    );
  }
  const expiresAtMs = plane.clock.wallMs() + ENROLMENT_TOKEN_LIFE_MS;
  const claims: EnrolmentClaims = {
    jti: randomUUID(),
    sub: applianceId,
    site: siteId,
    cluster: clusterId,
    controlPlaneUrl: plane.config.publicUrl,
    rootFingerprint: plane.keys.rootFingerprint,
    exp: Math.floor(expiresAtMs / MILLISECONDS),
  };
  const token = await signEnrolmentToken(plane.keys.grantKey, claims);
  plane.audit(
    who,
    'enrolment token issued',
    `${applianceId} at ${siteId}/${clusterId}, ${claims.jti}`,
  );
  return { token, expiresAtMs };
}

function requirePlace(plane: Plane, siteId: string, clusterId: string, status: number): void {
  if (plane.store.siteOfCluster(clusterId) === siteId) return;
  throw new HttpProblem(
    status,
    'site-unknown',
    `there is no cluster ${clusterId} at a site ${siteId}: POST /v1/sites first`,
  );
}

async function enrol(plane: Plane, request: EnrolRequest): Promise<EnrolAnswer> {
  const { clock, fleet, keys, publisher, store } = plane;
  const wallMs = clock.wallMs();
  const claims = await openedClaims(plane, request.token, wallMs);
  const key = await boxKeyOf(request.publicJwk);
  if (key === null) {
    throw new HttpProblem(400, 'key-kind', 'publicJwk must be a public ES256 key (EC, P-256)');
  }
  // No await from here on: what is checked stays true until it is written.
  const present = fleet.box(claims.sub)?.record;
  refuseImpostor(plane, claims, key.thumbprint, request.baseUrl);
  requirePlace(plane, claims.site, claims.cluster, 409);
  const owner = store.baseUrlOwner(request.baseUrl);
  if (owner !== null && owner !== claims.sub) {
    throw new HttpProblem(
      409,
      'base-url-taken',
      `${request.baseUrl} is the address of ${owner}: give ${claims.sub} its own publicBaseUrl`,
    );
  }
  const { applianceClass, baseUrl, servingBps, storageBytes } = request;
  const record: BoxRecord = {
    applianceId: claims.sub,
    siteId: claims.site,
    clusterId: claims.cluster,
    publicJwk: key.jwk,
    thumbprint: key.thumbprint,
    baseUrl,
    applianceClass,
    storageBytes,
    servingBps,
    enrolledAtMs: present?.enrolledAtMs ?? wallMs,
  };
  const token = { jti: claims.jti, expiresMs: claims.exp * MILLISECONDS };
  store.enrol(record, token, enrolledHealth(clock.monotonicMs(), wallMs));
  fleet.enrol(record, clock.monotonicMs(), wallMs);
  publisher.changed('soon');
  plane.audit(claims.sub, present === undefined ? 'enrolled' : 'enrolled again', baseUrl);
  const { applianceId, siteId, clusterId } = record;
  return { applianceId, siteId, clusterId, keys: keys.answer };
}

async function openedClaims(plane: Plane, token: string, wallMs: number): Promise<EnrolmentClaims> {
  const nowSeconds = Math.floor(wallMs / MILLISECONDS);
  const opened = await openEnrolmentToken(token, plane.keys.ring, nowSeconds);
  if (opened.ok) return opened.value;
  const what =
    opened.failure === 'enrolment-token-expired'
      ? 'older than 24 h'
      : 'not one of this control plane';
  throw new HttpProblem(
    403,
    opened.failure,
    `the enrolment token is ${what}: ask the operator for a new one (POST /v1/enrolment-tokens)`,
  );
}

/** One identity has one key, and one token enrols one key. */
function refuseImpostor(
  plane: Plane,
  claims: EnrolmentClaims,
  thumbprint: string,
  baseUrl: string,
): void {
  const present = plane.fleet.box(claims.sub)?.record;
  const usedBy = plane.store.tokenUsedBy(claims.jti);
  const isOther = (known: string | undefined | null): boolean =>
    known != null && known !== thumbprint;
  if (isOther(present?.thumbprint) || isOther(usedBy)) {
    plane.alarms.raise(
      `somebody tried to enrol as ${claims.sub} with another key`,
      baseUrl,
      `if ${claims.sub} was replaced or lost its key, remove it (DELETE /v1/appliances/${claims.sub}) and issue a new token; if not, its token leaked: find out who is at that address`,
    );
    throw new HttpProblem(
      409,
      'enrolled-already',
      `${claims.sub} is enrolled already with another key: the operator must remove it first, and was alarmed`,
    );
  }
  if (present === undefined && usedBy !== null) {
    throw new HttpProblem(
      409,
      'enrolment-token-used',
      `this token enrolled ${claims.sub} before it was removed: ask the operator for a new one`,
    );
  }
}

// ---------------------------------------------------------------- access tokens (RFC 7523)

async function accessTokenFor(
  plane: Plane,
  replays: ReplayCache,
  assertion: string,
): Promise<string> {
  const refuse = (why: string, detail: string): HttpProblem =>
    new HttpProblem(401, 'invalid_grant', `the assertion is refused (${why}): ${detail}`);
  const applianceId = assertionSubject(assertion);
  const record = applianceId === null ? undefined : plane.fleet.box(applianceId)?.record;
  if (record === undefined) {
    throw refuse('appliance-unknown', 'no such appliance is enrolled; enrol it with a new token');
  }
  plane.authentication.refuseRevoked(record.applianceId);
  const key = await importVerifyingKey(record.publicJwk);
  const wallMs = plane.clock.wallMs();
  const nowSeconds = Math.floor(wallMs / MILLISECONDS);
  const opened = key === null ? null : await openAssertion(assertion, key, nowSeconds);
  if (opened === null || !opened.ok) {
    const why = opened?.failure ?? 'assertion-signature';
    throw refuse(
      why,
      why === 'assertion-signature'
        ? `it is not signed by the key that ${record.applianceId} enrolled with`
        : `it is ${new Date(wallMs).toISOString()} here: is the clock of ${record.applianceId} right? GET /v1/time has the signed time`,
    );
  }
  const { jti, exp } = opened.value;
  const use = replays.use(`${record.applianceId} ${jti}`, exp * MILLISECONDS, wallMs);
  if (use === 'replayed') {
    plane.alarms.raise(
      `an assertion of ${record.applianceId} was played a second time`,
      record.baseUrl,
      'somebody may be listening on the path between this appliance and the control plane: check that it uses TLS',
    );
    throw refuse('assertion-replayed', 'each assertion is good for one call; sign a new one');
  }
  if (use === 'full') {
    throw new HttpProblem(429, 'too-many-requests', 'too many tokens are asked for at once', {
      'retry-after': '5',
    });
  }
  return signAccessToken(plane.keys.grantKey, record.applianceId, record.thumbprint, nowSeconds);
}
