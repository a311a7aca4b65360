/**
 * What a plan means to people: per cluster how much it holds and how much of the demand that answers.
 */
import { formatBytes } from '#base/units.ts';
import type { Feed } from '../feed.ts';
import type { Placement } from '../placement/placement.ts';

export interface SiteSummary {
  readonly siteId: string;
  readonly clusterId: string;
  readonly boxes: number;
  readonly files: number; // different ones
  readonly copies: number;
  readonly usedBytes: number;
  readonly storageBytes: number;
  readonly demandBytesPerDay: number;
  readonly servedBytesPerDay: number; // of files held here
}

export interface NightSummary {
  readonly forecastViewsPerDay: number;
  readonly plannedOffloadShare: number;
  readonly bytesPlanned: number;
  readonly sites: readonly SiteSummary[];
  readonly problems: readonly string[];
}

export function siteSummaryOf(
  cluster: {
    readonly siteId: string;
    readonly clusterId: string;
    readonly boxes: readonly { readonly storageBytes: number }[];
  },
  feed: Feed,
  placement: Placement,
): SiteSummary {
  let files = 0;
  let copies = 0;
  let demandBytesPerDay = 0;
  let servedBytesPerDay = 0;
  for (let rank = 0; rank < feed.ranks; rank++) {
    const bytes = feed.densities[rank] * feed.sizes[rank];
    demandBytesPerDay += bytes;
    let held = 0;
    for (const box of placement.held) held += box[rank];
    if (held === 0) continue;
    files++;
    copies += held;
    servedBytesPerDay += bytes;
  }
  return {
    siteId: cluster.siteId,
    clusterId: cluster.clusterId,
    boxes: cluster.boxes.length,
    files,
    copies,
    usedBytes: placement.usedBytes.reduce((sum, bytes) => sum + bytes, 0),
    storageBytes: cluster.boxes.reduce((sum, box) => sum + box.storageBytes, 0),
    demandBytesPerDay,
    servedBytesPerDay,
  };
}

const SITES_SHOWN_MAX = 40;

export function summaryText(planDate: string, summary: NightSummary): string {
  const lines = [
    `plan of ${planDate}: ${percent(summary.plannedOffloadShare)} of ${Math.round(summary.forecastViewsPerDay)} ` +
      `expected file views a day, ${formatBytes(summary.bytesPlanned)} on disk`,
  ];
  const rows = summary.sites
    .slice(0, SITES_SHOWN_MAX)
    .map((site) => [
      site.siteId,
      site.clusterId,
      String(site.boxes),
      String(site.files),
      String(site.copies),
      formatBytes(site.usedBytes),
      percent(site.storageBytes > 0 ? site.usedBytes / site.storageBytes : 0),
      percent(site.demandBytesPerDay > 0 ? site.servedBytesPerDay / site.demandBytesPerDay : 0),
    ]);
  lines.push(
    ...table(
      ['site', 'cluster', 'boxes', 'files', 'copies', 'bytes', 'disk used', 'offload'],
      rows,
    ),
  );
  if (summary.sites.length > SITES_SHOWN_MAX) {
    lines.push(`… and ${summary.sites.length - SITES_SHOWN_MAX} more clusters`);
  }
  for (const problem of summary.problems) lines.push(`! ${problem}`);
  return lines.join('\n');
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Columns padded to their widest cell; the first two are words, the others numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at].length)),
  );
  return [head, ...rows].map((row) =>
    row
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .join('  ')
      .trimEnd(),
  );
}
