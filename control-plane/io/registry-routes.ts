/**
 * Sites, enrolment, access tokens: how a box becomes one of ours.
 *
 *   operator: site -> enrolment token (24 h, one box, one use)      box: token + own key -> enrolled -> access tokens
 */
import { randomUUID } from 'node:crypto';
import { Type } from 'typebox';
import { formatPrefix, parsePrefix } from '#base/address.ts';
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
  SiteSchema,
  type EnrolAnswer,
  type EnrolmentClaims,
  type EnrolRequest,
  type Site,
} from '../contract.ts';
import { isTimeZone } from '../fill-window.ts';
import type { BoxRecord } from '../fleet.ts';
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

const SITE_BYTES_MAX = 32 * 1024 * 1024; // 16 clusters of 100,000 prefixes
const REPLAY_IDS_MAX = 100_000;
const MILLISECONDS = 1000;

export function registryRoutes(server: Server, plane: Plane): void {
  const { authentication } = plane;
  const replays = new ReplayCache(REPLAY_IDS_MAX);
  const operatorOnly = {
    onRequest: (
      request: Parameters<typeof authentication.service>[0],
      _reply: unknown,
      done: () => void,
    ) => {
      authentication.service(request, 'operator');
      done();
    },
  };

  server.post(
    '/v1/sites',
    { schema: { body: SiteSchema }, bodyLimit: SITE_BYTES_MAX, ...operatorOnly },
    (request, reply) => {
      const isNew = takeSite(plane, request.body, authentication.service(request, 'operator'));
      return reply.code(isNew ? 201 : 200).send({ siteId: request.body.siteId });
    },
  );

  server.get('/v1/sites', operatorOnly, () => ({
    sites: plane.fleet.sites().map(({ site }) => site),
  }));

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
      ...operatorOnly,
    },
    async (request, reply) => {
      const who = authentication.service(request, 'operator');
      const issued = await issueEnrolmentToken(plane, request.body, who);
      return reply.code(201).header('cache-control', 'no-store').send(issued);
    },
  );

  server.delete(
    '/v1/appliances/:applianceId',
    {
      schema: {
        params: Type.Object({ applianceId: Type.String({ pattern: APPLIANCE_ID_PATTERN }) }),
      },
      ...operatorOnly,
    },
    (request, reply) => {
      const who = authentication.service(request, 'operator');
      removeAppliance(plane, request.params.applianceId, who);
      return reply.code(204).send();
    },
  );

  server.get('/v1/audit', operatorOnly, () => ({ entries: plane.store.auditLog() }));

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

// ---------------------------------------------------------------- sites

/** True where the site is new. The same site again changes nothing. */
function takeSite(plane: Plane, offered: Site, who: string): boolean {
  const { fleet, publisher, store } = plane;
  const site = canonicalSite(offered);
  const present = fleet.site(site.siteId);
  if (present !== undefined && JSON.stringify(present.site) === JSON.stringify(site)) return false;
  refuseConflicts(plane, site);
  const record = { site, configuration: (present?.configuration ?? 0) + 1 };
  store.putSite(record);
  const prefixesVersion = store.number('prefixes_version', () => 0) + 1;
  store.setNumber('prefixes_version', prefixesVersion);
  fleet.putSite(record, prefixesVersion);
  publisher.changed('soon');
  plane.audit(who, present === undefined ? 'site added' : 'site changed', site.siteId);
  return present === undefined;
}

/** The site with its prefixes in the one form that compares. */
function canonicalSite(site: Site): Site {
  const { timeZone } = site.fillWindow;
  if (!isTimeZone(timeZone)) {
    throw new HttpProblem(
      400,
      'time-zone-unknown',
      `site ${site.siteId}: "${timeZone}" is no time zone; use an IANA name such as Europe/Paris`,
    );
  }
  const clusters = site.clusters.map(({ clusterId, prefixes }) => ({
    clusterId,
    prefixes: prefixes.map((text) => {
      const prefix = parsePrefix(text);
      if (prefix !== null) return formatPrefix(prefix);
      throw new HttpProblem(
        400,
        'prefix-malformed',
        `site ${site.siteId}, cluster ${clusterId}: "${text}" is no prefix; write an address, "/" and a length, with no bit set beyond it`,
      );
    }),
  }));
  const { siteId, name, country, latitude, longitude, fillWindow } = site;
  return {
    siteId,
    name,
    country,
    ...(latitude === undefined ? {} : { latitude }),
    ...(longitude === undefined ? {} : { longitude }),
    fillWindow: {
      startLocal: fillWindow.startLocal,
      hours: fillWindow.hours,
      timeZone: fillWindow.timeZone,
    },
    clusters,
  };
}

function refuseConflicts(plane: Plane, site: Site): void {
  const { fleet, store } = plane;
  const conflict = (error: string, detail: string): HttpProblem =>
    new HttpProblem(409, error, `site ${site.siteId} is not taken in: ${detail}`);
  const ids = site.clusters.map(({ clusterId }) => clusterId);
  if (new Set(ids).size !== ids.length) throw conflict('cluster-twice', 'a cluster comes twice');
  for (const clusterId of ids) {
    const owner = store.siteOfCluster(clusterId);
    if (owner !== null && owner !== site.siteId) {
      throw conflict('cluster-taken', `cluster ${clusterId} belongs to site ${owner}`);
    }
  }
  const taken = store.prefixOfAnother(site);
  if (taken !== null) {
    throw conflict(
      'prefix-taken',
      `prefix ${taken.prefix} belongs to site ${taken.siteId}; a client can have one home only, so take it from there first`,
    );
  }
  for (const { record } of fleet.boxes()) {
    if (record.siteId === site.siteId && !ids.includes(record.clusterId)) {
      throw conflict(
        'cluster-in-use',
        `cluster ${record.clusterId} would be gone, but ${record.applianceId} is in it: remove the appliance first`,
      );
    }
  }
}

// ---------------------------------------------------------------- enrolment

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
  const { alarms, clock, fleet, keys, publisher, store } = plane;
  const wallMs = clock.wallMs();
  const opened = await openEnrolmentToken(
    request.token,
    keys.ring,
    Math.floor(wallMs / MILLISECONDS),
  );
  if (!opened.ok) {
    throw new HttpProblem(
      403,
      opened.failure,
      `the enrolment token is ${opened.failure === 'enrolment-token-expired' ? 'older than 24 h' : 'not one of this control plane'}: ask the operator for a new one (POST /v1/enrolment-tokens)`,
    );
  }
  const claims = opened.value;
  const key = await boxKeyOf(request.publicJwk);
  if (key === null) {
    throw new HttpProblem(400, 'key-kind', 'publicJwk must be a public ES256 key (EC, P-256)');
  }
  // No await from here on: what is checked stays true until it is written.
  const present = fleet.box(claims.sub)?.record;
  const usedBy = store.tokenUsedBy(claims.jti);
  if (
    (present !== undefined && present.thumbprint !== key.thumbprint) ||
    (usedBy !== null && usedBy !== key.thumbprint)
  ) {
    alarms.raise(
      `somebody tried to enrol as ${claims.sub} with another key`,
      request.baseUrl,
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
  requirePlace(plane, claims.site, claims.cluster, 409);
  const owner = store.baseUrlOwner(request.baseUrl);
  if (owner !== null && owner !== claims.sub) {
    throw new HttpProblem(
      409,
      'base-url-taken',
      `${request.baseUrl} is the address of ${owner}: give ${claims.sub} its own publicBaseUrl`,
    );
  }
  const record: BoxRecord = {
    applianceId: claims.sub,
    siteId: claims.site,
    clusterId: claims.cluster,
    publicJwk: key.jwk,
    thumbprint: key.thumbprint,
    baseUrl: request.baseUrl,
    applianceClass: request.applianceClass,
    storageBytes: request.storageBytes,
    servingBps: request.servingBps,
    enrolledAtMs: present?.enrolledAtMs ?? wallMs,
  };
  fleet.enrol(record, clock.monotonicMs(), wallMs);
  const health = fleet.box(claims.sub)?.health;
  store.enrol(
    record,
    { jti: claims.jti, expiresMs: claims.exp * MILLISECONDS },
    { to: health?.standing ?? 'down', reasons: health?.reasons ?? [], sinceMs: wallMs },
  );
  publisher.changed('soon');
  plane.audit(claims.sub, present === undefined ? 'enrolled' : 'enrolled again', record.baseUrl);
  return {
    applianceId: claims.sub,
    siteId: claims.site,
    clusterId: claims.cluster,
    keys: keys.answer,
  };
}

function removeAppliance(plane: Plane, applianceId: string, who: string): void {
  if (plane.fleet.box(applianceId) === undefined) {
    throw new HttpProblem(404, 'appliance-unknown', `there is no appliance ${applianceId}`);
  }
  plane.store.removeAppliance(applianceId);
  plane.fleet.remove(applianceId);
  plane.manifests.forget(applianceId);
  plane.traffic.forget(applianceId);
  plane.disconnect(applianceId, 'removed by the operator');
  plane.publisher.changed('now');
  plane.audit(who, 'appliance removed', applianceId);
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
