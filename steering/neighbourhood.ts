/**
 * Which clusters are near a place: by site, then country, then distance. Depends on the clusters alone, so that it outlives
 * every change of boxes, loads and holdings.
 */
import type { ClusterId, LinkClass, SiteId } from '#control-plane/contract.ts';

const EARTH_RADIUS_KM = 6371;
const NEIGHBOUR_LISTS_MAX = 8192; // one per (home, country): 6,000 clusters with their own country
const NEIGHBOURS_KEPT = 128; // of each list; who needs more has the whole order made anew

export interface FleetCluster {
  readonly index: number;
  readonly clusterId: ClusterId;
  readonly siteId: SiteId;
  readonly country: string;
  readonly point: Point | null;
  readonly linkClass: LinkClass;
  readonly preference: number; // smaller is better: the site's wish, else by class
  readonly members: readonly number[]; // appliance indexes
}

export interface Point {
  readonly latitude: number;
  readonly longitude: number;
}

/** Clusters as seen from `home` (or from `country` where there is no home), nearest first. */
export interface Neighbourhood {
  nearest(home: number | null, country: string | null): Uint32Array;
  all(home: number | null, country: string | null): Uint32Array;
}

/** Who the members of a cluster are plays no part, so that the lists outlive every delta that leaves the clusters alone. */
export function neighbourhoodOf(clusters: readonly FleetCluster[]): Neighbourhood {
  const lists = new Map<string, Uint32Array>();
  return {
    nearest(home, country) {
      const key = `${home ?? ''}|${country ?? ''}`;
      const known = lists.get(key);
      if (known !== undefined) return known;
      const list = orderNeighbours(clusters, home, country).slice(0, NEIGHBOURS_KEPT);
      if (lists.size >= NEIGHBOUR_LISTS_MAX) lists.clear();
      lists.set(key, list);
      return list;
    },
    all: (home, country) => orderNeighbours(clusters, home, country),
  };
}

/** Same site, then same country, then the rest; inside each by distance, then by id so that the order is one. */
function orderNeighbours(
  clusters: readonly FleetCluster[],
  home: number | null,
  country: string | null,
): Uint32Array {
  const from = home === null ? null : clusters[home];
  const point = from?.point ?? centreOf(clusters, country);
  const ranked = clusters.map((cluster) => ({
    index: cluster.index,
    id: cluster.clusterId,
    group: from?.siteId === cluster.siteId ? 0 : cluster.country === country ? 1 : 2,
    km: point === null || cluster.point === null ? Infinity : distanceKm(point, cluster.point),
  }));
  ranked.sort((a, b) => a.group - b.group || compareNumbers(a.km, b.km) || (a.id < b.id ? -1 : 1));
  return Uint32Array.from(ranked, ({ index }) => index);
}

function compareNumbers(a: number, b: number): number {
  return a === b ? 0 : a < b ? -1 : 1; // Infinity - Infinity is no order
}

function centreOf(clusters: readonly FleetCluster[], country: string | null): Point | null {
  const points = clusters.flatMap((cluster) =>
    cluster.country === country && cluster.point !== null ? [cluster.point] : [],
  );
  if (points.length === 0) return null;
  const sum = points.reduce((total, { latitude, longitude }) => ({
    latitude: total.latitude + latitude,
    longitude: total.longitude + longitude,
  }));
  return {
    latitude: sum.latitude / points.length,
    longitude: sum.longitude / points.length,
  };
}

/** Great-circle distance. */
export function distanceKm(a: Point, b: Point): number {
  const radians = Math.PI / 180;
  const dLatitude = (b.latitude - a.latitude) * radians;
  const dLongitude = (b.longitude - a.longitude) * radians;
  const chord =
    Math.sin(dLatitude / 2) ** 2 +
    Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians) * Math.sin(dLongitude / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(chord)));
}
