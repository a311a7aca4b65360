/**
 * What the engines count with: groups of like clusters of one site, with the exchanges that stand behind them.
 *
 * Shape:      (sites, scenario) -> units | why the fleet cannot serve anybody
 * Units:      bytes, bit/s; per box unless a name says otherwise
 * Invariants: (1) units are sorted by site; a site's units lie together
 *             (2) demand belongs to the boxes of the list, not to those that a scenario adds: more boxes bring no viewers
 */
import type { Outcome } from '#base/outcome.ts';
import type { BoxKind, Scenario } from '../scenario.ts';
import { hashOf, nameKey, normal, uniform } from '../workload/chance.ts';
import type { KnownCluster, TopologySite } from './topology.ts';

export interface Unit {
  readonly site: number; // index into sites
  readonly kind: BoxKind;
  readonly clusters: number; // so many alike
  readonly boxes: number; // of one cluster
  readonly storageBytes: number;
  readonly servingBps: number;
  readonly fillBps: number;
  /** bit/s of the whole unit at the weekly peak. */
  readonly peakBps: number;
}

export interface Site {
  readonly siteId: string;
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly isExchange: boolean;
  readonly offsetHours: number; // local = UTC + this
  /** Nearest exchanges, as indices into sites, not itself: first and second tier; -1 where there is none. */
  readonly tiers: readonly [number, number];
}

export interface Network {
  readonly sites: readonly Site[];
  readonly units: readonly Unit[];
}

const PURPOSE = { kind: 41, load: 42, pick: 43 } as const;
const TB = 1e12;
const GBPS = 1e9;

export function networkOf(
  topology: readonly TopologySite[],
  scenario: Scenario,
  seed: number,
): Outcome<Network, string> {
  const chosen = chosenSites(topology, scenario, seed);
  if (chosen.length === 0) {
    const { countries } = scenario.fleet;
    const known = [...new Set(topology.map((site) => site.country))].sort().slice(0, 200);
    return {
      ok: false,
      failure: `/fleet/countries: no site in ${countries?.join(', ') ?? 'any country'}; the list knows ${known.join(', ')}`,
    };
  }
  const exchanges = chosen.flatMap((site, at) => (site.isExchange ? [at] : []));
  const sites = chosen.map((site, at) => ({
    siteId: site.siteId,
    country: site.country,
    latitude: site.latitude,
    longitude: site.longitude,
    isExchange: site.isExchange,
    offsetHours: Math.round(site.longitude / 15),
    tiers: nearestTwo(chosen, at, exchanges),
  }));
  const units = chosen.flatMap((site, at) => unitsOf(site, at, scenario, seed));
  const serving = units.reduce(
    (sum, unit) => sum + unit.clusters * unit.boxes * unit.servingBps,
    0,
  );
  const storage = units.reduce(
    (sum, unit) => sum + unit.clusters * unit.boxes * unit.storageBytes,
    0,
  );
  if (serving === 0 || storage === 0) {
    const what = serving === 0 ? 'serve 0 bit/s' : 'hold 0 bytes';
    return {
      ok: false,
      failure: `/fleet: the ${sites.length} sites chosen ${what}: the fleet has no capacity; look at boxes, scale and countries`,
    };
  }
  return { ok: true, value: { sites, units } };
}

function chosenSites(
  topology: readonly TopologySite[],
  { fleet }: Scenario,
  seed: number,
): readonly TopologySite[] {
  const inCountries = topology.filter(
    (site) => fleet.countries === undefined || fleet.countries.includes(site.country),
  );
  const most = fleet.sitesMax ?? Infinity;
  if (inCountries.length <= most) return inCountries;
  const lot = (site: TopologySite): number => hashOf(seed, nameKey(site.siteId), PURPOSE.pick);
  const kept = new Set([...inCountries].sort((a, b) => lot(a) - lot(b)).slice(0, most));
  return inCountries.filter((site) => kept.has(site));
}

function unitsOf(
  site: TopologySite,
  index: number,
  scenario: Scenario,
  seed: number,
): readonly Unit[] {
  const { fleet, workload } = scenario;
  const key = nameKey(site.siteId);
  const known = site.clusters ?? kindsOf(site, scenario, seed);
  const load =
    workload.peakShare *
    workload.demandScale *
    Math.exp(workload.peakSpread * normal(seed, key, PURPOSE.load));
  return known.flatMap((cluster) => {
    const kind = fleet.boxes[kindOf(cluster)];
    const servingBps = 'servingBps' in cluster ? cluster.servingBps : kind.servingGbps * GBPS;
    const storageBytes = 'storageBytes' in cluster ? cluster.storageBytes : kind.storageTb * TB;
    const all =
      Math.max(1, Math.round(cluster.boxes * fleet.scale.boxes)) +
      Math.round((fleet.scale.extraBoxes * cluster.boxes) / site.boxes);
    const peakBps = load * cluster.boxes * servingBps;
    return clustersOf(all, fleet.clusterBoxesMax).map(({ clusters, boxes }) => ({
      site: index,
      kind: kindOf(cluster),
      clusters,
      boxes,
      storageBytes: storageBytes * fleet.scale.storage,
      servingBps: servingBps * fleet.scale.serving,
      fillBps: kind.fillGbps * GBPS,
      peakBps: (peakBps * clusters * boxes) / all,
    }));
  });
}

type Cluster = KnownCluster | { readonly kind: BoxKind; readonly boxes: number };

function kindOf(cluster: Cluster): BoxKind {
  return cluster.kind;
}

function kindsOf(site: TopologySite, { fleet }: Scenario, seed: number): readonly Cluster[] {
  if (!site.isExchange) {
    const isSmall =
      site.boxes === 1 && uniform(seed, nameKey(site.siteId), PURPOSE.kind) < fleet.smallShare;
    return [{ kind: isSmall ? 'small' : 'storage', boxes: site.boxes }];
  }
  const flash = Math.min(site.boxes - 1, Math.round(site.boxes * fleet.flashShare));
  const storage: Cluster = { kind: 'storage', boxes: site.boxes - flash };
  return flash > 0 ? [storage, { kind: 'flash', boxes: flash }] : [storage];
}

/** So many boxes as clusters as even as can be, none above the most. */
function clustersOf(
  all: number,
  most: number,
): readonly { readonly clusters: number; readonly boxes: number }[] {
  const count = Math.ceil(all / most);
  const boxes = Math.floor(all / count);
  const larger = all - boxes * count;
  return [
    { clusters: larger, boxes: boxes + 1 },
    { clusters: count - larger, boxes },
  ].filter(({ clusters }) => clusters > 0);
}

function nearestTwo(
  sites: readonly TopologySite[],
  at: number,
  exchanges: readonly number[],
): readonly [number, number] {
  let first = -1;
  let second = -1;
  let firstKm = Infinity;
  let secondKm = Infinity;
  for (const exchange of exchanges) {
    if (exchange === at) continue;
    const km = distance(sites[at], sites[exchange]);
    if (km < firstKm) {
      [second, secondKm] = [first, firstKm];
      [first, firstKm] = [exchange, km];
    } else if (km < secondKm) [second, secondKm] = [exchange, km];
  }
  return [first, second];
}

/** Great circle, in radians: only compared. */
function distance(a: TopologySite, b: TopologySite): number {
  const radians = Math.PI / 180;
  const cosine =
    Math.sin(a.latitude * radians) * Math.sin(b.latitude * radians) +
    Math.cos(a.latitude * radians) *
      Math.cos(b.latitude * radians) *
      Math.cos((a.longitude - b.longitude) * radians);
  return Math.acos(Math.min(1, Math.max(-1, cosine)));
}
