/**
 * Sites and their boxes: from the public list of 2023, made up with the same mix, or from a planner input.
 *
 * Shape:      parseTopology(csv) -> sites | what is wrong and in which line
 * Invariants: (1) sites come sorted by id; a box is counted once, however many addresses it has
 */
import type { Outcome } from '#base/outcome.ts';
import type { PlannerInput } from '../../contract.ts';
import { cellsOf } from './csv.ts';
import { hashOf, normal, uniform } from '../workload/chance.ts';

export interface TopologySite {
  readonly siteId: string;
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly isExchange: boolean;
  /** Clusters of equal boxes where they are known; else how many boxes there are. */
  readonly boxes: number;
  readonly clusters: readonly KnownCluster[] | null;
}

export interface KnownCluster {
  readonly kind: 'storage' | 'flash';
  readonly boxes: number;
  readonly storageBytes: number; // per box
  readonly servingBps: number;
}

const LINES_MAX = 2_000_000;
const COLUMNS = [
  'Country',
  'C Number',
  'Airport Code',
  'Airport Code Number',
  'ISP Name',
  'CDN Type',
  'Latitude',
  'Longitude',
] as const;

export function parseTopology(text: string): Outcome<readonly TopologySite[], string> {
  const lines = text.split(/\r?\n/);
  if (lines.length > LINES_MAX) return { ok: false, failure: `more than ${LINES_MAX} lines` };
  const header = cellsOf(lines[0] ?? '');
  const at = COLUMNS.map((name) => header.indexOf(name));
  const missing = COLUMNS.filter((_, column) => at[column] === -1);
  if (missing.length > 0) return { ok: false, failure: `line 1 lacks ${missing.join(', ')}` };
  const boxes = new Map<string, Set<string>>();
  const sites = new Map<string, Omit<TopologySite, 'boxes'>>();
  for (let line = 1; line < lines.length; line++) {
    if (lines[line].trim() === '') continue;
    const cells = cellsOf(lines[line]);
    const [country, box, airport, number, isp, type, latitude, longitude] = at.map(
      (column) => cells[column] ?? '',
    );
    const place = { latitude: Number(latitude), longitude: Number(longitude) };
    if (airport === '' || box === '' || Object.values(place).some(Number.isNaN)) {
      return {
        ok: false,
        failure: `line ${line + 1}: airport, C number and place are needed`,
      };
    }
    const siteId = [airport, number, isp.replaceAll(/[^A-Za-z0-9]/g, '').slice(0, 30), type]
      .filter((part) => part !== '')
      .join('-');
    const isExchange = type !== 'ISP';
    const known = boxes.get(siteId);
    if (known === undefined) {
      boxes.set(siteId, new Set([box]));
      // The list leaves out a country or two: such sites stand for themselves.
      sites.set(siteId, {
        siteId,
        country: country || 'unnamed',
        ...place,
        isExchange,
        clusters: null,
      });
    } else known.add(box);
  }
  const found = [...sites.values()]
    .map((site) => ({ ...site, boxes: boxes.get(site.siteId)?.size ?? 0 }))
    .sort((a, b) => (a.siteId < b.siteId ? -1 : 1));
  return found.length > 0 ? { ok: true, value: found } : { ok: false, failure: 'no site in it' };
}

/** The public list's mix of 2023: sites with 1, 2, ... boxes, and 75 exchanges of 3,087 sites. */
const ISP_BOXES = [1606, 708, 300, 142, 81, 54, 39, 32, 15, 11, 12, 8, 4];
const MADE_UP_SITES = 400;
const EXCHANGE_SHARE = 75 / 3087;
const EXCHANGE_BOXES = { median: 28, sigma: 0.8 };
const COUNTRIES = [
  ['Brazil', 26, -15, -48],
  ['United States', 14, 39, -95],
  ['United Kingdom', 5, 52, -1],
  ['Mexico', 4, 21, -101],
  ['Argentina', 4, -34, -60],
  ['India', 4, 21, 78],
  ['Spain', 3, 40, -4],
  ['Germany', 2, 51, 10],
  ['Japan', 2, 36, 138],
] as const;

export function generatedTopology(seed: number, sites = MADE_UP_SITES): readonly TopologySite[] {
  const total = COUNTRIES.reduce((sum, [, weight]) => sum + weight, 0);
  const exchanges = Math.max(1, Math.round(sites * EXCHANGE_SHARE));
  return Array.from({ length: sites }, (_, at) => {
    let draw = uniform(seed, at, 31) * total;
    let country: (typeof COUNTRIES)[number] = COUNTRIES[0];
    for (const entry of COUNTRIES) {
      country = entry;
      draw -= entry[1];
      if (draw < 0) break;
    }
    const isExchange = at < exchanges;
    const { median, sigma } = EXCHANGE_BOXES;
    return {
      siteId: `${isExchange ? 'ix' : 'isp'}-${String(at).padStart(4, '0')}`,
      country: country[0],
      latitude: country[2] + 4 * normal(seed, at, 32),
      longitude: country[3] + 4 * normal(seed, at, 33),
      isExchange,
      boxes: isExchange
        ? Math.max(2, Math.round(median * Math.exp(sigma * normal(seed, at, 34))))
        : ispBoxes(hashOf(seed, at, 35)),
      clusters: null,
    };
  }).sort((a, b) => (a.siteId < b.siteId ? -1 : 1));
}

function ispBoxes(hash: number): number {
  let draw = hash % ISP_BOXES.reduce((sum, count) => sum + count, 0);
  for (let at = 0; at < ISP_BOXES.length; at++) {
    draw -= ISP_BOXES[at];
    if (draw < 0) return at + 1;
  }
  return 1;
}

/** Boxes as the control plane knows them. It does not say where a site lies: all count as at longitude 0. */
export function topologyOfInput(
  input: Pick<PlannerInput, 'sites' | 'appliances'>,
): readonly TopologySite[] {
  return input.sites
    .map((site) => {
      const byKind = new Map<string, KnownCluster>();
      for (const box of input.appliances) {
        if (box.siteId !== site.siteId) continue;
        const key = [box.clusterId, box.applianceClass, box.storageBytes, box.servingBps].join(' ');
        const known = byKind.get(key);
        byKind.set(key, {
          kind: box.applianceClass,
          boxes: (known?.boxes ?? 0) + 1,
          storageBytes: box.storageBytes,
          servingBps: box.servingBps,
        });
      }
      const clusters = [...byKind.values()];
      return {
        siteId: site.siteId,
        country: site.country,
        latitude: 0,
        longitude: 0,
        isExchange: false,
        boxes: clusters.reduce((sum, cluster) => sum + cluster.boxes, 0),
        clusters,
      };
    })
    .filter((site) => site.boxes > 0)
    .sort((a, b) => (a.siteId < b.siteId ? -1 : 1));
}
