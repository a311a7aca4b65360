/**
 * Where the boxes of a fleet stand: the published list of Open Connect appliances of August 2023, or a made-up fleet of a given size.
 *
 * Published: which site has how many appliances, in which country, in an ISP or at an exchange, and where. Not published, so assumed here:
 *  - storage boxes of 240 TB, 36 Gbit/s and 6.5 TB of fill a night; small ones of 120 TB, 18 Gbit/s and 2.1 TB in half of the ISP
 *    sites of one box; flash boxes of 24 TB, 96 Gbit/s and 1.6 TB: every fourth box at an exchange, every eighth of an ISP site
 *  - a site is parted into clusters of at most 12 boxes, flash and storage mixed
 *  - what a cluster of an ISP cannot serve goes to a cluster at the nearest exchange of its country, the site's clusters in turn; a country
 *    without an exchange has none, and its misses count as the origin's
 *  - peak demand of a cluster's own viewers is 50 to 110 % of what it can serve in an ISP, 30 to 80 % at an exchange
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Random } from '#base/random.ts';
import type { FleetBox, FleetCluster } from '#fill-planner/fill-planner.ts';

export const OPEN_CONNECT_LIST = path.join('openconnect', 'netflix-ocas-2023-08-02.csv');
const CLUSTER_BOXES_MAX = 12;

export interface TopologySite {
  readonly siteId: string;
  readonly isExchange: boolean;
  readonly boxes: number;
  readonly parentSiteId: string | null;
}

export interface TopologyRegion {
  readonly regionId: string;
  readonly sites: readonly TopologySite[];
}

export interface Topology {
  readonly name: string;
  readonly regions: readonly TopologyRegion[];
}

// ---------------------------------------------------------------- the published list

interface ListedSite extends TopologySite {
  readonly latitude: number;
  readonly longitude: number;
}

/** `text`: the CSV of appliances, a name per line: one appliance has several. */
export function publishedTopology(text: string): Topology {
  const [head, ...lines] = text.trim().split('\n');
  const columns = csvFields(head);
  const column = (name: string): number => {
    const at = columns.indexOf(name);
    if (at === -1) throw new Error(`the list of appliances has no column "${name}"`);
    return at;
  };
  const key = ['Airport Code', 'Airport Code Number', 'ISP Name', 'CDN Type'].map(column);
  const [country, box] = [column('Country'), column('C Number')];
  const [latitude, longitude, type] = [column('Latitude'), column('Longitude'), column('CDN Type')];
  const byCountry = new Map<string, Map<string, { boxes: Set<string>; fields: string[] }>>();
  for (const line of lines) {
    const fields = csvFields(line);
    const sites = byCountry.get(fields[country]) ?? new Map();
    byCountry.set(fields[country], sites);
    const name = key.map((at) => fields[at]).join(' ');
    const site = sites.get(name) ?? { boxes: new Set<string>(), fields };
    site.boxes.add(fields[box]);
    sites.set(name, site);
  }
  let number = 0;
  const regions = [...byCountry]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, sites], at) => {
      const listed = [...sites]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, { boxes, fields }]) => ({
          siteId: `s${String(number++).padStart(5, '0')}`,
          isExchange: fields[type] === 'IXP',
          boxes: boxes.size,
          parentSiteId: null,
          latitude: Number(fields[latitude]),
          longitude: Number(fields[longitude]),
        }));
      return { regionId: `r${String(at).padStart(3, '0')}`, sites: withParents(listed) };
    });
  return { name: 'published list of August 2023', regions };
}

/** Null where there is no list under `directory`. */
export function readPublishedTopology(directory: string): Topology | null {
  try {
    return publishedTopology(readFileSync(path.join(directory, OPEN_CONNECT_LIST), 'utf8'));
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw thrown;
  }
}

function withParents(sites: readonly ListedSite[]): readonly TopologySite[] {
  const exchanges = sites.filter(({ isExchange }) => isExchange);
  return sites.map((site) => {
    if (site.isExchange || exchanges.length === 0) return site;
    let nearest = exchanges[0];
    for (const exchange of exchanges) {
      if (angleBetween(site, exchange) < angleBetween(site, nearest)) nearest = exchange;
    }
    return { ...site, parentSiteId: nearest.siteId };
  });
}

/** Great-circle angle in radians. */
function angleBetween(a: ListedSite, b: ListedSite): number {
  const [la, lb] = [a, b].map(({ latitude }) => (latitude * Math.PI) / 180);
  const across = ((a.longitude - b.longitude) * Math.PI) / 180;
  const cosine = Math.sin(la) * Math.sin(lb) + Math.cos(la) * Math.cos(lb) * Math.cos(across);
  return Math.acos(Math.min(1, Math.max(-1, cosine)));
}

/** Fields of one line; quotes may hold commas. */
function csvFields(line: string): string[] {
  const fields: string[] = [];
  let field = '';
  let isQuoted = false;
  for (const char of line.replace(/\r$/, '')) {
    if (char === '"') isQuoted = !isQuoted;
    else if (char === ',' && !isQuoted) {
      fields.push(field);
      field = '';
    } else field += char;
  }
  return [...fields, field];
}

// ---------------------------------------------------------------- a made-up fleet

const ISP_BOXES = [1606, 708, 300, 142, 81, 54, 39, 32, 15, 11, 12, 8, 10]; // sites with 1, 2, ... boxes
const EXCHANGE_SHARE = 0.025;

export function generatedTopology(
  random: Random,
  size: { readonly regions: number; readonly sites: number; readonly appliances: number },
): Topology {
  const shares = Array.from({ length: size.regions }, (_, at) => (at + 3) ** -1.1);
  const exchanges = Math.max(1, Math.round(size.sites * EXCHANGE_SHARE));
  const isp = Array.from({ length: size.sites - exchanges }, () => drawn(random, ISP_BOXES) + 1);
  const left = Math.max(exchanges, size.appliances - isp.reduce((sum, boxes) => sum + boxes, 0));
  const atExchange = Array.from({ length: exchanges }, (_, at) => (at + 2) ** -0.8);
  const weight = atExchange.reduce((sum, share) => sum + share, 0);
  const regions = shares.map((_, at) => ({
    regionId: `r${String(at).padStart(3, '0')}`,
    sites: [] as TopologySite[],
  }));
  let number = 0;
  const add = (boxes: number, isExchange: boolean): void => {
    const siteId = `s${String(number++).padStart(5, '0')}`;
    const { sites } = regions[drawn(random, shares)];
    sites.push({ siteId, isExchange, boxes, parentSiteId: null });
  };
  for (const boxes of isp) add(boxes, false);
  for (const share of atExchange) add(Math.max(1, Math.round((left * share) / weight)), true);
  return {
    name: 'generated',
    regions: regions
      .filter(({ sites }) => sites.length > 0)
      .map(({ regionId, sites }) => {
        const tops = sites.filter(({ isExchange }) => isExchange);
        return {
          regionId,
          sites: sites.map((site) =>
            site.isExchange || tops.length === 0
              ? site
              : { ...site, parentSiteId: tops[random.below(tops.length)].siteId },
          ),
        };
      }),
  };
}

function drawn(random: Random, weights: readonly number[]): number {
  let draw = random.next() * weights.reduce((sum, weight) => sum + weight, 0);
  for (let at = 0; at < weights.length; at++) {
    draw -= weights[at];
    if (draw < 0) return at;
  }
  return 0;
}

// ---------------------------------------------------------------- sites to clusters

type BoxKind = Omit<FleetBox, 'applianceId'>;
const STORAGE: BoxKind = {
  applianceClass: 'storage',
  storageBytes: 240e12,
  servingBps: 36e9,
  fillBytes: 6.5e12,
};
const SMALL: BoxKind = {
  applianceClass: 'storage',
  storageBytes: 120e12,
  servingBps: 18e9,
  fillBytes: 2.1e12,
};
const FLASH: BoxKind = {
  applianceClass: 'flash',
  storageBytes: 24e12,
  servingBps: 96e9,
  fillBytes: 1.6e12,
};

/** The clusters of a region's sites. `viewsPerBps`: views a day that make a bit/s at the peak. */
export function clustersOf(
  random: Random,
  region: TopologyRegion,
  storageScale: number,
  viewsPerBps: number,
): readonly FleetCluster[] {
  const partsAt = new Map(
    region.sites.map(({ siteId, boxes }) => [siteId, Math.ceil(boxes / CLUSTER_BOXES_MAX)]),
  );
  const turns = new Map<string, number>();
  const parentOf = (parentSiteId: string | null): string | null => {
    if (parentSiteId === null) return null;
    const turn = turns.get(parentSiteId) ?? 0;
    turns.set(parentSiteId, turn + 1);
    return `${parentSiteId}-${turn % (partsAt.get(parentSiteId) ?? 1)}`;
  };
  return region.sites.flatMap(({ siteId, isExchange, boxes, parentSiteId }) => {
    const parts = partsAt.get(siteId) ?? 1;
    const isSmall = !isExchange && boxes === 1 && random.next() < 0.5;
    return Array.from({ length: parts }, (_, part) => {
      const from = Math.floor((part * boxes) / parts);
      const count = Math.floor(((part + 1) * boxes) / parts) - from;
      const own = Array.from({ length: count }, (__, at): FleetBox => {
        const isFlash = isExchange ? at % 4 === 3 : at % 8 === 7;
        const kind = isFlash ? FLASH : isSmall ? SMALL : STORAGE;
        return {
          ...kind,
          applianceId: `${siteId}-${part}-${String(at).padStart(2, '0')}`,
          storageBytes: Math.floor(kind.storageBytes * storageScale),
          fillBytes: Math.floor(kind.fillBytes * storageScale),
        };
      });
      const load = isExchange ? 0.3 + 0.5 * random.next() : 0.5 + 0.6 * random.next();
      const servingBps = own.reduce((sum, box) => sum + box.servingBps, 0);
      return {
        clusterId: `${siteId}-${part}`,
        siteId,
        parentId: parentOf(parentSiteId),
        boxes: own,
        viewsPerDay: load * servingBps * viewsPerBps,
        previous: null,
      };
    });
  });
}
