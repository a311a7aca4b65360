/**
 * `nightfill prefixes preview FILE`: reads a change of prefixes, asks the control plane for what is now, and says what would move.
 *
 * FILE names sites and what each of them would be announced from then on: lines `prefix site [attributes]`, or an MRT dump of what one
 * site's router holds (`--site`), gzip or plain. Sites that it does not name stay as they are.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { readMrt } from '#appliance/appliance.ts';
import type { Route } from '#appliance/contract.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import { readTokenFile } from '#base/io/token-file.ts';
import {
  DEFAULT_LENGTHS,
  judgeRoutes,
  NO_ROAS,
  rankOf,
  type BoxTable,
} from '#control-plane/control-plane.ts';
import type { Site, SnapshotCluster } from '#control-plane/contract.ts';
import { buildPrefixTable, type PrefixEntry } from '../place.ts';
import { readPrefixFile, type PrefixLine } from '../prefix-file.ts';
import { OVERFLOW_SHARE, preview, type Preview, type TableOfSites } from '../prefix-preview.ts';
import { prefixScratch, readPrefix } from '../prefix-text.ts';

const DEADLINE_MS = 60_000;
const FILE_BYTES_MAX = 2 ** 31;
const SHOWN_MAX = 20;

export interface PreviewOptions {
  readonly controlPlane?: string;
  readonly tokenFile?: string;
  readonly fleet?: string;
  readonly site?: string;
  readonly ipv6Share: string;
  readonly json?: true;
}

interface FleetNow {
  readonly clusters: readonly SnapshotCluster[];
  readonly sites: readonly {
    readonly site: Site;
    readonly viewerBps: number;
    readonly capacityBps: number;
  }[];
}

interface Quarantined {
  readonly prefix: string;
  readonly siteId: string;
  readonly why: string;
  readonly detail: string;
}

export async function previewPrefixes(file: string, options: PreviewOptions): Promise<void> {
  const ipv6Share = Number(options.ipv6Share);
  if (!(ipv6Share >= 0 && ipv6Share <= 1)) throw new Error('--ipv6-share is a number from 0 to 1');
  const lines = readChange(file, options.site);
  const now = await fleetNow(options);
  const { clusters, quarantined } = changed(now, lines);
  const traffic = now.sites.map(({ site, viewerBps, capacityBps }) => ({
    siteId: site.siteId,
    viewerBps,
    capacityBps,
  }));
  const result = preview(tableOf(now.clusters), tableOf(clusters), traffic, ipv6Share);
  if (options.json === true) {
    console.log(JSON.stringify({ ...result, quarantined }, null, 2));
    return;
  }
  console.log(inWords(result, quarantined, ipv6Share));
}

function readChange(file: string, site: string | undefined): readonly PrefixLine[] {
  let bytes = readFileSync(file);
  if (bytes[0] === 0x1f && bytes[1] === 0x8b)
    bytes = gunzipSync(bytes, { maxOutputLength: FILE_BYTES_MAX });
  // An MRT header begins with a time and a type below 256; text has no zero bytes.
  if (!bytes.subarray(0, 12).includes(0)) {
    const { lines, problems } = readPrefixFile(bytes.toString('utf8'));
    if (problems.length > 0) throw new Error(`${file} is not used:\n${problems.join('\n')}`);
    return lines;
  }
  if (site === undefined)
    throw new Error(`${file} is an MRT dump: say by --site whose routers hold it`);
  // A dump holds one route a peer: the site would announce the best of each prefix.
  const best = new Map<string, PrefixLine & { readonly rank: number }>();
  for (const { prefix, originAs, asPathLength, origin, med } of readMrt(bytes)) {
    const route = {
      originAs: originAs ?? 0,
      asPathLength: Math.min(255, asPathLength),
      origin,
      med,
    };
    const rank = rankOf(route);
    const known = best.get(prefix);
    if (known === undefined || rank < known.rank) best.set(prefix, { prefix, site, route, rank });
  }
  return [...best.values()];
}

async function fleetNow(options: PreviewOptions): Promise<FleetNow> {
  if (options.fleet !== undefined)
    return JSON.parse(readFileSync(options.fleet, 'utf8')) as FleetNow;
  const { controlPlane, tokenFile } = options;
  if (controlPlane === undefined || tokenFile === undefined) {
    throw new Error(
      'preview needs --control-plane URL and --token-file FILE (role "operator"), or --fleet FILE with an answer of GET /v1/prefixes',
    );
  }
  const answer = await callJsonOk({
    method: 'GET',
    url: `${controlPlane}/v1/prefixes`,
    bearer: readTokenFile(tokenFile),
    deadlineMs: DEADLINE_MS,
    answerBytesMax: FILE_BYTES_MAX,
  });
  if (!answer.ok) throw new Error(answer.failure.detail);
  return answer.value as FleetNow;
}

/** The clusters as they would be: of the sites that the change names, what it says and the policy lets through. */
function changed(
  now: FleetNow,
  lines: readonly PrefixLine[],
): { readonly clusters: readonly SnapshotCluster[]; readonly quarantined: readonly Quarantined[] } {
  const byName = new Map(now.clusters.toReversed().map((cluster) => [cluster.siteId, cluster]));
  for (const cluster of now.clusters) byName.set(cluster.clusterId, cluster);
  const unknown = new Set(lines.flatMap(({ site }) => (byName.has(site) ? [] : [site])));
  if (unknown.size > 0)
    throw new Error(`no such site or cluster: ${[...unknown].slice(0, SHOWN_MAX).join(', ')}`);
  const fixed = new Map<string, string[]>();
  const tables = new Map<string, Omit<BoxTable, 'routes'> & { readonly routes: Route[] }>();
  for (const { prefix, route, site } of lines) {
    const { clusterId, siteId } = byName.get(site)!;
    if (!fixed.has(clusterId)) fixed.set(clusterId, []);
    if (route === null) {
      fixed.get(clusterId)!.push(prefix);
      continue;
    }
    const table = tables.get(clusterId) ?? { applianceId: 'file', siteId, clusterId, routes: [] };
    table.routes.push({ peer: 'file', prefix, ...route });
    tables.set(clusterId, table);
  }
  const sites = now.sites.map(({ site }) => ({
    ...site,
    clusters: now.clusters
      .filter(({ siteId }) => siteId === site.siteId)
      .map(({ clusterId, learned = [], prefixes }) => ({
        clusterId,
        prefixes: fixed.get(clusterId) ?? [...prefixes, ...learned.map(([prefix]) => prefix)],
      })),
  }));
  const policy = { ...DEFAULT_LENGTHS, ownPrefixes: [], roas: NO_ROAS };
  const { accepted, quarantined } = judgeRoutes(tables.values(), sites, policy, new Set());
  const learnedOf = new Map<string, [string, number][]>();
  for (const { clusterId, prefix, rank } of accepted) {
    learnedOf.set(clusterId, [...(learnedOf.get(clusterId) ?? []), [prefix, rank]]);
  }
  return {
    clusters: now.clusters.map((cluster) => {
      const prefixes = fixed.get(cluster.clusterId);
      if (prefixes === undefined) return cluster;
      return { ...cluster, prefixes, learned: learnedOf.get(cluster.clusterId) ?? [] };
    }),
    quarantined: quarantined.map(({ detail, route, siteId, why }) => ({
      prefix: route.prefix,
      siteId,
      why,
      detail,
    })),
  };
}

function tableOf(clusters: readonly SnapshotCluster[]): TableOfSites {
  const scratch = prefixScratch();
  function* entries(): Generator<PrefixEntry> {
    for (const [cluster, { prefixes, learned = [] }] of clusters.entries()) {
      for (const text of prefixes)
        if (readPrefix(text, scratch)) yield { prefix: scratch, cluster };
      for (const [text, rank] of learned) {
        if (readPrefix(text, scratch)) yield { prefix: scratch, cluster, rank };
      }
    }
  }
  return { clusters, prefixes: buildPrefixTable(entries()) };
}

function inWords(result: Preview, quarantined: readonly Quarantined[], ipv6Share: number): string {
  const mbps = (bps: number): string => `${(bps / 1e6).toFixed(1)} Mbit/s`;
  const lines = ['site: now -> then (change) of capacity'];
  const moved = [...result.sites].sort(
    (a, b) =>
      Math.abs(b.afterBps - b.beforeBps) - Math.abs(a.afterBps - a.beforeBps) ||
      (a.siteId < b.siteId ? -1 : 1),
  );
  for (const { siteId, beforeBps, afterBps, capacityBps, overflowBps } of moved.slice(
    0,
    SHOWN_MAX,
  )) {
    const sign = afterBps >= beforeBps ? '+' : '-';
    const change = `${sign}${mbps(Math.abs(afterBps - beforeBps))}`;
    const over =
      overflowBps > 0 ? `  OVERFLOW: ${mbps(overflowBps)} above ${OVERFLOW_SHARE * 100} %` : '';
    lines.push(
      `  ${siteId}: ${mbps(beforeBps)} -> ${mbps(afterBps)} (${change}) of ${mbps(capacityBps)}${over}`,
    );
  }
  if (moved.length > SHOWN_MAX)
    lines.push(`  … and ${moved.length - SHOWN_MAX} more (--json has all)`);
  lines.push(`in nobody’s prefix then: ${mbps(result.homelessBps)}`);
  lines.push(`prefixes that lose their backup: ${result.lostBackupCount}`);
  for (const { bps, prefix, siteId } of result.lostBackup.slice(0, SHOWN_MAX)) {
    lines.push(`  ${prefix} (${siteId}, ${mbps(bps)})`);
  }
  lines.push(`routes that the policy would quarantine: ${quarantined.length}`);
  for (const { detail, prefix, siteId, why } of quarantined.slice(0, SHOWN_MAX)) {
    lines.push(`  ${prefix} at ${siteId}, ${why}: ${detail}`);
  }
  lines.push(
    `today’s traffic, spread evenly over each site’s addresses, ${ipv6Share * 100} % of it IPv6 where a site has both; the ROA file is not looked at`,
  );
  return lines.join('\n');
}
