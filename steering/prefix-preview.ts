/**
 * What a change of prefixes would do before it is done: whose traffic goes where, which prefixes lose their backup, which sites overflow.
 *
 * Shape:      preview(before, after, sites, options) -> shifts by site, lost backups, overflow
 * Units:      bits per second; every figure is today's traffic under tomorrow's table
 * Invariants: (1) no traffic appears or vanishes: the sums before and after are equal
 *             (2) every address is looked up in both tables by the very code that steers
 * Assumes that a site's traffic is spread evenly over its addresses, and its IPv6 share is `ipv6Share` where it has both.
 */
import { formatAddress } from '#base/address.ts';
import type { SiteId, SnapshotCluster } from '#control-plane/contract.ts';
import { coverOf, homeOf, lookUp, lookUpV4, type PrefixTable } from './place.ts';
import { prefixScratch, readPrefix } from './prefix-text.ts';

export const OVERFLOW_SHARE = 0.9; // of a site's capacity: above it boxes refuse new viewers now and then
const LOST_SHOWN_MAX = 100;

export interface TableOfSites {
  readonly clusters: readonly SnapshotCluster[];
  readonly prefixes: PrefixTable;
}

export interface SiteTraffic {
  readonly siteId: SiteId;
  readonly viewerBps: number;
  readonly capacityBps: number;
}

export interface Preview {
  readonly sites: readonly {
    readonly siteId: SiteId;
    readonly beforeBps: number;
    readonly afterBps: number;
    readonly capacityBps: number;
    readonly overflowBps: number; // above OVERFLOW_SHARE of its capacity
  }[];
  readonly homelessBps: number; // in nobody's prefix afterwards: placed by country and distance
  readonly lostBackup: readonly {
    readonly prefix: string;
    readonly siteId: SiteId;
    readonly bps: number;
  }[];
  readonly lostBackupCount: number;
}

interface Piece {
  readonly start: bigint;
  readonly size: bigint; // addresses (IPv4), /64 networks (IPv6)
  readonly family: 4 | 6;
  readonly before: number;
  readonly after: number; // covers
}

export function preview(
  before: TableOfSites,
  after: TableOfSites,
  sites: readonly SiteTraffic[],
  ipv6Share: number,
): Preview {
  const pieces = [...piecesOf(before, after, 4), ...piecesOf(before, after, 6)];
  const bpsOf = weigh(before, pieces, sites, ipv6Share);
  const afterBps = new Map<SiteId | null, number>(sites.map(({ siteId }) => [siteId, 0]));
  const placed = new Set<SiteId>();
  const lost: { prefix: string; siteId: SiteId; bps: number }[] = [];
  let lostBackupCount = 0;
  for (const piece of pieces) {
    const from = siteAt(before, piece.before);
    const to = siteAt(after, piece.after);
    const bps = bpsOf(piece);
    if (from !== null) placed.add(from);
    if (bps > 0) afterBps.set(to, (afterBps.get(to) ?? 0) + bps);
    if (to === null || sitesAt(before, piece.before) < 2 || sitesAt(after, piece.after) >= 2)
      continue;
    for (const prefix of namesOf(piece)) {
      lostBackupCount++;
      lost.push({ prefix, siteId: to, bps });
    }
  }
  // Traffic of a site without prefixes is nobody's to move.
  for (const { siteId, viewerBps } of sites) {
    if (!placed.has(siteId)) afterBps.set(siteId, (afterBps.get(siteId) ?? 0) + viewerBps);
  }
  lost.sort((a, b) => b.bps - a.bps || (a.prefix < b.prefix ? -1 : 1));
  return {
    sites: sites.map(({ siteId, viewerBps, capacityBps }) => {
      const bps = Math.round(afterBps.get(siteId) ?? 0);
      const overflowBps = Math.max(0, Math.round(bps - capacityBps * OVERFLOW_SHARE));
      return { siteId, beforeBps: Math.round(viewerBps), afterBps: bps, capacityBps, overflowBps };
    }),
    homelessBps: Math.round(afterBps.get(null) ?? 0),
    lostBackup: lost.slice(0, LOST_SHOWN_MAX),
    lostBackupCount,
  };
}

/** The address space cut wherever either table changes its answer. */
function* piecesOf(before: TableOfSites, after: TableOfSites, family: 4 | 6): Generator<Piece> {
  const cuts = new Set<bigint>();
  for (const { clusters } of [before, after]) {
    for (const { start, size } of rangesOf(clusters, family)) {
      cuts.add(start);
      cuts.add(start + size);
    }
  }
  const sorted = BigUint64Array.from([...cuts].filter((cut) => cut < 2n ** 64n)).sort();
  const end = family === 4 ? 2n ** 32n : 2n ** 64n;
  for (let at = 0; at < sorted.length; at++) {
    const start = sorted[at];
    const size = (sorted.at(at + 1) ?? end) - start;
    const covers = [before, after].map(({ prefixes }) => coverAt(prefixes, family, start));
    if (covers[0] !== 0 || covers[1] !== 0) {
      yield { start, size, family, before: covers[0], after: covers[1] };
    }
  }
}

function* rangesOf(
  clusters: readonly SnapshotCluster[],
  family: 4 | 6,
): Generator<{ start: bigint; size: bigint }> {
  const scratch = prefixScratch();
  for (const { prefixes, learned = [] } of clusters) {
    for (const text of [...prefixes, ...learned.map(([prefix]) => prefix)]) {
      if (!readPrefix(text, scratch) || scratch.family !== family) continue;
      const { buffer, byteOffset } = scratch.bytes;
      const view = new DataView(buffer, byteOffset);
      // Below /64 there is one network: what is longer is cut there.
      if (family === 4)
        yield { start: BigInt(view.getUint32(0)), size: 1n << BigInt(32 - scratch.length) };
      else
        yield {
          start: view.getBigUint64(0),
          size: 1n << BigInt(64 - Math.min(64, scratch.length)),
        };
    }
  }
}

function coverAt(table: PrefixTable, family: 4 | 6, start: bigint): number {
  return family === 4 ? lookUpV4(table, Number(start)) : lookUp(table, bytesOf6(start));
}

function bytesOf6(start: bigint): Uint8Array {
  const bytes = new Uint8Array(16);
  new DataView(bytes.buffer).setBigUint64(0, start);
  return bytes;
}

function siteAt({ clusters, prefixes }: TableOfSites, cover: number): SiteId | null {
  const home = homeOf(prefixes, cover);
  return home === null ? null : clusters[home].siteId;
}

const siteCounts = new WeakMap<PrefixTable, Map<number, number>>();

function sitesAt({ clusters, prefixes }: TableOfSites, cover: number): number {
  const known = siteCounts.get(prefixes) ?? new Map<number, number>();
  siteCounts.set(prefixes, known);
  let count = known.get(cover);
  if (count === undefined) {
    const tiers = coverOf(prefixes, cover).flat();
    count = new Set(tiers.map((cluster) => clusters[cluster].siteId)).size;
    known.set(cover, count);
  }
  return count;
}

/** The traffic of each piece: its share of its site's addresses, family by family. */
function weigh(
  before: TableOfSites,
  pieces: readonly Piece[],
  sites: readonly SiteTraffic[],
  ipv6Share: number,
): (piece: Piece) => number {
  const total = { 4: new Map<SiteId, number>(), 6: new Map<SiteId, number>() };
  for (const { family, size, before: cover } of pieces) {
    const siteId = siteAt(before, cover);
    if (siteId !== null) total[family].set(siteId, (total[family].get(siteId) ?? 0) + Number(size));
  }
  const traffic = new Map(sites.map((site) => [site.siteId, site.viewerBps]));
  return ({ family, size, before: cover }) => {
    const siteId = siteAt(before, cover);
    if (siteId === null) return 0;
    const other = total[family === 4 ? 6 : 4].get(siteId) ?? 0;
    const share = other === 0 ? 1 : family === 6 ? ipv6Share : 1 - ipv6Share;
    return ((traffic.get(siteId) ?? 0) * share * Number(size)) / (total[family].get(siteId) ?? 1);
  };
}

/** A piece as prefixes: as few as it takes. */
function* namesOf({ start, size, family }: Piece): Generator<string> {
  const bits = family === 4 ? 32n : 64n;
  for (let at = start; at < start + size;) {
    let length = bits;
    while (length > 0n) {
      const next = 1n << (bits - length + 1n);
      if (at % next !== 0n || at + next > start + size) break;
      length--;
    }
    yield family === 4
      ? `${[24n, 16n, 8n, 0n].map((shift) => (at >> shift) & 255n).join('.')}/${length}`
      : `${formatAddress(bytesOf6(at))}/${length}`;
    at += 1n << (bits - length);
  }
}
