/**
 * Sites and appliances as an operator sees them: added, changed, removed, and who did it.
 */
import { Type } from 'typebox';
import { formatPrefix, parsePrefix } from '#base/address.ts';
import { APPLIANCE_ID_PATTERN, SiteSchema, type Site } from '../contract.ts';
import { isTimeZone } from '../fill-window.ts';
import { HttpProblem } from './http-problem.ts';
import { readSetLine } from '../routes/policy.ts';
import type { Plane, Server } from './plane.ts';
import { nextPrefixesVersion } from './store.ts';

const SITE_BYTES_MAX = 32 * 1024 * 1024; // 16 clusters of 100,000 prefixes

export function registryRoutes(server: Server, plane: Plane): void {
  const { authentication } = plane;
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
  fleet.putSite(record, nextPrefixesVersion(store));
  plane.routes.judgeSoon();
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
  const clusters = site.clusters.map(({ clusterId, prefixes, linkClass, preference, parent }) => ({
    clusterId,
    ...(linkClass === undefined ? {} : { linkClass }),
    ...(preference === undefined ? {} : { preference }),
    ...(parent === undefined ? {} : { parent }),
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
  for (const line of site.routes?.prefixSet ?? []) {
    if (readSetLine(line) !== null) continue;
    throw new HttpProblem(
      400,
      'prefix-set-malformed',
      `site ${site.siteId}: "${line}" is no line of a prefix set; write a prefix, then "ge N" and "le N" where longer ones are meant`,
    );
  }
  const { siteId, name, country, latitude, longitude, fillWindow, routes } = site;
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
    ...(routes === undefined ? {} : { routes }),
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

// ---------------------------------------------------------------- appliances

function removeAppliance(plane: Plane, applianceId: string, who: string): void {
  if (plane.fleet.box(applianceId) === undefined) {
    throw new HttpProblem(404, 'appliance-unknown', `there is no appliance ${applianceId}`);
  }
  plane.store.removeAppliance(applianceId);
  plane.fleet.remove(applianceId);
  plane.routes.judgeSoon();
  plane.manifests.forget(applianceId);
  plane.traffic.forget(applianceId);
  plane.denials.forget(applianceId);
  plane.disconnect(applianceId, 'removed by the operator');
  plane.publisher.changed('now');
  plane.audit(who, 'appliance removed', applianceId);
}
