/**
 * What a plan means to people: per cluster how much it holds, how much of the demand that answers, how far the plan can be
 * from the best one, and what more disk, more throughput or a longer window would bring.
 */
import { formatBytes, formatBps } from '#base/units.ts';
import type { Placement, Prices } from '../placement/placement.ts';
import type { ClusterProblem } from '../placement/problem.ts';

export interface SiteSummary {
  readonly siteId: string;
  readonly clusterId: string;
  /** Its tier where it is planned with others, and the cluster above it. */
  readonly tier: string | null;
  readonly parentId: string | null;
  readonly boxes: number;
  readonly files: number; // different ones
  readonly copies: number;
  readonly usedBytes: number;
  readonly filledBytes: number; // tonight
  readonly storageBytes: number;
  readonly demandBps: number; // that reaches it at the peaks, summed: of its own viewers and left over below
  readonly ownDemandBps: number; // of its own viewers
  readonly servedBps: number;
  readonly valueBps: number; // served less the price of refilling
  readonly boundBps: number;
  readonly boundWithoutFillLimitBps: number;
  readonly prices: Prices;
}

export interface NightSummary {
  readonly forecastViewsPerDay: number;
  readonly plannedOffloadShare: number;
  readonly bytesPlanned: number;
  /** No plan is worth more than 1 / (1 - gapShare) of this one; weighted by what each site could serve. */
  readonly gapShare: number;
  readonly gapWithoutFillLimitShare: number;
  readonly sites: readonly SiteSummary[];
  readonly problems: readonly string[];
}

export function siteSummaryOf(
  cluster: {
    readonly siteId: string;
    readonly clusterId: string;
    readonly parentId: string | null;
  },
  problem: ClusterProblem,
  placement: Placement,
  placed: { readonly tier: string | null; readonly ownDemandBps: number },
): SiteSummary {
  const { feed, boxes } = problem;
  let files = 0;
  let copies = 0;
  for (let rank = 0; rank < feed.ranks; rank++) {
    let held = 0;
    for (const box of placement.held) held += box[rank];
    if (held > 0) files++;
    copies += held;
  }
  const sum = (values: readonly number[]): number => values.reduce((total, add) => total + add, 0);
  return {
    siteId: cluster.siteId,
    clusterId: cluster.clusterId,
    tier: placed.tier,
    parentId: cluster.parentId,
    boxes: boxes.length,
    files,
    copies,
    usedBytes: sum(placement.usedBytes),
    filledBytes: sum(placement.filledBytes),
    storageBytes: sum(boxes.map((box) => box.storageBytes)),
    demandBps: placement.proof.demandBps,
    ownDemandBps: placed.ownDemandBps,
    servedBps: placement.proof.servedBps,
    valueBps: placement.proof.valueBps,
    boundBps: placement.proof.boundBps,
    boundWithoutFillLimitBps: placement.proof.boundWithoutFillLimitBps,
    prices: placement.proof.prices,
  };
}

export function nightSummaryOf(
  forecastViewsPerDay: number,
  sites: readonly SiteSummary[],
  problems: readonly string[],
): NightSummary {
  const total = (of: (site: SiteSummary) => number): number =>
    sites.reduce((sum, site) => sum + of(site), 0);
  const demand = total((site) => site.ownDemandBps); // what passes from tier to tier counts once
  return {
    forecastViewsPerDay,
    plannedOffloadShare: demand > 0 ? clampShare(total((site) => site.servedBps) / demand) : 0,
    bytesPlanned: total((site) => site.usedBytes),
    gapShare: gapOf(
      total((site) => site.valueBps),
      total((site) => site.boundBps),
    ),
    gapWithoutFillLimitShare: gapOf(
      total((site) => site.servedBps),
      total((site) => site.boundWithoutFillLimitBps),
    ),
    sites,
    problems,
  };
}

/** How much of the bound a plan leaves, 0 .. 1: rounding in the last place may put a plan on the bound a hair above it. */
export function gapOf(value: number, bound: number): number {
  return bound > 0 ? clampShare((bound - value) / bound) : 0;
}

const SITES_SHOWN_MAX = 40;
const PROBLEMS_SHOWN_MAX = 30;
const BYTES_PER_TB = 1e12;

export function summaryText(planDate: string, summary: NightSummary): string {
  const lines = [
    `plan of ${planDate}: ${percent(summary.plannedOffloadShare)} of the peak demand of ` +
      `${Math.round(summary.forecastViewsPerDay)} expected file views a day, ${formatBytes(summary.bytesPlanned)} on disk`,
    `at most ${percent(summary.gapShare, 3)} below the best plan possible tonight, ` +
      `${percent(summary.gapWithoutFillLimitShare, 3)} below the best without a fill limit`,
  ];
  const rows = summary.sites.slice(0, SITES_SHOWN_MAX).map(siteRow);
  lines.push(...table(SITE_HEAD, rows, 3));
  if (summary.sites.length > SITES_SHOWN_MAX) {
    lines.push(
      `… and ${summary.sites.length - SITES_SHOWN_MAX} more clusters (plan --site X shows one)`,
    );
  }
  for (const problem of summary.problems.slice(0, PROBLEMS_SHOWN_MAX)) lines.push(`! ${problem}`);
  if (summary.problems.length > PROBLEMS_SHOWN_MAX) {
    lines.push(`! … and ${summary.problems.length - PROBLEMS_SHOWN_MAX} more problems`);
  }
  return lines.join('\n');
}

/** Everything about one cluster, a figure a line. */
export function siteText(site: SiteSummary): string {
  const { prices } = site;
  return [
    `site ${site.siteId}, cluster ${site.clusterId}: ${site.boxes} ${site.boxes === 1 ? 'box' : 'boxes'}${tierText(site)}`,
    `  files           ${site.files} in ${site.copies} copies`,
    `  storage         ${formatBytes(site.usedBytes)} of ${formatBytes(site.storageBytes)}`,
    `  fill tonight    ${formatBytes(site.filledBytes)}`,
    `  peak demand     ${formatBps(site.demandBps)}, served ${formatBps(site.servedBps)} (${percent(shareOf(site.servedBps, site.demandBps))})`,
    ...residualText(site),
    `  gap             ${percent(gapOf(site.valueBps, site.boundBps), 3)} of the bound ${formatBps(site.boundBps)}`,
    `  without limit   ${percent(gapOf(site.servedBps, site.boundWithoutFillLimitBps), 3)} of ${formatBps(site.boundWithoutFillLimitBps)}, were fill free`,
    `  one more TB of disk serves          ${gbps(prices.perStorageByte * BYTES_PER_TB)}`,
    `  one more Gbit/s of throughput       ${gbps(prices.perServingBps * 1e9)}`,
    `  one more TB of fill tonight         ${gbps(prices.perFillByte * BYTES_PER_TB)}`,
  ].join('\n');
}

function tierText({ tier, parentId }: SiteSummary): string {
  if (tier === null) return '';
  return `, ${tier}${parentId === null ? '' : `; what it cannot serve goes to ${parentId}`}`;
}

function residualText(site: SiteSummary): readonly string[] {
  if (site.tier === null) return [];
  const below = site.demandBps - site.ownDemandBps;
  return [
    `                  of that ${formatBps(site.ownDemandBps)} of its own viewers, ${formatBps(Math.max(0, below))} left over below`,
  ];
}

const SITE_HEAD = [
  'site',
  'cluster',
  'tier',
  'boxes',
  'files',
  'copies',
  'on disk',
  'used',
  'fill',
  'offload',
  'gap',
  'Gbps/TB',
  'Gbps/Gbps',
  'Gbps/TB fill',
];

function siteRow(site: SiteSummary): readonly string[] {
  return [
    site.siteId,
    site.clusterId,
    site.tier ?? '-',
    String(site.boxes),
    String(site.files),
    String(site.copies),
    formatBytes(site.usedBytes),
    percent(shareOf(site.usedBytes, site.storageBytes)),
    formatBytes(site.filledBytes),
    percent(shareOf(site.servedBps, site.demandBps)),
    percent(gapOf(site.valueBps, site.boundBps), 3),
    figure((site.prices.perStorageByte * BYTES_PER_TB) / 1e9),
    figure(site.prices.perServingBps),
    figure((site.prices.perFillByte * BYTES_PER_TB) / 1e9),
  ];
}

export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Columns padded to their widest cell; the first ones are words, the others numbers. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  words = 2,
): readonly string[] {
  const widths = head.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at].length)),
  );
  return [head, ...rows].map((row) =>
    row
      .map((cell, at) => (at < words ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .join('  ')
      .trimEnd(),
  );
}

function shareOf(part: number, whole: number): number {
  return whole > 0 ? clampShare(part / whole) : 0;
}

function clampShare(share: number): number {
  return Math.min(1, Math.max(0, share));
}

function gbps(bps: number): string {
  return `${figure(bps / 1e9)} Gbit/s`;
}

function figure(value: number): string {
  return value < 1e-9 ? '0' : Number(value.toPrecision(3)).toString();
}
