/**
 * A fleet like the real one: sites and boxes of the public list of 2023, grown from a seed to as many as are wanted; prefixes of a full
 * routing table, grown by de-aggregation, each origin AS at home in a few clusters.
 *
 * Without the data (see /shared/data of the project) sites and prefixes are drawn from the same seed: counts and nesting are alike,
 * names are not.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { seededRandom, type Random } from '#base/random.ts';
import type { FleetSnapshot } from '#control-plane/contract.ts';
import { prefixScratch, readPrefix, type PrefixEntry } from '#steering/steering.ts';

const SITES_FILE = 'openconnect/netflix-ocas-2023-08-02.csv';
const PREFIXES_FILE = 'bgp/prefix-to-as-2015-11-01.tsv.gz';
const CLUSTERS_PER_AS_MAX = 3;
const SHARED_PREFIX_SHARE = 0.05; // announced to two clusters
export const FILES_PER_TITLE = 1200;

export interface TopologySize {
  readonly appliances: number;
  readonly sites: number;
  readonly titles: number;
  readonly filesPerTitle: number; // of those that the snapshot lists; ordinals leave room for FILES_PER_TITLE
  readonly v4: number;
  readonly v6: number;
}

export interface Topology {
  /** Without holdings and prefixes: those lie in arrays below. */
  readonly snapshot: FleetSnapshot;
  readonly prefixes: PrefixList;
  readonly source: 'measured' | 'drawn';
}

interface SiteShape {
  readonly name: string;
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly isExchange: boolean;
  boxes: number;
}

export function makeTopology(directory: string | null, size: TopologySize, seed: number): Topology {
  const random = seededRandom(seed);
  const hasData = directory !== null && existsSync(path.join(directory, SITES_FILE));
  const known = hasData ? readSites(path.join(directory, SITES_FILE)) : drawSites(random);
  const sites = growSites(known, size, random);
  const snapshot = snapshotOf(sites, size);
  const prefixes = new PrefixList(size, sites.length, random);
  const file = directory === null ? null : path.join(directory, PREFIXES_FILE);
  if (file !== null && existsSync(file)) prefixes.read(file);
  else prefixes.draw();
  prefixes.grow();
  return { snapshot, prefixes, source: hasData ? 'measured' : 'drawn' };
}

function readSites(file: string): SiteShape[] {
  const codes = countryCodes();
  const sites = new Map<string, SiteShape>();
  const [head, ...lines] = readFileSync(file, 'utf8').split('\n');
  const columns = head.split(',');
  const at = (name: string): number => columns.indexOf(name);
  for (const line of lines) {
    const cells = line.split(',');
    if (cells.length < columns.length) continue;
    const type = cells[at('CDN Type')];
    const name = [
      cells[at('Airport Code')],
      cells[at('Airport Code Number')],
      cells[at('ISP Name')],
      type,
    ].join();
    const site = sites.get(name);
    if (site !== undefined) {
      site.boxes++;
      continue;
    }
    sites.set(name, {
      name,
      country: codes.get(cells[at('Country')]) ?? 'ZZ',
      latitude: Number(cells[at('Latitude')]) || 0,
      longitude: Number(cells[at('Longitude')]) || 0,
      isExchange: type !== 'ISP',
      boxes: 1,
    });
  }
  return [...sites.values()];
}

function countryCodes(): ReadonlyMap<string, string> {
  const names = new Intl.DisplayNames('en', { type: 'region' });
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
  const codes = new Map<string, string>();
  for (const a of letters) {
    for (const b of letters) {
      const name = names.of(a + b);
      if (name !== undefined && name !== a + b && !codes.has(name)) codes.set(name, a + b);
    }
  }
  return codes;
}

/** 3,087 sites in 140 countries, a few countries with most of them. */
function drawSites(random: Random): SiteShape[] {
  return Array.from({ length: 3087 }, (_, at) => {
    const rank = Math.floor(140 * random.next() ** 2.5);
    const centre = seededRandom(rank + 1);
    const latitude = 60 - 100 * centre.next() + 8 * (random.next() - 0.5);
    const longitude = 340 * (centre.next() - 0.5) + 12 * (random.next() - 0.5);
    const boxes = 1 + Math.floor(-2 * Math.log(1 - random.next()));
    const country = String.fromCharCode(65 + (rank % 26), 65 + Math.floor(rank / 26));
    const isExchange = random.next() < 0.025;
    return { name: `site-${at}`, country, latitude, longitude, isExchange, boxes };
  });
}

/** As many sites and boxes as are wanted: sites are taken again with a small shift, boxes added where boxes are. */
function growSites(known: readonly SiteShape[], size: TopologySize, random: Random): SiteShape[] {
  const sites: SiteShape[] = [];
  for (let at = 0; at < size.sites; at++) {
    const from = known[at % known.length];
    const shift = at < known.length ? 0 : 0.5 * (random.next() - 0.5);
    sites.push({
      ...from,
      latitude: Math.max(-90, Math.min(90, from.latitude + shift)),
      longitude: Math.max(-180, Math.min(180, from.longitude + shift)),
      boxes: Math.max(1, Math.floor(from.boxes / 2)),
    });
  }
  let boxes = sites.reduce((sum, site) => sum + site.boxes, 0);
  for (; boxes < size.appliances; boxes++) {
    const site = sites[random.below(sites.length)];
    if (site.boxes > 12 && !site.isExchange) boxes--;
    else site.boxes++;
  }
  for (let at = 0; boxes > size.appliances; at++) {
    const site = sites[at % sites.length];
    if (site.boxes > 1) {
      site.boxes--;
      boxes--;
    }
  }
  return sites;
}

function snapshotOf(sites: readonly SiteShape[], size: TopologySize): FleetSnapshot {
  const atMs = Date.UTC(2026, 10, 20);
  return {
    kind: 'full',
    version: 1,
    epoch: 1,
    issuedAtMs: atMs,
    prefixesVersion: 1,
    clusters: sites.map(({ country, latitude, longitude, isExchange }, at) => ({
      clusterId: `c${at}`,
      siteId: `s${at}`,
      country,
      latitude,
      longitude,
      linkClass: isExchange ? 'public-peering' : 'embedded',
      prefixes: [],
    })),
    appliances: sites.flatMap(({ boxes }, at) =>
      Array.from({ length: boxes }, (_, box) => ({
        applianceId: `c${at}-${box}`,
        siteId: `s${at}`,
        clusterId: `c${at}`,
        baseUrl: `http://10.${at >>> 8}.${at & 255}.${box + 1}:8080`,
        standing: 'serving' as const,
        reasons: [],
        since: atMs,
        weight: 1 / boxes,
        servingBps: 36e9,
        egressBps: 9e9 + ((at * 7919 + box * 104_729) % 9e9),
        heartbeatAtMs: atMs,
      })),
    ),
    holdings: [],
    titles: Array.from({ length: size.titles }, (_, title) => ({
      titleId: `t${title}`,
      availability: [{ countries: ['*'] }],
      durationSeconds: 5400,
      files: Array.from({ length: size.filesPerTitle }, (__, file) => ({
        fileId: `t${title}-${file}-`.padEnd(43, 'x'),
        ordinal: title * FILES_PER_TITLE + file,
        sizeBytes: 100_000_000 * (1 + file),
      })),
    })),
    origin: { pathwayId: 'origin', baseUrl: 'http://10.255.255.1:8000' },
  };
}

/** Prefixes in flat arrays, so that a bench measures tables and not the collector. */
export class PrefixList {
  readonly bytes: Uint8Array;
  readonly lengths: Uint8Array;
  readonly families: Uint8Array;
  readonly clusters: Int32Array;
  count = 0;
  readonly #wanted: { readonly 4: number; readonly 6: number };
  readonly #have = { 4: 0, 6: 0 };
  readonly #clusterCount: number;
  readonly #random: Random;
  readonly #seen = new Set<string>();
  readonly #scratch = prefixScratch();

  constructor(
    size: { readonly v4: number; readonly v6: number },
    clusters: number,
    random: Random,
  ) {
    this.#wanted = { 4: size.v4, 6: size.v6 };
    // Some stand twice, for two clusters.
    const capacity = Math.ceil((size.v4 + size.v6) * (1 + 2 * SHARED_PREFIX_SHARE)) + 16;
    this.bytes = new Uint8Array(capacity * 16);
    this.lengths = new Uint8Array(capacity);
    this.families = new Uint8Array(capacity);
    this.clusters = new Int32Array(capacity);
    this.#clusterCount = clusters;
    this.#random = random;
  }

  get distinct(): { readonly v4: number; readonly v6: number } {
    return { v4: this.#have[4], v6: this.#have[6] };
  }

  read(file: string): void {
    const raw = readFileSync(file);
    const text = (raw[0] === 0x1f ? gunzipSync(raw) : raw).toString();
    for (const line of text.split('\n')) {
      const tab = line.indexOf('\t');
      if (tab !== -1 && readPrefix(line.slice(0, tab), this.#scratch)) {
        this.#push(Number.parseInt(line.slice(tab + 1), 10) || 0);
      }
    }
  }

  /** Half of what is wanted, at lengths as they occur: most are /24 and /48. */
  draw(): void {
    const random = this.#random;
    for (const family of [4, 6] as const) {
      for (let left = this.#wanted[family] >> 1; left > 0; left--) {
        this.#scratch.family = family;
        const spread = Math.floor(random.next() ** 3 * (family === 4 ? 12 : 16));
        this.#scratch.length = (family === 4 ? 24 : 48) - spread;
        this.#scratch.bytes.fill(0);
        for (let at = 0; at < 6; at++) this.#scratch.bytes[at] = random.below(256);
        this.#scratch.bytes[0] = family === 4 ? 1 + random.below(222) : 0x20;
        this.#mask();
        this.#push(random.below(60_000));
      }
    }
  }

  grow(): void {
    for (const family of [4, 6] as const) {
      const from: number[] = [];
      for (let at = 0; at < this.count; at++) if (this.families[at] === family) from.push(at);
      const lengthMax = family === 4 ? 24 : 48;
      while (this.#have[family] < this.#wanted[family]) {
        const base = from[this.#random.below(from.length)];
        const length = this.lengths[base] + 1 + this.#random.below(4);
        if (length > lengthMax) continue;
        this.#scratch.family = family;
        this.#scratch.length = length;
        this.#scratch.bytes.set(this.bytes.subarray(base * 16, base * 16 + 16));
        for (let bit = this.lengths[base]; bit < length; bit++) {
          if (this.#random.below(2) === 1) this.#scratch.bytes[bit >> 3] |= 0x80 >> (bit & 7);
        }
        this.#push(this.#random.below(60_000));
      }
    }
    this.#seen.clear();
  }

  *entries(): Iterable<PrefixEntry> {
    const entry = { prefix: this.#scratch, cluster: 0 };
    for (let at = 0; at < this.count; at++) {
      this.#scratch.family = this.families[at] === 4 ? 4 : 6;
      this.#scratch.length = this.lengths[at];
      this.#scratch.bytes.set(this.bytes.subarray(at * 16, at * 16 + 16));
      entry.cluster = this.clusters[at];
      yield entry;
    }
  }

  #mask(): void {
    const { bytes, length } = this.#scratch;
    for (let bit = length; bit < 128; bit++) bytes[bit >> 3] &= ~(0x80 >> (bit & 7));
  }

  #push(asNumber: number): void {
    const { bytes, family, length } = this.#scratch;
    const size = family === 4 ? 4 : 16;
    const key = `${length}:${Buffer.from(bytes.subarray(0, size)).toString('latin1')}`;
    if (this.#have[family] >= this.#wanted[family] || this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#have[family]++;
    const first = this.#clusterOf(asNumber);
    this.#write(first);
    if (this.#random.next() < SHARED_PREFIX_SHARE) {
      const second = this.#clusterOf(asNumber + 1);
      if (second !== first) this.#write(second);
    }
  }

  /** An AS is at home in a few clusters, and each of its prefixes in one of them. */
  #clusterOf(asNumber: number): number {
    const which = this.#random.below(CLUSTERS_PER_AS_MAX);
    return seededRandom(asNumber * CLUSTERS_PER_AS_MAX + which + 1).below(this.#clusterCount);
  }

  #write(cluster: number): void {
    this.bytes.set(this.#scratch.bytes, this.count * 16);
    this.lengths[this.count] = this.#scratch.length;
    this.families[this.count] = this.#scratch.family;
    this.clusters[this.count] = cluster;
    this.count++;
  }
}
