/**
 * The zone of the DNS bench: one name, answered by the client's network; the same content for every server.
 *
 * 4,096 networks (11.0.0.0/20, 11.0.16.0/20, …) belong to 64 sites of two boxes each; neighbours to different sites, so
 * that no server can merge them.
 */
import { createFleet, createWorld, LoadLedger, type World } from '#steering/steering.ts';

export const ZONE = 'bench.test';
export const NAME = `v.${ZONE}`;
export const SITES = 64;
export const NETWORKS = 4096;
export const TTL_SECONDS = 20;

export interface Network {
  readonly prefix: string;
  readonly site: number;
}

export function networks(): readonly Network[] {
  return Array.from({ length: NETWORKS }, (_, at) => ({
    prefix: `11.${at >> 4}.${(at & 15) << 4}.0/20`,
    site: (at * 37) % SITES,
  }));
}

export function addressesOf(site: number): readonly string[] {
  return [`198.18.${site}.1`, `198.18.${site}.2`];
}

/** The same as our own fleet: a new world each time, as steering makes one every 250 ms. */
export function benchWorlds(nowMs: number): (atMs: number) => World {
  const all = networks();
  const sites = Array.from({ length: SITES }, (_, site) => site);
  const fleet = createFleet({
    kind: 'full',
    version: 1,
    epoch: 1,
    issuedAtMs: nowMs,
    prefixesVersion: 1,
    clusters: sites.map((site) => ({
      clusterId: `site-${site}`,
      siteId: `site-${site}`,
      country: 'FR',
      prefixes: all.filter((network) => network.site === site).map(({ prefix }) => prefix),
    })),
    appliances: sites.flatMap((site) =>
      addressesOf(site).map((address, box) => ({
        applianceId: `box-${site}-${box}`,
        siteId: `site-${site}`,
        clusterId: `site-${site}`,
        baseUrl: `http://${address}:8080`,
        standing: 'serving' as const,
        reasons: [],
        since: nowMs,
        weight: 1,
        servingBps: 1e10,
        egressBps: 0,
        heartbeatAtMs: nowMs,
      })),
    ),
    holdings: [],
    titles: [],
    origin: { pathwayId: 'origin', baseUrl: 'http://198.18.255.1:80' },
  });
  const ledger = new LoadLedger(1, nowMs);
  return (atMs) => createWorld(fleet, ledger.freeze(fleet, [], atMs));
}
