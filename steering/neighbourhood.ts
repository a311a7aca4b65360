/**
 * Which clusters are near a place: by site, then country, then distance. Depends on the clusters alone, so that it outlives
 * every change of boxes, loads and holdings.
 */
import { nthSmallest } from '#base/selection.ts';
import type { ClusterId, LinkClass, SiteId } from '#control-plane/contract.ts';

const NEIGHBOUR_LISTS_MAX = 8192; // one per (home, country): 6,000 clusters with their own country
const WHOLE_LISTS_MAX = 256; // 24 KB each with 6,000 clusters
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

/**
 * Clusters as seen from `home` (or from `country` where there is no home), nearest first: same site, same country, the rest; inside each
 * by distance, then by id so that the order is one. Each list begins with the one before it.
 */
export interface Neighbourhood {
  /** Those of the same site and country, at most NEIGHBOURS_KEPT. */
  inCountry(home: number | null, country: string | null): Uint32Array;
  /** The first NEIGHBOURS_KEPT of all. */
  nearest(home: number | null, country: string | null): Uint32Array;
  all(home: number | null, country: string | null): Uint32Array;
}

/** Who the members of a cluster are plays no part, so that the lists outlive every delta that leaves the clusters alone. */
export function neighbourhoodOf(clusters: readonly FleetCluster[]): Neighbourhood {
  const byCountry = groupBy(clusters, ({ country }) => country);
  const bySite = groupBy(clusters, ({ siteId }) => siteId);
  const points = clusters.map(({ point }) => (point === null ? null : vectorOf(point)));
  const centres = new Map<string | null, Vector | null>();
  const fromOf = (home: number | null, country: string | null): Vector | null => {
    const own = home === null ? null : points[home];
    if (own !== null) return own;
    let centre = centres.get(country);
    if (centre === undefined) {
      centre = centreOf(byCountry.get(country ?? '') ?? [], points);
      centres.set(country, centre);
    }
    return centre;
  };
  /** The `most` nearest of a list: who is among them is told by numbers alone, so that only they are put in order. */
  const order = (
    list: readonly number[],
    home: number | null,
    country: string | null,
    most: number,
  ): Uint32Array => {
    const from = fromOf(home, country);
    const siteId = home === null ? null : clusters[home].siteId;
    const farness = Float64Array.from(list, (at) => {
      const cluster = clusters[at];
      const group = cluster.siteId === siteId ? 0 : cluster.country === country ? 1 : 2;
      return group * 4 - nearnessOf(from, points[at]);
    });
    const limit = most < list.length ? nthSmallest(farness, most - 1) : Infinity;
    const places: number[] = [];
    for (let place = 0; place < list.length; place++) {
      if (farness[place] <= limit) places.push(place);
    }
    places.sort(
      (a, b) =>
        farness[a] - farness[b] ||
        (clusters[list[a]].clusterId < clusters[list[b]].clusterId ? -1 : 1),
    );
    if (places.length > most) places.length = most;
    return Uint32Array.from(places, (place) => list[place]);
  };
  const everyone = clusters.map(({ index }) => index);
  const all: Neighbourhood['all'] = (home, country) =>
    order(everyone, home, country, everyone.length);
  return {
    inCountry: remembered((home, country) => {
      const site = home === null ? [] : (bySite.get(clusters[home].siteId) ?? []);
      const same = byCountry.get(country ?? '') ?? [];
      return order([...new Set([...site, ...same])], home, country, NEIGHBOURS_KEPT);
    }, clusters.length),
    nearest: remembered(
      (home, country) => order(everyone, home, country, NEIGHBOURS_KEPT),
      clusters.length,
    ),
    all: rememberedBy(WHOLE_LISTS_MAX, all), // only where nothing near is usable
  };
}

type List = Neighbourhood['all'];

function rememberedBy(listsMax: number, make: List): List {
  const lists = new Map<string, Uint32Array>();
  return (home, country) => {
    const key = `${home ?? ''}|${country ?? ''}`;
    let list = lists.get(key);
    if (list === undefined) {
      list = make(home, country);
      if (lists.size >= listsMax) lists.clear();
      lists.set(key, list);
    }
    return list;
  };
}

/** Asked for with every second decision: the list of a home and its usual country is found by a place in an array. */
function remembered(make: List, clusters: number): List {
  const usual = Array<{ country: string | null; list: Uint32Array } | undefined>(clusters + 1);
  const others = rememberedBy(NEIGHBOUR_LISTS_MAX, make);
  return (home, country) => {
    const at = home === null ? clusters : home;
    const known = usual[at];
    if (known?.country === country) return known.list;
    const list = others(home, country);
    if (known === undefined) usual[at] = { country, list };
    return list;
  };
}

function groupBy(
  clusters: readonly FleetCluster[],
  keyOf: (cluster: FleetCluster) => string,
): ReadonlyMap<string, readonly number[]> {
  const groups = new Map<string, number[]>();
  for (const cluster of clusters) {
    const group = groups.get(keyOf(cluster));
    if (group === undefined) groups.set(keyOf(cluster), [cluster.index]);
    else group.push(cluster.index);
  }
  return groups;
}

/** A point on the unit sphere: the nearer two are, the larger their product, from -1 to 1. */
type Vector = readonly [x: number, y: number, z: number];

function vectorOf({ latitude, longitude }: Point): Vector {
  const up = (latitude * Math.PI) / 180;
  const round = (longitude * Math.PI) / 180;
  return [Math.cos(up) * Math.cos(round), Math.cos(up) * Math.sin(round), Math.sin(up)];
}

/** Points whose place is unknown are further than any that are known. */
function nearnessOf(a: Vector | null, b: Vector | null): number {
  return a === null || b === null ? -2 : a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function centreOf(members: readonly number[], points: readonly (Vector | null)[]): Vector | null {
  const sum = [0, 0, 0];
  let count = 0;
  for (const at of members) {
    const point = points[at];
    if (point === null) continue;
    count++;
    for (let axis = 0; axis < 3; axis++) sum[axis] += point[axis];
  }
  return count === 0 ? null : [sum[0] / count, sum[1] / count, sum[2] / count];
}
