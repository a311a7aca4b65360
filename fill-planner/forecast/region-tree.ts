/**
 * The tree of regions that demand is learnt on: world > language area > country > network > cluster.
 *
 * A country's language area is its likely language by CLDR (Intl), so that a new country needs no table of ours.
 *
 * Invariants: (1) a parent stands before its children; node 0 is the world
 *             (2) every cluster is a leaf; a level that would hold one child that says the same is kept: depth is 5 everywhere
 */
export interface ForecastCluster {
  readonly clusterId: string;
  readonly country: string; // ISO 3166-1 alpha-2; '' where unknown
  readonly network?: string; // ASN; the cluster itself where unknown
  /** Any measure of size, such as serving bit/s: a cluster without history gets the fleet's views per unit of it. */
  readonly capacity?: number;
}

export interface RegionTree {
  readonly parents: Int32Array; // -1 for the world
  readonly levels: Uint8Array; // 0 world .. 4 cluster
  readonly names: readonly string[];
  readonly leaves: Int32Array; // node of each cluster, in the order given
  readonly paths: readonly Int32Array[]; // nodes of each cluster from the world down
}

export function regionTreeOf(clusters: readonly ForecastCluster[]): RegionTree {
  const parents: number[] = [-1];
  const levels: number[] = [0];
  const names: string[] = ['world'];
  const found = new Map<string, number>();
  const child = (parent: number, name: string): number => {
    const key = `${parent} ${name}`;
    let node = found.get(key);
    if (node === undefined) {
      node = names.length;
      names.push(name);
      parents.push(parent);
      levels.push(levels[parent] + 1);
      found.set(key, node);
    }
    return node;
  };
  const paths = clusters.map(({ clusterId, country, network }) => {
    const area = child(0, languageAreaOf(country));
    const land = child(area, country);
    const asn = child(land, network ?? `of ${clusterId}`);
    return Int32Array.of(0, area, land, asn, child(asn, clusterId));
  });
  return {
    parents: Int32Array.from(parents),
    levels: Uint8Array.from(levels),
    names,
    leaves: Int32Array.from(paths, (path) => path[4]),
    paths,
  };
}

export function languageAreaOf(country: string): string {
  if (!/^[A-Z]{2}$/.test(country)) return 'unknown';
  return new Intl.Locale(`und-${country}`).maximize().language;
}
